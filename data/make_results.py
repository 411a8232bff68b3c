"""Rebuild the stored rows in data/results/ (`make results`, `make sweep`).

usage: python data/make_results.py NAME ...      for example: lesson00 sweep; an unknown name lists all

Finished runs are kept in build/results/ as they come, so an interrupted call goes on where it stopped;
`make clean` starts over. lesson01, lesson03, sweep and similarity need the checkpoints of `make checkpoints`. Test
photos are read once per row. Nothing is written to data/results/ while a run's row is an error.
"""

import sys
from itertools import product
from pathlib import Path

from transfer_utils import classic, embedded, experiments, promises, similarity, tradeoffs
from transfer_utils.errors import unknown
from transfer_utils.experiments import SEEDS
from transfer_utils.sweeps import Row, failures, sweep

BUILD = Path(__file__).parent.parent / "build" / "results"


def jobs(methods: tuple[str, ...], sizes: tuple[int, ...]) -> list[Row]:
    return [{"method": m, "per_class": n, "seed": s} for m, n, s in product(methods, sizes, SEEDS)]


LESSON00 = ("probe", "probe, random weights", "scratch", "scratch until flat")
AGAINST_OVERFITTING = ("full, no augmentation", "full, decay x100")
LESSON03 = tuple(method for method in experiments.METHODS if method not in AGAINST_OVERFITTING)
SWEEPS = {  # name: the functions that make its rows, each with its jobs
    "lesson00": {experiments.lesson00: jobs(LESSON00, (10, 50))},
    "lesson01": {
        experiments.lesson01: jobs(("fine-tuned", "scratch", "probe", "probe, random weights"), (5, 20, 100))
        + jobs(("scratch, 10x epochs",), (20,))
    },
    "lesson02": {experiments.lesson02: [{"seed": seed} for seed in SEEDS]},
    "lesson03": {
        experiments.lesson03: jobs(LESSON03, (20, 5)) + jobs(AGAINST_OVERFITTING, (5,)) + jobs(LESSON03, (100,))
    },
    "lesson05": {classic.rows: classic.jobs()},
    "lesson07": {promises.rows: promises.jobs()},
    "sweep": {tradeoffs.probed: tradeoffs.probe_jobs(), tradeoffs.trained: tradeoffs.training_jobs()},
    "similarity": {similarity.probed: similarity.jobs()},
}


def main(names: list[str]) -> None:
    for name in names:
        if name not in SWEEPS:
            raise unknown("result", name, SWEEPS)
        for function, todo in SWEEPS[name].items():
            rows = sweep(BUILD / f"{name}.csv", function, todo)
        failed = failures(rows)
        if len(failed):
            raise SystemExit(f"{name}: {len(failed)} runs failed, first: {failed.iloc[0].to_dict()}. Run this again.")
        rows.to_csv(embedded.folder() / "results" / f"{name}.csv", index=False)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
