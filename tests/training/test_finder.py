"""The learning-rate finder: what it returns, and that it leaves nothing changed."""

import math

import pytest
import torch
from torch import nn

from transfer_utils import backbones, data
from transfer_utils.backbones import drift, freeze
from transfer_utils.training import Recipe, try_rates

PHOTOS = data.load().only("cat", "dog").take(24)
RECIPE = Recipe(batch=8)


def test_the_rate_rises_by_the_same_factor_and_the_loss_falls_before_it_is_lost():
    tried = try_rates(backbones.course_resnet(2, seed=0), PHOTOS, 32, RECIPE, lowest=1e-5, highest=10.0, steps=61)
    assert list(tried.columns) == ["rate", "loss"]
    assert tried["rate"].iloc[0] == pytest.approx(1e-5)
    ratios = tried["rate"].iloc[1:].to_numpy() / tried["rate"].iloc[:-1].to_numpy()
    assert ratios == pytest.approx(1e6 ** (1 / 60))
    assert tried["loss"].iloc[0] == pytest.approx(math.log(2), abs=0.4)
    assert tried["loss"].min() < tried["loss"].iloc[0]


def test_a_lost_network_ends_it(tiny, pairs):
    tried = try_rates(tiny(), pairs[0], 32, RECIPE, lowest=1e-2, highest=1e6, steps=100)
    assert 1 < len(tried) < 100
    assert not tried["loss"].iloc[-1] < 4 * tried["loss"].min()
    assert (tried["loss"].iloc[:-1] < 4 * tried["loss"].cummin().iloc[:-1]).all()


@pytest.mark.parametrize("through", [None, "stem"])
def test_nothing_is_changed(own_home, through):
    model = freeze(backbones.course_resnet(2, seed=0), through).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    try_rates(model, PHOTOS, 32, RECIPE, steps=10)
    assert drift(before, model) == {}
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not list(own_home.rglob("*.safetensors"))


def test_dropout_draws_from_a_state_of_its_own(tiny, pairs):
    model = tiny()
    model.pool = nn.Sequential(model.pool, nn.Dropout(0.5))
    state = torch.get_rng_state()
    first, again = (try_rates(model, pairs[0], 32, RECIPE, steps=10) for _ in range(2))
    assert first.equals(again)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_frozen_holds_still_and_the_head_is_tried():
    model = freeze(backbones.course_resnet(2, seed=0), "pool")
    tried = try_rates(model, PHOTOS, 32, RECIPE, lowest=1e-3, highest=1.0, steps=40)
    assert tried["loss"].min() < tried["loss"].iloc[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lowest": 0.0}, "lowest=0.0 and highest=1.0"),
        ({"lowest": 1.0, "highest": 0.1}, "a number above 0 to a larger one"),
        ({"highest": math.inf}, "highest=inf"),
        ({"lowest": math.nan}, "lowest=nan"),
        ({"steps": 9}, "steps=9; it needs a whole number of at least 10"),
        ({"steps": 20.0}, "steps=20.0"),
    ],
)
def test_rates_that_cannot_be_tried(options, said):
    with pytest.raises(ValueError, match="try_rates") as refused:
        try_rates(backbones.course_resnet(2), PHOTOS, 32, RECIPE, **options)
    assert said in str(refused.value)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="3 outputs"):
        try_rates(backbones.course_resnet(3), PHOTOS)
    with pytest.raises(TypeError, match="named stages"):
        try_rates(nn.Linear(3, 2), PHOTOS)
