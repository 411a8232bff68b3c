"""Where files lie, and how they get there: shipped, downloaded, cached, written whole."""

import hashlib
import http.client
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlparse

import platformdirs
import torch
from torch import Tensor
from tqdm import tqdm

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


@cache
def shipped_folder() -> Path:
    """The folder of shipped files: data/ in a checkout, transfer_utils/_embedded/ in an installed wheel."""
    package = Path(__file__).parent.parent
    for place in (package / "_embedded", package.parent / "data"):
        if (place / "photos").is_dir():
            return place
    raise FileNotFoundError(
        f"The course's photos are neither in {package / '_embedded'} nor in {package.parent / 'data'}. "
        "Install the course again: pip install --force-reinstall, or clone the repository anew."
    )


@cache
def _checksums(group: str) -> dict[str, str]:
    lines = (shipped_folder() / group / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def read_shipped(group: str, name: str) -> bytes:
    """The bytes of data/<group>/<name>, compared with the checksum in data/<group>/SHA256SUMS.

    Raises FileNotFoundError or ValueError that names the file and the way to restore it.
    """
    path = shipped_folder() / group / name
    restore = (
        f"Restore it with `git checkout -- data/{group}/{name}` in a clone, "
        "or install the course again with `pip install --force-reinstall`."
    )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {restore}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _checksums(group).get(name):
        raise ValueError(f"{path} is damaged: its sha256 differs from data/{group}/SHA256SUMS. {restore}")
    return content


def write_checksums(group: str) -> None:
    """Write data/<group>/SHA256SUMS for its files, in the format that `sha256sum -c` reads."""
    files = [
        p
        for p in sorted((shipped_folder() / group).iterdir())
        if p.suffix in (".webp", ".csv", ".safetensors", ".json")
    ]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (shipped_folder() / group / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def cache_folder() -> Path:
    """Where features, downloads and saved models are kept: TRANSFER_UTILS_HOME, or the user's cache folder."""
    own = os.environ.get("TRANSFER_UTILS_HOME")
    return Path(own) if own else Path(platformdirs.user_cache_dir("transfer_utils"))


def use_home(folder: str | Path) -> Path:
    """Keep features, downloads and saved models in this folder from now on, for example one on a mounted Drive.

    Sets TRANSFER_UTILS_HOME, so that processes started from here use it too. The folder is made, but not the one it
    lies in: FileNotFoundError where that is missing.
    """
    home = Path(folder).expanduser().absolute()
    if not home.parent.is_dir():
        raise FileNotFoundError(
            f"home={str(folder)!r} should lie in {home.parent}, which is not there. If that is on your Drive, mount it "
            "first: from google.colab import drive; drive.mount('/content/drive')"
        )
    home.mkdir(exist_ok=True)
    os.environ["TRANSFER_UTILS_HOME"] = str(home)
    return home


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees all of it or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")  # one for each writer
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
