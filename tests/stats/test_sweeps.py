import contextlib
import errno
import importlib.util
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest
import stub_jobs
import torch
from filelock import FileLock
from joblib.externals.loky import get_reusable_executor

from transfer_utils.stats import failures, sweep, tables, workers

MEASURED = ["seconds", "peak_mb", "versions"]
PATIENCE = 300  # seconds that a process may take to start: the machine may be busy


@pytest.fixture(autouse=True)
def shared_workers(monkeypatch):
    """Workers take seconds to start: the tests share them, in as far as none dies and no variable differs."""

    @contextlib.contextmanager
    def shared(_: int):
        variables = {**workers.ONE_THREAD, "STUB_ROUND": os.environ.get("STUB_ROUND", "")}
        pool = get_reusable_executor(2, env=variables, timeout=60)
        try:
            yield pool
        except BaseException:
            pool.shutdown(kill_workers=True)
            raise

    monkeypatch.setattr(workers, "_pool", shared)


def jobs(log, sizes=(1, 2), seeds=(0, 1)) -> list[dict]:
    return [{"size": size, "seed": seed, "log": str(log)} for size in sizes for seed in seeds]


def runs(log) -> list[str]:
    return sorted(" ".join(line.split()[:2]) for line in log.read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_runs_once_and_rows_come_back_sorted(tmp_path, workers):
    path, log = tmp_path / "build" / "rows.csv", tmp_path / "log"
    table = sweep(path, stub_jobs.measure, jobs(log, sizes=(10, 2)), workers=workers)
    assert runs(log) == ["10 0", "10 1", "2 0", "2 1"]
    assert list(table.columns) == ["size", "seed", "log", *MEASURED, "part", "test"]
    assert table[["size", "seed", "part"]].values.tolist() == [
        [size, seed, part] for size in (2, 10) for seed in (0, 1) for part in (0, 1)
    ]
    assert table["test"].tolist() == pytest.approx([2.0, 2.1, 3.0, 3.1, 10.0, 10.1, 11.0, 11.1])
    assert {line.split()[2] for line in log.read_text().splitlines()} == {"1"}  # one thread in each worker


def test_a_restart_skips_what_is_done(tmp_path):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    first = sweep(path, stub_jobs.measure, jobs(log), workers=1)
    log.write_text("")
    assert sweep(path, stub_jobs.measure, jobs(log), workers=1).equals(first)
    assert runs(log) == []
    more = sweep(path, stub_jobs.measure, jobs(log, sizes=(0, 1, 2)), workers=1)
    assert runs(log) == ["0 0", "0 1"]
    assert more["size"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert path.read_text().splitlines()[1].startswith("1,0,")  # what was there stays where it was


# --- runs that raise ------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(tmp_path):
    """Sweep four jobs, of which seed 2 raises while tmp_path / 'marker' is there: the rows, and the seeds that ran."""
    marker, log = tmp_path / "marker", tmp_path / "log"
    marker.write_text("stopped on purpose")
    todo = [{"seed": seed, "marker": str(marker), "log": str(log)} for seed in range(4)]

    def run(**options) -> tuple[pd.DataFrame, list[int]]:
        log.write_text("")
        rows = sweep(tmp_path / "rows.csv", stub_jobs.fail_at_two, todo, **{"workers": 1, **options})
        return rows, sorted(int(line) for line in log.read_text().split())

    return run


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_raises_becomes_a_row_and_the_sweep_goes_on(failing, workers):
    rows, ran = failing(workers=workers)
    assert ran == [0, 1, 2, 3]
    assert rows["seed"].tolist() == [0, 0, 1, 1, 2, 3, 3]
    (failed,) = failures(rows).to_dict("records")
    assert failed["seed"] == 2
    assert failed["error"] == "RuntimeError: stopped on purpose"
    assert failed["seconds"] >= 0
    assert failed["versions"].startswith("transfer_utils ")
    assert pd.isna(failed["test"])


def test_only_the_failed_run_is_tried_again_and_its_row_gives_way(failing, tmp_path):
    failing()
    rows, ran = failing()
    assert ran == [2]
    assert rows["seed"].tolist() == [0, 0, 1, 1, 2, 3, 3]
    (tmp_path / "marker").write_text("stopped again")
    rows, ran = failing()
    assert failures(rows)["error"].tolist() == ["RuntimeError: stopped again"]
    (tmp_path / "marker").unlink()
    rows, ran = failing()
    assert ran == [2]
    assert rows[["seed", "part", "test"]].values.tolist() == [[n, part, n] for n in range(4) for part in range(2)]
    assert "error" not in rows
    assert len(failures(rows)) == 0
    assert failing()[1] == []


def test_a_failure_that_is_not_tried_again_keeps_its_row(failing, tmp_path):
    failing()
    other = {"seed": 7, "marker": str(tmp_path / "marker"), "log": str(tmp_path / "log")}
    rows = sweep(tmp_path / "rows.csv", stub_jobs.fail_at_two, [other], workers=1)
    assert failures(rows)["seed"].tolist() == [2]
    assert rows["seed"].tolist() == [0, 0, 1, 1, 2, 3, 3, 7, 7]


@pytest.mark.parametrize("message", ["one, two", 'a "quote"', "line\nnext", "12%\r100%\r", "", "größer"])
def test_any_message_fits_into_the_file(failing, tmp_path, message):
    (tmp_path / "marker").write_bytes(message.encode())
    rows, _ = failing()
    assert rows["seed"].tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert failures(rows)["error"].tolist()[0].startswith("RuntimeError:")
    (tmp_path / "marker").unlink()
    rows, ran = failing()
    assert ran == [2]
    assert rows["seed"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


# --- what a row says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", [("probe", "scratch"), ("scratch", "probe")])
def test_rows_with_other_columns_stay_under_their_headings(tmp_path, methods):
    """Lesson 00 stores a penalty for one method, and a rate and epochs for the other."""
    todo = [{"method": method} for method in methods]
    table = sweep(tmp_path / "rows.csv", stub_jobs.uneven, todo, workers=1).set_index("method").drop(columns=MEASURED)
    assert table.loc["probe"].dropna().to_dict() == {"test": 1, "penalty": 0.1}
    assert table.loc["scratch"].dropna().to_dict() == {"test": 2, "rate": 0.5, "epochs": 3}


def test_settings_that_look_alike_in_a_csv_are_recognised(tmp_path):
    path = tmp_path / "rows.csv"
    todo = [{"method": method, "count": count} for method in ("probe", "None", "NA") for count in (None, 1)]
    first = sweep(path, stub_jobs.uneven, todo, workers=1)
    assert len(first) == 6
    assert len(sweep(path, stub_jobs.uneven, todo, workers=1)) == 6


@pytest.mark.parametrize(
    "values",
    [
        [1, "1", 1.0, True, "True"],
        [None, "", "None", "NA", "nan", math.nan],
        ["007", "7", 7, " 7", "7 "],
        ["1e5", 1e5, 100000, "100000.0", "1,5", 1.5],
        ["123e45678901", 'a "quote"', "two\nlines", "a,b", 2**70],
    ],
    ids=str,
)
def test_settings_and_values_come_back_and_are_jobs_of_their_own(tmp_path, values):
    todo = [{"setting": value} for value in values]
    first = sweep(tmp_path / "rows.csv", stub_jobs.echo, todo, workers=2)
    assert sorted(map(repr, first["setting"])) == sorted(map(repr, values))
    assert [type(value).__name__ for value in first["setting"]] == first["kind"].tolist()
    assert list(map(repr, first["got"])) == list(map(repr, first["setting"]))
    again = sweep(tmp_path / "rows.csv", stub_jobs.nothing, todo[::-1], workers=2)  # would give errors
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"seed": 1, "rate": 0.1}, {"seed": 1}),
        ({"seed": 1}, {"seed": 1, "rate": 0.1}),
        ({"seed": 1, "rate": None}, {"seed": 1}),
        ({"seed": 1}, {"seed": 1, "rate": None}),
        ({"seed": 1}, {"method": 1}),
        ({"got": 1, "seed": 1}, {"seed": 1}),
    ],
    ids=str,
)
def test_jobs_with_other_settings_are_other_jobs(tmp_path, before, after):
    for job, count in ((before, len(before)), (after, len(before) + len(after)), (before, len(before) + len(after))):
        assert len(sweep(tmp_path / "rows.csv", stub_jobs.echo_kinds, [job], workers=1)) == count


def test_the_order_of_settings_makes_no_other_job(tmp_path):
    sweep(tmp_path / "rows.csv", stub_jobs.echo, [{"a": 1, "b": 2}], workers=1)
    table = sweep(tmp_path / "rows.csv", stub_jobs.nothing, [{"b": 2, "a": 1}], workers=1)
    assert list(table) == ["b", "a", *MEASURED, "got", "kind"]
    assert len(table) == 2


def test_a_setting_may_be_none_in_every_job(tmp_path):
    todo = [{"method": method, "count": None} for method in ("scratch", "probe")]
    assert sweep(tmp_path / "rows.csv", stub_jobs.uneven, todo, workers=1)["method"].tolist() == ["probe", "scratch"]


def test_two_functions_may_share_a_file(tmp_path):
    """The grid keeps probes, whose jobs have no rate, and trained networks in one table."""
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    for _ in range(2):
        sweep(path, stub_jobs.uneven, [{"method": "probe"}], workers=1)
        table = sweep(path, stub_jobs.measure, jobs(log), workers=1)
    assert len(table) == 1 + 8
    assert len(runs(log)) == 4


def test_seconds_are_measured_unless_the_run_brings_its_own(tmp_path):
    rows = sweep(tmp_path / "rows.csv", stub_jobs.timed, [{"seed": 0}, {"seed": 1}], workers=1)
    assert 0.2 <= rows["seconds"][0] < 60
    assert rows["seconds"][1] == 77.5


def test_versions_are_those_that_ran(tmp_path):
    import torch

    (row,) = sweep(tmp_path / "rows.csv", stub_jobs.timed, [{"seed": 1}], workers=1).to_dict("records")
    assert f"torch {torch.__version__.split('+')[0]}" in row["versions"]
    assert [word for word in row["versions"].split() if not word[0].isdigit()] == [
        "transfer_utils",
        "torch",
        "torchvision",
        *(["openvino"] if importlib.util.find_spec("openvino") else []),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a process's largest memory")
def test_peak_memory_is_that_of_the_run_not_of_the_one_before(tmp_path):
    todo = [{"seed": seed, "megabytes": megabytes} for seed, megabytes in enumerate((1, 200, 1))]
    before, large, after = sweep(tmp_path / "rows.csv", stub_jobs.allocate, todo, workers=1)["peak_mb"]
    assert 150 < large - before < 250
    assert 150 < large - after < 250
    assert abs(after - before) < 50


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("todo", "backend", "message"),
    [
        ([], "loky", r"sweep\(\) got no jobs; give it at least one, for example \[\{'seed': 0\}\]"),
        ([{"seed": 0}, {"sed": 1}], "loky", r"got settings \['sed'\] after \['seed'\]; all jobs need the same ones"),
        ([{"seed": 0}, {"seed": 0, "a": 1}], "loky", r"got settings \['seed', 'a'\] after \['seed'\]"),
        ([{"seed": 1}, {"seed": 0}, {"seed": 1}], "loky", r"got the job \{'seed': 1\} twice; leave one out"),
        (None, "loky", r"got the jobs None; give it a list of dicts"),
        (3, "loky", r"got the jobs 3; give it a list of dicts"),
        ({"seed": 0}, "loky", r"got the job 'seed'; a job is a dict of settings, for example \{'seed': 0\}"),
        ("seed", "loky", r"got the job 's'; a job is a dict"),
        ([{}], "loky", r"got the job \{\}; a job is a dict of settings"),
        ([{"seed": 0}, None], "loky", r"got the job None; a job is a dict"),
        ([[("seed", 0)]], "loky", r"got the job \[\('seed', 0\)\]; a job is a dict"),
        (pd.DataFrame({"seed": [0]}), "loky", r"got the job 'seed'; a job is a dict"),
        ([{0: "seed"}], "loky", r"got a setting named 0; a name must be printable text"),
        ([{"a\nb": 0}], "loky", r"got a setting named 'a\\nb'; a name must be printable"),
        ([{"seconds": 0}], "loky", r"got a setting named 'seconds', a column that it fills itself; rename it"),
        ([{"job": 0}], "loky", r"got a setting named 'job', a column that"),
        ([{"error": 0}], "loky", r"got a setting named 'error', a column that"),
        ([{"seed": [0]}], "loky", r"got the setting seed=\[0\]: a list cannot stand in a cell; give a text, a number"),
        ([{"at": Path("x")}], "loky", r"got the setting at=.*: a PosixPath cannot stand in a cell"),
        ([{"seed": 0}], None, r"There is no backend None"),
        ([{"seed": 0}], "rai", r"There is no backend 'rai'\. Did you mean 'ray'\? Known: loky, ray"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(tmp_path, todo, backend, message):
    with pytest.raises(ValueError, match=message):
        sweep(tmp_path / "build" / "rows.csv", stub_jobs.timed, todo, backend=backend)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, -1, 1.5, 2.0, "2", None, True, [2]])
def test_workers_that_are_no_whole_number_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match=r"got workers=.*; it takes a whole number of processes, 1 or more"):
        sweep(tmp_path / "rows.csv", stub_jobs.timed, [{"seed": 0}], workers=count)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"name,age\nAnn,7\n", b"\x89PNG\0", b"Dear all", b"seed,test\n0,1\n"])
def test_a_file_that_is_somebody_elses_stays_as_it_is(tmp_path, content):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(ValueError, match="is not a table that sweep"):
        sweep(tmp_path / "rows.csv", stub_jobs.echo, [{"seed": 0}], workers=1)
    assert (tmp_path / "rows.csv").read_bytes() == content


@pytest.mark.parametrize("place", ["rows.csv", "~/rows.csv", "a/../b/rows.csv", Path("rows.csv"), "rows"])
def test_any_way_to_write_a_path_is_a_path(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert len(sweep(place, stub_jobs.echo, [{"seed": 0}], workers=1)) == 1
    assert Path(place).expanduser().resolve().is_file()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "rows.csv")
    sweep(tmp_path / "link.csv", stub_jobs.echo, [{"seed": 0}], workers=1)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "rows.csv").is_file()


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), PermissionError(13, "Permission denied")])
def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch, call, error):
    path, real, calls = tmp_path / "rows.csv", getattr(os, call), []

    def third_fails(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        return real(*arguments)

    monkeypatch.setattr(tables.write_atomically.__globals__["os"], call, third_fails)
    todo = [{"seed": seed} for seed in range(4)]
    with pytest.raises(OSError, match=rf"cannot write to .*rows\.csv \(.*{error.strerror}\). What is in it stays"):
        sweep(path, stub_jobs.echo, todo, workers=1)
    assert pd.read_csv(path)["seed"].tolist() == [0, 1]
    assert len(sweep(path, stub_jobs.echo, todo, workers=1)) == 4


@pytest.mark.parametrize("blocker", ["file/rows.csv", "file/deeper/rows.csv"])
def test_a_place_that_cannot_be_made_is_said(tmp_path, blocker):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"sweep\(\) cannot write to"):
        sweep(tmp_path / blocker, stub_jobs.echo, [{"seed": 0}], workers=1)


@pytest.mark.parametrize("lost", ["last", "first", "torn", "by hand"])
def test_a_run_that_lost_a_row_is_made_again(tmp_path, lost):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    first = sweep(path, stub_jobs.measure, jobs(log), workers=1)[["size", "seed", "part", "test"]]
    lines = path.read_text().splitlines(keepends=True)
    kept = {"last": lines[:-1], "first": lines[:1] + lines[2:], "by hand": lines[:4] + lines[5:]}
    path.write_text("".join(kept.get(lost, lines))[: -3 if lost == "torn" else None])
    log.write_text("")
    again = sweep(path, stub_jobs.measure, jobs(log), workers=1)[["size", "seed", "part", "test"]]
    assert len(runs(log)) == 1
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize("changed", [None, "jobs with fewer settings", "jobs with more settings"])
def test_a_file_of_an_older_version_is_resumed_by_its_settings(tmp_path, changed):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    sweep(path, stub_jobs.measure, jobs(log), workers=1)
    pd.read_csv(path).drop(columns=["job", "job_rows"]).to_csv(path, index=False)
    before = path.read_bytes()
    log.write_text("")
    if changed == "jobs with more settings":
        with pytest.raises(ValueError, match="has no column 'rate', and does not say which jobs"):
            sweep(path, stub_jobs.echo, [{**job, "rate": 1} for job in jobs(log)])
        assert path.read_bytes() == before
        return
    assert len(sweep(path, stub_jobs.measure, jobs(log), workers=1)) == 8
    assert runs(log) == []
    assert path.read_bytes() == before
    assert len(sweep(path, stub_jobs.measure, jobs(log, seeds=(0, 1, 2)), workers=1)) == 12
    assert runs(log) == ["1 2", "2 2"]
    assert path.read_text().splitlines()[1].startswith(before.decode().splitlines()[1])


def test_a_second_sweep_of_the_same_file_is_refused(tmp_path):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    first = sweep(path, stub_jobs.measure, jobs(log), workers=1)
    with (
        FileLock(f"{path}.lock"),
        pytest.raises(RuntimeError, match=r"Another sweep is writing to .*rows\.csv\. Wait until it ends"),
    ):
        sweep(path, stub_jobs.measure, jobs(log, sizes=(5,)), workers=1)
    assert len(runs(log)) == 4
    assert sweep(path, stub_jobs.measure, jobs(log), workers=1).equals(first)


@pytest.mark.parametrize("error", [
    OSError(errno.ENOLCK, "No locks available"),
    OSError(errno.ENOTSUP, "Operation not supported"),
    NotImplementedError("FileSystem does not appear to support flock"),
], ids=repr)  # fmt: skip
def test_on_a_drive_without_locks_a_sweep_goes_on(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    assert len(sweep(tmp_path / "rows.csv", stub_jobs.echo, [{"seed": 0}], workers=1)) == 1


def test_where_no_lock_file_can_be_made_nothing_runs(tmp_path):
    (tmp_path / "rows.csv.lock").mkdir()
    log = tmp_path / "log"
    with pytest.raises(OSError, match=r"cannot write to .*rows\.csv"):
        sweep(tmp_path / "rows.csv", stub_jobs.measure, jobs(log), workers=1)
    assert not log.exists()


def test_settings_may_come_in_any_order(tmp_path):
    todo = [{"seed": 0, "note": "a"}, {"note": "b", "seed": 1}]
    rows = sweep(tmp_path / "rows.csv", stub_jobs.echo_kinds, todo, workers=1)
    assert rows[["seed", "note"]].drop_duplicates().values.tolist() == [[0, "a"], [1, "b"]]


def test_a_run_without_rows_is_a_failed_run(tmp_path):
    rows = sweep(tmp_path / "rows.csv", stub_jobs.nothing, [{"seed": 0}], workers=1)
    assert (
        failures(rows)["error"].item()
        == "ValueError: nothing() returned no rows; it must return a list of at least one."
    )


# --- workers that die, and interrupts ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows dies in other ways")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("deaths", [list(stub_jobs.DEATHS)])
def test_a_worker_that_dies_costs_its_own_job_alone(tmp_path, count, deaths):
    log = str(tmp_path / "log")
    well = ["a", "b", "c", "d"]
    order = [how for pair in zip(deaths, [*well, "e"], strict=True) for how in pair]
    rows = sweep(tmp_path / "rows.csv", stub_jobs.die, [{"how": how, "log": log} for how in order], workers=count)
    failed = failures(rows)
    assert sorted(failed["how"]) == sorted(deaths)
    assert failed["error"].str.startswith("TerminatedWorkerError: ").all()
    assert rows.loc[rows["error"].isna(), "test"].tolist() == [1] * 5
    rows = sweep(tmp_path / "rows.csv", stub_jobs.die, [{"how": how, "log": log} for how in order[1::2]], workers=count)
    assert len(rows) == 10


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("last", [2, 3])
def test_an_interrupt_keeps_what_is_finished_and_stops(tmp_path, count, last):
    todo = [{"seed": seed, "last": last} for seed in range(8)]
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path / "rows.csv", stub_jobs.stop_at, todo, workers=count)
    kept = set(pd.read_csv(tmp_path / "rows.csv")["seed"])
    assert len(kept) >= last - 1  # one may have been under way beside the interrupt
    assert last not in kept
    assert count == 2 or kept == set(range(last))


@pytest.mark.parametrize("function", [stub_jobs.timed, stub_jobs.nothing, stub_jobs.stop_at, stub_jobs.echo])
def test_the_threads_of_this_process_stay_as_they_were(tmp_path, function):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        job = {"seed": 1, "last": 1} if function is stub_jobs.stop_at else {"seed": 1}
        with contextlib.suppress(KeyboardInterrupt):
            sweep(tmp_path / "rows.csv", function, [job], workers=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_second_sweep_in_another_thread_is_refused(tmp_path):
    path, gate, log = tmp_path / "rows.csv", tmp_path / "gate", tmp_path / "log"
    gate.touch()
    todo = [{"number": 39, "log": str(log), "gate": str(gate)}]
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(sweep, path, stub_jobs.wait_at_last, todo, 1)
        while not log.exists() and not first.done():
            time.sleep(0.02)
        try:
            with pytest.raises(RuntimeError, match="Another sweep is writing to"):
                sweep(path, stub_jobs.wait_at_last, todo, 1)
        finally:
            gate.unlink()
        assert len(first.result(PATIENCE)) == 2


# --- processes that are killed --------------------------------------------------------------------------------------

HERE = Path(__file__).parent
NUMBERS = range(40)
COLUMNS = ["number", "log", "gate", *MEASURED, "job", "job_rows", "part", "square"]


@pytest.fixture
def begin(tmp_path):
    """Start the sweep of 40 jobs in a process of its own, and wait for its first run. All of them are ended at last."""
    (tmp_path / "gate").touch()
    (tmp_path / "log").touch()
    started: list[subprocess.Popen] = []

    def start(name: str, workers: int) -> subprocess.Popen:
        with open(tmp_path / "output", "a") as output:
            started.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        f"import test_sweeps; test_sweeps.sweep_forty({str(tmp_path)!r}, {workers})",
                    ],
                    env={
                        **os.environ,
                        "STUB_ROUND": name,
                        "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ['PYTHONPATH']}",
                    },
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        end = time.monotonic() + PATIENCE
        while not ran(tmp_path, name):
            ended = os.waitid(os.P_PID, started[-1].pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            assert ended is None, (tmp_path / "output").read_text()
            assert time.monotonic() < end, f"no run of round {name} began: {(tmp_path / 'output').read_text()}"
            time.sleep(0.002)
        return started[-1]

    yield start
    for process in started:
        kill(process, group=True)
        process.wait(PATIENCE)


def kill(process: subprocess.Popen, group: bool) -> None:
    """kill -9 the process, or its workers too. Nobody has waited for it, so its number is still its own."""
    if process.returncode is not None:
        return
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def sweep_forty(folder: str, workers: int) -> pd.DataFrame:
    path = Path(folder)
    todo = [{"number": number, "log": str(path / "log"), "gate": str(path / "gate")} for number in NUMBERS]
    return sweep(path / "rows.csv", stub_jobs.wait_at_last, todo, workers)


def ran(folder: Path, name: str) -> list[int]:
    """The jobs that ran in one round."""
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return [int(number) for round_, number in lines if round_ == name]


def finished(folder: Path) -> set[int]:
    if not (folder / "rows.csv").exists():
        return set()
    rows = pd.read_csv(folder / "rows.csv")
    assert list(rows.columns) == COLUMNS
    assert rows.notna().all(axis=None)
    assert Counter(zip(rows["number"], rows["part"], strict=True)) == Counter(
        (number, part) for number in set(rows["number"]) for part in range(2)
    )
    assert (rows["square"] == rows["number"] ** 2).all()
    return set(rows["number"])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_ten_kills_lose_double_or_repeat_nothing(tmp_path, begin, monkeypatch):
    seed = random.randrange(2**32)
    print(f"seed of the kills: {seed}")
    chance = random.Random(seed)
    left = []
    for round_ in range(10):
        done = finished(tmp_path)
        left.append(len(done))
        with_workers = round_ in (3, 7)
        process = begin(str(round_), workers=2 if with_workers else 1)
        time.sleep(chance.uniform(0, 0.12))
        # Once the sweep alone, whose workers live on for a while, beside the next round.
        kill(process, group=round_ != 3)
        assert not done & set(ran(tmp_path, str(round_))), f"round {round_} repeated a run (seed {seed})"
    done = finished(tmp_path)
    assert len(done) > left[5] > 0
    (tmp_path / "gate").unlink()
    monkeypatch.setenv("STUB_ROUND", "last")
    rows = sweep_forty(str(tmp_path), workers=1)
    assert sorted(ran(tmp_path, "last")) == sorted(set(NUMBERS) - done)
    assert finished(tmp_path) == set(NUMBERS)
    assert rows[["number", "part"]].values.tolist() == [[number, part] for number in NUMBERS for part in range(2)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_sweep_in_another_process_locks_its_file_until_it_is_killed(tmp_path, begin, monkeypatch):
    monkeypatch.setenv("STUB_ROUND", "here")
    process = begin("there", workers=1)
    with pytest.raises(RuntimeError, match="Another sweep is writing to"):
        sweep_forty(str(tmp_path), workers=1)
    assert ran(tmp_path, "here") == []
    kill(process, group=False)
    (tmp_path / "gate").unlink()
    assert len(sweep_forty(str(tmp_path), workers=1)) == 2 * len(NUMBERS)


# --- Ray ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_ray(monkeypatch):
    """No cluster from outside; and no process of Ray's left behind."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    def patient_init(**options):
        for _ in range(5):
            try:
                return init(**options)
            except Exception as error:  # Ray has no kind of its own for this
                if "timed out during startup" not in str(error):
                    raise
                for process in of_ray():
                    process.kill()
        return init(**options)

    assert not ray.is_initialized()
    init = ray.init
    monkeypatch.setattr(ray, "init", patient_init)  # Ray gives itself 30 seconds: too few on a busy machine
    yield ray
    started = of_ray()
    ray.shutdown()
    _, alive = psutil.wait_procs(started, timeout=PATIENCE)
    assert len(started) >= 3  # two workers, and what they belong to
    assert not alive


def of_ray() -> list[psutil.Process]:
    """Ray's processes below this one; joblib's, which it keeps for the next test, have other names."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "ray" in " ".join(child.as_dict(["cmdline"])["cmdline"] or [])]


@pytest.mark.slow
def test_ray_gives_the_same_rows_from_other_processes(tmp_path, local_ray):
    (tmp_path / "met").mkdir()
    todo = [{"number": number, "folder": str(tmp_path / "met")} for number in range(6)]
    ray, again = (sweep(tmp_path / "ray.csv", stub_jobs.meet, todo, workers=2, backend="ray") for _ in range(2))
    assert ray["process"].nunique() >= 2
    assert os.getpid() not in set(ray["process"])
    assert local_ray.cluster_resources()["CPU"] == 2
    loky = sweep(tmp_path / "loky.csv", stub_jobs.meet, todo, workers=2)
    varying = ["seconds", "peak_mb", "process"]
    pd.testing.assert_frame_equal(ray.drop(columns=varying), loky.drop(columns=varying))
    assert failures(ray)["error"].tolist() == ["ValueError: three, on purpose"]
    pd.testing.assert_frame_equal(again[again["number"] != 3], ray[ray["number"] != 3])
    assert ray["peak_mb"].between(50, 8000).all()
    how = [{"how": how, "log": str(tmp_path / "log")} for how in ("a", "killed", "b")]
    died = sweep(tmp_path / "died.csv", stub_jobs.die, how, workers=2, backend="ray")
    assert failures(died)["how"].tolist() == ["killed"]
    assert failures(died)["error"].item().startswith("WorkerCrashedError: ")
    assert died["test"].count() == 2
