"""Files from the network: whole, or not at all, and never twice."""

import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor
from tqdm import tqdm

from transfer_utils.settings import cache_folder

TRIES, PAUSE, TIMEOUT = 5, 2.0, 60  # attempts, seconds between them, seconds until a silent server counts as gone
CHUNK = 1 << 16
AGAIN = (408, 429, 500, 502, 503, 504)  # answers of a server that may answer otherwise a little later


def fetch(url: str, path: Path, digest: str) -> Path:
    """The file at url, downloaded to path unless it is there already; returns path.

    digest: 'md5:...' or 'sha256:...', of which the first digits are enough. A connection that breaks is taken up where
    it broke (a range request, RFC 9110), now or in the next call: what has arrived stays in <path>.part, after an
    interrupt too. A file that is damaged or was cut off is replaced. RuntimeError that says what is missing and how
    to get it.
    """
    if path.exists():
        if _is_whole(path, digest):
            return path
        print(f"{path} is damaged or was cut off. It is downloaded again.", file=sys.stderr)
        path.unlink()
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    failure: Exception | None = None
    for attempt in range(TRIES):
        time.sleep(PAUSE if attempt else 0)
        resumed = part.exists()
        try:
            _append(url, part)
        except urllib.error.HTTPError as error:
            failure = error
            if error.code in AGAIN:
                continue
            # Asked for what lies behind the end of the file: all of it is here, or something else.
            if not resumed or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                break
        except (OSError, http.client.HTTPException) as error:
            failure = error
            continue
        if _is_whole(part, digest):
            os.replace(part, path)
            return path
        failure = ValueError(f"{part.stat().st_size:,} bytes arrived, and their checksum is not {digest}")
        part.unlink()
        if not resumed:
            break  # what the server has is another file
    raise RuntimeError(
        f"{path.name} is missing and could not be downloaded from {url} ({type(failure).__name__}: {failure}). "
        f"Try again, or fetch it by hand and put it into {path.parent}."
    ) from failure


def weights(url: str) -> dict[str, Tensor]:
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


def _append(url: str, part: Path) -> None:
    """Add to part what it still lacks. OSError or HTTPException when the connection breaks."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        have = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0  # else it starts anew
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False)
        with bar, open(part, "ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < total:
        raise ConnectionError(f"the connection broke after {part.stat().st_size:,} of {total:,} bytes")


def _is_whole(path: Path, digest: str) -> bool:
    kind, _, digits = digest.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest().startswith(digits)
