"""Files that ship with the course, and files that are written whole."""

import hashlib
import os
import uuid
from functools import cache
from pathlib import Path


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


def check_shipped(group: str) -> None:
    """Read every file that data/<group>/SHA256SUMS lists. Errors as in read_shipped."""
    for name in _checksums(group):
        read_shipped(group, name)


def write_checksums(group: str) -> None:
    """Write data/<group>/SHA256SUMS for its files, in the format that `sha256sum -c` reads."""
    files = [
        path for path in sorted((shipped_folder() / group).iterdir()) if path.is_file() and path.name != "SHA256SUMS"
    ]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (shipped_folder() / group / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def expanded(path: str | Path) -> Path:
    """The path with ~ written out. ValueError for the ~ of somebody who has no home on this computer."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"In {str(path)!r}, nobody knows what ~ stands for here. Give the path without it.") from error


def temporary_name(folder: Path) -> Path:
    """A name in this folder that no other call, thread or process has. It is hidden, and ends with .tmp."""
    return folder / f".{uuid.uuid4().hex}.tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash, or another writer sees all of it or none of it.

    Who writes last wins. A process that is killed here leaves .<letters>.tmp beside it.
    """
    temporary = temporary_name(path.parent)
    try:
        with open(temporary, "xb", opener=_with_usual_permissions) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _with_usual_permissions(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666)  # less what the umask takes away
