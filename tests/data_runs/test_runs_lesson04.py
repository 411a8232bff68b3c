"""The runs behind lesson 4's map: which there are, and that the stored rows are theirs."""

import pytest

from runs import lesson04
from transfer_utils import stats
from transfer_utils.course.lesson04_map import CHOOSING, JUDGING, PENALTIES, PENALTY, PROBE_SIZES
from transfer_utils.data import TARGETS

SETTINGS = ["source", "target", "method", "per_class", "seed", "rate"]
SIZES = (5, 20, 100, 500)


@pytest.fixture(scope="module")
def rows():
    return stats.results("lesson04")


def test_the_stored_rows_are_those_of_the_jobs(rows):
    trained = rows.dropna(subset=["rate"])
    wanted = [tuple(job[name] for name in SETTINGS) for job in lesson04.trainings()]
    assert sorted(map(tuple, trained[SETTINGS].values.tolist())) == sorted(wanted)
    probed = rows[rows["rate"].isna()]
    of_a_job = {len(CHOOSING): len(PENALTIES) * len(PROBE_SIZES), len(JUDGING): len(PROBE_SIZES)}
    networks = len(lesson04.SOURCES) + 1
    assert len(probed) == networks * 2 * sum(draws * count for draws, count in of_a_job.items())


def test_test_photos_were_read_by_the_draws_that_judge_alone(rows):
    assert not set(CHOOSING) & set(JUDGING)
    assert (rows["test"].notna() == rows["seed"].isin(JUDGING)).all()
    assert rows["valid"].notna().all()
    assert len(JUDGING) >= 8


def test_what_was_chosen_is_the_best_on_valid_photos_and_at_no_edge(rows):
    chose = rows[rows["seed"].isin(CHOOSING)]
    for method, sizes in lesson04.TRIED.items():
        for size, tried in sizes.items():
            means = stats.select(chose, method=method, per_class=size).groupby("rate")["valid"].mean()
            assert tuple(means.index) == tried
            assert means.idxmax() == lesson04.RATES[method][size], (method, size)
            assert tried[0] < lesson04.RATES[method][size] < tried[-1], (method, size)
    for method, sizes in PENALTY.items():
        for size, penalty in sizes.items():
            means = stats.select(chose, method=method, per_class=size).groupby("penalty")["valid"].mean()
            assert tuple(means.index) == PENALTIES
            assert means.idxmax() == penalty, (method, size)
            assert PENALTIES[0] < penalty < PENALTIES[-1], (method, size)


def test_fine_tuning_that_takes_longer_has_the_rate_of_full_and_scratch_its_own():
    assert lesson04.RATES["full, longer"] == {size: lesson04.RATES["full"][size] for size in (20, 500)}
    assert "full, longer" not in lesson04.TRIED
    assert set(lesson04.TRIED["scratch, longer"]) == {20, 500}


def test_every_way_judges_from_every_source_at_every_size():
    found = {(job["source"], job["method"], job["per_class"]) for job in lesson04.trainings() if job["seed"] in JUDGING}
    wanted = {("scratch", "scratch", size) for size in SIZES} | {("scratch", "scratch, longer", n) for n in (20, 500)}
    wanted |= {(source, way, n) for source in lesson04.SOURCES for way in ("last stage", "full") for n in SIZES}
    assert found == wanted | {(source, "full, longer", n) for source in lesson04.SOURCES for n in (20, 500)}


def test_longer_fine_tuning_starts_from_the_source_that_is_like_the_target_and_from_both():
    longer = {(job["source"], job["target"]) for job in lesson04.trainings() if job["method"] == "full, longer"}
    assert longer == {(source, target) for target in TARGETS for source in (target, "both")}


@pytest.mark.parametrize("jobs", [lesson04.trainings, lesson04.probes])
def test_no_job_is_there_twice_and_all_have_the_same_settings(jobs):
    found = [tuple(job.items()) for job in jobs()]
    assert len(found) == len(set(found))
    assert len({tuple(name for name, _ in job) for job in found}) == 1
