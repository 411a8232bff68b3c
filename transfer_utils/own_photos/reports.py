"""What a learner should know about a folder of photos before training on it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from transfer_utils.own_photos.decode import shown
from transfer_utils.own_photos.files import Fate, PhotoFile

FEW, ENOUGH, IMBALANCE, SHOWN = 10, 100, 3, 10
COPIES = (Fate.COPY, Fate.TWO_CLASSES)


@dataclass(frozen=True)
class Findings:
    """What was found in a folder.

    counts: photos per class, by name. smallest, largest: by their pixels. alike: names of photos that look nearly the
    same. notes: each note on a photo, with its number of photos, most frequent first. similar: names of classes that
    differ only by capitals or spaces.
    """

    counts: dict[str, int]
    smallest: PhotoFile
    largest: PhotoFile
    unusable: list[PhotoFile]
    copies: list[PhotoFile]
    alike: list[list[str]]
    notes: list[tuple[str, int]]
    similar: list[list[str]]


def findings(rows: Sequence[PhotoFile], groups: Tensor) -> Findings:
    """What a folder's files amount to; groups: int64, a number for each file that is used, equal for look-alikes."""
    used, left_out = [row for row in rows if row.used], [row for row in rows if not row.used]
    by_area = sorted(used, key=lambda row: row.width * row.height)
    counts = dict(sorted(Counter(row.class_name for row in used).items()))
    return Findings(
        counts,
        smallest=by_area[0],
        largest=by_area[-1],
        unusable=[row for row in left_out if row.fate not in COPIES],
        copies=[row for row in left_out if row.fate in COPIES],
        alike=_several((group, row.file) for row, group in zip(used, groups.tolist(), strict=True)),
        notes=Counter(note for row in used for note in row.notes).most_common(),
        similar=_several((name.casefold().strip(), name) for name in counts),
    )


def _several(pairs: Iterable[tuple[object, str]]) -> list[list[str]]:
    """The names that share a key with another name, by key, in the order of their first one."""
    members = defaultdict(list)
    for key, name in pairs:
        members[key].append(name)
    return [names for names in members.values() if len(names) > 1]


def in_words(found: Findings) -> str:
    """The findings in a few short lines: counts, what was left out and why, and how to split."""
    photos, left_out = sum(found.counts.values()), len(found.unusable) + len(found.copies)
    lines = [
        f"{_many(photos, 'photo')} in {len(found.counts)} classes; {_many(left_out, 'file')} left out.",
        "Photos per class: " + ", ".join(f"{shown(name)} {count}" for name, count in found.counts.items()) + ".",
        f"Sizes: {_size(found.smallest)} to {_size(found.largest)} pixels.",
        *_balance(found.counts),
        *_listing("could not be used", found.unusable),
        *_listing("left out because the same file is there already", found.copies),
        *_look_alikes(found.alike),
        *(f"{_many(number, 'photo')}: {note}." for note, number in found.notes),
        *_similar(found.similar),
        _advice(found.counts),
    ]
    return "\n".join(lines)


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _size(row: PhotoFile) -> str:
    return f"{row.width} x {row.height}"


def _balance(counts: dict[str, int]) -> list[str]:
    lines = [
        f"Class {shown(name)!r} has only {_many(number, 'photo')}; with fewer than {FEW}, luck decides. Add more."
        for name, number in counts.items()
        if number < FEW
    ]
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] > IMBALANCE * counts[least]:
        lines.append(
            f"{shown(most)!r} has {counts[most] / counts[least]:.1f} times as many photos as {shown(least)!r}: "
            f"always guessing {shown(most)!r} would be right for {counts[most] / sum(counts.values()):.0%}."
        )
    return lines


def _listing(what: str, rows: Sequence[PhotoFile]) -> list[str]:
    if not rows:
        return []
    lines = [f"  {shown(row.file)}: {shown(row.note)}" for row in rows[:SHOWN]]
    more = [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return [f"{_many(len(rows), 'file')} {what}:", *lines, *more]


def _look_alikes(alike: Sequence[Sequence[str]]) -> list[str]:
    if not alike:
        return []
    first = " and ".join(map(shown, alike[0][:2]))
    return [f"{sum(map(len, alike))} photos look nearly like another, such as {first}; they stay together in a split."]


def _similar(similar: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"The classes {' and '.join(map(repr, names))} differ only by capitals or spaces; merge them if they are one "
        "class."
        for names in similar
    ]


def _advice(counts: dict[str, int]) -> str:
    least = min(counts, key=counts.__getitem__)
    if counts[least] >= ENOUGH:
        return "Suggested split: hold out 20 % of the photos, or use cross-validation."
    return f"Suggested split: use cross-validation, because {shown(least)!r} has fewer than {ENOUGH} photos."
