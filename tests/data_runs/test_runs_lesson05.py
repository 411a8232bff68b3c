"""The runs behind lesson 5, on few photos and the course's own small network."""

from collections import Counter

import pytest
import torch

from runs import lesson05
from transfer_utils import backbones, data, training
from transfer_utils.backbones import drift

NAMES = ("cat", "frog", "ship")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def small(monkeypatch):
    """Three classes, few photos, one epoch, one rate."""
    sets = tuple(data.load(split=split).only(*NAMES).take(12) for split in ("train", "valid", "test"))
    monkeypatch.setattr(lesson05, "splits", lambda classes: sets)
    for name, value in {
        "BACKBONE": "course_resnet/both",
        "SIZE": 32,
        "EPOCHS": {6: 1},
        "RATES": (1e-3,),
        "WATCHED": 8,
        "BATCH": 6,
    }.items():
        monkeypatch.setattr(lesson05, name, value)
    return sets


def test_jobs_are_the_whole_recipe_at_four_sizes_and_its_parts_at_one():
    jobs = lesson05.jobs()
    assert len(jobs) == len({tuple(job.values()) for job in jobs}) == 60
    sizes = {(job["method"], job["per_class"]) for job in jobs}
    assert {size for method, size in sizes if method == "frozen"} == {10, 20, 50, 100}
    assert {size for method, size in sizes if method == "fine-tuned"} == {10, 20, 50, 100}
    others = {"fine-tuned, random head", "fine-tuned, one rate"}
    assert {(method, size) for method, size in sizes if method in others} == {(method, 20) for method in others}
    assert {size for method, size in sizes if method == "fine-tuned, statistics move"} == {20, 50}
    assert set(Counter(job["seed"] for job in jobs).values()) == {12}
    assert all(job["per_class"] in lesson05.EPOCHS for job in jobs)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", [method.name for method in lesson05.METHODS])
def test_one_row_for_each_run(method):
    (row,) = lesson05.rows(method, per_class=6, seed=0)
    assert list(row) == ["valid", "test", "rate"]
    assert 0 <= row["test"] <= 1
    assert row["valid"] * 24 == pytest.approx(round(row["valid"] * 24), abs=1e-2)  # of 8 watched photos per class
    assert row["test"] * 36 == pytest.approx(round(row["test"] * 36), abs=1e-2)  # of all test photos
    assert row["rate"] == (None if method == "frozen" else 1e-3)


def test_the_rate_that_is_best_on_valid_photos_reads_the_test_photos_once(small, monkeypatch):
    monkeypatch.setattr(lesson05, "RATES", (1e-4, 3e-4, 1e-3))
    valid, read, made = iter((0.5, 0.7, 0.6)), [], []
    monkeypatch.setattr(lesson05, "fine_tune", lambda model, few, how, hold: made.append((model, how)))

    def accuracy(model, photos, size):
        if len(photos) == len(small[2]):
            read.append(model)
            return 0.1
        return next(valid)

    monkeypatch.setattr(lesson05, "accuracy", accuracy)
    assert lesson05.rows("fine-tuned", 6, 0) == [{"valid": 0.7, "test": 0.1, "rate": 3e-4}]
    assert len(read) == 1
    assert read[0] is made[1][0]
    assert len({id(model) for model, _ in made}) == 3  # each rate starts anew


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("method", "probe_first", "moves", "ratio"),
    [
        ("fine-tuned", True, False, lesson05.HEAD_RATIO),
        ("fine-tuned, statistics move", True, True, lesson05.HEAD_RATIO),
        ("fine-tuned, random head", False, False, lesson05.HEAD_RATIO),
        ("fine-tuned, one rate", True, False, 1.0),
    ],
)
def test_each_method_leaves_out_what_its_name_says(monkeypatch, method, probe_first, moves, ratio):
    seen = []
    tune, start = lesson05.fine_tune, lesson05.start
    monkeypatch.setattr(lesson05, "start", lambda *given: seen.append(given[2]) or start(*given))

    def watched(model, few, how, hold):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tune(model, few, how, hold)
        moved = drift(before, model)
        assert {name for name in before if not name.endswith(STATISTICS)} <= set(moved)
        seen.append((any(name.endswith(STATISTICS) for name in moved), how.head_ratio))

    monkeypatch.setattr(lesson05, "fine_tune", watched)
    lesson05.rows(method, 6, 0)
    assert seen == [probe_first, (moves, ratio)]


def test_an_unknown_method_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no method 'frozn'. Did you mean 'frozen'"):
        lesson05.rows("frozn", 6, 0)


def test_the_backbone_gets_the_same_rate_in_every_method(monkeypatch):
    for method in lesson05.METHODS[1:]:
        how = lesson05.recipe(20, 3, 3e-4, method)
        assert how.rate / how.head_ratio == pytest.approx(3e-4)
        assert how.seed == 3
        assert how.epochs == lesson05.EPOCHS[20]


def test_the_start_is_the_best_probe_on_the_frozen_network(small):
    few, watched = small[0].take(6), small[1]
    model = lesson05.start(few, watched)
    frozen = backbones.load_backbone("course_resnet/both")
    bank, watched_bank = (training.extract(frozen, photos, 32) for photos in (few, watched))
    probe = training.best_probe(bank, few.labels, watched_bank, watched.labels)
    assert torch.equal(model.head(bank).argmax(1), probe.predict(bank))
    state = frozen.state_dict()
    changed = {
        name
        for name, tensor in model.state_dict().items()
        if name not in state or tensor.shape != state[name].shape or not torch.equal(tensor, state[name])
    }
    assert changed == {"head.weight", "head.bias"}
    assert not torch.equal(lesson05.start(few, watched, probe_first=False).head.weight, model.head.weight)
