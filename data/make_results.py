"""Rebuild the stored rows in data/results/ (`make results`).

usage: python data/make_results.py [lesson00 lesson01 lesson02 lesson03]

Finished runs are kept in build/results/ as they come, so an interrupted call goes on where it stopped;
`make clean` starts over. lesson01 needs the checkpoints of `make checkpoints`. Test photos are read once per row.
"""

import sys
from itertools import product
from pathlib import Path

from transfer_utils import embedded, experiments
from transfer_utils.errors import unknown
from transfer_utils.experiments import SEEDS
from transfer_utils.sweeps import Row, sweep

BUILD = Path(__file__).parent.parent / "build" / "results"


def jobs(methods: tuple[str, ...], sizes: tuple[int, ...]) -> list[Row]:
    return [{"method": m, "per_class": n, "seed": s} for m, n, s in product(methods, sizes, SEEDS)]


LESSON00 = ("probe", "probe, random weights", "scratch", "scratch until flat")
AGAINST_OVERFITTING = ("full, no augmentation", "full, decay x100")
LESSON03 = tuple(method for method in experiments.METHODS if method not in AGAINST_OVERFITTING)
SWEEPS = {
    "lesson00": (experiments.lesson00, jobs(LESSON00, (10, 50))),
    "lesson01": (
        experiments.lesson01,
        jobs(("fine-tuned", "scratch", "probe", "probe, random weights"), (5, 20, 100))
        + jobs(("scratch, 10x epochs",), (20,)),
    ),
    "lesson02": (experiments.lesson02, [{"seed": seed} for seed in SEEDS]),
    "lesson03": (
        experiments.lesson03,
        jobs(LESSON03, (20, 5)) + jobs(AGAINST_OVERFITTING, (5,)) + jobs(LESSON03, (100,)),
    ),
}


def main(names: list[str]) -> None:
    for name in names or SWEEPS:
        if name not in SWEEPS:
            raise unknown("result", name, SWEEPS)
        rows = sweep(BUILD / f"{name}.csv", *SWEEPS[name])
        rows.to_csv(embedded.folder() / "results" / f"{name}.csv", index=False)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
