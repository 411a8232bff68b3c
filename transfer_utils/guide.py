"""What the rows of the grid say: gains, crossings, costs, and advice. Another table of rows gives other answers."""

import math
from typing import Any

import numpy as np
import pandas as pd

from transfer_utils import stats
from transfer_utils.errors import unknown
from transfer_utils.stats import Interval
from transfer_utils.tradeoffs import COURSE

SIMILAR = {"vehicles": "vehicles", "animals": "animals"}  # a source, and the target that is like it


def gain(
    rows: pd.DataFrame, source: str, target: str, method: str, per_class: int, network: str = COURSE, over="scratch"
) -> Interval:
    """Accuracy on test photos minus that of the same network from scratch, on the same draws.

    rows: one for each seed, as tradeoffs.chosen gives them. over: 'scratch', or 'scratch, longer'.
    """
    setting: dict[str, Any] = {"network": network, "target": target, "per_class": per_class}
    return _minus(_by_seed(rows, source=source, method=method, **setting), _by_seed(rows, method=over, **setting))


def interaction(rows: pd.DataFrame, method: str, per_class: int) -> Interval:
    """What similarity is worth at equal amount: the gain from the similar source minus that from the other one.

    The mean over both targets. Scratch cancels out, and so does a source or target that is good for everything.
    """
    accuracy = {
        (source, target): _by_seed(
            rows, network=COURSE, source=source, target=target, method=method, per_class=per_class
        )
        for source in SIMILAR
        for target in SIMILAR.values()
    }
    _same_seeds(*accuracy.values())
    terms = [values if target == SIMILAR[source] else -values for (source, target), values in accuracy.items()]
    return stats.mean_interval(sum(terms) / len(SIMILAR))


def photos_needed(
    rows: pd.DataFrame, source: str, target: str, method: str, per_class: int, over: str = "scratch"
) -> tuple[Interval, int]:
    """Photos per class with which scratch is as good as `method` with per_class; and how many seeds never got there.

    over: 'scratch', or 'scratch, longer'.

    Read off between the stored sizes on a logarithmic scale; a seed that never got there counts with the largest
    size, and one that is better with the smallest counts with that. The interval is that of the logarithm.
    """
    level = _by_seed(rows, network=COURSE, source=source, target=target, method=method, per_class=per_class)
    scratch = stats.select(rows, network=COURSE, target=target, method=over)
    curves = scratch.pivot_table(index="seed", columns="per_class", values="test")
    _same_seeds(level, curves)
    # A draw can be unlucky: the best so far makes the curve rise, so that it crosses a level once.
    curves = curves.cummax(axis=1)
    sizes = np.log(curves.columns.to_numpy(dtype=float))
    logs = [np.interp(-want, -curve[::-1], sizes[::-1]) for want, curve in zip(level, curves.to_numpy(), strict=True)]
    missed = int((level > curves.iloc[:, -1]).sum())
    return _exp(stats.mean_interval(logs)), missed


def work_saved(rows: pd.DataFrame, source: str, target: str, per_class: int) -> tuple[Interval, int]:
    """How many times sooner full fine-tuning is as good as scratch ever gets; and in how many seeds it never is.

    Counted in looks at the same valid photos. Both train the whole network for as many steps, so that the ratio holds
    for operations and for time, however busy the machine was. A seed that never gets there counts as if it got there
    with its last step: its true ratio is lower. The interval is that of the logarithm.
    """
    setting: dict[str, Any] = {"network": COURSE, "target": target, "per_class": per_class}
    slow = _by_seed(rows, "looks", source="scratch", method="scratch", **setting).map(_accuracies)
    fast = _by_seed(rows, "looks", source=source, method="full", **setting).map(_accuracies)
    _same_seeds(fast, slow)
    logs, missed = [], 0
    for before, after in zip(slow, fast, strict=True):
        reached = [look for look, accuracy in enumerate(after, start=1) if accuracy >= max(before)]
        missed += not reached
        logs.append(math.log((before.index(max(before)) + 1) / min(reached, default=len(after))))
    return _exp(stats.mean_interval(logs)), missed


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """The names that no other point beats: {name: (cost, accuracy)}; cheapest first."""
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front


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
    part = part[(part["source"] == source) | part["method"].isin(["scratch", "scratch, longer"])]
    groups = dict(list(part.groupby("method", sort=False)))
    best = max(groups, key=lambda method: groups[method]["valid"].mean())
    lines = []
    for method, group in groups.items():
        behind = 0.0 if method == best else _minus(_by_seed(groups[best], "valid"), _by_seed(group, "valid")).low
        cost = {"flops": int(group["flops"].iloc[0]), "seconds": group["seconds"].median()}
        score = vars(stats.mean_interval(group["test"]))
        lines.append({"method": method, **score, **cost, "valid": group["valid"].mean(), "as good": behind <= 0})
    table = pd.DataFrame(lines).sort_values("valid", ascending=False, ignore_index=True)
    table["pick"] = table.index == table[table["as good"]]["flops"].idxmin()
    return table


def _by_seed(rows: pd.DataFrame, value: str = "test", **where) -> pd.Series:
    found = stats.select(rows, **where).set_index("seed")[value].sort_index()
    if found.empty or found.index.has_duplicates:
        raise ValueError(f"There are {len(found)} rows for {where}; a comparison needs one for each seed.")
    return found


def _minus(first: pd.Series, second: pd.Series) -> Interval:
    _same_seeds(first, second)
    return stats.mean_interval(first - second)


def _same_seeds(first: pd.Series | pd.DataFrame, *others: pd.Series | pd.DataFrame) -> None:
    for other in others:
        if not first.index.equals(other.index):
            raise ValueError(f"The seeds differ: {list(first.index)} and {list(other.index)}; a pair needs both.")


def _exp(log: Interval) -> Interval:
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high), log.n)


def _accuracies(looks: str) -> list[float]:
    """Of 'seconds:accuracy seconds:accuracy ...'."""
    return [float(look.partition(":")[2]) for look in looks.split()]
