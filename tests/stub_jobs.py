"""Functions that worker processes can import: tests/ is on their path (see conftest.py)."""

from pathlib import Path

import torch


def measure(log: str, size: int, seed: int) -> list[dict]:
    """Two rows for a job, and one line in a log, so that a test can count the runs."""
    with open(log, "a") as file:
        file.write(f"{size} {seed} {torch.get_num_threads()}\n")
    return [{"part": part, "test": size + seed + part / 10} for part in range(2)]


def uneven(method: str, count: int | None = None) -> list[dict]:
    """Rows whose columns depend on the method."""
    return [{"test": 1, "penalty": 0.1}] if method == "probe" else [{"test": 2, "rate": 0.5, "epochs": 3}]


def fail_at_two(seed: int, marker: str) -> list[dict]:
    """Stops at seed 2 as long as the marker is there."""
    if seed == 2 and Path(marker).exists():
        raise RuntimeError("stopped on purpose")
    return [{"test": seed}]
