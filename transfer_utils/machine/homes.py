"""Which folder keeps features, downloads and saved models, and where they go when it cannot be written."""

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import platformdirs

from transfer_utils.machine.files import temporary_name, write_atomically

VARIABLE = "TRANSFER_UTILS_HOME"
PREFIX = "transfer_utils-"  # of temporary folders
LITTLE = 200e6  # bytes: with less room than this, a run gets stuck
TRIAL = bytes(4096)
TO_KEEP = (
    f"To keep them, set {VARIABLE}, or home at the top of a lesson, to a folder that you can write to, with "
    f"{LITTLE / 1e6:.0f} MB free."
)

_DECIDING = threading.RLock()
_written: set[Path] = set()  # places that this process has written a trial to
_refused: dict[str, str] = {}  # place: why nothing can be kept there


def cache_folder() -> Path:
    """Where features, downloads and saved models are kept: an absolute folder that exists and can be written.

    TRANSFER_UTILS_HOME, or the user's cache folder. Where that cannot be, a temporary folder, with a warning that
    says why. It is shared with processes started from here, and removed when this one ends. OSError where not even
    that can be made.
    """
    own = os.environ.get(VARIABLE, "").strip()
    wished = own or _usual()
    place = _settled(wished)
    if own or str(place) != wished:
        os.environ[VARIABLE] = str(place)  # absolute, for workers may start in another folder
    return place


def use_home(folder: str | Path) -> Path:
    """Keep features, downloads and saved models in this folder from now on, for example one on a mounted Drive.

    Sets TRANSFER_UTILS_HOME, so that processes started from here use it too. The folder is made, but not the one it
    lies in: FileNotFoundError where that is missing. Returns the folder, or a temporary one where it cannot be
    written, see cache_folder. TypeError or ValueError for what names no folder.
    """
    if not isinstance(folder, str | Path):
        raise TypeError(f"home={folder!r} is no folder. Give its path as text, for example home='my_course'.")
    if not str(folder).strip():
        raise ValueError(f"home={str(folder)!r} is blank. Give the path of a folder, for example home='my_course'.")
    missing = _missing_parent(folder)
    if missing:
        raise FileNotFoundError(
            f"home={str(folder)!r} should lie in {missing}, which is not there. If that is on your Drive, mount it "
            "first: from google.colab import drive; drive.mount('/content/drive')"
        )
    place = _settled(str(folder))
    os.environ[VARIABLE] = str(place)
    return place


def trouble(folder: str | Path) -> str:
    """Why nothing can be kept in this folder, in a few words, or '' if something can. Makes it, and writes a trial."""
    try:
        place = _absolute(folder)
        place.mkdir(parents=True, exist_ok=True)
        _write_trial(place)
        return _too_little_room(place)
    except (FileExistsError, NotADirectoryError):
        return "something that is no folder stands in its way"
    except OSError as error:
        return error.strerror or str(error)
    except (RuntimeError, ValueError) as error:  # a ~ of nobody, a name that no system takes
        return str(error).rstrip(".")


@functools.cache
def temporary_folder() -> Path:
    """The temporary folder of this process, removed when it ends. OSError where none can be made."""
    place = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(_remove, place, os.getpid())
    return place


def why_temporary(place: Path) -> str:
    """In words, that this cache folder is a temporary one and why, as far as this process knows; otherwise ''."""
    if place.parent != Path(tempfile.gettempdir()) or not place.name.startswith(PREFIX):
        return ""
    tried = "".join(f" Nothing can be kept in {wished!r}: {why}." for wished, why in _refused.items())
    return f"That is a temporary folder, which is removed when the run ends.{tried} {TO_KEEP}"


def _usual() -> str:
    try:
        return platformdirs.user_cache_dir("transfer_utils")
    except RuntimeError:
        return "~/.cache/transfer_utils"  # nobody knows what ~ stands for, which the trial says


def _settled(wished: str) -> Path:
    """The wished place, once it has been written to, otherwise the temporary folder."""
    with _DECIDING:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            place = _absolute(wished)
            if place in _written and place.is_dir():
                return place
        why = trouble(wished)
        if why:
            return _instead_of(wished, why)
        place = _absolute(wished)
        _written.add(place)
        return place


def _instead_of(wished: str, why: str) -> Path:
    """The temporary folder, with one warning for each place that is refused."""
    try:
        place = temporary_folder()
    except OSError as error:
        words = f"Nothing can be kept in {wished!r}: {why}. Nor can a temporary folder be made."
        raise OSError(f"{words} {TO_KEEP}") from error
    _written.add(place)  # not to be tried, for there is nothing after it
    if wished not in _refused:
        _refused[wished] = why
        print(
            f"Nothing can be kept in {wished!r}: {why}. We go on without it: downloads, features and saved models go "
            f"to {place}, a temporary folder that is removed when the run ends. {TO_KEEP}",
            file=sys.stderr,
        )
    return place


def _remove(place: Path, maker: int) -> None:
    if os.getpid() == maker:  # a process that was forked from it has this to do at its exit, too
        shutil.rmtree(place, ignore_errors=True)


def _absolute(folder: str | Path) -> Path:
    return Path(str(folder).strip()).expanduser().absolute()


def _missing_parent(folder: str | Path) -> Path | None:
    try:
        parent = _absolute(folder).parent
        return None if parent.is_dir() else parent
    except (OSError, RuntimeError, ValueError):
        return None  # nobody can look there; the trial will say why


def _write_trial(place: Path) -> None:
    trial = temporary_name(place)
    write_atomically(trial, TRIAL)
    trial.unlink()


def _too_little_room(place: Path) -> str:
    """In words, that the temporary folder has more room than this place, which has little; otherwise ''."""
    with contextlib.suppress(OSError):  # some network drives do not say; others say that their size is 0
        here = shutil.disk_usage(place)
        if here.total and here.free < min(LITTLE, shutil.disk_usage(tempfile.gettempdir()).free):
            return f"only {here.free / 1e6:,.0f} MB are free there"
    return ""
