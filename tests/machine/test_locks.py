"""One at a time, between threads and between processes; and nobody waits for the dead."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import filelock
import pytest

from transfer_utils import machine
from transfer_utils.machine import locks

HOLDS = """
import sys, time
from pathlib import Path
from transfer_utils import machine
with machine.alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def most_at_once(places: list[Path]) -> int:
    """How many of the threads, one for each place, are at work at the same time."""
    inside, most = [], []

    def work(place: Path) -> None:
        with machine.alone(place):
            inside.append(place)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(place)

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(most)


@pytest.mark.parametrize("spelled", ["place", "./place", "other/../place", "link", "link/"])
def test_one_place_is_one_place_however_it_is_spelled(tmp_path, monkeypatch, spelled):
    (tmp_path / "other").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    monkeypatch.chdir(tmp_path)
    assert most_at_once([tmp_path / "place", Path(spelled)] * 3) == 1


def test_no_place_waits_for_another_and_none_is_littered(tmp_path, own_temporary_folder):
    assert most_at_once([tmp_path / name for name in ("a", "b", "ä b")]) > 1
    assert list(tmp_path.iterdir()) == [own_temporary_folder]


@pytest.mark.parametrize("ending", ["kill", "terminate"])
@pytest.mark.parametrize("name", ["model", "not/there/yet"])
def test_a_process_that_is_killed_blocks_nobody(tmp_path, ending, name):
    place = tmp_path / name
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(place)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(locks._lock_of(place), timeout=0).acquire()
        getattr(other, ending)()
        with machine.alone(place):
            pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOLCK, "No locks available"),
        OSError(errno.EOPNOTSUPP, "Operation not supported"),
        PermissionError(errno.EPERM, "Operation not permitted"),
        OSError(errno.EROFS, "Read-only file system"),
        NotImplementedError("FileSystem does not appear to support flock"),
    ],
    ids=str,
)
def test_without_locks_the_work_goes_on(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    with locks.held(tmp_path / "lock") as locked:
        assert not locked
    assert most_at_once([tmp_path / "place"] * 3) > 0


@pytest.mark.parametrize("gone", ["removed", "never there", "a file"])
def test_without_a_temporary_folder_the_work_goes_on(tmp_path, monkeypatch, own_temporary_folder, gone):
    if gone == "never there":

        def refuse():
            raise FileNotFoundError("No usable temporary directory found")

        monkeypatch.setattr(tempfile, "gettempdir", refuse)
    else:
        own_temporary_folder.rmdir()
        own_temporary_folder.touch() if gone == "a file" else None
    assert most_at_once([tmp_path / "place"] * 3) > 0


@pytest.mark.parametrize("error", [OSError("of the work"), NotImplementedError("of the work"), KeyboardInterrupt()])
def test_an_error_of_the_work_comes_through_and_the_lock_is_given_back(tmp_path, error):
    with pytest.raises(type(error)), machine.alone(tmp_path / "place"):
        raise error
    with machine.alone(tmp_path / "place"):
        assert os.path.exists(locks._lock_of(tmp_path / "place"))
