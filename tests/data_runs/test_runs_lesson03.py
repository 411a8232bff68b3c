"""The runs of lesson 3: which photos a draw may look at, and that each way does what its name says."""

import pytest

from runs import lesson03
from transfer_utils import backbones, data, stats
from transfer_utils.course import methods

NAMES = ("cat", "deer", "horse")


@pytest.fixture
def small(monkeypatch):
    """A few photos, a few epochs."""
    sets = tuple(data.load(split=split).only(*NAMES).take(8) for split in ("train", "valid", "test"))
    monkeypatch.setattr(lesson03, "splits", lambda classes: sets)
    monkeypatch.setattr(methods, "EPOCHS", {4: 5})
    return sets


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", lesson03.COMPARED)
def test_a_draw_that_chooses_reads_valid_photos_alone(method):
    (row,) = lesson03.rows(method, 4, 4, 1e-3)
    assert set(row) - {"drift"} == {"valid", "seconds"}
    assert row["valid"] * 24 == pytest.approx(round(row["valid"] * 24), abs=1e-2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("method", "pretrained"), [("scratch", False), ("last stage", True)])
def test_a_draw_that_judges_reads_test_photos_clean_and_corrupted(method, pretrained):
    (row,) = lesson03.rows(method, 4, 5, 1e-3)
    source = {"source_before", "source_after"} if pretrained else set()
    assert set(row) == {"test", "seconds", *data.CORRUPTIONS} | source | ({"drift"} if pretrained else set())
    assert row.get("drift", 0) == 0


@pytest.mark.usefixtures("small")
def test_a_rate_that_nobody_chose_is_found_on_the_draw_itself():
    (row,) = lesson03.rows("full, rate found", 4, 5, None)
    assert 1e-5 <= row["found"] <= 1
    (again,) = lesson03.rows("full", 4, 5, row["found"])
    assert again["test"] == row["test"]


@pytest.mark.usefixtures("small")
def test_all_start_from_one_network_and_each_draw_from_a_head_of_its_own():
    first, other = (lesson03.rows("head only", 4, seed, 1e-3)[0] for seed in (5, 6))
    assert first["source_before"] == other["source_before"] == first["source_after"]
    heads = [backbones.load_backbone(lesson03.NETWORK, classes=3, seed=seed).head.weight for seed in (5, 6)]
    assert not heads[0].equal(heads[1])


def test_no_draw_both_chooses_and_judges():
    assert not set(lesson03.CHOOSING) & set(lesson03.JUDGING)
    assert len(lesson03.JUDGING) >= 20
    for jobs, draws in ((lesson03.choosing(), lesson03.CHOOSING), (lesson03.judging(), lesson03.JUDGING)):
        assert {job["seed"] for job in jobs} == set(draws)
        assert len({tuple(job.values()) for job in jobs}) == len(jobs)


def test_the_chosen_rates_are_the_best_on_valid_photos_and_at_no_edge():
    rows = stats.results("lesson03").dropna(subset=["valid"])
    means = rows.groupby(["method", "per_class", "rate"])["valid"].mean()
    assert set(lesson03.RATES) == set(lesson03.COMPARED)
    for method, sizes in lesson03.COMPARED.items():
        assert set(lesson03.RATES[method]) == set(sizes)
        for size in sizes:
            tried = means[method, size]
            assert tried.idxmax() == lesson03.RATES[method][size], (method, size)
            assert tried.index.min() < tried.idxmax() < tried.index.max(), (method, size)


def test_the_stored_rows_are_those_of_the_jobs():
    rows = stats.results("lesson03")
    keys = ["method", "per_class", "seed", "rate"]
    wanted = {tuple(job[key] for key in keys) for job in lesson03.choosing() + lesson03.judging()}
    found = [tuple(None if value != value else value for value in row) for row in rows[keys].values.tolist()]
    assert set(found) == wanted
    assert len(found) == len(wanted)
