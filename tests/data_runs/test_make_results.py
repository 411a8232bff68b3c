"""Every stored table is made by a file of data/runs/, and goes on where it stopped."""

import pytest

import make_results
from transfer_utils import machine


def test_every_stored_table_has_the_runs_that_make_it():
    stored = (machine.shipped_folder() / "results").rglob("*.csv")  # and those that are not finished
    assert {path.stem for path in stored} == set(make_results.RUNS)
    for runs in make_results.RUNS.values():
        assert all(callable(function) and jobs for function, jobs in runs.items())


def test_an_unknown_table_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no result 'lesson0'. Did you mean 'lesson0"):
        make_results.main(["lesson0"])


def test_what_was_begun_elsewhere_is_gone_on_with_unless_something_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(make_results, "BUILD", tmp_path / "build")
    monkeypatch.setattr(make_results.machine, "shipped_folder", lambda: tmp_path)
    begun = tmp_path / "results" / "unfinished" / "lesson00.csv"
    assert not make_results.take_up("lesson00").exists()
    begun.parent.mkdir(parents=True)
    begun.write_text("theirs")
    assert make_results.take_up("lesson00").read_text() == "theirs"
    make_results.take_up("lesson00").write_text("ours")
    assert make_results.take_up("lesson00").read_text() == "ours"
