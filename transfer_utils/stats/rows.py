"""Stored rows, and what is selected, paired and summed up from them."""

import pandas as pd

from transfer_utils import machine
from transfer_utils.machine import unknown
from transfer_utils.stats.intervals import Interval, mean_interval


def results(name: str) -> pd.DataFrame:
    """The stored rows behind a lesson's claims, for example results("lesson02"): one row per run."""
    folder = machine.shipped_folder() / "results"
    if not (folder / f"{name}.csv").is_file():
        raise unknown("stored result", name, sorted(path.stem for path in folder.glob("*.csv")))
    return pd.read_csv(folder / f"{name}.csv")


def paired_difference(rows: pd.DataFrame, better: str, worse: str, value: str = "test", **where) -> Interval:
    """Mean and interval of the per-seed differences `value` of method `better` minus `worse`, on the rows where ...

    rows: columns method, seed and those named in where. ValueError when the two methods' seeds differ.
    """
    kept = select(rows, **where)
    first, second = (kept[kept["method"] == name].set_index("seed")[value].sort_index() for name in (better, worse))
    if not first.index.equals(second.index) or first.index.has_duplicates or first.empty:
        raise ValueError(
            f"{better!r} has seeds {list(first.index)} and {worse!r} has {list(second.index)}; "
            "a paired difference needs the same seeds, each once. Name more columns to select by."
        )
    return mean_interval(first - second)


def select(rows: pd.DataFrame, **where) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    return rows


def summarise(rows: pd.DataFrame, *columns: str, value: str = "test") -> pd.DataFrame:
    """One line per combination of columns: mean, low, high and n of the value over its rows."""
    records = []
    for key, group in rows.groupby(list(columns), sort=False):
        interval = mean_interval(group[value])
        records.append({**dict(zip(columns, key, strict=True)), **vars(interval)})
    return pd.DataFrame(records)


def stack(*tables: pd.DataFrame) -> pd.DataFrame:
    """Several tables of rows below each other, with the columns that all of them have."""
    return pd.concat(tables, join="inner", ignore_index=True)


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """The names that no other point beats: {name: (cost, accuracy)}; cheapest first."""
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front
