"""A learner's own photos: a folder or zip with one sub-folder per class, read whatever is in it."""

import difflib
import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from transfer_utils.data import ImageSet
from transfer_utils.own_photos import zips
from transfer_utils.own_photos.decode import Unreadable, read_bytes, read_photo, shown
from transfer_utils.own_photos.twins import alike
from transfer_utils.own_photos.zips import File, is_litter

MOST_PHOTOS = 20_000
SIZES = (32, 512)
WORKERS = 4  # each may hold a photo of 178 million pixels
COLUMNS = ["file", "class", "width", "height", "used", "note"]
LAYOUT = "Use one folder per class, for example photos/cat/1.jpg, photos/cat/2.jpg, photos/dog/1.jpg."
SAME = "the same file as"
UNSURE = "it is in two classes, so we cannot trust either label and leave both out"
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PhotoFolder:
    """Photos with what is known about their files.

    photos: uint8 (N, 3, size, size). names: paths inside the source. groups: int64 (N,), equal for photos that
    look nearly the same and must stay together in a split. files: one row per file, with the columns COLUMNS.
    """

    photos: ImageSet
    names: tuple[str, ...]
    groups: Tensor
    files: pd.DataFrame


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
    path = Path(os.path.expanduser(source))
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
    rows, images = _examine_all(files, base, size, progress)
    was_read = [row for row in rows if row["used"]]
    _settle_copies(was_read)
    _refuse_too_few_classes(rows, source)
    return _assemble(rows, images[[row["used"] for row in was_read]])


def _assemble(rows: list[Row], images: Tensor) -> PhotoFolder:
    used = [row for row in rows if row["used"]]
    classes = tuple(sorted({row["class"] for row in used}))
    labels = torch.tensor([classes.index(row["class"]) for row in used])
    names = tuple(row["file"] for row in used)
    return PhotoFolder(ImageSet(images, labels, classes), names, alike(images), pd.DataFrame(rows, columns=COLUMNS))


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


def _examine_all(files: list[File], base: str, size: int, progress: bool) -> tuple[list[Row], Tensor]:
    """A row per file, and the photos of the rows with used True: uint8 (N, 3, size, size)."""
    images = torch.empty((len(files), 3, size, size), dtype=torch.uint8)
    rows: list[Row] = []
    filled = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(lambda file: _examine(file, class_of(file[0], base), size), files)
        for row, pixels in tqdm(results, "reading photos", len(files), unit="file", disable=not progress):
            rows.append(row)
            if pixels is not None:
                images[filled] = torch.from_numpy(pixels).permute(2, 0, 1)
                filled += 1
    return rows, images[:filled]


def _examine(file: File, class_name: str, size: int) -> tuple[Row, np.ndarray | None]:
    name, content_of = file
    # a name that is no valid text would break every later print
    row = dict.fromkeys(COLUMNS, 0) | {"file": name.encode("utf-8", "replace").decode(), "class": class_name}
    row |= {"used": False, "note": "not in a class folder"}
    if not class_name:
        return row, None
    try:
        content = content_of()
        pixels, facts = read_photo(content, size)
    except Unreadable as error:
        return row | {"note": str(error)}, None
    except OSError as error:
        return row | {"note": f"it cannot be opened ({error.strerror}); look at its permissions"}, None
    digest = hashlib.sha256(content).digest()
    return row | {"used": True, "digest": digest} | asdict(facts), pixels


def _settle_copies(rows: list[Row]) -> None:
    """Keep the first of equal files; keep none where they are in two classes."""
    same = defaultdict(list)
    for row in rows:
        same[row["digest"]].append(row)
    for first, *others in same.values():
        if any(row["class"] != first["class"] for row in others):
            first["used"] = False
            first["note"] = f"{SAME} {others[0]['file']}; {UNSURE}"
        for row in others:
            row["used"] = False
            row["note"] = f"{SAME} {first['file']}" + ("" if first["used"] else f"; {UNSURE}")


def _refuse_too_few_classes(rows: list[Row], source: Path) -> None:
    classes = sorted({row["class"] for row in rows if row["used"]})
    if len(classes) < 2:
        reasons = [f"{shown(row['file'])}: {row['note']}" for row in rows if not row["used"]][:3]
        raise ValueError(
            f"{source} has readable photos in {len(classes)} class folders ({', '.join(classes) or 'none'}), "
            f"and we need at least 2. {LAYOUT}" + "".join(f" {reason}." for reason in reasons)
        )
