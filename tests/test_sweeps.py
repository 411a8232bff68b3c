import pytest
import stub_jobs

from transfer_utils.sweeps import sweep


def jobs(log, sizes=(1, 2), seeds=(0, 1)) -> list[dict]:
    return [{"size": size, "seed": seed, "log": str(log)} for size in sizes for seed in seeds]


def runs(log) -> list[str]:
    return sorted(" ".join(line.split()[:2]) for line in log.read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_runs_once_and_rows_come_back_sorted(tmp_path, workers):
    path, log = tmp_path / "build" / "rows.csv", tmp_path / "log"
    table = sweep(path, stub_jobs.measure, jobs(log, sizes=(10, 2)), workers=workers)
    assert runs(log) == ["10 0", "10 1", "2 0", "2 1"]
    assert list(table.columns) == ["size", "seed", "log", "part", "test"]
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


def test_finished_rows_survive_a_failing_job(tmp_path):
    path, marker = tmp_path / "rows.csv", tmp_path / "marker"
    marker.touch()
    todo = [{"seed": seed, "marker": str(marker)} for seed in range(4)]
    with pytest.raises(RuntimeError, match="stopped on purpose"):
        sweep(path, stub_jobs.fail_at_two, todo, workers=1)
    assert len(path.read_text().splitlines()) == 1 + 2
    marker.unlink()
    assert sweep(path, stub_jobs.fail_at_two, todo, workers=1)["test"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("methods", [("probe", "scratch"), ("scratch", "probe")])
def test_rows_with_other_columns_stay_under_their_headings(tmp_path, methods):
    """Lesson 00 stores a penalty for one method, and a rate and epochs for the other."""
    todo = [{"method": method} for method in methods]
    table = sweep(tmp_path / "rows.csv", stub_jobs.uneven, todo, workers=1).set_index("method")
    assert table.loc["probe"].dropna().to_dict() == {"test": 1, "penalty": 0.1}
    assert table.loc["scratch"].dropna().to_dict() == {"test": 2, "rate": 0.5, "epochs": 3}


def test_settings_that_look_alike_in_a_csv_are_recognised(tmp_path):
    path = tmp_path / "rows.csv"
    todo = [{"method": method, "count": count} for method in ("probe", "None", "NA") for count in (None, 1)]
    first = sweep(path, stub_jobs.uneven, todo, workers=1)
    assert len(first) == 6
    assert len(sweep(path, stub_jobs.uneven, todo, workers=1)) == 6
