"""What the rows of lesson 4's grid say: photos and work that reuse saves, advice, and two measures of similarity."""

import math

import numpy as np
import pandas as pd

from transfer_utils import stats
from transfer_utils.course import grid
from transfer_utils.course.grid import COURSE
from transfer_utils.machine import unknown
from transfer_utils.stats import Interval


def photos_needed(
    rows: pd.DataFrame, source: str, target: str, method: str, per_class: int, over: str = "scratch"
) -> tuple[Interval, int]:
    """Photos per class with which scratch is as good as `method` with per_class; and how many seeds never got there.

    rows: the chosen ones. over: 'scratch', or 'scratch, longer'. Read off between the stored sizes on a logarithmic
    scale; a seed that never got there counts with the largest size, and one that is better with the smallest counts
    with that. The interval is that of the logarithm. ValueError as for stats.paired().
    """
    here = stats.select(rows, network=COURSE, target=target)
    reused = {"source": source, "method": method, "per_class": per_class}
    sizes = list(grid.EPOCHS[COURSE])
    pairs = [stats.paired(here, reused, {"method": over, "per_class": size}, ["test"]) for size in sizes]
    level = pairs[0][0]["test"].to_numpy()
    # A draw can be unlucky: the best so far makes the curve rise, so that it crosses a level once.
    curves = np.maximum.accumulate([scratch["test"] for _, scratch in pairs])
    places = np.log(sizes)
    logs = [np.interp(-want, -curve[::-1], places[::-1]) for want, curve in zip(level, curves.T, strict=True)]
    return _exp(stats.mean_interval(logs)), int((level > curves[-1]).sum())


def work_saved(rows: pd.DataFrame, source: str, target: str, per_class: int) -> tuple[Interval, int]:
    """How many times sooner full fine-tuning is as good as scratch ever gets; and in how many seeds it never is.

    Counted in looks at the same valid photos. Both train the whole network for as many steps, so that the ratio holds
    for operations and for time, however busy the machine was. A seed that never gets there counts as if it got there
    with its last step: its true ratio is lower. The interval is that of the logarithm. rows: the chosen ones.
    ValueError as for stats.paired().
    """
    here = stats.select(rows, network=COURSE, target=target, per_class=per_class)
    looks = [f"look_{i}" for i in range(1, grid.LOOKS[COURSE] + 1)]
    sides = stats.paired(here, {"source": source, "method": "full"}, "scratch", looks)
    fast, slow = (side.dropna(axis=1).to_numpy() for side in sides)  # a run of five epochs has five looks
    as_good = fast >= slow.max(axis=1, keepdims=True)
    never = ~as_good.any(axis=1)
    reached = np.where(never, fast.shape[1] - 1, as_good.argmax(axis=1))
    return _exp(stats.mean_interval(np.log((slow.argmax(axis=1) + 1) / (reached + 1)))), int(never.sum())


def advice(rows: pd.DataFrame, source: str, target: str, per_class: int, network: str = COURSE) -> pd.DataFrame:
    """One line a method, scratch included, best on valid photos first; `pick` marks the one that we would take.

    It is the one with the fewest FLOPs among those that the valid photos cannot tell from the best. mean, low and high
    are on test photos, which choose nothing. ValueError for a setting without rows.
    """
    part = rows
    for name, wanted in (("network", network), ("target", target), ("per_class", per_class), ("source", source)):
        if wanted not in set(part[name]):
            raise unknown(name, wanted, map(str, sorted(set(part[name]))))
        if name != "source":
            part = stats.select(part, **{name: wanted})
    from_scratch = [method.name for method in grid.METHODS.values() if method.from_scratch]
    part = part[(part["source"] == source) | part["method"].isin(from_scratch)]
    best = part.groupby("method", sort=False)["valid"].mean().idxmax()
    lines = []
    for method, group in part.groupby("method", sort=False):
        behind = 0.0 if method == best else stats.difference(part, best, method, "valid").low
        cost = {"flops": int(group["flops"].iloc[0]), "seconds": group["seconds"].median()}
        score = vars(stats.mean_interval(group["test"]))
        lines.append({"method": method, **score, **cost, "valid": group["valid"].mean(), "as good": behind <= 0})
    table = pd.DataFrame(lines).sort_values("valid", ascending=False, ignore_index=True)
    table["pick"] = table.index == table[table["as good"]]["flops"].idxmin()
    return table


def _exp(log: Interval) -> Interval:
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high), log.n)


def gains_by_task(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each source and task, means over seeds: both measures, and `gain` over random weights."""
    means = rows.groupby(["source", "task"], sort=False)[["test", "alignment", "nearness"]].mean().reset_index()
    base = means[means["source"] == "scratch"].set_index("task")["test"]
    means["gain"] = means["test"] - means["task"].map(base)
    return means[means["source"] != "scratch"].reset_index(drop=True)


def correlation(table: pd.DataFrame, measure: str, draws: int = 2000) -> Interval:
    """Correlation of a measure with the gain between the sources of one task, with a 95 % bootstrap over tasks.

    table: that of gains_by_task(). Each task's own mean is taken off first: that some tasks gain more from every source
    does not help to choose one.
    """
    x, y = (table.pivot(index="task", columns="source", values=name).to_numpy() for name in (measure, "gain"))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    picks = np.random.default_rng(0).integers(len(x), size=(draws, len(x)))
    values = [np.corrcoef(x[pick].ravel(), y[pick].ravel())[0, 1] for pick in picks]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(np.corrcoef(x.ravel(), y.ravel())[0, 1]), float(low), float(high), len(x))
