"""A learner's own photos: a folder or zip with one sub-folder per class, read whatever is in it."""

import difflib
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from transfer_utils import machine
from transfer_utils.data import ImageSet
from transfer_utils.own_photos import reports, zips
from transfer_utils.own_photos.decode import Unreadable, read_bytes, read_photo, shown
from transfer_utils.own_photos.files import Fate, PhotoFile, settle_copies
from transfer_utils.own_photos.twins import alike
from transfer_utils.own_photos.zips import File, is_litter

MOST_PHOTOS = 20_000
SIZES = (32, 512)
WORKERS = 4  # each may hold a photo of 178 million pixels
COLUMNS = ["file", "class", "width", "height", "used", "fate", "note"]
LAYOUT = "Use one folder per class, for example photos/cat/1.jpg, photos/cat/2.jpg, photos/dog/1.jpg."
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True, eq=False)
class PhotoFolder:
    """Photos with what is known about their files.

    photos: uint8 (N, 3, size, size). names: paths inside the source. groups: int64 (N,), equal for photos that
    look nearly the same and must stay together in a split. rows: every file that was found, used or not.
    """

    photos: ImageSet
    names: tuple[str, ...]
    groups: Tensor
    rows: tuple[PhotoFile, ...]

    @property
    def files(self) -> pd.DataFrame:
        """One row per file, with the columns COLUMNS."""
        rows = [(r.file, r.class_name, r.width, r.height, r.used, r.fate.value, r.note) for r in self.rows]
        return pd.DataFrame(rows, columns=COLUMNS)

    def report(self) -> str:
        """What was found, in a few short lines: counts, what was left out and why, and how to split."""
        return reports.in_words(reports.findings(self.rows, self.groups))


def read(source: str | Path, size: int = 224, progress: bool = True) -> PhotoFolder:
    """The photos of a folder, or of a zip of one, as squares of size x size pixels.

    Raises FileNotFoundError, or ValueError for what holds no two classes of photos or is an unsafe zip.
    """
    if not (isinstance(size, int) and SIZES[0] <= size <= SIZES[1]):
        raise ValueError(f"read() got size={size!r}; it must be a whole number from {SIZES[0]} to {SIZES[1]} pixels.")
    path = _existing(source)
    if path.is_dir():
        return _collect(_in_folder(path), path, size, progress)
    with zips.opened(path) as archive:
        return _collect(zips.members(archive, path), path, size, progress)


def _existing(source: str | Path) -> Path:
    if not isinstance(source, str | Path) or not str(source).strip():
        raise ValueError(f"read() got {source!r}; give the path of a folder or zip in quotes, for example 'my_photos'.")
    path = machine.expanded(source)
    if not os.path.exists(path):
        parent = path.parent
        siblings = os.listdir(parent) if os.path.isdir(parent) and os.access(parent, os.R_OK) else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        guess = f"Did you mean {str(parent / close[0])!r}?" if close else "Check the spelling, or give the whole path."
        raise FileNotFoundError(f"There is no folder or zip {str(path)!r}. {guess}")
    return path


def _in_folder(root: Path) -> Iterator[File]:
    problems: list[OSError] = []
    for folder, subfolders, files in os.walk(root, onerror=problems.append):
        inside = Path(folder).relative_to(root)
        subfolders[:] = [name for name in subfolders if not is_litter(name)]
        for name in filter(lambda name: os.path.islink(os.path.join(folder, name)), subfolders):
            # the slash at the end tells a folder from a file
            yield (
                f"{(inside / name).as_posix()}/",
                _refusal("it is a link, which we do not follow; copy the folder here"),
            )
        for name in files:
            if not is_litter(name):
                yield (inside / name).as_posix(), partial(read_bytes, Path(folder, name))
    for error in problems:
        place = Path(error.filename).relative_to(root).as_posix()
        yield f"{place}/", _refusal(f"the folder cannot be opened ({error.strerror}); change its permissions")


def _refusal(reason: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise Unreadable(reason)

    return refuse


def _collect(found: Iterable[File], source: Path, size: int, progress: bool) -> PhotoFolder:
    files = list(islice(found, MOST_PHOTOS + 1))
    if len(files) > MOST_PHOTOS:
        raise ValueError(f"{source} holds more than {MOST_PHOTOS:,} files. Give a smaller folder, or a part of it.")
    base = base_of([name for name, _ in files])
    refuse_splits([name.removeprefix(base) for name, _ in files], source, base)
    files = sorted(files, key=lambda file: (class_of(file[0], base), file[0]))
    if not any(class_of(name, base) for name, _ in files):
        problem = "has no photos inside class folders" if files else "is empty"
        raise ValueError(f"{source} {problem}. {LAYOUT}")
    found_rows, images = _examine_all(files, base, size, progress)
    rows = settle_copies(found_rows)
    _refuse_too_few_classes(rows, source)
    return _assemble(rows, images[[row.used for row, before in zip(rows, found_rows, strict=True) if before.used]])


def _assemble(rows: list[PhotoFile], images: Tensor) -> PhotoFolder:
    used = [row for row in rows if row.used]
    classes = tuple(sorted({row.class_name for row in used}))
    labels = torch.tensor([classes.index(row.class_name) for row in used])
    names = tuple(row.file for row in used)
    return PhotoFolder(ImageSet(images, labels, classes), names, alike(images), tuple(rows))


def base_of(names: list[str]) -> str:
    """The folders that merely wrap the class folders, such as 'photos/', or ''."""
    base = ""
    while True:
        inside = [name.removeprefix(base) for name in names if name.startswith(base)]
        folders = {name.split("/")[0] for name in inside if "/" in name}
        if len(folders) != 1 or all(name.count("/") < 2 for name in inside):
            return base
        base += f"{folders.pop()}/"


def class_of(name: str, base: str) -> str:
    """The class of a file by its path: the first folder behind base, or ''."""
    folder, slash, _ = name.removeprefix(base).partition("/")
    if not slash or not name.startswith(base):
        return ""
    # Letters that no screen shows, or no file can hold, would break every later print.
    return shown(unicodedata.normalize("NFC", folder), instead="_")


def refuse_splits(names: list[str], source: Path, base: str) -> None:
    """ValueError where the folders behind base are train, test and the like, with the classes inside them."""
    splits = sorted({n.split("/")[0] for n in names if n.count("/") > 1 and n.split("/")[0].casefold() in SPLITS})
    if len(splits) > 1:
        train = next((name for name in splits if name.casefold().startswith("train")), splits[0])
        raise ValueError(
            f"{source} is already split into {', '.join(splits)}. Give its {train} folder instead: "
            f"{str(source / base / train)!r}{'' if source.is_dir() else ' (unpack the zip first)'}."
        )


def _examine_all(files: list[File], base: str, size: int, progress: bool) -> tuple[list[PhotoFile], Tensor]:
    """A row per file, and the photos of the rows that are used: uint8 (N, 3, size, size)."""
    images = torch.empty((len(files), 3, size, size), dtype=torch.uint8)
    rows: list[PhotoFile] = []
    filled = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(lambda file: _examine(file, class_of(file[0], base), size), files)
        for row, pixels in tqdm(results, "reading photos", len(files), unit="file", disable=not progress):
            rows.append(row)
            if pixels is not None:
                images[filled] = torch.from_numpy(pixels).permute(2, 0, 1)
                filled += 1
    return rows, images[:filled]


def _examine(file: File, class_name: str, size: int) -> tuple[PhotoFile, np.ndarray | None]:
    name, content_of = file
    # a name that is no valid text would break every later print
    row = PhotoFile(name.encode("utf-8", "replace").decode(), class_name, Fate.OUTSIDE, ("not in a class folder",))
    if not class_name:
        return row, None
    try:
        content = content_of()
        pixels, facts = read_photo(content, size)
    except Unreadable as error:
        return row.left_out(Fate.UNREADABLE, str(error)), None
    except OSError as error:
        reason = f"it cannot be opened ({error.strerror}); look at its permissions"
        return row.left_out(Fate.UNREADABLE, reason), None
    return row.read(facts, hashlib.sha256(content).digest()), pixels


def _refuse_too_few_classes(rows: list[PhotoFile], source: Path) -> None:
    classes = sorted({row.class_name for row in rows if row.used})
    if len(classes) < 2:
        reasons = [f"{shown(row.file)}: {row.note}" for row in rows if not row.used][:3]
        raise ValueError(
            f"{source} has readable photos in {len(classes)} class folders ({', '.join(classes) or 'none'}), "
            f"and we need at least 2. {LAYOUT}" + "".join(f" {reason}." for reason in reasons)
        )
