"""Run random stored rows again and compare (`make results-check`).

usage: python data/check_results.py [NAME ...]      for example: lesson03 lesson04; without a name, all of them

Fails when accuracies deviate by more than half a point on average. It is meant for the type of processor that the rows
come from (data/README.md); on another one sums are added in another order, and runs drift apart.
"""

import random
import sys
from collections.abc import Callable

import pandas as pd
import torch
from joblib import Parallel, delayed

from make_results import RUNS
from transfer_utils import stats
from transfer_utils.machine import unknown
from transfer_utils.stats import Row

COUNT = 20  # jobs of each name
MOST = 0.005
SCORES = ("valid", "test")
PARTS = ["per_class", "stage", "task", "penalty"]  # what tells the rows of one job apart


def again(function: Callable[..., list[Row]], job: Row) -> list[Row]:
    """The rows of a job, run anew on one thread as they were."""
    torch.set_num_threads(1)
    return [job | row for row in function(**job)]


def deviations(fresh: pd.DataFrame, stored: pd.DataFrame, settings: list[str]) -> pd.Series:
    """By how much the scores of the same rows differ. ValueError for a row that is not stored."""
    keys = list(dict.fromkeys([*settings, *(part for part in PARTS if part in fresh)]))
    same = fresh.astype({key: stored[key].dtype for key in keys})  # a file knows no None, only gaps among numbers
    both = same.merge(stored, on=keys, suffixes=("_again", ""))
    if len(both) < len(fresh):
        raise ValueError(f"Of {len(fresh)} rows that were run again, {len(both)} are stored. Run `make results` first.")
    off = [(both[f"{score}_again"] - both[score]).abs() for score in SCORES if f"{score}_again" in both]
    return pd.concat(off).dropna()


def check(name: str) -> float:
    """The mean deviation of some random jobs of a name."""
    stored = stats.results(name)
    jobs = [(function, job) for function, jobs in RUNS[name].items() for job in jobs]
    drawn = random.sample(jobs, COUNT)
    found = Parallel(2)(delayed(again)(*one) for one in drawn)
    off = [deviations(pd.DataFrame(rows), stored, list(job)) for (_, job), rows in zip(drawn, found, strict=True)]
    mean = float(pd.concat(off).mean())
    print(f"{name}: mean deviation of {COUNT} jobs: {100 * mean:.2f} points (at most {100 * MOST:g})", flush=True)
    return mean


def main(names: list[str]) -> None:
    for name in names:
        if name not in RUNS:
            raise unknown("result", name, RUNS)
    if max(check(name) for name in names) > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:] or list(RUNS))
