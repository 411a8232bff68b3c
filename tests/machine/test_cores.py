"""Threads follow the load: decided where a training or a pass begins, and never inside one."""

import subprocess
import sys
import threading

import joblib
import pytest
import torch

from transfer_utils import data, machine, training
from transfer_utils.machine import cores
from transfer_utils.training import Recipe


@pytest.fixture
def threads(monkeypatch):
    """Four physical cores, eight by name, and no wish; nobody looks at the machine, and torch's number comes back."""
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores=False: 4 if only_physical_cores else 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(cores, "_watch", lambda: None)
    monkeypatch.setattr(cores, "_here", threading.local())
    monkeypatch.setattr(cores, "_start", None)
    before = torch.get_num_threads()
    yield
    cores._seen.clear()
    torch.set_num_threads(before)


def others(*busy: float) -> None:
    cores._seen.extend(busy)


def used() -> int:
    with machine.on_free_cores():
        return torch.get_num_threads()


# --- a number of threads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 2), (4, 3), (64, 63)])
def test_all_cores_compute_but_one_from_three_on(count, expected):
    assert cores.best_threads(count, None) == expected


@pytest.mark.parametrize(("count", "wished", "expected"), [(4, "2", 2), (4, "4", 4), (1, "8", 8)])
def test_a_wish_wins(count, wished, expected):
    assert cores.best_threads(count, wished) == expected


@pytest.mark.parametrize("wished", ["", "0", "many", "-1", "2.5", "4,2", " "])
def test_a_nonsensical_wish_does_not(wished):
    assert cores.best_threads(4, wished) == 3


@pytest.mark.parametrize(
    ("count", "busy", "expected"),
    [(1, 0, 1), (1, 3, 1), (2, 0, 2), (2, 0.4, 2), (2, 0.6, 1), (2, 2, 1), (8, 0, 7), (8, 1, 7), (8, 2, 6), (8, 99, 1)],
)
def test_other_programs_leave_some_of_the_cores(count, busy, expected):
    assert cores.free_threads(count, busy) == expected


def test_use_threads_counts_physical_cores(threads):
    machine.use_threads()
    assert torch.get_num_threads() == 3


def test_use_threads_hears_the_wish(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine.use_threads()
    others(3, 3)
    assert used() == torch.get_num_threads() == 2


# --- following the load ---------------------------------------------------------------------------------------------


def test_threads_go_and_come_with_the_load_and_it_is_said_once(threads, capsys):
    machine.use_threads()
    for busy, expected in ((0, 3), (3.2, 1), (3.2, 1), (2, 2), (0, 3), (0, 3)):
        others(busy, busy)
        assert used() == expected
    assert capsys.readouterr().err.splitlines() == [
        "Other programs keep 3.2 of 4 cores busy: computing with 1 thread.",
        "Other programs keep 2.0 of 4 cores busy: computing with 2 threads.",
        "The cores are free again: computing with 3 threads.",
    ]


def test_a_burst_is_no_load(threads):
    machine.use_threads()
    others(0, 4)
    assert used() == 3


def test_a_command_that_has_just_ended_is_no_other_program(threads):
    """The last looks saw it compute, and nobody has looked since."""
    machine.use_threads()
    others(1, 1)
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    assert used() == 3


def test_nothing_changes_inside_a_training_or_a_pass(threads, tiny):
    machine.use_threads()
    photos = data.load(split="valid").only("cat", "ship").take(8)
    loop = training.train(tiny(), photos, photos, 32, Recipe(epochs=3, batch=4))
    next(loop)
    others(4, 4)
    assert used() == 3
    assert {torch.get_num_threads() for _ in loop} == {3}
    assert used() == 1


@pytest.mark.parametrize("work", ["train", "accuracy", "extract", "read", "surprise"])
def test_every_training_and_every_pass_follows(threads, tiny, small_gpt, own_home, work):
    photos, tokens = data.load(split="valid").only("cat", "ship").take(2), torch.ones(200, dtype=torch.int64)
    works = {
        "train": lambda: list(training.train(tiny(), photos, None, 32, Recipe(epochs=1))),
        "accuracy": lambda: training.accuracy(tiny(), photos, 32),
        "extract": lambda: training.extract(tiny(), photos, 32),
        "read": lambda: list(training.read(small_gpt(), tokens, training.Reading(1, batch=1))),
        "surprise": lambda: training.surprise(small_gpt(), tokens),
    }
    machine.use_threads()
    others(4, 4)
    works[work]()
    assert torch.get_num_threads() == 1


def test_a_number_that_somebody_set_stays(threads):
    machine.use_threads()
    torch.set_num_threads(2)
    others(4, 4)
    assert used() == 2


def test_an_error_inside_is_no_work_that_goes_on(threads):
    machine.use_threads()
    with pytest.raises(RuntimeError, match="on purpose"), machine.on_free_cores():
        raise RuntimeError("on purpose")
    others(4, 4)
    assert used() == 1


def test_without_use_threads_nothing_changes(threads):
    others(4, 4)
    before = torch.get_num_threads()
    assert used() == before


LOOKING = """
import subprocess, sys, time
from transfer_utils.machine import cores
cores.use_threads()
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not any(value > 0.3 for value in cores._seen):
    time.sleep(0.1)
busy.kill()
print(max(cores._seen) > 0.3)
"""


@pytest.mark.slow
def test_a_program_that_computes_is_seen(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    said = subprocess.run([sys.executable, "-c", LOOKING], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "True"
