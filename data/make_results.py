"""Rebuild the stored rows in data/results/ (`make results`, `make sweep`).

usage: python data/make_results.py NAME ...      for example: lesson00 sweep; an unknown name lists all

Finished runs are kept in build/results/ as they come, so an interrupted call goes on where it stopped;
`make clean` starts over. lesson01, lesson03, sweep and similarity need the checkpoints of `make checkpoints`. Test
photos are read once per row. Nothing is written to data/results/ while a run's row is an error.
"""

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

from runs import lesson00, lesson01, lesson02, lesson03, lesson05, lesson07, similarity
from transfer_utils import course, machine
from transfer_utils.machine import unknown
from transfer_utils.stats import SEEDS, Row, failures, sweep

BUILD = Path(__file__).parent.parent / "build" / "results"


def jobs(methods: tuple[str, ...], sizes: tuple[int, ...]) -> list[Row]:
    return [{"method": m, "per_class": n, "seed": s} for m, n, s in product(methods, sizes, SEEDS)]


LESSON00 = ("probe", "probe, random weights", "scratch", "scratch until flat")
AGAINST_OVERFITTING = ("full, no augmentation", "full, decay x100")
LESSON03 = tuple(method for method in course.METHODS if method not in AGAINST_OVERFITTING)
SWEEPS: dict[
    str, dict[Callable[..., list[Row]], list[Row]]
] = {  # name: the functions that make its rows, each with its jobs
    "lesson00": {lesson00.rows: jobs(LESSON00, (10, 50))},
    "lesson01": {
        lesson01.rows: jobs(("fine-tuned", "scratch", "probe", "probe, random weights"), (5, 20, 100))
        + jobs(("scratch, 10x epochs",), (20,))
    },
    "lesson02": {lesson02.rows: [{"seed": seed} for seed in SEEDS]},
    "lesson03": {lesson03.rows: jobs(LESSON03, (20, 5)) + jobs(AGAINST_OVERFITTING, (5,)) + jobs(LESSON03, (100,))},
    "lesson05": {lesson05.rows: lesson05.jobs()},
    "lesson07": {lesson07.rows: lesson07.jobs()},
    "sweep": {course.probed: course.probe_jobs(), course.trained: course.training_jobs()},
    "similarity": {similarity.rows: similarity.jobs()},
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
        rows.to_csv(machine.shipped_folder() / "results" / f"{name}.csv", index=False)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
