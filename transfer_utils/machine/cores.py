"""How many threads compute: decided anew where a training or a pass begins, from the cores that are free then."""

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

import joblib
import psutil
import torch

from transfer_utils.machine.device import best_device

PAUSE = 0.25  # seconds between two looks at the machine; the system counts in hundredths
BUSY = 0.5  # of a core; what browser and notebook need between two cells is less

# What this process goes by: the threads that use_threads set, if they may change, and how many works are under way.
_start: int | None = None
_works = 0
_changing = threading.Lock()
_here = threading.local()  # chosen: the threads that we set in this thread, for torch keeps a number for each
_seen: deque[float] = deque(maxlen=2)  # the cores that other programs kept busy, at the last two looks
_waited = 0.0  # what children had computed that had ended by the last look


def best_threads(cores: int, wished: str | None) -> int:
    """The threads to compute with: as the variable OMP_NUM_THREADS wishes, otherwise all cores but one.

    The browser and the notebook's server need a core too, and every step of a training waits for its slowest thread.
    Of two cores both are used: there a lesson with half of the machine takes longer than one that has to share.
    """
    if wished and wished.isdecimal() and int(wished):
        return int(wished)
    return cores - 1 if cores > 2 else cores


def free_threads(cores: int, others: float) -> int:
    """The threads to compute with where other programs keep `others` of the cores busy, half a core counting as one."""
    return max(1, min(best_threads(cores, None), cores - int(others + 1 - BUSY)))


def use_threads() -> None:
    """Set torch's number of threads, and let it follow the load from now on, unless OMP_NUM_THREADS wishes a number."""
    global _start, _waited
    wished = os.environ.get("OMP_NUM_THREADS")
    threads = best_threads(_cores(), wished)
    torch.set_num_threads(threads)
    if _start is None and not wished:
        threading.Thread(target=_watch, daemon=True).start()
    _start = _here.chosen = None if wished else threads
    _waited = _children()


@contextlib.contextmanager
def on_free_cores() -> Iterator[None]:
    """Around a training or a pass: on a CPU it computes with as many threads as there are free cores where it begins.

    One other busy program makes two threads on two cores eight times as slow, since each step waits for the slower one,
    and one thread twice. Nothing changes inside another training or pass, and where somebody else chose the number, by
    OMP_NUM_THREADS or torch.set_num_threads.
    """
    global _works
    with _changing:
        ours = getattr(_here, "chosen", _start) == torch.get_num_threads()
        # A child that has ended since the last look, such as a command of a cell, was part of what that look saw.
        if ours and _seen and not _works and _waited == _children() and best_device().type == "cpu":
            _follow(min(_seen))  # a burst is no load
        _works += 1
    try:
        yield
    finally:
        with _changing:
            _works -= 1


def _follow(others: float) -> None:
    """Set the threads for what other programs do, and say so if that changes something."""
    cores, before = _cores(), torch.get_num_threads()
    _here.chosen = free_threads(cores, others)
    if _here.chosen != before:
        torch.set_num_threads(_here.chosen)
        why = (
            f"Other programs keep {others:.1f} of {cores} cores busy" if others >= BUSY else "The cores are free again"
        )
        print(f"{why}: computing with {_here.chosen} thread{'s' * (_here.chosen > 1)}.", file=sys.stderr)


def _watch() -> None:
    """Note what other programs do, as long as this one lives."""
    global _waited
    before = _look()
    while True:
        time.sleep(PAUSE)
        _waited, now = _children(), _look()
        at, computed = (new - old for new, old in zip(now, before, strict=True))
        _seen.append(max(0.0, computed / at))
        before = now


def _look() -> tuple[float, float]:
    """The time, and the seconds that all cores have computed so far for anybody but this process and its children."""
    times = psutil.cpu_times()
    # Not what a host takes from a virtual machine: fewer threads would not bring it back.
    everybody = times.user + times.system + getattr(times, "nice", 0.0)
    return time.monotonic(), everybody - time.process_time() - _children()


def _children() -> float:
    """The seconds that child processes have computed that have ended, and were waited for."""
    return sum(os.times()[2:4])


def _cores() -> int:
    """The cores that this process may use: a container may have fewer than show."""
    return joblib.cpu_count(only_physical_cores=True)
