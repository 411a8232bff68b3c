"""Runs through worker processes, each finished one appended at once, so that a restart skips what is done."""

import contextlib
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from tqdm import tqdm

from transfer_utils.machine import unknown, write_atomically

Row = dict[str, Any]
SEEDS = range(5)


def sweep(
    path: Path, function: Callable[..., list[Row]], jobs: Iterable[Row], workers: int = 2, backend: str = "loky"
) -> pd.DataFrame:
    """Rows of function(**job) for every job, appended to a CSV file as each job ends. Returns all rows, sorted.

    A row holds its job's settings, what the function measured, seconds, peak_mb (the worker's largest memory, Python
    and torch included) and versions. Jobs whose settings are in the file are skipped. One that raises gives a row
    with its `error`, the sweep goes on, and the next call tries it again. function must be importable, and jobs must
    all have the same settings. backend: 'loky' for processes on this machine, 'ray' for a Ray cluster.
    ValueError for no jobs, uneven or repeated jobs; RuntimeError while another sweep writes to the same file.
    """
    jobs = list(jobs)
    _check(jobs, backend)
    settings = list(jobs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Held by the system for this process: it ends with it, even when the process is killed.
        with FileLock(f"{path}.lock", timeout=0):
            done = _finished(path, settings)
            missing = [job for job in jobs if _key(job) not in done]
            runs = BACKENDS[backend](function, missing, workers)
            for rows in tqdm(runs, total=len(missing), desc=path.stem, unit="run", disable=not missing):
                _append(path, rows, settings)
    except Timeout:
        raise RuntimeError(
            f"Another sweep is writing to {path}. Wait until it ends, or give this one a file of its own."
        ) from None
    table = pd.read_csv(path).sort_values(settings, kind="stable", ignore_index=True)
    return table.dropna(axis="columns", how="all")


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that raised."""
    return rows[rows["error"].notna()] if "error" in rows else rows.iloc[:0]


def _check(jobs: list[Row], backend: str) -> None:
    if not jobs:
        raise ValueError("sweep() got no jobs; give it at least one, for example [{'seed': 0}].")
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    seen = set()
    for job in jobs:
        if list(job) != list(jobs[0]):
            raise ValueError(f"sweep() got settings {list(job)} after {list(jobs[0])}; all jobs need the same ones.")
        if _key(job) in seen:
            raise ValueError(f"sweep() got the job {job} twice; leave one out.")
        seen.add(_key(job))


def _on_this_machine(function: Callable[..., list[Row]], jobs: list[Row], workers: int) -> Iterator[list[Row]]:
    yield from Parallel(workers, return_as="generator_unordered")(delayed(_run)(function, job) for job in jobs)


def _on_ray(function: Callable[..., list[Row]], jobs: list[Row], workers: int) -> Iterator[list[Row]]:
    # Not through joblib's Ray backend: it hands out nothing before the last run has ended.
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers, include_dashboard=False)
    run, left = ray.remote(_run), list(reversed(jobs))
    waiting: list[Any] = []
    while left or waiting:
        while left and len(waiting) < workers:
            waiting.append(run.remote(function, left.pop()))
        ended, waiting = ray.wait(waiting)
        yield ray.get(ended[0])


BACKENDS = {"loky": _on_this_machine, "ray": _on_ray}


def _finished(path: Path, settings: list[str]) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    cells = _cells(path)
    ended = cells[cells["error"] == ""] if "error" in cells else cells
    return set(_keys(ended, settings))


def _append(path: Path, rows: list[Row], settings: list[str]) -> None:
    # The whole file again, since jobs may give different columns: a line at the end would land under wrong headings.
    table = pd.DataFrame(rows, dtype=object)  # beside rows without a column, whole numbers would become 1.0
    if path.exists():
        kept = _cells(path)
        if "error" in kept:  # an earlier try of this job gives way
            this = _key({name: rows[0][name] for name in settings})
            others = [key != this for key in _keys(kept, settings)]
            kept = kept[(kept["error"] == "").to_numpy() | others]
        table = pd.concat([kept, table], ignore_index=True)
    write_atomically(path, table.to_csv(index=False).encode())


def _keys(cells: pd.DataFrame, settings: list[str]) -> list[tuple[str, ...]]:
    return list(cells.reindex(columns=settings, fill_value="").itertuples(index=False, name=None))


def _cells(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _key(job: Row) -> tuple[str, ...]:
    """A job's settings as they stand in the file."""
    return tuple("" if value is None else str(value) for value in job.values())


def _run(function: Callable[..., list[Row]], job: Row) -> list[Row]:
    # Imported here: the parent may only look at rows, and a worker needs its own thread setting anyway.

    torch.set_num_threads(1)
    _forget_peak()
    started = time.perf_counter()
    try:
        rows = function(**job)
        if not rows:
            raise ValueError(f"{function.__name__}() returned no rows; it must return a list of at least one.")
    except Exception as error:  # a run among hundreds: its row says what went wrong, and the others go on
        # In one line: a lone carriage return would end the row for some readers of the file.
        rows = [{"error": " ".join(f"{type(error).__name__}: {error}".split())}]
    seconds = round(time.perf_counter() - started, 2)
    measured = {"seconds": seconds, "peak_mb": _peak_mb(), "versions": _versions()}
    return [{**job, **measured, **row} for row in rows]


def _forget_peak() -> None:
    # Linux keeps one peak for the whole life of a process, and a worker makes many runs. Some containers forbid it.
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _peak_mb() -> int | None:
    """The largest memory of this process in MB: of this run on Linux, since its start on macOS, None elsewhere."""
    if sys.platform == "linux":
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        return int(found[1]) // 1024 if found else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20
    return None


def _versions() -> str:
    packages = {name: importlib.metadata.version(name) for name in ("transfer_utils", "torch", "torchvision")}
    return " ".join(f"{name} {version}" for name, version in packages.items())


def result_row(valid: float, test: float, seconds: float | None, **chosen: Any) -> Row:
    row = {"valid": round(valid, 4), "test": round(test, 4)}
    if seconds is not None:
        row["seconds"] = round(seconds, 2)
    return {**row, **chosen}
