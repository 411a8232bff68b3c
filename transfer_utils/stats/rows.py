"""Stored rows, and what is selected, paired and summed up from them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from transfer_utils import machine
from transfer_utils.machine import unknown
from transfer_utils.stats.intervals import Interval, mean_interval

Side = str | Mapping[str, Any]  # a method, or the value that each of these columns has


def results(name: str) -> pd.DataFrame:
    """The stored rows behind a lesson's claims, for example results("lesson02"): one row per run."""
    folder = machine.shipped_folder() / "results"
    if not (folder / f"{name}.csv").is_file():
        raise unknown("stored result", name, sorted(path.stem for path in folder.glob("*.csv")))
    return pd.read_csv(folder / f"{name}.csv")


def difference(rows: pd.DataFrame, first: Side, second: Side, value: str = "test") -> Interval:
    """Mean and interval of the per-seed differences of a column, the first side's rows minus the second's.

    first, second: which rows, as {column: value}, for example {"source": "both", "method": "full"}; a string is short
    for {"method": string}. Select the setting that both sides share beforehand. ValueError as for paired().
    """
    return mean_interval(differences(rows, first, second, value))


def differences(rows: pd.DataFrame, first: Side, second: Side, value: str = "test") -> list[float]:
    """The first side's column minus the second's, one for each seed. Sides and errors as for difference()."""
    one, other = paired(rows, first, second, [value])
    return (one[value] - other[value]).tolist()


def paired(rows: pd.DataFrame, first: Side, second: Side, values: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """These columns of both sides' rows, by seed and in the same order; the sides are named as for difference().

    ValueError for an unknown column or value, for a side without a row or with a seed twice, and for other seeds.
    """
    one, other = (_by_seed(rows, side, values) for side in (first, second))
    if not one.index.equals(other.index):
        raise ValueError(
            f"The seeds differ: {first!r} has {list(one.index)} and {second!r} has {list(other.index)}; "
            "a difference needs the same seeds on both sides. Select the seeds that both have."
        )
    return one, other


def _by_seed(rows: pd.DataFrame, side: Side, values: list[str]) -> pd.DataFrame:
    found = _matching(rows, {"method": side} if isinstance(side, str) else side, values).set_index("seed").sort_index()
    if found.index.has_duplicates:
        raise ValueError(
            f"{side!r} has the seeds {list(found.index)}; a difference needs each seed once. "
            "Name more columns, or select by them beforehand."
        )
    return found[values]


def _matching(rows: pd.DataFrame, wanted: Mapping[str, Any], values: list[str]) -> pd.DataFrame:
    for column in (*wanted, *values, "seed"):
        if column not in rows:
            raise unknown("column", column, map(str, rows))
    found = select(rows, **wanted)
    for column, value in wanted.items():
        if found.empty and value not in set(rows[column]) and len(rows):
            raise unknown(column, value, map(str, rows[column].unique()))
    if found.empty:
        raise ValueError(
            f"None of the {len(rows)} rows has {dict(wanted)}; a difference needs one for each seed. "
            "Change a value, or what was selected beforehand."
        )
    return found


def select(rows: pd.DataFrame, **where: object) -> pd.DataFrame:
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


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """The names that no other point beats: {name: (cost, accuracy)}; cheapest first."""
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front
