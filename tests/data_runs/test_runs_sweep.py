"""The jobs behind lesson 4's grid, and that every stored table is made by such a file."""

from collections import Counter

import pytest

import make_results
from runs.sweep import probe_jobs, training_jobs
from transfer_utils import machine
from transfer_utils.course.grid import COURSE, IMAGENET, KEYS, PROBE_SIZES

SOURCES = ("vehicles", "animals", "both_small", "both")


def grid(jobs, *names) -> set[tuple]:
    return {tuple(job[name] for name in names) for job in jobs}


def times(*settings) -> set[tuple]:
    """Every combination with both targets and five seeds."""
    return {(*setting, target, seed) for setting in settings for target in ("animals", "vehicles") for seed in range(5)}


def test_the_grid_trains_every_source_with_every_method_at_its_sizes():
    course = [("scratch", method, size) for method in ("scratch", "scratch, longer") for size in (5, 20, 100, 500)]
    for source in SOURCES:
        course += [(source, method, size) for method in ("full", "last stage") for size in (5, 20, 100, 500)]
        course += [(source, "head, then full", size) for size in (5, 20, 100)]
    imagenet = [("scratch", "scratch", size) for size in (5, 20, 100)]
    imagenet += [("imagenet", "head, then full", size) for size in (5, 20, 100)]
    expected = times(*((COURSE, *setting) for setting in course), *((IMAGENET, *setting) for setting in imagenet))
    assert grid(training_jobs(), "network", "source", "method", "per_class", "target", "seed") == expected


def test_every_tuned_method_has_as_many_rates():
    rates = Counter(tuple(job[name] for name in KEYS) for job in training_jobs() if job["method"] != "scratch, longer")
    assert set(rates.values()) == {3}


def test_the_longer_baseline_has_one_rate_that_scratch_tries_too():
    longer = [job for job in training_jobs() if job["method"] == "scratch, longer"]
    assert len(longer) == 4 * 2 * 5  # sizes, targets, seeds
    assert {job["rate"] for job in longer} <= {
        job["rate"] for job in training_jobs() if job["method"] == "scratch" and job["network"] == COURSE
    }


def test_the_grid_probes_every_source_at_eight_sizes_and_imagenet_at_three():
    starts = [(COURSE, source) for source in ("scratch", *SOURCES)]
    starts += [(IMAGENET, source) for source in ("scratch", "imagenet")]
    assert grid(probe_jobs(), "network", "source", "target", "seed") == times(*starts)
    assert grid(probe_jobs(), "method") == {("linear probe",)}
    assert PROBE_SIZES == {COURSE: (2, 5, 10, 20, 50, 100, 200, 500), IMAGENET: (5, 20, 100)}


@pytest.mark.parametrize("jobs", [training_jobs, probe_jobs])
def test_no_job_is_there_twice_and_all_have_the_same_settings(jobs):
    found = [tuple(job.items()) for job in jobs()]
    assert len(found) == len(set(found))
    assert len({tuple(name for name, _ in job) for job in found}) == 1


def test_every_trained_size_is_probed_too():
    assert grid(training_jobs(), "network", "per_class") <= {
        (network, size) for network, sizes in PROBE_SIZES.items() for size in sizes
    }


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
