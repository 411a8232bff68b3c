"""Photos written into a folder: uploads, under safe names, and the sample that comes with the course."""

import os
import tempfile
import threading
from itertools import chain, count
from pathlib import Path

from transfer_utils import machine
from transfer_utils.machine import write_atomically
from transfer_utils.own_photos import zips
from transfer_utils.own_photos.decode import safe_name
from transfer_utils.own_photos.folders import LAYOUT, base_of, class_of, refuse_splits

_STORING = threading.Lock()


def store(folder: str | Path, class_name: str, file_name: str, content: bytes) -> Path:
    """Keep one file as folder/class_name/file_name, under safe names, and return its path.

    An equal file that is there already stays alone; a different one gets a neighbour: name-2.jpg, also when another
    thread or process stores it at the same moment. Raises ValueError for an empty class name, or a class folder that
    leads out of the folder.
    """
    root = machine.expanded(folder)
    safe_class, safe_file = safe_name(class_name), safe_name(file_name) or "photo"
    if not safe_class:
        raise ValueError(f"store() got the class name {class_name!r}; give the class a name, for example 'cat'.")
    place = root / safe_class
    if not place.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"The class folder {str(place)!r} is a link that leads out of {str(root)!r}. Remove the link.")
    place.mkdir(parents=True, exist_ok=True)
    with _STORING, machine.alone(place):  # threads also where a computer has no locks for files
        path = _free_or_equal(place / safe_file, content)
        if not path.is_file():
            write_atomically(path, content)
    return path


def store_zip(folder: str | Path, file_name: str, content: bytes) -> list[Path]:
    """Keep every file of a zip of class folders as store does.

    ValueError, and nothing is kept, for a zip that is unsafe, damaged, without class folders, or already split.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, safe_name(file_name) or "upload.zip")
        path.write_bytes(content)
        with zips.opened(path) as archive:
            found = list(zips.members(archive, path))
            base = base_of([name for name, _ in found])
            refuse_splits([name.removeprefix(base) for name, _ in found], path, base)
            classed = [(class_of(name, base), name, read) for name, read in found if class_of(name, base)]
            if not classed:
                raise ValueError(f"{file_name} has no photos inside class folders. {LAYOUT}")
            for _, _, read in classed:
                read()  # a damaged file is found before the first one is kept
            return [store(folder, c, name.rpartition("/")[2], read()) for c, name, read in classed]


def _free_or_equal(path: Path, content: bytes) -> Path:
    candidates = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(
        candidate
        for candidate in chain([path], candidates)
        if not os.path.lexists(candidate) or (candidate.is_file() and candidate.read_bytes() == content)
    )
