"""Long passes through OpenVINO: the same features, or torch computes them."""

import importlib.metadata
import sys

import pytest
import torch
from torch import nn

from transfer_utils import backbones, data, machine, training
from transfer_utils.training import converted, features

pytest.importorskip("openvino")
# Five families of timm that convolve, attend, and mix; and every network that the course knows by name.
FAMILIES = ("convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_100", "regnety_002", "mixer_s32_224")
NAMED = ("course_resnet/both", "efficientnet_lite0", "resnet18", "resnet50", "course_gpt/definitions", "minilm")
SIZES = {"course_resnet/both": 32, "course_gpt/definitions": 24, "minilm": 24}
WITH_WEIGHTS = ("course_resnet/both", "efficientnet_lite0", "course_gpt/definitions")


@pytest.fixture
def long(monkeypatch, own_home) -> None:
    """Every pass is long enough to be converted, and the cache is empty."""
    monkeypatch.setattr(converted, "LONG", 1)


@pytest.fixture
def photos() -> data.ImageSet:
    return data.load(split="valid").take(2)


@pytest.fixture
def by_torch(monkeypatch):
    """Call a function while OpenVINO is not there."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(converted, "_installed", lambda: None)
            return function(*arguments, cache=False)

    return call


@pytest.fixture
def conversions(monkeypatch) -> list[int]:
    """Something in it for every network that is converted."""
    done, convert = [], converted._compiled_bytes

    def counted(*arguments):
        found = convert(*arguments)
        done.append(len(found))
        return found

    monkeypatch.setattr(converted, "_compiled_bytes", counted)
    return done


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def items(model, photos):
    return data.load_texts("topics", "valid").take(1) if isinstance(model, backbones.TextModel) else photos


@pytest.mark.parametrize("name", [*NAMED, *(f"timm/{family}" for family in FAMILIES)])
def test_every_network_gives_the_features_that_torch_gives(name, photos, long, in_float32, by_torch, conversions):
    model = backbones.load_backbone(name, pretrained=name in WITH_WEIGHTS, seed=0)
    size = SIZES.get(name, 224 if "vit" in name or "mixer" in name else 64)
    these = items(model, photos)
    found = training.extract(model, these, size, cache=False)
    assert len(conversions) == 1
    assert conversions[0] > 0, "it was not converted"
    assert distance(found, by_torch(training.extract, model, these, size)) < converted.EQUAL


@pytest.mark.skipif(machine.precision(torch.device("cpu")) is torch.float32, reason="this CPU computes in float32")
@pytest.mark.parametrize("name", ["course_resnet/both", "course_gpt/definitions"])
def test_in_half_precision_it_is_as_near_to_float32_as_torch_is(name, photos, long, by_torch, monkeypatch):
    model = backbones.load_backbone(name)
    these, size = items(model, photos), SIZES[name]
    found, half = training.extract(model, these, size, cache=False), by_torch(training.extract, model, these, size)
    monkeypatch.setattr(features, "autocast", lambda _: torch.autocast("cpu", enabled=False))
    exact = by_torch(training.extract, model, these, size)
    assert 0 < distance(found, exact) < 2 * distance(half, exact)


def test_every_stage_and_a_part_of_the_stages(tiny, photos, long, in_float32, conversions, by_torch, monkeypatch):
    model = tiny()
    assert distance(training.extract(model, photos, 32, "stem"), by_torch(training.extract, model, photos, 32, "stem"))
    found = training.by_stage(model, photos, 32)
    assert len(conversions) == 2
    monkeypatch.setattr(converted, "_installed", lambda: None)
    expected = training.by_stage(model, photos, 32)
    assert list(found) == list(expected)
    assert all(distance(found[stage], expected[stage]) < converted.EQUAL for stage in found)


def test_any_number_of_photos(tiny, photos, long, in_float32, conversions):
    model = tiny()
    every = training.extract(model, photos, 32, cache=False)
    for count in (1, 2, 17):
        assert torch.allclose(training.extract(model, photos[:count], 32, cache=False), every[:count], atol=1e-5)
    assert len(conversions) == 1


def test_no_photos(tiny, photos, long):
    assert training.extract(tiny(), photos[:0], 32).shape == (0, 16)


def test_it_is_converted_once_and_found_again(tiny, photos, long, conversions):
    first = training.extract(tiny(), photos, 32, cache=False)
    again = training.extract(tiny(), photos, 32, cache=False)
    assert len(conversions) == 1
    assert torch.equal(first, again)


def test_other_weights_are_another_network(tiny, photos, long, conversions):
    model = tiny()
    before = training.extract(model, photos, 32, cache=False)
    with torch.no_grad():
        model.stem[0].weight.mul_(0.5)
    assert not torch.allclose(training.extract(model, photos, 32, cache=False), before)
    assert len(conversions) == 2


def test_the_weights_may_train_on_while_it_is_in_use(tiny, photos, long):
    model = tiny()
    run = converted.converted(model, model, photos.images, 32)
    (before,) = run(photos.images)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    (after,) = run(photos.images)
    assert torch.equal(before, after)


def test_a_short_pass_is_torchs_whatever_lies_in_the_cache(tiny, photos, own_home, conversions, monkeypatch):
    model, expected = tiny(), training.extract(tiny(), photos, 32, cache=False)
    assert converted.runtime(photos.images, 32) == "torch"
    monkeypatch.setattr(converted, "LONG", 1)
    training.extract(model, photos, 32, cache=False)
    monkeypatch.setattr(converted, "LONG", len(photos) * 32**2 + 1)
    assert torch.equal(training.extract(model, photos, 32, cache=False), expected)
    assert len(conversions) == 1


def test_the_length_of_a_pass_counts_what_the_network_sees(photos):
    version = f"openvino {importlib.metadata.version('openvino')}"
    rows, tokens = torch.zeros(120, 3, 1, 1), torch.zeros(1000, 24)
    assert converted.runtime(rows, 224) == version
    assert converted.runtime(rows, 96) == "torch"
    assert converted.runtime(tokens, 24) == version
    assert converted.runtime(tokens[:900], 24) == "torch"


def test_features_of_one_runtime_are_not_taken_for_those_of_the_other(tiny, photos, long, passes, monkeypatch):
    training.extract(tiny(), photos, 32)
    monkeypatch.setattr(converted, "_installed", lambda: None)
    training.extract(tiny(), photos, 32)
    assert len(passes) == 2


def test_what_cannot_be_loaded_is_torchs(tiny, photos, long, in_float32, monkeypatch, by_torch):
    model = tiny()
    expected = by_torch(training.extract, model, photos, 32)
    monkeypatch.setattr(converted, "_compiled_bytes", lambda *_: torch.arange(99, dtype=torch.uint8))
    for _ in range(2):
        assert torch.equal(training.extract(model, photos, 32, cache=False), expected)


def test_without_openvino_torch_computes(tiny, photos, long, in_float32, monkeypatch, by_torch):
    expected = by_torch(training.extract, tiny(), photos, 32)
    converted._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)  # installed, and it cannot be imported
    assert torch.equal(training.extract(tiny(), photos, 32, cache=False), expected)
    converted._core.cache_clear()


class Counts(nn.Module):
    """Goes by the number of photos, of which a trace keeps the one that it saw."""

    def forward(self, x):
        return x * len(x)


def test_a_network_that_does_not_convert_equally_is_torchs(tiny, photos):
    model = tiny()
    assert len(converted._compiled_bytes(model, model, photos.images[:3], "f32"))
    assert not len(converted._compiled_bytes(model, nn.Sequential(model, Counts()), photos.images[:3], "f32"))


def test_what_did_not_convert_is_not_tried_again(tiny, photos, long, in_float32, by_torch, conversions, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such operation")

    expected = by_torch(training.extract, tiny(), photos, 32)
    monkeypatch.setattr(converted, "_graph", fail)
    for _ in range(2):
        assert torch.equal(training.extract(tiny(), photos, 32, cache=False), expected)
    assert conversions == [0]


def test_modes_come_back(tiny, photos, long):
    model = tiny().train()
    model.body.eval()
    training.extract(model, photos, 32)
    assert [module.training for module in (model, model.stem, model.body)] == [True, True, False]


def test_a_network_with_a_hook_is_torchs(tiny, photos, long, conversions):
    """What it would note, OpenVINO would not tell it."""
    model, seen = tiny(), []
    model.body.register_forward_hook(lambda *_: seen.append(1))
    training.extract(model, photos, 32)
    assert seen
    assert conversions == []
