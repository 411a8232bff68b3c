"""Files from the internet: fetched once, taken up where they broke, and compared with their checksum."""

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor
from tqdm import tqdm

from transfer_utils.machine.files import temporary_name
from transfer_utils.machine.homes import cache_folder
from transfer_utils.machine.locks import held

TRIES, PAUSE, TIMEOUT = 5, 2.0, 60  # attempts, seconds between them, seconds until a silent server counts as gone
CHUNK = 1 << 16
AGAIN = (408, 429, 500, 502, 503, 504)  # answers of a server that may answer otherwise a little later
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a full share of it, a file that is too big for it


def fetch(url: str, path: Path, digest: str) -> Path:
    """The file at url, downloaded to path unless it is there already; returns path.

    digest: 'md5:...' or 'sha256:...', of which the first digits are enough. A connection that breaks is taken up where
    it broke (a range request, RFC 9110), now or in the next call: what has arrived stays in <path>.part, after an
    interrupt too. A file that is damaged or was cut off is replaced. Of several threads or processes one downloads,
    and the others wait for it; on drives without locks, each downloads into a part of its own. RuntimeError that says
    what is missing and how to get it.
    """
    if _is_there(path, digest):
        return path
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(lock) as locked:
            _download_missing(url, path, digest, locked)
        with contextlib.suppress(OSError):  # Windows keeps it while somebody waits for it
            lock.unlink()  # whoever holds it now finds the file, as does whoever makes a new one
        return path
    except OSError as error:
        raise RuntimeError(
            f"{path.name} is missing and cannot be kept in {path.parent}: {error.strerror or error}. Make room there, "
            "or choose another folder with TRANSFER_UTILS_HOME, or with home at the top of a lesson, and try again."
        ) from error


def _download_missing(url: str, path: Path, digest: str, locked: bool) -> None:
    """Download the file unless it has arrived meanwhile. locked: whether nobody else can do so."""
    if _is_there(path, digest):
        return
    if path.exists():
        print(f"{path} is damaged or was cut off. It is downloaded again.", file=sys.stderr)
    part = path.with_name(f"{path.name}.part") if locked else temporary_name(path.parent)
    try:
        _download(url, part, path, digest)
    finally:
        if not locked:
            part.unlink(missing_ok=True)  # nobody else would know what it is


def _download(url: str, part: Path, path: Path, digest: str) -> None:
    """Download in a few attempts. OSError when the disk refuses, RuntimeError when the server does."""
    failure: Exception | None = None
    for attempt in range(TRIES):
        time.sleep(PAUSE if attempt else 0)
        resumed = part.exists()
        try:
            _append(url, part, path.name)
        except urllib.error.HTTPError as error:
            failure = error
            if error.code in AGAIN:
                continue
            # Asked for what lies behind the end of the file: all of it is here, or something else.
            if not resumed or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                break
        except (OSError, http.client.HTTPException) as error:
            if _comes_from_the_disk(error):
                raise
            failure = error
            continue
        if _is_whole(part, digest):
            os.replace(part, path)
            return
        failure = ValueError(f"{part.stat().st_size:,} bytes arrived, and their checksum is not {digest}")
        part.unlink()
        if not resumed:
            break  # what the server has is another file
    raise RuntimeError(
        f"{path.name} is missing and could not be downloaded from {url} ({type(failure).__name__}: {failure}). "
        f"Try again, or fetch it by hand and put it into {path.parent}."
    ) from failure


def download_weights(url: str) -> dict[str, Tensor]:
    """The tensors of a weight file, downloaded once into the cache folder, see fetch.

    url: its file name carries the first digits of the sha256, name-<digits>.pth, as torchvision's do. RuntimeError
    when it cannot be had, or holds more than tensors.
    """
    name = Path(urlparse(url).path).name
    digits = re.search(r"-([a-f0-9]{8,})\.", name)
    if digits is None:
        raise ValueError(f"{name} carries no checksum; a weight file is called <name>-<digits of its sha256>.pth.")
    path = fetch(url, cache_folder() / "weights" / name, f"sha256:{digits[1]}")
    try:
        # weights_only: tensors and nothing else, so that loading a file cannot run code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise many kinds
        raise RuntimeError(f"{path} cannot be read as weights ({type(error).__name__}: {error}).") from error


def _append(url: str, part: Path, name: str) -> None:
    """Add to part what it still lacks. OSError or HTTPException when the connection breaks or the disk is full."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        have = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0  # else it starts anew
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=name, leave=False)
        with bar, _room_for(total - have, part.parent), open(part, "ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < total:
        raise ConnectionError(f"the connection broke after {part.stat().st_size:,} of {total:,} bytes")


@contextlib.contextmanager
def _room_for(size: int, folder: Path) -> Iterator[None]:
    """Say how many bytes are needed and free, before they are written in vain, or when the disk is full earlier."""
    usage = shutil.disk_usage(folder)
    needs = f"it needs {size:,} more bytes, and {usage.free:,} are free there"
    if usage.total and usage.free < size:  # some network drives say that their size is 0
        raise OSError(errno.ENOSPC, f"the disk is too full: {needs}")
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, f"{error.strerror}: {needs}") from error
        raise


def _comes_from_the_disk(error: Exception) -> bool:
    # Errors of a connection carry no path, nor one of these numbers.
    return isinstance(error, OSError) and (error.filename is not None or error.errno in (*FULL, errno.EROFS))


def _is_there(path: Path, digest: str) -> bool:
    return path.is_file() and _is_whole(path, digest)


def _is_whole(path: Path, digest: str) -> bool:
    kind, _, digits = digest.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest().startswith(digits)
