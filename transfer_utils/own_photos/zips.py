"""Zips of photos: read in memory, and refused as a whole when one member is hostile."""

import copy
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from transfer_utils.own_photos.decode import MOST_BYTES, Unreadable, too_many_bytes

MOST_ZIP_BYTES = 4_000_000_000
MOST_RATIO, RATIO_MATTERS = 200, 10_000_000  # a photo hardly shrinks; a bomb shrinks a thousand times
LOCAL_HEADER = 30  # bytes before the name of a member
LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir"}
File = tuple[str, Callable[[], bytes]]  # the path inside the source, and what reads its bytes


def is_litter(name: str) -> bool:
    """Whether a file or folder is the system's and not the learner's."""
    return name.startswith(".") or name.casefold() in LITTER


def opened(path: Path) -> zipfile.ZipFile:
    """A zip that may be read. ValueError for one that is damaged, locked, a bomb, or has names that lead elsewhere."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # hostile bytes make zipfile raise nearly everything there is
        raise ValueError(
            f"{path.name} is neither a folder nor a whole zip ({error}). Give the folder of photos, or zip it again."
        ) from error
    try:
        _refuse_hostile(archive, path)
    except ValueError:
        archive.close()
        raise
    return archive


def _refuse_hostile(archive: zipfile.ZipFile, path: Path) -> None:
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    for member in members:
        if reason := _why_hostile(member):
            raise _unsafe(path, f"{member.orig_filename!r} {reason}")
    total = sum(member.file_size for member in members)
    if total > MOST_ZIP_BYTES:
        raise _unsafe(path, f"it unpacks to {total:,} bytes, and we read at most {MOST_ZIP_BYTES:,}")
    ends = [member.header_offset + LOCAL_HEADER + member.compress_size for member in members]
    starts = [*(member.header_offset for member in members), archive.start_dir]
    if any(end > start for end, start in zip(ends, starts[1:], strict=True)):
        raise _unsafe(path, "its members overlap")


def _why_hostile(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/") or re.search(r"[\\\0]", name):
        return "has a name that may lead out of the folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is locked with a password"
    if member.file_size > RATIO_MATTERS and member.file_size > MOST_RATIO * member.compress_size:
        return f"unpacks to more than {MOST_RATIO} times its size"
    return ""


def _unsafe(path: Path, reason: str) -> ValueError:
    return ValueError(f"We do not open {path.name}: {reason}. Zip your folder of photos again, or give the folder.")


def members(archive: zipfile.ZipFile, path: Path) -> Iterator[File]:
    """Each file in it that is not litter: its name, and a function that reads its bytes."""
    for member in archive.infolist():
        name = _name(member)
        if not member.is_dir() and not any(map(is_litter, name.split("/"))):
            yield name, partial(_unpacked, archive, member, path)


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member, also where macOS wrote UTF-8 without saying so."""
    try:
        return member.filename if member.flag_bits & 0x800 else member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    if member.file_size > MOST_BYTES:
        raise Unreadable(too_many_bytes(member.file_size))
    roomy = copy.copy(member)
    roomy.file_size += 1  # zipfile stops at the stated size; one byte more shows whether that was a lie
    try:
        with archive.open(roomy) as file:
            content = file.read()
    except Exception as error:  # as above
        raise _unsafe(path, f"{member.filename!r} is damaged ({error})") from error
    if len(content) != member.file_size:
        raise _unsafe(path, f"{member.filename!r} says {member.file_size:,} bytes and holds {len(content):,}")
    return content
