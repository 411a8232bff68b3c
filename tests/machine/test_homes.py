"""A home is never needed: where nothing can be kept, a temporary folder stands in, and one warning says so."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import namedtuple
from pathlib import Path

import platformdirs
import pytest

from transfer_utils import machine
from transfer_utils.machine import cache_folder, homes, trouble, use_home

ROOT = os.name == "posix" and os.geteuid() == 0
Usage = namedtuple("Usage", "total used free")
# What a process prints that asks for its folder a few times; with arguments, after it has given up being root.
ASKS = """
import os, sys
from transfer_utils import machine
if len(sys.argv) > 1:
    os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
place = [machine.cache_folder() for _ in range(3)][0]
machine.write_atomically(place / "kept", b"kept")
print(place, place.is_absolute(), (place / "kept").read_bytes() == b"kept", os.environ.get("TRANSFER_UTILS_HOME"))
"""


@pytest.fixture(autouse=True)
def undecided(monkeypatch, tmp_path):
    """As in a new process, with a folder for its temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(homes, "_written", set())
    monkeypatch.setattr(homes, "_refused", {})
    monkeypatch.setenv(homes.VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    homes.temporary_folder.cache_clear()
    yield
    homes.temporary_folder.cache_clear()


@pytest.fixture
def failing(monkeypatch):
    """Let a function of os fail for everything below a folder."""

    def fail(name: str, number: int, below: Path) -> None:
        original = getattr(os, name)

        def maybe(path, *arguments, **named):
            if Path(path).is_relative_to(below):
                raise OSError(number, os.strerror(number), str(path))
            return original(path, *arguments, **named)

        monkeypatch.setattr(os, name, maybe)

    return fail


def in_new_process(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess:
    """Run ASKS; a variable of None is unset."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    env = {name: value for name, value in env.items() if value is not None}
    return subprocess.run([sys.executable, "-c", ASKS, *arguments], env=env, capture_output=True, text=True, cwd="/")


def assert_goes_on_elsewhere(tmp_path: Path, capsys, *words: str) -> None:
    """Twice in a temporary folder that can be written and that other processes will use, and one warning of why."""
    place = cache_folder()
    assert cache_folder() == place == Path(os.environ[homes.VARIABLE])
    assert place.parent == tmp_path / "temporary"
    machine.write_atomically(place / "kept", b"kept")
    said = capsys.readouterr().err
    assert said.count("Nothing can be kept in") == said.count("\n") == 1
    assert all(part in said for part in (str(place), "We go on", "To keep them, set TRANSFER_UTILS_HOME", *words)), said


# --- the wished folder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["", " ", "\t", " \n ", None])
def test_without_a_wish_it_is_the_users_cache_folder(monkeypatch, tmp_path, blank, capsys):
    monkeypatch.delenv(homes.VARIABLE) if blank is None else monkeypatch.setenv(homes.VARIABLE, blank)
    assert cache_folder() == Path(platformdirs.user_cache_dir("transfer_utils"))
    assert cache_folder().is_dir()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "wished",
    ["{here}/own", " {here}/own ", "own", "./own/", "~/own", "~/own/", "deep/er/own", "ünï cöde/own", "~me/own"],
)
def test_a_wish_is_made_absolute_and_the_folder_is_made(monkeypatch, tmp_path, wished, capsys):
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    known = os.path.expanduser
    monkeypatch.setattr(os.path, "expanduser", lambda path: known(path).replace("~me", str(tmp_path)))
    monkeypatch.setenv(homes.VARIABLE, wished.format(here=tmp_path))
    place = cache_folder()
    assert place.is_absolute()
    assert place.is_dir()
    assert place.name == "own"
    assert list(place.iterdir()) == []
    monkeypatch.chdir("/")
    assert cache_folder() == place == Path(os.environ[homes.VARIABLE])
    assert capsys.readouterr().err == ""


def test_a_trial_is_written_once_for_each_place(monkeypatch, tmp_path):
    tried = []
    monkeypatch.setattr(homes, "_write_trial", tried.append)
    for name in ("one", "one", "other", "one", "other/"):
        monkeypatch.setenv(homes.VARIABLE, str(tmp_path / name))
        cache_folder()
    assert tried == [tmp_path / "one", tmp_path / "other"]


def test_a_folder_that_was_removed_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv(homes.VARIABLE, str(tmp_path / "own"))
    shutil.rmtree(cache_folder())
    assert cache_folder().is_dir()


# --- where nothing can be kept ------------------------------------------------------------------------------------


def file_there(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(b"mine")
    return str(tmp_path / "file")


def file_in_the_way(tmp_path: Path) -> str:
    return f"{file_there(tmp_path)}/below/that"


def dangling(tmp_path: Path) -> str:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    return str(tmp_path / "link")


def circle(tmp_path: Path) -> str:
    (tmp_path / "link").symlink_to(tmp_path / "link")
    return str(tmp_path / "link" / "below")


NOWHERE = {
    "a file": (file_there, "something that is no folder stands in its way"),
    "below a file": (file_in_the_way, "something that is no folder stands in its way"),
    "a link to nowhere": (dangling, "something that is no folder stands in its way"),
    "a circle of links": (circle, ""),
    "a device": (lambda _: "/dev/null", "something that is no folder stands in its way"),
    "/proc": (lambda _: "/proc/transfer_utils", ""),
    "/sys": (lambda _: "/sys/transfer_utils/below", ""),
    "somebody's ~": (lambda _: "~nobody-of-this-name/own", "home directory"),
    "a name with NUL": (lambda _: "nul\0", "null"),
    "a name that is too long": (lambda tmp_path: str(tmp_path / ("x" * 300)), "name too long"),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="places of Linux")
@pytest.mark.parametrize("kind", sorted(NOWHERE.keys() - {"a name with NUL"}))  # which no variable can hold
def test_a_place_that_cannot_be_made_is_done_without(kind, tmp_path, monkeypatch, capsys):
    make, why = NOWHERE[kind]
    wished = make(tmp_path)
    monkeypatch.setenv(homes.VARIABLE, wished)
    assert_goes_on_elsewhere(tmp_path, capsys, repr(wished), why)
    assert "file" not in kind or (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT, errno.ESTALE])
@pytest.mark.parametrize("name", ["mkdir", "open", "replace"])
def test_a_place_that_refuses_a_trial_is_done_without(tmp_path, failing, name, number, capsys):
    usual = Path(platformdirs.user_cache_dir("transfer_utils"))
    failing(name, number, usual)
    assert_goes_on_elsewhere(tmp_path, capsys, repr(str(usual)), os.strerror(number))
    assert not usual.exists() or list(usual.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "elsewhere", "total", "kept"),
    [
        (0, 1e9, 1e9, False),
        (150e6, 151e6, 1e9, False),
        (150e6, 150e6, 1e9, True),  # the same disk, perhaps
        (150e6, 10e6, 1e9, True),
        (201e6, 1e12, 1e9, True),
        (0, 1e12, 0, True),  # a drive that does not know its size
        (None, 1e12, 1e9, True),  # one that does not even answer
    ],
)
def test_a_disk_with_little_room_is_used_if_there_is_no_better_one(
    tmp_path, monkeypatch, capsys, free, elsewhere, total, kept
):
    def usage(place):
        if Path(place).is_relative_to(tmp_path / "temporary"):
            return Usage(1e12, 0, elsewhere)
        if free is None:
            raise OSError(errno.ENOSYS, "not implemented")
        return Usage(total, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    if kept:
        assert cache_folder() == Path(platformdirs.user_cache_dir("transfer_utils"))
    else:
        assert_goes_on_elsewhere(tmp_path, capsys, f"only {free / 1e6:.0f} MB are free there")


@pytest.mark.parametrize("gone", ["the working directory", "the temporary folder", "everything", "nothing"])
def test_it_is_the_wish_or_else_the_temporary_folder_or_else_an_error_in_words(tmp_path, monkeypatch, gone, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(homes.VARIABLE, "own")
    if gone in ("the working directory", "everything"):
        (tmp_path / "here").rmdir()
    if gone in ("the temporary folder", "everything"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no" / "such"))
    if gone == "everything":
        with pytest.raises(OSError, match=r"kept in 'own': .*\. Nor can a temporary folder be made\. To keep"):
            cache_folder()
    elif gone == "the working directory":
        assert_goes_on_elsewhere(tmp_path, capsys, "'own'")
    else:
        assert cache_folder() == tmp_path / "here" / "own"
    monkeypatch.chdir(tmp_path)


def test_threads_that_ask_at_once_get_one_folder_and_one_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(homes.VARIABLE, file_there(tmp_path))
    places = []
    threads = [threading.Thread(target=lambda: places.append(cache_folder())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(places) == 8
    assert len(set(places)) == len(list((tmp_path / "temporary").iterdir())) == 1
    assert capsys.readouterr().err.count("Nothing can be kept in") == 1


# --- other processes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_started_from_here_share_it_and_only_its_maker_removes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(homes.VARIABLE, file_there(tmp_path))
    place = cache_folder()
    ran = in_new_process()
    assert ran.stdout == f"{place} True True {place}\n"
    assert ran.stderr == ""
    assert (place / "kept").exists()
    homes._remove(place, os.getpid() + 1)
    assert place.exists()
    homes._remove(place, os.getpid())
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.parametrize("wished", ["/dev/null/own", "/dev/null", "~nobody-of-this-name", "\udcff/../dev/null/x"])
def test_a_process_says_so_once_and_leaves_nothing_behind(tmp_path, wished):
    ran = in_new_process(TRANSFER_UTILS_HOME=wished, TMPDIR=str(tmp_path / "temporary"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{tmp_path}/temporary/transfer_utils-")
    assert " True True " in ran.stdout
    assert ran.stderr.count("\n") == 1
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="needs root, to give it up")
@pytest.mark.parametrize(
    ("user", "variables", "why"),
    [
        (65534, {"TRANSFER_UTILS_HOME": "/root-only/below"}, "Permission denied"),
        (65534, {"TRANSFER_UTILS_HOME": "", "XDG_CACHE_HOME": "/root-only"}, "Permission denied"),
        (65534, {"TRANSFER_UTILS_HOME": None, "XDG_CACHE_HOME": None, "HOME": "/"}, "Permission denied"),
        (65534, {"TRANSFER_UTILS_HOME": None, "XDG_CACHE_HOME": None, "HOME": None}, ""),  # whose home is nowhere
        (54321, {"TRANSFER_UTILS_HOME": None, "XDG_CACHE_HOME": None, "HOME": None}, "home directory"),  # not known
        (54321, {"TRANSFER_UTILS_HOME": "~/own", "HOME": None}, "home directory"),
    ],
)
def test_somebody_without_permission_goes_on_in_a_temporary_folder(user, variables, why):
    ran = in_new_process(str(user), TMPDIR=None, **variables)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("/tmp/transfer_utils-")
    assert " True True " in ran.stdout
    assert ran.stderr.count("Nothing can be kept in") == ran.stderr.count("\n") == 1
    assert why in ran.stderr
    assert not Path(ran.stdout.split()[0]).exists()


@pytest.fixture
def mounted(tmp_path):
    """Mount something at a folder; taken away at the end."""
    places = []

    def mount(name: str, *options: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        if not ROOT or subprocess.run(["mount", *options, str(place)], capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-t", "tmpfs", "-o", "ro", "none"), "Read-only file system"),
        (("-t", "tmpfs", "-o", "size=1m", "none"), "only 1 MB are free there"),
        (("-t", "tmpfs", "-o", "nr_inodes=1", "none"), "No space left on device"),
        (("-t", "tmpfs", "-o", "size=4k", "none"), ""),
    ],
    ids=["read-only", "small", "no more files", "tiny"],
)
@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_disk_that_takes_nothing_is_done_without(mounted, tmp_path, monkeypatch, capsys, options, why, below):
    monkeypatch.setenv(homes.VARIABLE, str(mounted("disk", *options) / below))
    assert_goes_on_elsewhere(tmp_path, capsys, why)


# --- use_home -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(NOWHERE.keys() - {"below a file", "/sys", "a circle of links"}))
def test_a_home_that_cannot_be_written_is_done_without(kind, tmp_path, monkeypatch, capsys):
    make, why = NOWHERE[kind]
    home = make(tmp_path)
    assert use_home(home).parent == tmp_path / "temporary"
    assert use_home(Path(home)) == cache_folder()
    assert_goes_on_elsewhere(tmp_path, capsys, repr(home), why)


@pytest.mark.parametrize("home", ["no/such/folder", "/content/drive/MyDrive/course", "file/below", "a\0/b"])
def test_a_home_in_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch, home, capsys):
    monkeypatch.chdir(tmp_path)
    file_there(tmp_path)
    before = os.environ[homes.VARIABLE]
    with pytest.raises(FileNotFoundError, match="which is not there. If that is on your Drive, mount it first"):
        use_home(home)
    assert os.environ[homes.VARIABLE] == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("home", ["", "  ", "\n", None, 3, True, b"bytes", ["a", "list"]])
def test_what_names_no_folder_is_refused(home):
    with pytest.raises((TypeError, ValueError), match=r"home=.*(is no folder|is blank)\. Give .* home='my_course'"):
        use_home(home)


def test_each_home_that_is_refused_is_spoken_of(tmp_path, capsys):
    """A second choice that is no better must not pass for one that is."""
    first, second = file_there(tmp_path), dangling(tmp_path)
    assert use_home(first) == use_home(second) == use_home(first)
    said = capsys.readouterr().err
    assert [said.count(f"Nothing can be kept in {home!r}") for home in (first, second)] == [1, 1]
    assert use_home(tmp_path / "good") == cache_folder() == tmp_path / "good"


@pytest.mark.parametrize("name", ["", "new", "new/er", "with blanks "])
def test_there_is_no_trouble_with_a_good_folder_and_no_trace_of_the_trial(tmp_path, name):
    assert trouble(tmp_path / "good" / name) == ""
    assert [path for path in (tmp_path / "good").rglob("*") if path.is_file()] == []
