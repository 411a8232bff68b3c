"""How much faster two workers finish a sweep than one: the same runs, side by side in one call.

The rows must be the same from one worker, from two, and from a Ray cluster with two.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from transfer_utils import course, stats

LEAST = 60  # seconds that the sweep must take with one worker, for the start of the workers not to count


def timed(jobs: list[dict], workers: int, backend: str = "loky") -> tuple[float, pd.DataFrame]:
    """Seconds and rows of a sweep from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        rows = stats.sweep(Path(folder) / "bench.csv", course.trained, jobs, workers, backend)
        took = time.perf_counter() - started
    # What may differ between two calls of one run is left out.
    return took, rows.drop(columns=["peak_mb", *rows.filter(like="seconds")])


def main() -> str:
    here = stats.select(stats.results("lesson04"), per_class=20, seed=0)
    wanted = here[here["method"].isin(["full", "scratch", "last stage"])]
    jobs = wanted[["source", "target", "method", "per_class", "seed", "rate"]].to_dict("records")
    one, first = timed(jobs, 1)
    two, second = timed(jobs, 2)
    again, _ = timed(jobs, 1)
    # One worker before and after: when the machine changes its pace in between, the two differ.
    some = jobs[:6]
    _, on_ray = timed(some, 2, "ray")
    same = first.equals(second) and on_ray.equals(timed(some, 2)[1])
    if one < LEAST or not same:
        sys.exit(f"not a fair measurement: a sweep of {one:.0f} s (at least {LEAST}), or rows that differ")
    return (
        f"{len(jobs)} runs: one worker {one:.0f} s and {again:.0f} s, two workers {two:.0f} s, "
        f"{(one + again) / 2 / two:.2f} times as fast. The rows are the same, and the same on Ray."
    )


if __name__ == "__main__":
    print(main())
