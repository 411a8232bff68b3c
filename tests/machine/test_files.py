"""Files that are written whole: whoever writes at the same time, and whatever fails."""

import errno
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transfer_utils.machine import write_atomically

WRITES = """
import sys
from pathlib import Path
from transfer_utils.machine import write_atomically
for _ in range(50):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)
"""


def test_threads_that_write_one_file_leave_the_whole_of_one(tmp_path):
    path, contents = tmp_path / "file", [bytes([number]) * 200_000 for number in range(8)]
    write_atomically(path, contents[0])
    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write_atomically, path, content) for content in contents * 5]
        while not all(done.done() for done in writing):
            assert path.read_bytes() in contents
        assert [done.result() for done in writing] == [None] * 40
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_processes_that_write_one_file_leave_the_whole_of_one(tmp_path):
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", WRITES, str(path), letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        assert not path.exists() or path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o000])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_it_has_the_usual_permissions(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("name", ["open", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, number):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(OSError, match=os.strerror(number)):
            write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a", "x" * 255, "ü" * 127, ".hidden", "with blank ", "-"])
def test_any_name_that_the_system_takes_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"content")]


def test_what_is_not_finished_has_a_name_of_its_own_that_can_be_told(tmp_path, monkeypatch):
    """In each thread and call, so that whoever cleans up knows what is left behind by the dead."""
    seen, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (seen.append(Path(source)), replace(source, target)))
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / "file", b"x")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 4
    assert all(path.parent == tmp_path and path.match(".*.tmp") for path in seen)
