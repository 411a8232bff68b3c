"""Rebuild the stored rows in data/results/ (`make results`, `make sweep`).

usage: python data/make_results.py NAME ...      for example: lesson00 lesson04; an unknown name lists all

Finished runs are kept in build/results/ as they come, so an interrupted call goes on where it stopped; `make clean`
starts over. What lies in data/results/unfinished/ was begun on another machine, and is gone on with. lesson01
and lesson04 need the checkpoints of `make checkpoints`. Test photos are read once per row. Nothing is
written to data/results/ while a run's row is an error.
"""

import shutil
import sys
from pathlib import Path

from runs import lesson00, lesson01, lesson02, lesson03, lesson04, lesson05, lesson07, lesson08
from transfer_utils import machine, stats
from transfer_utils.machine import unknown

BUILD = Path(__file__).parent.parent / "build" / "results"
MODULES = (lesson00, lesson01, lesson02, lesson03, lesson04, lesson05, lesson07, lesson08)
RUNS = {module.__name__.removeprefix("runs."): module.RUNS for module in MODULES}


def take_up(name: str) -> Path:
    """The file of finished runs: the one of this machine, or else what another machine has left."""
    path, begun = BUILD / f"{name}.csv", machine.shipped_folder() / "results" / "unfinished" / f"{name}.csv"
    if begun.exists() and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(begun, path)
    return path


def main(names: list[str]) -> None:
    for name in names:
        if name not in RUNS:
            raise unknown("result", name, RUNS)
        path = take_up(name)
        for function, jobs in RUNS[name].items():
            rows = stats.sweep(path, function, jobs)
        failed = stats.failures(rows)
        if len(failed):
            raise SystemExit(f"{name}: {len(failed)} runs failed, first: {failed.iloc[0].to_dict()}. Run this again.")
        rows.to_csv(machine.shipped_folder() / "results" / f"{name}.csv", index=False)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
