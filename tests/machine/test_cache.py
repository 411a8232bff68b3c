import contextlib
import errno
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from transfer_utils import machine
from transfer_utils.machine import cache

PLENTY = 10**9
KILLS, WRITERS = 10, 2


@pytest.fixture(autouse=True)
def may_warn(monkeypatch) -> None:
    """As in a process that has not warned yet."""
    monkeypatch.setattr(cache, "_WARNED", threading.Lock())


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "features").mkdir()
    return tmp_path / "features"


def entry(folder: Path, number: int) -> Path:
    return folder / f"{number:064x}.safetensors"


def values(number: int, count: int = 1000) -> torch.Tensor:
    return torch.full((count // 10, 10), float(number)) + torch.arange(count).view(-1, 10)


def kept(folder: Path) -> list[int]:
    """The numbers of the entries that are there."""
    return sorted(int(path.stem, 16) for path in folder.iterdir() if cache.ENTRY.fullmatch(path.name))


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)


# --- there and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(4, 3, 2, 2),
        torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.randn(6, 4).T[::2],
        torch.zeros(0, 512),
        torch.tensor(3.5),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.randn(5).bfloat16(),
        torch.tensor([True, False]),
    ],
    ids=["4d", "channels last", "not contiguous", "no rows", "a number", "nan", "bfloat16", "bool"],
)
def test_what_is_kept_is_recalled(folder, tensor):
    machine.keep(entry(folder / "new", 1), tensor, PLENTY)
    found = machine.recall(entry(folder / "new", 1))
    assert found.dtype is tensor.dtype
    torch.testing.assert_close(found, tensor, rtol=0, atol=0, equal_nan=True)


def test_what_is_not_there_is_none(folder, capsys):
    assert machine.recall(entry(folder, 1)) is None
    assert machine.recall(entry(folder / "nowhere", 1)) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", [
    lambda x: x.double(),
    lambda x: x.reshape(-1),
    lambda x: x.T,
    lambda x: x + 1e-6,
    lambda x: x.view(torch.int32),
    lambda x: x[:2],
], ids=["type", "shape", "turned", "value", "same bytes", "rows"])  # fmt: skip
def test_a_digest_is_of_type_shape_and_values(change):
    x = torch.rand(4, 4)
    assert machine.digest(change(x)) != machine.digest(x)


@pytest.mark.parametrize("same", [
    lambda x: x.clone(),
    lambda x: x.to(memory_format=torch.channels_last),
    lambda x: x.clone().requires_grad_(),
    lambda x: torch.nn.Parameter(x),
    lambda x: torch.cat([x, x])[:2],
], ids=["copy", "channels last", "with gradient", "parameter", "slice"])  # fmt: skip
def test_a_digest_is_not_of_where_and_how_it_lies(same):
    x = torch.rand(2, 3, 4, 4)
    assert machine.digest(same(x)) == machine.digest(x)


# --- reading fails ------------------------------------------------------------------------------------------------


def resealed(content: bytes) -> bytes:
    """Another tensor with the old seal."""
    stored = load(content)
    return save({**stored, "tensor": stored["tensor"][:-1]})


def zeroed(content: bytes) -> bytes:
    """As after a crash of the machine: the length is right."""
    return content[:-512] + bytes(512)


def other_header(content: bytes) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["tensor"]["shape"].reverse()
    return content[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(length) + content[8 + length :]


SPOILT = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-7],
    "header only": lambda content: content[:40],
    "rubbish": lambda content: b"rubbish" * 99,
    "zeros": lambda content: bytes(len(content)),
    "absurd length": lambda content: b"\xff" * 8 + content[8:],
    "zeroed block": zeroed,
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "more behind": lambda content: content + b"more",
    "other shape": other_header,
    "fewer rows": resealed,
    "other type": lambda content: save({**load(content), "tensor": load(content)["tensor"].double()}),
    "no seal": lambda content: save({"tensor": load(content)["tensor"]}),
    "an earlier version's": lambda content: save({"features": load(content)["tensor"]}),
    "seal of floats": lambda content: save({**load(content), "sha256": torch.rand(32)}),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_is_not_whole_is_not_recalled_and_replaced(folder, spoil):
    machine.keep(entry(folder, 1), values(1), PLENTY)
    whole = entry(folder, 1).read_bytes()
    entry(folder, 1).write_bytes(spoil(whole))
    assert machine.recall(entry(folder, 1)) is None
    machine.keep(entry(folder, 1), values(1), PLENTY)
    assert entry(folder, 1).read_bytes() == whole


def test_a_file_under_another_name_is_not_recalled(folder):
    machine.keep(entry(folder, 1), values(1), PLENTY)
    entry(folder, 1).rename(entry(folder, 2))
    assert machine.recall(entry(folder, 2)) is None


@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(),
    lambda path: os.mkfifo(path),
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.symlink_to(path),
    lambda path: path.symlink_to("/dev/zero"),
], ids=["folder", "pipe", "link to nothing", "link to itself", "link without end"])  # fmt: skip
@pytest.mark.skipif(os.name == "nt", reason="has no such files")
def test_what_is_no_file_is_not_recalled(folder, make):
    make(entry(folder, 1))
    assert machine.recall(entry(folder, 1)) is None
    machine.keep(entry(folder, 1), values(1), PLENTY)
    was_a_folder = entry(folder, 1).is_dir()  # which may be somebody's
    assert (machine.recall(entry(folder, 1)) is None) is was_a_folder


ERRORS = [
    *(OSError(getattr(errno, name), name) for name in ("EROFS", "ENOSPC", "EDQUOT", "ENAMETOOLONG", "EIO", "EACCES")),
    MemoryError(),
    RuntimeError("torch's own"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_file_that_cannot_be_read_is_none(folder, monkeypatch, error):
    machine.keep(entry(folder, 1), values(1), PLENTY)
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(error))
    assert machine.recall(entry(folder, 1)) is None


@pytest.mark.parametrize("error", ERRORS[:6], ids=repr)
def test_a_file_whose_time_cannot_be_touched_is_recalled(folder, monkeypatch, error):
    machine.keep(entry(folder, 1), values(1), PLENTY)
    monkeypatch.setattr(cache.os, "utime", lambda *_: (_ for _ in ()).throw(error))
    assert torch.equal(machine.recall(entry(folder, 1)), values(1))


# --- writing fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_cannot_be_kept_is_said_once(folder, monkeypatch, capsys, error):
    monkeypatch.setattr(cache, "write_atomically", lambda *_: (_ for _ in ()).throw(error))
    for number in range(3):
        machine.keep(entry(folder, number), values(number), PLENTY)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == said.err.count("could not be kept") == 1
    for words in (str(folder), type(error).__name__, str(error), "TRANSFER_UTILS_HOME"):
        assert words in said.err


def a_file(folder: Path) -> Path:
    (folder / "home").write_text("mine")
    return folder / "home"


@pytest.mark.parametrize("place", [
    a_file,
    lambda folder: a_file(folder) / "features",
    lambda folder: folder / ("long" * 99),
    lambda folder: folder / "nul\0",
], ids=["a file", "below a file", "a long name", "no name"])  # fmt: skip
def test_a_folder_that_cannot_be_made_is_said_once(folder, place, capsys):
    where = place(folder)
    for number in range(3):
        machine.keep(entry(where, number), values(number), PLENTY)
        assert machine.recall(entry(where, number)) is None
    assert capsys.readouterr().err.count("could not be kept") == 1


def test_threads_say_it_once(folder, monkeypatch, capsys):
    monkeypatch.setattr(cache, "write_atomically", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: machine.keep(entry(folder, number), values(number), PLENTY), range(64)))
    assert capsys.readouterr().err.count("could not be kept") == 1


def test_an_interrupt_passes(folder, monkeypatch):
    monkeypatch.setattr(cache, "write_atomically", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        machine.keep(entry(folder, 1), values(1), PLENTY)


# --- the limit ----------------------------------------------------------------------------------------------------

SIZE = len(cache._serialised(Path("a"), values(0)))


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("limit", [SIZE, 2 * SIZE, 3 * SIZE + 7, 5 * SIZE - 1, 5 * SIZE])
def test_the_limit_holds_under_ten_times_as_much(folder, limit):
    for number in range(10 * limit // SIZE):
        machine.keep(entry(folder, number), values(number), limit)
        assert used(folder) <= limit
        assert torch.equal(machine.recall(entry(folder, number)), values(number))
        age(entry(folder, number), 1000 - number)
    assert kept(folder) == list(range(number + 1 - limit // SIZE, number + 1))


@pytest.mark.parametrize("read", [[0], [1], [2], [0, 1], [1, 0]])
def test_what_was_of_no_use_for_longest_goes_first(folder, read):
    for number in range(3):
        machine.keep(entry(folder, number), values(number), 3 * SIZE)
        age(entry(folder, number), 100 - number)
    for number in read:
        machine.recall(entry(folder, number))
    for number in range(3, 6 - len(read)):
        machine.keep(entry(folder, number), values(number), 3 * SIZE)
    assert kept(folder) == sorted([*read, *range(3, 6 - len(read))])


@pytest.mark.parametrize("ages", [(0, 0), (-500, 0), (0, 500), (10**9, 0)], ids=str)
def test_what_was_written_last_stays_whatever_the_clock_says(folder, ages, monkeypatch):
    write = cache.write_atomically

    def aged(path, content):
        write(path, content)
        age(path, ages[0])

    machine.keep(entry(folder, 1), values(1), SIZE)
    age(entry(folder, 1), ages[1])
    monkeypatch.setattr(cache, "write_atomically", aged)
    machine.keep(entry(folder, 2), values(2), SIZE)
    assert kept(folder) == [2]


@pytest.mark.parametrize("limit", [0, 1, 4000, SIZE - 1])
def test_what_is_larger_than_the_limit_is_not_kept_and_costs_nothing(folder, limit, capsys):
    machine.keep(entry(folder, 1), values(1), SIZE)
    machine.keep(entry(folder, 2), values(2), limit)
    assert kept(folder) == [1]
    assert capsys.readouterr().err == ""


FOREIGN = [
    "notes.txt",
    "my_model.safetensors",
    f"{'a' * 63}.safetensors",
    f"{'A' * 64}.safetensors",
    f"{'a' * 64}.safetensors.part",
    f"{'a' * 64}.json",
    f"x{'a' * 64}.safetensors",
    f"{'a' * 64}.safetensors\n",
    ".gitignore",
    ".mine.tmp",
    f".{'a' * 31}.tmp",
    f".{'a' * 32}.tmp.txt",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_stay(folder, name):
    for place in (folder, folder.parent):
        (place / name).write_bytes(bytes(3 * SIZE))
        age(place / name, 10**6)
    for number in range(3):
        machine.keep(entry(folder, number), values(number), SIZE)
    assert (folder / name).exists()
    assert (folder.parent / name).exists()
    assert len(kept(folder)) == 1


@pytest.mark.parametrize("name", [f"{'a' * 64}.safetensors", f".{'a' * 32}.tmp"])
@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.parent.parent / "precious")])
def test_what_has_our_names_and_is_no_file_stays(folder, name, make):
    (folder.parent / "precious").write_bytes(bytes(3 * SIZE))
    make(folder / name)
    age(folder / name, 10**6)
    machine.keep(entry(folder, 1), values(1), SIZE)
    assert (folder / name).exists()


def test_entries_of_neighbouring_folders_stay(folder):
    machine.keep(entry(folder.parent / "weights", 1), values(1), SIZE)
    machine.keep(entry(folder.parent, 1), values(1), SIZE)
    machine.keep(entry(folder, 2), values(2), SIZE)
    assert [kept(place) for place in (folder.parent / "weights", folder.parent, folder)] == [[1], [1], [2]]


@pytest.mark.parametrize("stuck", [{0}, {1}, {0, 1}, {0, 1, 2, 3, 4}])
def test_files_that_cannot_be_removed_do_no_harm(folder, monkeypatch, capsys, stuck):
    for number in range(4):
        machine.keep(entry(folder, number), values(number), PLENTY)
        age(entry(folder, number), 100 - number)
    remove, stuck_paths = Path.unlink, {entry(folder, number) for number in stuck}

    def unlink(path, missing_ok=False):
        if path in stuck_paths:
            raise PermissionError(errno.EACCES, "used by another process")
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    machine.keep(entry(folder, 4), values(4), 3 * SIZE)
    assert len(kept(folder)) == max(3, len(stuck))  # others go in their place
    assert {4, *stuck} <= set(kept(folder))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("moment", ["stat", "unlink"])
def test_files_that_vanish_meanwhile_do_no_harm(folder, monkeypatch, capsys, moment):
    for number in range(4):
        machine.keep(entry(folder, number), values(number), PLENTY)
        age(entry(folder, number), 100 - number)
    if moment == "unlink":
        remove = Path.unlink
        monkeypatch.setattr(
            Path, "unlink", lambda path, missing_ok=False: (os.remove(path), remove(path, missing_ok))[1]
        )
    else:
        list_files, vanishing = os.scandir, iter([[], [0, 2]])  # leftovers are listed first, then entries

        def scan(place):
            with list_files(place) as found:
                listed = list(found)
            for number in next(vanishing):
                os.remove(entry(folder, number))
            return contextlib.nullcontext(listed)

        monkeypatch.setattr(cache.os, "scandir", scan)
    machine.keep(entry(folder, 4), values(4), 3 * SIZE)
    assert kept(folder) == {"stat": [1, 3, 4], "unlink": [2, 3, 4]}[moment]
    assert capsys.readouterr().err == ""


# --- killed processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    f".{'a' * 32}.tmp",
    f".{'0' * 64}.safetensors.123",
    f".{'0' * 64}.safetensors.tmp",
    ".0123456789abcdef0123456789abcdef.tmp",
])  # fmt: skip
@pytest.mark.parametrize(("seconds", "there"), [(3700, False), (10**8, False), (3000, True), (0, True)])
def test_old_leftovers_of_killed_processes_go(folder, name, seconds, there):
    (folder / name).write_bytes(b"half")
    age(folder / name, seconds)
    machine.keep(entry(folder, 1), values(1), PLENTY)
    assert (folder / name).exists() is there
    assert kept(folder) == [1]


can_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="starting a process takes seconds without fork"
)


def killed_while_it_writes(path: Path) -> None:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    machine.keep(path, values(1), PLENTY)


@can_fork
def test_what_write_atomically_leaves_is_known_as_a_leftover(folder):
    process = multiprocessing.get_context("fork").Process(target=killed_while_it_writes, args=(entry(folder, 1),))
    process.start()
    process.join()
    (left,) = folder.iterdir()
    age(left, 3700)
    machine.keep(entry(folder, 2), values(2), PLENTY)
    assert list(folder.iterdir()) == [entry(folder, 2)]


def write_for_ever(folder: Path, limit: int, seed: int) -> None:
    numbers = random.Random(seed)
    while True:
        number = numbers.randrange(12)
        found = machine.recall(entry(folder, number))
        if found is not None and not torch.equal(found, values(number, 20_000)):
            (folder / "torn").touch()
        machine.keep(entry(folder, number), values(number, 20_000), limit)


@can_fork
def test_writers_that_are_killed_leave_nothing_torn(folder):
    """Processes write, read and make room in one folder until they are killed, ten times; we read what is there."""
    limit = 6 * len(cache._serialised(Path("a"), values(0, 20_000)))
    fork, chance = multiprocessing.get_context("fork"), random.Random(0)
    for kill in range(KILLS):
        writers = [fork.Process(target=write_for_ever, args=(folder, limit, 2 * kill + i)) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        end, seen = time.monotonic() + 0.1 + 0.3 * chance.random(), 0
        while (now := time.monotonic()) < end or not seen:
            assert now < end + 20, "the writers do not write"
            for number in kept(folder):
                found = machine.recall(entry(folder, number))
                seen += found is not None
                assert found is None or torch.equal(found, values(number, 20_000))
        for writer in writers:
            writer.kill()
            writer.join()
        for number in kept(folder):  # nobody removes them now: all must be whole
            assert torch.equal(machine.recall(entry(folder, number)), values(number, 20_000))
    machine.keep(entry(folder, 99), values(99, 20_000), limit)
    assert sum(entry(folder, number).stat().st_size for number in kept(folder)) <= limit
    assert not (folder / "torn").exists()


def test_threads_share_a_folder(folder, capsys):
    """Different entries: what two threads write to one name at once is for write_atomically."""

    def work(number: int) -> bool:
        machine.keep(entry(folder, number), values(number), 5 * SIZE)
        found = machine.recall(entry(folder, number))
        return found is None or torch.equal(found, values(number))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(200)))
    machine.keep(entry(folder, 200), values(200), 5 * SIZE)
    assert used(folder) <= 5 * SIZE
    assert capsys.readouterr().err == ""
