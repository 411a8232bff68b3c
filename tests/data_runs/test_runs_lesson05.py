"""The runs behind lesson 5, on few photos and the course's own small network."""

import pytest
import torch

from runs import lesson05
from transfer_utils import backbones, data, stats, training
from transfer_utils.backbones import drift
from transfer_utils.training.probes import PENALTIES

NAMES = ("cat", "frog", "ship")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
METHODS = {method.name: method for method in lesson05.METHODS}
TRAINED = [method.name for method in lesson05.METHODS if method.trains]


@pytest.fixture
def small(monkeypatch):
    """Three classes, few photos, two epochs; as many photos in the test set as in none of the others."""
    sets = tuple(
        data.load(split=split).only(*NAMES).take(n) for split, n in (("train", 12), ("valid", 8), ("test", 10))
    )
    monkeypatch.setattr(lesson05, "splits", lambda classes: sets)
    for name, value in {"BACKBONE": "course_resnet/both", "SIZE": 32, "EPOCHS": {6: 2}, "BATCH": 6}.items():
        monkeypatch.setattr(lesson05, name, value)
    return sets


# --- the stored rows


def test_the_stored_rows_are_those_of_the_jobs():
    rows, keys = stats.results("lesson05"), ["method", "per_class", "seed", "penalty", "rate"]
    wanted = {tuple(job[key] for key in keys) for job in lesson05.choosing() + lesson05.judging()}
    found = [tuple(None if value != value else value for value in row) for row in rows[keys].values.tolist()]
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_no_draw_both_chooses_and_judges():
    for jobs, draws in ((lesson05.choosing(), lesson05.CHOOSING), (lesson05.judging(), lesson05.JUDGING)):
        assert {job["seed"] for job in jobs} == set(draws)
        assert len({tuple(job.values()) for job in jobs}) == len(jobs)
    assert len(lesson05.JUDGING) >= 20


def test_what_was_chosen_is_the_best_on_valid_photos_and_at_no_edge():
    rows = stats.results("lesson05").dropna(subset=["valid"])
    for method in lesson05.METHODS:
        by = "rate" if method.trains else "penalty"
        tried = method.tried if method.trains else PENALTIES
        for size in method.sizes:
            means = stats.select(rows, method=method.name, per_class=size).groupby(by)["valid"].mean()
            assert tuple(means.index) == tried
            chosen = lesson05.RATES[method.name][size] if method.trains else lesson05.PENALTY[size]
            assert means.idxmax() == chosen, (method.name, size)
            assert tried[0] < chosen < tried[-1], (method.name, size)


# --- a run


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("seed", "column", "photos"), [(4, "valid", 24), (5, "test", 30)])
def test_a_draw_that_chooses_reads_valid_photos_alone_and_one_that_judges_test_photos(method, seed, column, photos):
    (row,) = lesson05.rows(method, 6, seed, 0.1, 1e-3 if METHODS[method].trains else None)
    assert list(row) == [column]
    assert row[column] * photos == pytest.approx(round(row[column] * photos), abs=1e-2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", TRAINED)
def test_each_method_has_the_parts_that_its_name_says(monkeypatch, method):
    started, tuned = [], []
    start, tune = lesson05.start, lesson05.fine_tune
    monkeypatch.setattr(lesson05, "start", lambda *given: started.append(start(*given)) or started[0])

    def watched(model, few, how, hold):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tune(model, few, how, hold)
        moved = drift(before, model)
        assert {name for name in before if not name.endswith(STATISTICS)} <= set(moved)
        tuned.append((any(name.endswith(STATISTICS) for name in moved), how))

    monkeypatch.setattr(lesson05, "fine_tune", watched)
    few = lesson05.splits(None)[0].take(6, 5)
    probe = lesson05.probe(few, 0.1).linear()
    lesson05.rows(method, 6, 5, 0.1, 1e-3)
    ((moves, how),) = tuned
    assert moves == method.endswith("statistics move")
    # The head was trained since, but a probe of a few hundred numbers goes no further than this in two short epochs.
    near = (started[0].head.weight - probe.weight).norm() < 0.5 * probe.weight.norm()
    assert bool(near) == ("random head" not in method)
    assert how.head_ratio == (1.0 if method == "recipe, one rate" else lesson05.HEAD_RATIO)
    assert how.smoothing == (0.1 if method == "recipe, label smoothing" else 0.0)
    assert how.mixup == (0.2 if method == "recipe, mixup" else 0.0)


def test_an_unknown_method_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no method 'recipee'. Did you mean 'recipe'"):
        lesson05.rows("recipee", 20, 5, 0.1, None)


@pytest.mark.parametrize("method", TRAINED)
def test_the_backbone_gets_the_same_rate_in_every_method(method):
    how = lesson05.recipe(20, 3, 3e-4, METHODS[method])
    assert how.rate / how.head_ratio == pytest.approx(3e-4)
    assert how.seed == 3
    assert how.epochs == lesson05.EPOCHS[20]


def test_the_start_is_the_probe_on_the_frozen_network(small):
    few = small[0].take(6)
    model = lesson05.start(few, 0.1)
    frozen = backbones.load_backbone("course_resnet/both")
    bank = training.extract(frozen, few, 32)
    probe = training.linear_probe(bank, few.labels, 0.1)
    assert torch.equal(model.head(bank).argmax(1), probe.predict(bank))
    state = frozen.state_dict()
    changed = {
        name
        for name, tensor in model.state_dict().items()
        if name not in state or tensor.shape != state[name].shape or not torch.equal(tensor, state[name])
    }
    assert changed == {"head.weight", "head.bias"}


def test_augmented_photos_are_each_photo_and_as_many_views_of_it_as_there_are_epochs(small):
    few = small[0].take(6)
    seen = lesson05.augmented(few, 2, seed=0)
    assert torch.equal(seen.labels, few.labels.repeat(3))
    plain, first, second = seen.images.split(len(few))
    assert torch.equal(plain, few.images)
    assert not torch.equal(first, second)
    assert torch.equal(lesson05.augmented(few, 2, seed=0).images, seen.images)
