"""What the rows of lesson 4's map say: which method to take, what following that advice costs, and the work saved."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from transfer_utils import stats
from transfer_utils.course.lesson04_map import LOOKS
from transfer_utils.stats import Interval

CANDIDATES = ("linear probe", "last stage", "full", "scratch")  # from few operations to many


def advised(rows: pd.DataFrame, margin: float = 0.005, without: str | None = None) -> dict[int, str]:
    """{photos per class: method}: the cheapest method whose mean accuracy is at most `margin` below the best.

    Reads valid photos of the draws that choose alone, over all targets and all sources but `without`; every method has
    the rate or penalty that is best at a size.
    """
    chose = rows[rows["test"].isna() & rows["method"].isin(CANDIDATES) & (rows["source"] != without)]
    tried = chose.groupby(["per_class", "method", chose["rate"].fillna(chose["penalty"])])["valid"].mean()
    means = tried.groupby(["per_class", "method"]).max().unstack()[list(CANDIDATES)].dropna()
    cheapest = (means.ge(means.max(axis=1) - margin, axis=0)).idxmax(axis=1)  # the first that is good enough
    return {int(size): str(method) for size, method in cheapest.items()}


def regret(rows: pd.DataFrame, rule: Callable[[str], dict[int, str]]) -> pd.DataFrame:
    """What following a rule costs: one line for each source, target, size and draw.

    rows: those that judge. rule(source): {photos per class: method}, to take for that source. `regret`: the accuracy on
    test photos of the method that is best on valid photos in a draw, minus that of the rule's. Below zero where the
    rule's was better.
    """
    lines = []
    candidates = rows[rows["method"].isin(CANDIDATES)]
    for source in [name for name in candidates["source"].unique() if name != "scratch"]:
        here = candidates[candidates["source"].isin((source, "scratch"))]
        for size, method in rule(source).items():
            for (target, seed), draw in stats.select(here, per_class=size).groupby(["target", "seed"]):
                test = draw.set_index("method")["test"]
                best = draw.loc[draw["valid"].idxmax(), "method"]
                line = {"source": source, "target": target, "per_class": size, "seed": seed}
                lines.append(line | {"regret": test[best] - test[method]})
    return pd.DataFrame(lines)


def work_saved(rows: pd.DataFrame, source: str, target: str, per_class: int) -> tuple[Interval, int]:
    """How many times sooner full fine-tuning is as good as scratch ever gets; and in how many draws it never is.

    Counted in looks at the same valid photos. Both train the whole network for as many steps, so that the ratio holds
    for operations and for time, however busy the machine was. A draw that never gets there counts as if it got there
    with its last step: its true ratio is lower. The interval is that of the logarithm. rows: those that judge.
    ValueError as for stats.paired().
    """
    here = stats.select(rows, target=target, per_class=per_class)
    looks = [f"look_{i}" for i in range(1, LOOKS + 1)]
    sides = stats.paired(here, {"source": source, "method": "full"}, "scratch", looks)
    fast, slow = (side.dropna(axis=1).to_numpy() for side in sides)  # a run of five epochs has five looks
    as_good = fast >= slow.max(axis=1, keepdims=True)
    never = ~as_good.any(axis=1)
    reached = np.where(never, fast.shape[1] - 1, as_good.argmax(axis=1))
    return _exp(stats.mean_interval(np.log((slow.argmax(axis=1) + 1) / (reached + 1)))), int(never.sum())


def _exp(log: Interval) -> Interval:
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high), log.n)
