"""Files that may be lost at any time: kept within a limit, read if they are whole, and never needed."""

import contextlib
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from transfer_utils.machine.files import write_atomically

ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
# What write_atomically leaves when its process is killed; earlier versions ended it with the number of the process.
LEFTOVER = re.compile(r"\.[0-9a-f]{32,64}(\.safetensors)?\.(tmp|\d+)")
HOUR = 3600  # seconds; nobody writes one file for longer
_WARNED = threading.Lock()  # taken by the one warning of this process, and never given back


def recall(path: Path) -> Tensor | None:
    """The tensor that keep() stored there, or None: nothing is there, or it cannot be read, or is not what was stored.

    safetensors compares lengths only. After a crash of the machine a file can have its length, and zeros in it.
    """
    try:
        # Not everything that can be opened ends: a pipe waits for somebody who writes.
        stored = parse(path.read_bytes()) if path.is_file() else {}
        whole = bytes(stored["sha256"].tolist()) == _seal(path, stored["tensor"])
    except Exception:  # the system, safetensors and torch raise many kinds; none of them is worth more than computing
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # it was of use now, see keep
    return stored["tensor"] if whole else None


def keep(path: Path, tensor: Tensor, limit: int) -> None:
    """Store a tensor for recall(), if that can be done. One warning a process says what stood in the way.

    path: <64 hexadecimal digits>.safetensors. limit: bytes that such files may take up in that folder. Those that were
    of no use for longest make room, but never this one. A tensor that is larger than the limit is not stored.
    """
    try:
        # Looked at before it is serialised, too: that takes as much memory once more.
        if tensor.nbytes <= limit and len(content := _serialised(path, tensor)) <= limit:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
            _make_room(path, limit)
    except Exception as error:
        _say_once(path.parent, error)


def digest(tensor: Tensor) -> bytes:
    """The sha256 of a tensor's type, shape and values, wherever it lies and in whatever layout.

    TypeError or RuntimeError for values that have no bytes, such as those of a sparse tensor or one without data.
    """
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    found = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(values.numpy().data)
    return found.digest()


def _seal(path: Path, tensor: Tensor) -> bytes:
    """What only this tensor under this name has: a file may also have been copied over another one."""
    return hashlib.sha256(path.stem.encode() + digest(tensor)).digest()


def _serialised(path: Path, tensor: Tensor) -> bytes:
    seal = torch.tensor(list(_seal(path, tensor)), dtype=torch.uint8)
    return serialise({"tensor": tensor.contiguous(), "sha256": seal})


def _make_room(newest: Path, limit: int) -> None:
    """Remove what was of no use for longest until the rest fits, and what killed processes left."""
    for path, status in _files(newest.parent, LEFTOVER):
        if status.st_mtime < time.time() - HOUR:
            _removed(path)
    entries = sorted(_files(newest.parent, ENTRY), key=lambda entry: entry[1].st_mtime)
    excess = sum(status.st_size for _, status in entries) - limit
    for path, status in entries:
        if excess > 0 and path.name != newest.name and _removed(path):
            excess -= status.st_size


def _files(folder: Path, name: re.Pattern) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of this name that are there now, and what the system says of them: not folders, not links."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # another process makes room, too
                if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _removed(path: Path) -> bool:
    """Whether the file is gone now, whoever removed it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # on Windows, for example, while somebody reads it
        return False
    return True


def _say_once(folder: Path, error: Exception) -> None:
    if _WARNED.acquire(blocking=False):
        print(
            f"What we computed could not be kept in {folder} ({type(error).__name__}: {error}). All results are right, "
            "but the next time we compute them again. To keep them, make room there, or set TRANSFER_UTILS_HOME to a "
            "folder that can be written.",
            file=sys.stderr,
        )
