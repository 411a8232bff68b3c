"""Runs in processes of their own: what goes wrong in one becomes its row, and the others go on."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pickle
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from inspect import isgenerator
from pathlib import Path
from typing import Any

import torch
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend.reduction import dumps

from transfer_utils.stats.tables import COUNT, JOB, MEASURED, Row, as_scalar, job_key, to_cell

Runs = Generator[list[Row], None, None]
RESERVED = ("error", "peak_mb", "versions", JOB, COUNT)  # columns that a sweep fills itself
LONGEST = 2000  # characters of an error that a row keeps
# Workers compute on one core each; numpy's libraries ask for the number when they are loaded.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def pack(function: Callable[..., list[Row]]) -> bytes:
    """The function as bytes that run() reads in another process. ValueError for one that cannot go there."""
    if not callable(function):
        raise ValueError(f"sweep() got the function {function!r}; give it one that takes a job's settings.")
    try:
        return bytes(dumps(function))
    except Exception as error:  # pickle raises many kinds
        raise ValueError(
            f"sweep() cannot hand {function!r} to other processes ({describe(error)}). Write it into a file of its "
            "own, and let it open there what it needs."
        ) from error


def on_this_machine(packed: bytes, jobs: list[Row], workers: int) -> Runs:
    """The rows of each job as it ends. A job whose process dies twice, the second time alone, gives an error row."""
    left = deque(jobs)
    while left:
        running: dict[Future, Row] = {}
        try:
            yield from _until_one_dies(packed, left, running, min(workers, len(left)))
        except BrokenProcessPool:
            # Any of them may have torn down the others.
            for job in running.values():
                yield _alone(packed, job)


def _until_one_dies(packed: bytes, left: deque[Row], running: dict[Future, Row], workers: int) -> Runs:
    with _pool(workers) as pool:
        while left or running:
            while left and len(running) < workers:
                running[_begin(pool, packed, left[0])] = left[0]
                left.popleft()
            ended = wait(running, return_when=FIRST_COMPLETED).done
            for future in sorted(ended, key=lambda future: future.exception() is not None):
                rows = future.result()
                del running[future]
                yield rows


def _begin(pool: ProcessPoolExecutor, packed: bytes, job: Row) -> Future:
    future = pool.submit(run, packed, job)
    # Shut down before it has taken a run over, loky's thread ends with a KeyError, and its processes go on.
    while not (future.running() or future.done()):
        time.sleep(0.001)
    return future


def _alone(packed: bytes, job: Row) -> list[Row]:
    try:
        with _pool(1) as pool:
            return _begin(pool, packed, job).result()
    except BrokenProcessPool as error:
        return failed(job, error)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, env=ONE_THREAD)
    try:
        yield pool
    finally:
        pool.shutdown(kill_workers=True)  # after an interrupt nobody wants to wait for what still runs


def on_ray(packed: bytes, jobs: list[Row], workers: int) -> Runs:
    """The same on a Ray cluster. A job whose process or machine is lost is tried again by Ray, three times."""
    # Not through joblib's Ray backend: it hands out nothing before the last run has ended.
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers, include_dashboard=False)
    remote, left = ray.remote(run), deque(jobs)
    running: dict[Any, Row] = {}
    while left or running:
        while left and len(running) < workers:
            job = left.popleft()
            running[remote.remote(packed, job)] = job
        (ended,), _ = ray.wait(list(running))
        job = running.pop(ended)
        try:
            rows = ray.get(ended)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            rows = failed(job, error)
        yield rows


# --- one run --------------------------------------------------------------------------------------------------------


def run(packed: bytes, job: Row) -> list[Row]:
    """The rows of one job, measured; one row with its `error` where anything but an interrupt ended it."""
    torch.set_num_threads(1)
    _forget_peak()
    started = time.perf_counter()
    try:
        function = pickle.loads(packed)
        rows = _rows(getattr(function, "__name__", "The function"), function(**job), job)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a run among hundreds: its row says what went wrong, and the others go on
        rows = [{"error": describe(error)}]
    return _labelled(job, rows, round(time.perf_counter() - started, 2), _peak_mb())


def failed(job: Row, error: BaseException) -> list[Row]:
    """The row of a job whose process did not come back."""
    return _labelled(job, [{"error": describe(error)}], None, None)


def _labelled(job: Row, rows: list[Row], seconds: float | None, peak_mb: int | None) -> list[Row]:
    measured = dict(zip(MEASURED, (seconds, peak_mb, _versions()), strict=True))
    return [{**job, **measured, JOB: job_key(job), COUNT: len(rows), **row} for row in rows]


def _rows(name: str, found: Any, job: Row) -> list[Row]:
    """What a function returned, as rows of scalars. TypeError or ValueError for what is no list of rows."""
    if not (isinstance(found, list | tuple) or isgenerator(found)):
        raise TypeError(f"{name}() returned a {type(found).__name__}; it must return a list of rows, each a dict.")
    rows = [_row(name, row, job) for row in found]
    if not rows:
        raise ValueError(f"{name}() returned no rows; it must return a list of at least one.")
    return rows


def _row(name: str, row: Any, job: Row) -> Row:
    if not isinstance(row, Mapping):
        raise TypeError(f"{name}() returned a {type(row).__name__} among its rows; each must be a dict.")
    cells = {column: _scalar(name, column, value) for column, value in row.items()}
    for column, value in cells.items():
        if column in RESERVED:
            raise ValueError(f"{name}() returned the column {column!r}, which a sweep fills itself; rename it.")
        if column in job and to_cell(value) != to_cell(job[column]):
            raise ValueError(f"{name}() returned {column}={value!r} for a job with {job[column]!r}; rename it.")
    return cells


def _scalar(name: str, column: Any, value: Any) -> Any:
    if not is_name(column):
        raise TypeError(f"{name}() returned the column {column!r}; a column's name must be printable text.")
    try:
        scalar = as_scalar(value)
        to_cell(scalar)
    except Exception as error:  # whatever a stranger's value raises
        raise TypeError(f"{name}() returned under {column!r} what no row can hold: {error}") from error
    return scalar


def is_name(column: object) -> bool:
    """Whether this can head a column, in one line of a file."""
    return isinstance(column, str) and column.isprintable() and column.strip() != ""


def describe(error: BaseException) -> str:
    """An error in one line."""
    try:
        words = f"{type(error).__name__}: {error}"
    except BaseException as second:  # its own words are broken
        words = f"{type(error).__name__}: its message cannot be shown ({type(second).__name__})"
    return " ".join(words.split())[:LONGEST]


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
    """What computed, each with its version: OpenVINO too, which runs long passes where it is installed."""
    there = (name for name in ("transfer_utils", "torch", "torchvision", "openvino") if importlib.util.find_spec(name))
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in there)
