import threading
from collections import UserDict
from functools import partial

import numpy as np
import pandas as pd
import pytest
import stub_jobs
import torch

from transfer_utils.stats import workers

JOB = {"seed": 1, "method": "full"}


def rows_of(function, job=JOB) -> list[dict]:
    return workers.run(workers.pack(function), job)


def returning(value):
    def run(seed, method):
        return value

    return run


def raising(error):
    def run(seed, method):
        raise error

    return run


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Unsendable(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


class Exiting(Exception):
    def __str__(self):
        raise SystemExit


def half_way(seed, method):
    yield {"test": 1}
    raise ValueError("half-way")


async def later(seed, method):
    return [{"test": 1}]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "run() returned a NoneType; it must return a list of rows, each a dict"),
        ({"test": 1}, "run() returned a dict; it must"),
        (pd.DataFrame({"test": [1]}), "run() returned a DataFrame; it must"),
        ("test", "run() returned a str; it must"),
        (0.9, "run() returned a float; it must"),
        (torch.ones(2), "run() returned a Tensor; it must"),
        ([], "run() returned no rows; it must return a list of at least one"),
        ([None], "run() returned a NoneType among its rows; each must be a dict"),
        ([{"test": 1}, ["test", 1]], "run() returned a list among its rows"),
        ([pd.Series({"test": 1})], "run() returned a Series among its rows"),
        ([{1: 2}], "run() returned the column 1; a column's name must be printable text"),
        ([{None: 2}], "run() returned the column None;"),
        ([{"": 2}], "run() returned the column '';"),
        ([{"two\nlines": 2}], r"run() returned the column 'two\nlines';"),
        ([{"test": [1, 2]}], "run() returned under 'test' what no row can hold: a list cannot stand in a cell"),
        ([{"test": {"a": 1}}], "run() returned under 'test' what no row can hold: a dict"),
        ([{"test": torch.ones(2, 3)}], "what no row can hold: a Tensor of shape (2, 3) cannot stand in a cell"),
        ([{"test": np.ones(2)}], "what no row can hold: a ndarray of shape (2,) cannot"),
        ([{"test": torch.ones(1, device="meta")}], "run() returned under 'test' what no row can hold"),
        ([{"test": threading.Lock}], "run() returned under 'test' what no row can hold"),
        ([{"test": 10**5000}], "run() returned under 'test' what no row can hold"),
        ([{"seed": 2}], "run() returned seed=2 for a job with 1; rename it"),
        ([{"seed": "1"}], "run() returned seed='1' for a job with 1"),
        ([{"test": 1}, {"method": None}], "run() returned method=None for a job with 'full'"),
        ([{"error": "mine"}], "run() returned the column 'error', which a sweep fills itself; rename it"),
        ([{"error": None}], "run() returned the column 'error'"),
        ([{"versions": "2"}], "run() returned the column 'versions'"),
        ([{"peak_mb": 2}], "run() returned the column 'peak_mb'"),
        ([{"job": "nurse"}], "run() returned the column 'job'"),
    ],
)
def test_what_is_no_list_of_rows_is_an_error(value, words):
    (row,) = rows_of(returning(value))
    assert words in row["error"]
    assert (row["seed"], row["method"]) == (1, "full")


@pytest.mark.parametrize(
    "value",
    [[{"test": 1}], ({"test": 1},), (row for row in [{"test": 1}]), [UserDict(test=1)], [{"seed": 1, "test": 1}]],
)
def test_what_is_a_list_of_rows_is_taken(value):
    (row,) = workers._labelled(JOB, workers._rows("run", value, JOB), 0.5, 9)
    assert {name: row[name] for name in ("seed", "method", "seconds", "peak_mb", "test")} == {
        **JOB,
        "seconds": 0.5,
        "peak_mb": 9,
        "test": 1,
    }


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raising(ValueError("two\n lines")), "ValueError: two lines"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(GeneratorExit()), "GeneratorExit:"),
        (raising(BaseException("base")), "BaseException: base"),
        (raising(Speechless()), "Speechless: its message cannot be shown (RuntimeError)"),
        (raising(Exiting()), "Exiting: its message cannot be shown (SystemExit)"),
        (half_way, "ValueError: half-way"),
        (later, "TypeError: later() returned a coroutine"),
        (partial(stub_jobs.nothing), "TypeError: nothing() got an unexpected keyword"),
        (dict, "TypeError: dict() returned a dict"),
        (len, "TypeError: len() takes no keyword arguments"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_whatever_ends_a_run_is_its_row(function, words):
    (row,) = rows_of(function)
    assert words in row["error"]
    assert row["seconds"] >= 0


def test_an_error_that_cannot_be_sent_is_its_row():
    def run(seed, method):
        raise Unsendable("no way")

    assert rows_of(run)[0]["error"] == "Unsendable: no way"


def test_a_function_that_the_worker_cannot_import_is_an_error():
    (row,) = workers.run(b"cno_such_module\nrun\n.", JOB)
    assert row["error"] == "ModuleNotFoundError: No module named 'no_such_module'"


def test_an_interrupt_stops_everything():
    with pytest.raises(KeyboardInterrupt):
        rows_of(raising(KeyboardInterrupt()))


@pytest.mark.parametrize(
    "function", [None, "run", 3, [len], threading.Lock().acquire, partial(print, threading.Lock())]
)
def test_a_function_that_cannot_be_handed_on_is_refused(function):
    with pytest.raises(
        ValueError, match=r"sweep\(\) (got the function .*; give it|cannot hand .* Write it into a file)"
    ):
        workers.pack(function)
