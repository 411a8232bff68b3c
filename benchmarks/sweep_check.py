"""Run random rows of the stored grid again and compare (`make sweep-check`).

usage: python benchmarks/sweep_check.py [rows]

Fails when the mean absolute deviation of accuracy is above two points. It is meant for the type of processor that the
rows come from (data/README.md); on another one sums are added in another order, and runs drift apart.
"""

import sys

import pandas as pd
from joblib import Parallel, delayed

from transfer_utils import stats
from transfer_utils.course import grid

MOST = 0.02


def deviation(row: dict) -> dict:
    """The row's settings, and how far valid and test accuracy are from the stored ones."""
    import torch

    torch.set_num_threads(1)
    again = grid.again(row)
    return {**{key: row[key] for key in grid.KEYS}, **{n: again[n] - row[n] for n in ("valid", "test")}}


def main(count: int) -> None:
    rows = stats.results("sweep").sample(count).to_dict("records")
    found = pd.DataFrame(Parallel(2)(delayed(deviation)(row) for row in rows))
    print(found.to_string(index=False))
    mean = found[["valid", "test"]].abs().to_numpy().mean()
    print(f"mean absolute deviation of {count} rows: {100 * mean:.2f} points (at most {100 * MOST:.0f})")
    if mean > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
