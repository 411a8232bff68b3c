"""Functions that worker processes can import: tests/ is on their path (see conftest.py)."""

import ctypes
import faulthandler
import os
import signal
import time
from pathlib import Path


def measure(log: str, size: int, seed: int) -> list[dict]:
    """Two rows for a job, and one line in a log, so that a test can count the runs."""
    import torch

    _note(log, f"{size} {seed} {torch.get_num_threads()}")
    return [{"part": part, "test": size + seed + part / 10} for part in range(2)]


def uneven(method: str, count: int | None = None) -> list[dict]:
    """Rows whose columns depend on the method."""
    return [{"test": 1, "penalty": 0.1}] if method == "probe" else [{"test": 2, "rate": 0.5, "epochs": 3}]


def fail_at_two(seed: int, marker: str, log: str) -> list[dict]:
    """Raises at seed 2 for as long as the marker is there, with its text as the message."""
    _note(log, f"{seed}")
    if seed == 2 and Path(marker).exists():
        raise RuntimeError(Path(marker).read_bytes().decode())
    return [{"part": part, "test": seed} for part in range(2)]


def timed(seed: int) -> list[dict]:
    """At seed 1 it brings its own seconds."""
    time.sleep(0.2)
    return [{"test": seed, "seconds": 77.5}] if seed else [{"test": seed}]


def allocate(seed: int, megabytes: int) -> list[dict]:
    """Holds that much memory for a moment."""
    return [{"held": len(b"x" * (megabytes * 2**20))}]


def wait_at_last(number: int, log: str, gate: str) -> list[dict]:
    """A quick run; job 39 cannot end while the gate is there. The log says in which round of a test a run started."""
    _note(log, f"{os.environ['STUB_ROUND']} {number}")
    time.sleep(0.02)
    while number == 39 and Path(gate).exists():
        time.sleep(0.02)
    return [{"part": part, "square": number**2} for part in range(2)]


def meet(number: int, folder: str) -> list[dict]:
    """Ends once two processes have come here, or after five minutes; job 3 raises."""
    Path(folder, str(os.getpid())).touch()
    end = time.monotonic() + 300
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    if number == 3:
        raise ValueError("three, on purpose")
    return [{"part": part, "square": number**2, "process": os.getpid()} for part in range(2)]


def _note(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(line + "\n")


def nothing(seed: int) -> list[dict]:
    """Forgets its rows."""
    return []


DEATHS = {
    "os._exit": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "aborted": os.abort,
    "segmentation fault": lambda: ctypes.string_at(0),
}


def die(how: str, log: str) -> list[dict]:
    """Takes its process down where it knows how to, and ends well otherwise."""
    _note(log, how)
    if how in DEATHS:
        import resource  # Windows has none

        faulthandler.disable()  # no report of a fault that is on purpose
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        DEATHS[how]()
    time.sleep(0.1)
    return [{"test": 1}]


def stop_at(seed: int, last: int) -> list[dict]:
    """Ends as Ctrl-C would end it, at this seed."""
    if seed == last:
        raise KeyboardInterrupt
    return [{"test": seed}]


def echo(**settings: object) -> list[dict]:
    """Gives back the settings that it got, and what they are."""
    return [{"got": value, "kind": type(value).__name__} for value in settings.values()]


def echo_kinds(**settings: object) -> list[dict]:
    """A row for each setting."""
    return [{"test": index} for index, _ in enumerate(settings)]
