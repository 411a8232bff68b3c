import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest
import stub_jobs
from filelock import FileLock

from transfer_utils.stats import failures, sweep

MEASURED = ["seconds", "peak_mb", "versions"]
PATIENCE = 300  # seconds that a process may take to start: the machine may be busy


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
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a process's largest memory")
def test_peak_memory_is_that_of_the_run_not_of_the_one_before(tmp_path):
    todo = [{"seed": seed, "megabytes": megabytes} for seed, megabytes in enumerate((1, 200, 1))]
    before, large, after = sweep(tmp_path / "rows.csv", stub_jobs.allocate, todo, workers=1)["peak_mb"]
    now = psutil.Process().memory_info().rss / 2**20  # one worker is this process
    assert 150 < large - before < 250
    assert 150 < large - after < 250
    assert abs(after - now) < 100


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("todo", "backend", "message"),
    [
        ([], "loky", r"sweep\(\) got no jobs; give it at least one, for example \[\{'seed': 0\}\]"),
        ([{"seed": 0}, {"sed": 1}], "loky", r"got settings \['sed'\] after \['seed'\]; all jobs need the same ones"),
        ([{"seed": 0}, {"seed": 0, "a": 1}], "loky", r"got settings \['seed', 'a'\] after \['seed'\]"),
        ([{"seed": 1}, {"seed": 0}, {"seed": 1}], "loky", r"got the job \{'seed': 1\} twice; leave one out"),
        ([{"seed": 1}, {"seed": "1"}], "loky", r"got the job \{'seed': '1'\} twice"),  # the same in the file
        ([{"seed": 0}], "rai", r"There is no backend 'rai'\. Did you mean 'ray'\? Known: loky, ray"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(tmp_path, todo, backend, message):
    with pytest.raises(ValueError, match=message):
        sweep(tmp_path / "build" / "rows.csv", stub_jobs.timed, iter(todo), backend=backend)
    assert list(tmp_path.iterdir()) == []


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


def test_a_run_without_rows_is_a_failed_run(tmp_path):
    rows = sweep(tmp_path / "rows.csv", stub_jobs.nothing, [{"seed": 0}], workers=1)
    assert (
        failures(rows)["error"].item()
        == "ValueError: nothing() returned no rows; it must return a list of at least one."
    )


# --- processes that are killed --------------------------------------------------------------------------------------

HERE = Path(__file__).parent
NUMBERS = range(40)
COLUMNS = ["number", "log", "gate", *MEASURED, "part", "square"]


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
