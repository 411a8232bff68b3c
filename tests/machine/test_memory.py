"""What happens when memory runs out, on a processor that only says so."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from transfer_utils import machine, training
from transfer_utils.machine import memory
from transfer_utils.training import Recipe

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

FULL = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)."),
}


@pytest.fixture
def pinned(monkeypatch) -> list[Tensor]:
    """What was pinned: that needs a graphics card, so that here it only is noted."""
    asked = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda rows: asked.append(rows) or rows)
    return asked


class Work:
    """Does nothing with up to `limit` photos at a time, and runs out of memory on more."""

    def __init__(self, limit: int, error: Exception = FULL["CUDA"]):
        self.limit, self.error, self.tried, self.undone = limit, error, [], []

    def __call__(self, part: Tensor, share: float) -> tuple[Tensor, float]:
        self.tried.append(len(part))
        if len(part) > self.limit:
            raise self.error
        return part, share

    def undo(self) -> None:
        self.undone.append(len(self.tried))


# --- what stays on the device -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "free", "expected"), [(25, 100, True), (26, 100, False), (0, 0, True), (1, 0, False)])
def test_a_quarter_of_the_free_memory_may_be_photos(size, free, expected):
    assert memory.fits(size, free) is expected


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_everything_fits_where_the_memory_is_the_computers_own(kind):
    assert memory.fits(10**15, memory.free_bytes(torch.device(kind)))


def test_memory_that_torch_holds_and_nobody_uses_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 16_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 200)
    assert memory.free_bytes(CUDA) == 1300


@pytest.mark.parametrize(("free", "streamed"), [(400, False), (399, True)])
def test_rows_are_the_same_whether_they_are_kept_or_streamed(monkeypatch, pinned, free, streamed):
    rows, positions = torch.arange(100, dtype=torch.uint8).view(20, 5), torch.tensor([3, 0, 19, 3])
    monkeypatch.setattr(memory, "free_bytes", lambda _: free)
    take = machine.on_device(rows, CPU)
    assert torch.equal(take(positions), rows[positions])
    assert [len(batch) for batch in pinned] == [4] * streamed


@pytest.mark.parametrize("free", [float("inf"), 0])
def test_rows_come_out_on_the_device(monkeypatch, pinned, free):
    monkeypatch.setattr(memory, "free_bytes", lambda _: free)
    take = machine.on_device(torch.zeros(8, 3), torch.device("meta"))
    assert take(torch.tensor([1, 2])).device.type == "meta"


# --- in parts -----------------------------------------------------------------------------------------------------


def test_a_batch_that_fits_stays_whole(capsys):
    work = Work(limit=8)
    (part, share), *others = machine.in_parts(work, work.undo)(torch.arange(8))
    assert part.tolist() == list(range(8))
    assert (share, others, work.undone) == (1, [], [])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", FULL)
def test_a_batch_is_halved_until_its_parts_fit(capsys, kind):
    work = Work(limit=5, error=FULL[kind])
    parts, shares = zip(*machine.in_parts(work, work.undo)(torch.arange(18)), strict=True)
    assert work.tried == [18, 9, 5, 5, 4, 4]
    assert torch.cat(parts).tolist() == list(range(18))
    assert shares == pytest.approx([5 / 18, 5 / 18, 4 / 18, 4 / 18])
    assert work.undone == [1, 2]  # after each failure, before the next attempt
    assert capsys.readouterr().err == memory.SMALLER + "\n"


def test_the_number_of_parts_is_remembered():
    work = Work(limit=4)
    run = machine.in_parts(work)
    run(torch.arange(16))
    work.tried.clear()
    assert [len(part) for part, _ in run(torch.arange(14))] == [4, 4, 3, 3]
    assert work.tried == [4, 4, 3, 3]
    assert torch.cat([part for part, _ in run(torch.arange(3))]).tolist() == [0, 1, 2]  # fewer photos than parts


@pytest.mark.parametrize(("size", "tried"), [(8, [8, 4, 2]), (7, [7, 4]), (4, [4, 2]), (3, [3]), (1, [1])])
def test_it_gives_up_before_parts_of_one_photo(size, tried):
    work = Work(limit=0)
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        machine.in_parts(work)(torch.arange(size))
    assert work.tried == tried


@pytest.mark.parametrize(("size", "parts"), [(7, [3, 2, 2]), (1, [1]), (0, [0])])
def test_later_batches_have_no_parts_of_one_photo_either(size, parts):
    run = machine.in_parts(Work(limit=3))
    run(torch.arange(8))
    assert [len(part) for part, _ in run(torch.arange(size))] == parts


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory"), KeyError()]
)
def test_other_errors_pass(capsys, error):
    work = Work(limit=0, error=error)
    with pytest.raises(type(error)) as caught:
        machine.in_parts(work, work.undo)(torch.arange(8))
    assert caught.value is error
    assert (work.tried, work.undone, capsys.readouterr().err) == ([8], [], "")


def test_the_failed_attempt_is_forgotten_before_the_next_one():
    failed, alive = [], []

    def work(part: Tensor, _: float) -> None:
        alive.extend(reference() is not None for reference in failed)
        activations = part.float()
        failed.append(weakref.ref(activations))
        if len(part) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    machine.in_parts(work)(torch.arange(8))
    assert alive
    assert not any(alive)


def test_what_nobody_uses_is_given_back_to_the_graphics_card(monkeypatch):
    given_back = []
    monkeypatch.setattr(memory, "best_device", lambda: CUDA)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(1))
    machine.in_parts(Work(limit=4))(torch.arange(8))
    assert given_back == [1]


# --- nothing kept -------------------------------------------------------------------------------------------------


class Breaks(nn.Module):
    """A layer that raises, and remembers weakly what it was computing with."""

    def __init__(self, error: BaseException):
        super().__init__()
        self.error, self.held = error, []

    def forward(self, x: Tensor) -> Tensor:
        activations = x * 2
        self.held += [weakref.ref(x), weakref.ref(activations)]
        raise self.error


class BreaksInTurn(Breaks):
    """Its error is the consequence of another one."""

    def forward(self, x: Tensor) -> Tensor:
        try:
            return super().forward(x)
        except BaseException as error:
            raise ValueError("no good") from error


def by_itself(model, photos, valid):
    with machine.nothing_kept():
        model.stem(photos.images.float())


def in_training(model, photos, valid):
    for _ in training.train(model, photos, valid, 32, Recipe(epochs=1)):
        pass


def in_extraction(model, photos, valid):
    training.extract(model, photos, 32, "stem")


@pytest.mark.parametrize("do", [by_itself, in_training, in_extraction])
@pytest.mark.parametrize("error", [RuntimeError("a wrong shape"), FULL["CUDA"], KeyboardInterrupt()], ids=repr)
def test_an_error_passes_and_the_tensors_of_its_step_do_not_stay(tiny, pairs, monkeypatch, do, error):
    """IPython keeps the error of the last cell, with its traceback, until the next one."""
    model = tiny()
    breaks = model.stem[1] = Breaks(error)
    with pytest.raises(type(error)) as caught:
        do(model, *pairs)
    monkeypatch.setattr(sys, "last_traceback", caught.tb, raising=False)
    assert "forward" in [entry.name for entry in caught.traceback]  # it still says where
    gc.collect()
    assert breaks.held
    assert not any(reference() is not None for reference in breaks.held)


def test_neither_does_its_optimiser(tiny, pairs, monkeypatch):
    """Its steps are functions inside a function, whose variables outlive them."""
    made, optimiser = [], torch.optim.AdamW

    def noted(*args, **options):
        adam = optimiser(*args, **options)
        made.append(weakref.ref(adam))
        return adam

    monkeypatch.setattr(torch.optim, "AdamW", noted)
    model = tiny()
    model.pool.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as failed:
        in_training(model, *pairs)
    gc.collect()
    assert failed.value.__traceback__ is not None
    assert [reference() for reference in made] == [None]


def test_neither_do_those_of_the_error_behind_it(tiny, pairs):
    model = tiny()
    breaks = model.stem[1] = BreaksInTurn(RuntimeError("a wrong shape"))
    with pytest.raises(ValueError, match="no good") as caught:
        in_training(model, *pairs)
    gc.collect()
    assert caught.value.__cause__ is breaks.error
    assert not any(reference() is not None for reference in breaks.held)


@pytest.mark.parametrize("place", ["forward", "forward_pre"])
def test_neither_do_those_of_a_module_with_hooks(tiny, pairs, place):
    """It calls itself through a function inside a function, which has cells of its own."""
    model, held = tiny(), []

    def fail(_, args, *__):
        held.append(weakref.ref(args[0]))
        raise RuntimeError("on purpose")

    getattr(model.body, f"register_{place}_hook")(fail)
    with pytest.raises(RuntimeError, match="on purpose") as caught:
        in_training(model, *pairs)
    gc.collect()
    assert caught.tb
    assert held
    assert held[0]() is None


FAULTS = """
import resource, sys, torch
from transfer_utils import machine
if "hold" in sys.argv:
    machine.hold_memory()
def touch(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touch(5)
print(touch(10))
"""


@pytest.mark.skipif(not Path("/lib/x86_64-linux-gnu/libc.so.6").exists(), reason="another system or C library")
def test_memory_that_is_held_is_not_asked_for_again():
    faults = [
        int(subprocess.run([sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True).stdout)
        for word in ("hold", "give back")
    ]
    assert 5 * faults[0] < faults[1]


def test_where_there_is_no_such_library_nothing_happens(monkeypatch):
    def missing(_):
        raise OSError("no such file")

    monkeypatch.setattr(memory.ctypes, "CDLL", missing)
    machine.hold_memory()
