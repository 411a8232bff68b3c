"""Lines instead of photos, through all that trains and judges."""

import copy

import pytest
import torch

from transfer_utils import backbones, data, training
from transfer_utils.backbones import freeze
from transfer_utils.data import TextSet
from transfer_utils.training import Recipe

SIZE = 16
LINES = [
    f"{kind} number {i}, which is {what}" for i in range(8) for kind, what in (("bird", "alive"), ("stone", "not"))
]
SAME = Recipe(epochs=2, rate=1e-2, batch=4, augment=False)


@pytest.fixture
def texts() -> TextSet:
    return TextSet(LINES, torch.arange(len(LINES)) % 2, ("bird", "stone"))


@pytest.fixture
def model(small_gpt):
    return small_gpt().new_head(2, seed=0)


def photos():
    return data.load("cifar10_photos", "valid").only("cat", "dog")[:8]


def test_features_are_those_of_the_stages_one_after_the_other(model, texts, monkeypatch):
    monkeypatch.setattr("transfer_utils.machine.device.best_precision", lambda found: torch.float32)
    x = model.encode(texts.texts, SIZE)
    model.eval()
    banks = training.by_stage(model, texts, SIZE)
    with torch.no_grad():
        for name in model.stages[:-1]:
            x = model.get_submodule(name)(x)
            found = training.extract(model, texts, SIZE, stage=name, cache=False)
            assert torch.allclose(found, x, atol=1e-5)
            if name in banks:
                real = (x != 0).any(2, keepdim=True)
                assert torch.allclose(banks[name], x.sum(1) / real.sum(1), atol=1e-5)
    assert list(banks) == model.stages[:-2]


def test_neither_padding_nor_neighbours_change_a_lines_features(model, texts, monkeypatch):
    monkeypatch.setattr("transfer_utils.machine.device.best_precision", lambda found: torch.float32)
    together = training.extract(model, texts, SIZE, cache=False)
    alone = training.extract(model, texts[[3]], 40, cache=False)
    assert torch.allclose(together[3], alone[0], atol=1e-5)


def test_cached_features_are_found_again(model, texts, monkeypatch):
    first = training.extract(model, texts, SIZE)
    monkeypatch.setattr("transfer_utils.training.features.run_network", None)
    assert torch.equal(training.extract(model, texts, SIZE), first)
    with pytest.raises(TypeError):  # other lines are computed
        training.extract(model, texts[:3], SIZE)


@pytest.mark.parametrize("through", [None, "embedding", "pool"])
def test_training_learns_the_lines_and_frozen_stages_hold(model, texts, through):
    freeze(model, through)
    before = model.frozen_state()
    history = training.fit(model, texts, texts, SIZE, Recipe(15, 3e-2, batch=4, augment=False), progress=False)
    assert history["valid"].iloc[-1] >= 0.9
    assert backbones.drift(before, model) == {}
    assert training.accuracy(model, texts, SIZE) == pytest.approx(history["valid"].iloc[-1], abs=0.07)


def test_two_trainings_of_one_seed_are_one(model, texts):
    twin = copy.deepcopy(model)
    for each in (model, twin):
        training.fit(each, texts, None, SIZE, SAME, progress=False)
    assert backbones.drift(model.state_dict(), twin) == {}


def test_a_probe_is_a_head(model, texts):
    bank = training.extract(model, texts, SIZE)
    probe = training.linear_probe(bank, texts.labels, 0.01)
    model.head = probe.linear()
    assert training.accuracy(model, texts, SIZE) == pytest.approx(probe.accuracy(bank, texts.labels), abs=0.07)
    assert training.predict(model, texts, SIZE).shape == (16, 2)


@pytest.mark.parametrize("call", ["extract", "by_stage", "predict", "accuracy", "fit"])
def test_a_network_that_reads_gets_no_photos_and_the_other_way_round(model, texts, call):
    run = getattr(training, call)
    with pytest.raises(TypeError, match=r"got lines of type ImageSet; .* reads lines, .* TextSet\(texts, labels"):
        run(model, photos(), size=SIZE)
    with pytest.raises(TypeError, match=r"got photos of type TextSet; course_resnet reads photos, .* ImageSet"):
        run(backbones.course_resnet(2, seed=0), texts, size=32)


def test_mirrored_and_mixed_lines_are_refused_before_the_first_step(model, texts):
    with pytest.raises(ValueError, match=r"augment=True, which mirrors .* Recipe\(augment=False\)"):
        training.train(model, texts, None, SIZE, Recipe())
    with pytest.raises(ValueError, match=r"mixup=0.2, which mixes photos; .* mixup=0"):
        training.train(model, texts, None, SIZE, Recipe(augment=False, mixup=0.2))
    freeze(model, "pool")
    with pytest.raises(TypeError, match="only photos have views"):
        training.extract_views(model, texts, SIZE, seed=0)


@pytest.mark.parametrize("size", [0, 65, 2.5, True])
def test_a_length_that_it_cannot_read_is_refused(model, texts, size):
    for call in (training.extract, training.by_stage, training.predict, training.accuracy, training.fit):
        with pytest.raises(ValueError, match=f"got size={size}; it is the tokens of a line.* from 1 to 64"):
            call(model, texts, size=size)


def test_what_is_said_about_lines_speaks_of_lines(model, texts):
    with pytest.raises(ValueError, match="got 0 lines"):
        training.accuracy(model, texts[:0], SIZE)
    with pytest.raises(ValueError, match=r"the lines have 1 classes\. Give lines of"):
        training.accuracy(model, texts.only("bird"), SIZE)
    with pytest.raises(ValueError, match="0 valid lines"):
        training.train(model, texts, texts[:0], SIZE, SAME)
    with pytest.raises(ValueError, match="valid lines stone, bird"):
        training.train(model, texts, texts.only("stone", "bird"), SIZE, SAME)
    with pytest.raises(ValueError, match="got 1 lines; it needs at least 2"):
        training.train(model, texts[:1], None, SIZE, SAME)


def test_run_network_takes_tokens_of_a_network_that_reads(model):
    with pytest.raises(ValueError, match="tokens are int64"):
        training.run_network(model, model, torch.zeros(2, 8), SIZE)
    with pytest.raises(TypeError, match=r"model\.encode\(lines, size\) makes them"):
        training.run_network(model, model, ["a bird"], SIZE)
