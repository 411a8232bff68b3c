"""The runs of lesson 8: which lines a draw may look at, and that each way does what its name says."""

import pytest
import torch

from runs import lesson08
from transfer_utils import backbones, data, stats
from transfer_utils.backbones import drift
from transfer_utils.data import TextSet

LINES = [f"{word} number {i}" for i in range(40) for word in ("bread", "stone")]


@pytest.fixture
def asked(monkeypatch, small_gpt) -> list[str]:
    """A small network and a few lines instead of the real ones; returns the splits that were asked for."""
    splits = []

    def load(task, split):
        splits.append(split)
        return TextSet(LINES, torch.arange(len(LINES)) % 2, ("bread", "stone"))

    monkeypatch.setattr("transfer_utils.backbones.gpt.BLOCKS", 4)  # the runs name them
    monkeypatch.setattr(data, "load_texts", load)
    monkeypatch.setattr(
        backbones, "load_backbone", lambda name, pretrained, classes, seed: small_gpt(seed).new_head(classes, seed)
    )
    monkeypatch.setattr(lesson08, "EPOCHS", {"topics": {5: 4, 20: 4}})
    monkeypatch.setattr(lesson08, "VALID", 10)
    return splits


@pytest.mark.parametrize("way", lesson08.WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(("seed", "column"), [(4, "valid"), (5, "test")])
def test_a_draw_chooses_on_valid_lines_or_judges_on_test_lines(asked, way, seed, column):
    (row,) = lesson08.rows("topics", way.name, 5, seed, way.tried[0])
    assert asked == ["train", column]
    assert set(row) == {column, "seconds"}
    assert 0 <= row[column] <= 1


def test_the_same_job_gives_the_same_row(asked):
    one, other = (lesson08.rows("topics", "full", 5, 5, 3e-3)[0] for _ in range(2))
    assert one["test"] == other["test"]


def test_a_longer_run_is_longer(asked, monkeypatch):
    epochs = []
    monkeypatch.setattr(lesson08, "fit", lambda model, few, valid, size, recipe, progress: epochs.append(recipe.epochs))
    for name in ("scratch", "scratch, longer"):
        lesson08.rows("topics", name, 5, 5, 1e-3)
    assert epochs == [4, 12]


def test_lora_trains_little_and_leaves_the_rest(asked):
    way, few = lesson08.named("LoRA"), data.load_texts("topics", "train")
    model = lesson08.start(way, 2, 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".linear." in name}
    lesson08.learn(model, way, few, "topics", 5, 0, 1e-2)
    assert before
    assert drift(before, model) == {}


def test_gradual_unfreezing_ends_with_everything(asked, monkeypatch):
    frozen = []
    monkeypatch.setattr(lesson08, "fit", lambda model, *_, **__: frozen.append(len(model.frozen)))
    lesson08.rows("topics", "gradual unfreezing", 20, 5, 1e-3)
    assert frozen == sorted(frozen, reverse=True)
    assert frozen[-1] == 0


def test_no_draw_both_chooses_and_judges():
    assert not set(lesson08.CHOOSING) & set(lesson08.JUDGING)
    assert len(lesson08.JUDGING) >= 20
    jobs = lesson08.choosing()
    assert {job["seed"] for job in jobs} == set(lesson08.CHOOSING)
    assert len({tuple(job.values()) for job in jobs}) == len(jobs)


def test_every_judged_job_has_a_rate_that_was_tried():
    for job in lesson08.judging():
        assert job["rate"] in lesson08.named(job["method"]).tried
        assert job["seed"] in lesson08.JUDGING


def test_rates_are_those_that_the_choosing_draws_chose():
    """And none at the edge of what was tried, where a still better one may lie behind it."""
    rows = stats.results("lesson08")
    valid = rows[rows["seed"].isin(lesson08.CHOOSING)].groupby(["task", "method", "per_class", "rate"])["valid"].mean()
    for (task, method), chosen in lesson08.RATES.items():
        for per_class, rate in chosen.items():
            assert valid[task, method, per_class].idxmax() == rate, (task, method, per_class)
            assert min(lesson08.named(method).tried) < rate < max(lesson08.named(method).tried)


def test_unknown_ways_get_a_suggestion():
    with pytest.raises(ValueError, match="full"):
        lesson08.named("ful")
