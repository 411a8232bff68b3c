"""Runs through worker processes, each finished one stored at once, so that a restart skips what is done."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer_utils.machine import expanded, is_whole, unknown
from transfer_utils.stats.tables import COUNT, MEASURED, Row, as_scalar, as_table, job_key, job_of, read, write
from transfer_utils.stats.workers import RESERVED, is_name, on_ray, on_this_machine, pack

SEEDS = range(5)
BACKENDS = {"loky": on_this_machine, "ray": on_ray}
EXAMPLE = "for example {'seed': 0}"


def sweep(
    path: str | Path, function: Callable[..., list[Row]], jobs: Iterable[Row], workers: int = 2, backend: str = "loky"
) -> pd.DataFrame:
    """Rows of function(**job) for every job, stored in a CSV file as each job ends. Returns all rows, sorted.

    A row holds its job's settings, what the function measured, seconds, peak_mb (the worker's largest memory, Python
    and torch included) and versions; settings and values are text, numbers, True, False or None, and come back as
    such. Jobs that are in the file are skipped. One that raises, returns no list of rows, or takes its process down
    gives a row with its `error`; the sweep goes on, and the next call tries it again. function must be importable, and
    jobs must all have the same settings. Every worker is a process of its own with one thread. backend: 'loky' for
    processes on this machine, 'ray' for a Ray cluster.
    ValueError, before anything runs, for arguments that make no sweep and for a file that is no sweep's;
    RuntimeError while another sweep writes to the same file, which drives without locks do not say; OSError where it
    cannot be written.
    """
    path = expanded(path).resolve()
    todo = _checked(jobs)
    _check_workers(workers, backend)
    packed, settings = pack(function), list(todo[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            rows = read(path, settings)
            done = _finished(rows, settings)
            missing = [job for job in todo if job_key(job) not in done]
            with closing(BACKENDS[backend](packed, missing, workers)) as runs:
                for fresh in tqdm(runs, total=len(missing), desc=path.stem, unit="run", disable=not missing):
                    # An earlier try of this job gives way.
                    rows = [row for row in rows if job_of(row, settings) != job_of(fresh[0], settings)] + fresh
                    write(path, rows)
    except OSError as error:
        raise OSError(
            f"sweep() cannot write to {path} ({error}). What is in it stays. Make room there or allow it, and call "
            "this again, or give another path."
        ) from error
    return as_table(rows, settings)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other sweeps away from this file. The system holds the lock for this process: both end together."""
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"Another sweep is writing to {path}. Wait until it ends, or give this one a file of its own."
        ) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "filename", None) is not None:  # the folder takes no file
            raise
        # This drive has no locks: we go on without.
    try:
        yield
    finally:
        lock.release()


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that raised."""
    return rows[rows["error"].notna()] if "error" in rows else rows.iloc[:0]


def _finished(rows: list[Row], settings: list[str]) -> set[str]:
    """The keys of the jobs that ended well, with all their rows."""
    good = [row for row in rows if row.get("error") is None]
    there = Counter(job_of(row, settings) for row in good)
    return {key for row in good if row.get(COUNT) in (None, there[key := job_of(row, settings)])}


def _check_workers(workers: Any, backend: Any) -> None:
    if not is_whole(workers, 1):
        raise ValueError(f"sweep() got workers={workers!r}; it takes a whole number of processes, 1 or more.")
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)


def _checked(jobs: Any) -> list[Row]:
    """The jobs, their settings as scalars. ValueError for jobs that cannot be swept."""
    if not isinstance(jobs, Iterable):
        raise ValueError(f"sweep() got the jobs {jobs!r}; give it a list of dicts, {EXAMPLE}.")
    checked = [_job(job) for job in jobs]
    if not checked:
        raise ValueError("sweep() got no jobs; give it at least one, for example [{'seed': 0}].")
    seen = set()
    for job in checked:
        if job.keys() != checked[0].keys():
            raise ValueError(f"sweep() got settings {list(job)} after {list(checked[0])}; all jobs need the same ones.")
        if job_key(job) in seen:
            raise ValueError(f"sweep() got the job {job} twice; leave one out.")
        seen.add(job_key(job))
    return checked


def _job(job: Any) -> Row:
    if not isinstance(job, dict) or not job:
        raise ValueError(f"sweep() got the job {job!r}; a job is a dict of settings, {EXAMPLE}.")
    for name in job:
        if not is_name(name):
            raise ValueError(f"sweep() got a setting named {name!r}; a name must be printable text.")
        if name in (*MEASURED, *RESERVED):
            raise ValueError(f"sweep() got a setting named {name!r}, a column that it fills itself; rename it.")
    return {name: _setting(name, value) for name, value in job.items()}


def _setting(name: str, value: Any) -> Any:
    try:
        return as_scalar(value)
    except Exception as error:  # whatever a stranger's value raises
        raise ValueError(f"sweep() got the setting {name}={value!r}: {error}") from error


def result_row(valid: float, test: float, seconds: float | None, **chosen: object) -> Row:
    """A row of accuracies, rounded as they are stored, with what was chosen."""
    row = {"valid": round(valid, 4), "test": round(test, 4)}
    if seconds is not None:
        row["seconds"] = round(seconds, 2)
    return {**row, **chosen}
