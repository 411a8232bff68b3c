"""A sweep's CSV file: every value comes back as it went in, and a file that is somebody else's stays as it is."""

import contextlib
import csv
import io
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from transfer_utils.machine import write_atomically

Row = dict[str, Any]
MEASURED = ("seconds", "peak_mb", "versions")  # what a sweep itself says of every run
JOB, COUNT = "job", "job_rows"  # the settings of the run as JSON, and how many rows it gave; not in the returned table
PLAIN = {"": None, "True": True, "False": False, "TRUE": True, "FALSE": False}  # spreadsheets write capitals
WHOLE = re.compile(r"0|-?[1-9][0-9]*")
# Exponents have a sign, as Python writes them: hexadecimal digests such as 123e45678901 stay text.
NUMBER = re.compile(r"-?([0-9]+\.[0-9]*|[0-9]+(\.[0-9]*)?[eE][+-][0-9]{1,3})|nan|-?inf")
DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
csv.field_size_limit(2**31 - 1)  # else texts of more than 128 KiB could be written, but not read


# --- cells ----------------------------------------------------------------------------------------------------------


def as_scalar(value: Any) -> Any:
    """A value as Python's own text, whole number, number, True, False or None; torch's and numpy's scalars too.

    TypeError for everything else: it cannot stand in a cell of a table.
    """
    if hasattr(value, "item") and all(size == 1 for size in value.shape):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    what = f"a {type(value).__name__}" + (f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else "")
    raise TypeError(f"{what} cannot stand in a cell; give a text, a number, True, False or None.")


def to_cell(value: Any) -> str:
    """A scalar as it stands in the file; a text that would be read as something else becomes a JSON string."""
    if not isinstance(value, str):
        return "" if value is None else repr(value)
    looks_like_itself = from_cell(value) == value and not DECIMAL_COMMA.fullmatch(value)
    # Without line breaks in texts, a row is a line, and what is torn ends with its line.
    return value if looks_like_itself and value.isprintable() else json.dumps(value)


def from_cell(cell: str) -> Any:
    """The scalar behind a cell, see to_cell."""
    if cell in PLAIN:
        return PLAIN[cell]
    if cell.startswith('"'):
        with contextlib.suppress(ValueError):
            return json.loads(cell)
    if WHOLE.fullmatch(cell):
        with contextlib.suppress(ValueError):  # more digits than Python turns into a number
            return int(cell)
    return float(cell) if NUMBER.fullmatch(cell) else cell


def job_key(job: Row) -> str:
    """A job's settings as one text, the same in whatever order they come."""
    return json.dumps(job, sort_keys=True)


def job_of(row: Row, settings: list[str]) -> str:
    """The key of the job that a row is from. Rows of older versions do not name it: their cells say it."""
    return row.get(JOB) or job_key({name: row.get(name) for name in settings})


# --- files ----------------------------------------------------------------------------------------------------------


def read(path: Path, settings: list[str]) -> list[Row]:
    """The rows of a sweep's file; [] where nothing is yet. Damaged lines are left out, and said.

    ValueError for a file that sweep() did not write, that a spreadsheet changed too much, or that an older version
    wrote for other settings.
    """
    header, lines = _lines(path, settings)
    rows, damaged = [], []
    for number, cells in lines:
        row = _row(header, cells) if cells and len(cells) == len(header) else None
        if row is None:
            damaged.append(str(number))
        else:
            rows.append(row)
    if damaged:
        print(f"{path}: line {', '.join(damaged)} is damaged and is left out. Its run is made again.", file=sys.stderr)
    _refuse_decimal_commas(path, header, lines)
    if settings_missing := [name for name in settings if rows and JOB not in header and name not in header]:
        raise ValueError(
            f"{path} has no column {settings_missing[0]!r}, and does not say which jobs its rows are from: an older "
            "version wrote it, for jobs with other settings. Give this sweep a path of its own."
        )
    return rows


def write(path: Path, rows: list[Row]) -> None:
    """Replace the file by these rows, in one step. Columns stand in the order in which they first come."""
    columns = _columns(rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([to_cell(row.get(name)) for name in columns] for row in rows)
    write_atomically(path, text.getvalue().encode())


def as_table(rows: list[Row], settings: list[str]) -> pd.DataFrame:
    """The rows, sorted by settings: these first, then seconds, peak_mb and versions, then what was measured.

    Values keep their types, but for measured numbers with gaps, which are float64. Columns of gaps are left out.
    """
    rows = sorted(rows, key=lambda row: [_rank(row.get(name)) for name in settings])
    names = dict.fromkeys([*settings, *MEASURED, *_columns(rows)])
    columns = {name: [row.get(name) for row in rows] for name in names if name not in (JOB, COUNT)}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=_dtype(values, exact=name in settings))
            for name, values in columns.items()
            if name in settings or any(value is not None for value in values)
        }
    )


def _columns(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _dtype(values: list[Any], exact: bool) -> type | None:
    """object where pandas would turn one of these values into another type, for example None beside texts into NaN.

    exact: also 1 beside None into 1.0.
    """
    kinds = {type(value) for value in values}
    return None if len(kinds) == 1 or (kinds <= {int, float, type(None)} and not exact) else object


def _rank(value: Any) -> tuple[int, Any]:
    """A key that sorts numbers before texts before gaps, whatever stands beside what."""
    if value is None or value != value:
        return 2, value is None
    return (1, value) if isinstance(value, str) else (0, value)


def _lines(path: Path, settings: list[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the cells of every other line with its number; no cells where they are torn."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Give the path of a file, for example {path / 'rows.csv'}.")
    try:
        text = path.read_text(encoding="utf-8-sig") if path.exists() else ""  # utf-8-sig: spreadsheets write a mark
    except UnicodeDecodeError:
        raise _foreign(path) from None
    lines = [line for line in enumerate(text.split("\n"), start=1) if line[1].strip(' \t",;\0')]
    if not lines:
        if text.strip():
            raise _foreign(path)
        return [], []
    header, mark = _header(path, lines[0][1], settings if len(lines) == 1 else [])
    cells = [(number, _cells(line, mark)) for number, line in lines[1:]]
    if cells and not text.endswith("\n"):
        cells[-1] = (cells[-1][0], [])  # its last cell may have been cut short
    return header, cells


def _header(path: Path, line: str, enough: list[str]) -> tuple[list[str], str]:
    """The names of the columns, and what stands between them: a spreadsheet may have saved semicolons or tabs.

    enough: where these are among the names, the file is a sweep's, too.
    """
    for mark in ",;\t":
        names = _cells(line, mark)
        known = {"seconds", "versions"} <= set(names) or (enough and set(enough) <= set(names))
        if known and len(set(names)) == len(names):
            return names, mark
    raise _foreign(path)


def _cells(line: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mark, strict=True))
    except csv.Error:  # a quote that does not end
        return []


def _row(header: list[str], cells: list[str]) -> Row | None:
    """The row in these cells, None where its job cannot be read."""
    row = {name: from_cell(cell) for name, cell in zip(header, cells, strict=True)}
    if row.get(JOB) is None:
        return row
    try:
        job = json.loads(row[JOB])
    except (TypeError, ValueError):
        return None
    return (
        {**row, **job, JOB: job_key(job)} if isinstance(job, dict) and isinstance(row.get(COUNT), int | float) else None
    )


def _refuse_decimal_commas(path: Path, header: list[str], lines: Iterable[tuple[int, list[str]]]) -> None:
    for _, cells in lines:
        for name, cell in zip(header, cells, strict=False):
            if DECIMAL_COMMA.fullmatch(cell):
                raise ValueError(
                    f"{path} has {cell!r} in column {name!r}: a spreadsheet saved it with decimal commas, which may "
                    "also separate thousands. Save it with points, or give this sweep a path of its own."
                )


def _foreign(path: Path) -> ValueError:
    return ValueError(
        f"{path} is not a table that sweep() wrote, and is left as it is. Give this sweep a path of its own."
    )
