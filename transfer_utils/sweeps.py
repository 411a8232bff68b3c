"""Runs through worker processes, each finished one appended at once, so that a restart skips what is done."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from transfer_utils.checkpoints import write_atomically

Row = dict[str, Any]


def sweep(path: Path, function: Callable[..., list[Row]], jobs: Iterable[Row], workers: int = 2) -> pd.DataFrame:
    """Rows of function(**job) for every job; each row also holds its job's settings. Returns all rows, sorted.

    path: a CSV file; jobs whose settings are in it already are skipped. function must be importable.
    """
    jobs = list(jobs)
    done = _settings_in(path, list(jobs[0]))
    missing = [job for job in jobs if tuple(map(_cell, job.values())) not in done]
    runs = Parallel(n_jobs=workers, return_as="generator_unordered")(delayed(_run)(function, job) for job in missing)
    path.parent.mkdir(parents=True, exist_ok=True)
    for rows in tqdm(runs, total=len(missing), desc=path.stem, unit="run"):
        _append(path, pd.DataFrame(rows))
    return pd.read_csv(path).sort_values(list(jobs[0]), kind="stable", ignore_index=True)


def _settings_in(path: Path, columns: list[str]) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    return set(_cells(path)[columns].itertuples(index=False, name=None))


def _append(path: Path, rows: pd.DataFrame) -> None:
    # The whole file again, since jobs may give different columns: a line at the end would land under wrong headings.
    table = pd.concat([_cells(path), rows], ignore_index=True) if path.exists() else rows
    write_atomically(path, table.to_csv(index=False).encode())


def _cells(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _run(function: Callable[..., list[Row]], job: Row) -> list[Row]:
    # Imported here: the parent may only look at rows, and a worker needs its own thread setting anyway.
    import torch

    torch.set_num_threads(1)
    return [{**job, **row} for row in function(**job)]
