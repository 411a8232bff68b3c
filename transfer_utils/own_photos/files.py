"""One file of a learner's folder: what became of it, and what the learner should know about it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from transfer_utils.own_photos.decode import Facts

SAME = "the same file as"
UNSURE = "it is in two classes, so we cannot trust either label and leave both out"


class Fate(StrEnum):
    """What became of a file."""

    USED = "used"
    UNREADABLE = "unreadable"
    COPY = "copy"
    TWO_CLASSES = "in two classes"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class PhotoFile:
    """A file and its fate; width and height in pixels, upright; digest: the sha256 of its content, once it was read."""

    file: str
    class_name: str
    fate: Fate
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    digest: bytes = b""

    @property
    def used(self) -> bool:
        """Whether it is one of the photos."""
        return self.fate is Fate.USED

    @property
    def note(self) -> str:
        """Its notes in one line."""
        return "; ".join(self.notes)

    def left_out(self, fate: Fate, *notes: str) -> "PhotoFile":
        """The same file, not used, and why."""
        return replace(self, fate=fate, notes=notes)

    def read(self, facts: Facts, digest: bytes) -> "PhotoFile":
        """The same file, read as a photo."""
        return replace(self, fate=Fate.USED, notes=facts.notes, width=facts.width, height=facts.height, digest=digest)


def settle_copies(rows: Sequence[PhotoFile]) -> list[PhotoFile]:
    """Use the first of equal files alone, and none of them where they are in two classes."""
    same = defaultdict(list)
    for row in rows:
        same[row.digest].append(row)
    return [_settled(row, same[row.digest]) if row.used else row for row in rows]


def _settled(row: PhotoFile, same: Sequence[PhotoFile]) -> PhotoFile:
    first = same[0]
    if any(other.class_name != first.class_name for other in same):
        twin = same[1] if row is first else first
        return row.left_out(Fate.TWO_CLASSES, f"{SAME} {twin.file}", UNSURE)
    return row if row is first else row.left_out(Fate.COPY, f"{SAME} {first.file}")
