import copy

import pytest
import torch

from transfer_utils import training
from transfer_utils.backbones import (
    StagedModel,
    count_parameters,
    course_resnet,
    drift,
    freeze,
    frozen_state,
    hold_statistics,
    parameter_groups,
)
from transfer_utils.training import Recipe


def learn(model: StagedModel, steps: int = 2) -> None:
    """A training loop as a learner would write it: train() first, all parameters with a gradient in the optimiser."""
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        x = torch.randn(8, 3, 16, 16) + 1
        torch.nn.functional.cross_entropy(model(x), torch.arange(8) % 2).backward()
        optimiser.step()


def state_below(model: StagedModel, *stages: str) -> dict[str, torch.Tensor]:
    held = tuple(f"{stage}." for stage in stages)
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith(held)}


# --- the three promises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["stem", "body", "pool"])
def test_frozen_stages_have_no_gradient_and_the_rest_has(tiny, through):
    model = freeze(tiny(), through)
    learn(model)
    cut = model.stages.index(through)
    for position, stage in enumerate(model):
        for parameter in stage.parameters():
            assert parameter.requires_grad is (position > cut)
            assert (parameter.grad is None) is (position <= cut)


@pytest.mark.parametrize("through", ["stem", "body", "pool"])
def test_frozen_stages_are_not_in_the_optimiser(tiny, through):
    model = freeze(tiny(), through)
    optimised = {id(p) for group in parameter_groups(model, 0.1) for p in group["params"]}
    cut = model.stages.index(through)
    for position, stage in enumerate(model):
        for parameter in stage.parameters():
            assert (id(parameter) in optimised) is (position > cut)


def test_batch_norm_of_frozen_stages_stays_in_eval(tiny):
    model = freeze(tiny(), "stem")
    for mode in (True, False, True):
        model.train(mode)
        assert not any(module.training for module in model.stem.modules())
        assert all(module.training is mode for module in model.body.modules())
    assert model.training


def test_nothing_frozen_moves_in_a_learners_own_loop(tiny):
    model = freeze(tiny(), "body")
    before = state_below(model, "stem", "body")
    rest = state_below(model, "head")
    learn(model)
    assert drift(before, model) == {}
    assert set(drift(rest, model)) == {"head.weight", "head.bias"}


def test_nothing_frozen_moves_in_a_real_training(pairs):
    model = freeze(course_resnet(2), "stage1")
    before = state_below(model, "stem", "stage1")
    rest = state_below(model, "stage2", "stage3", "head")
    training.fit(model, *pairs, 32, Recipe(epochs=1), progress=False)
    assert drift(before, model) == {}
    assert set(drift(rest, model)) == set(rest)


def test_a_deep_copy_keeps_the_promises_for_itself(tiny):
    """deepcopy must not leave the copy's switch tied to the original."""
    model = freeze(tiny(), "stem")
    clone = copy.deepcopy(model)
    freeze(model, None)
    assert clone.frozen == ["stem"]
    before = state_below(clone, "stem")
    learn(clone)
    assert drift(before, clone) == {}
    clone.stem.train()
    learn(clone)
    assert drift(before, clone) == {}
    before = state_below(model, "stem")
    learn(model)
    assert drift(before, model)


def test_without_the_sticky_switch_statistics_drift(tiny):
    """What the switch is for: without it, model.train() lets the statistics move, though the weights stay."""
    model = freeze(tiny(), "stem")
    before = frozen_state(model)
    del model.stem.__dict__["held"]
    learn(model)
    assert set(drift(before, model)) == {"stem.1.running_mean", "stem.1.running_var", "stem.1.num_batches_tracked"}


def test_requires_grad_alone_does_not_freeze(tiny, pairs):
    model = tiny()
    model.stem.requires_grad_(False)
    assert model.frozen == []
    before = state_below(model, "stem")
    training.fit(model, pairs[0], None, 32, Recipe(epochs=1), progress=False)
    moved = drift(before, model)
    assert set(moved) == {"stem.1.running_mean", "stem.1.running_var", "stem.1.num_batches_tracked"}
    assert moved["stem.1.num_batches_tracked"] == 2  # 128 photos in batches of 64


# --- freezing and unfreezing --------------------------------------------------------------------------------------


def test_freeze_returns_the_model_and_says_how_far(tiny):
    model = tiny()
    assert model.frozen == []
    for through in ("stem", "pool", "body"):
        assert freeze(model, through) is model
        assert model.frozen[-1] == through


def test_freezing_less_releases_the_rest(tiny):
    model = freeze(freeze(tiny(), "body"), "stem")
    assert model.frozen == ["stem"]
    assert all(p.requires_grad for p in model.body.parameters())
    assert all(module.training for module in model.body.modules())


@pytest.mark.parametrize("mode", [True, False])
def test_unfreezing_everything(tiny, mode):
    model = freeze(tiny(), "pool").train(mode)
    freeze(model, None)
    assert model.frozen == []
    assert frozen_state(model) == {}
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training is mode for module in model.modules())
    before = state_below(model, "stem", "body", "head")
    learn(model)
    assert set(drift(before, model)) == set(before)


def test_unknown_stage(tiny):
    model = tiny()
    with pytest.raises(ValueError, match=r"no stage of tiny 'steam'\. Did you mean 'stem'\? Known: stem, body, pool"):
        freeze(model, "steam")
    assert model.frozen == []


def test_a_new_head_trains(tiny):
    model = freeze(tiny(), "pool").new_head(3)
    assert model.frozen == ["stem", "body", "pool"]
    assert all(p.requires_grad for p in model.head.parameters())


# --- batch-norm's statistics alone --------------------------------------------------------------------------------

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("again", [lambda model: model.train(), lambda model: freeze(model, None)])
def test_held_statistics_stay_while_every_weight_trains(tiny, again):
    model = tiny()
    assert hold_statistics(model) is model
    again(model.eval())
    model.train()
    before = copy.deepcopy(model.state_dict())
    learn(model, steps=1)
    assert set(drift(before, model)) == {name for name in before if not name.endswith(STATISTICS)}
    assert model.training
    assert model.stem.training
    assert not model.stem[1].training


def test_held_statistics_outlast_a_frozen_stage(tiny):
    model = freeze(freeze(hold_statistics(tiny()), "stem"), None)
    before = copy.deepcopy(model.state_dict())
    learn(model)
    moved = set(drift(before, model))
    assert "stem.1.weight" in moved
    assert not [name for name in moved if name.endswith(STATISTICS)]


def test_held_statistics_do_not_count_as_frozen(tiny):
    model = hold_statistics(tiny())
    assert model.frozen == []
    assert frozen_state(model) == {}
    assert count_parameters(model, trainable=True) == count_parameters(model)


def test_a_deep_copy_keeps_its_statistics_too(tiny):
    clone = copy.deepcopy(hold_statistics(tiny()))
    before = copy.deepcopy(clone.state_dict())
    learn(clone)
    assert set(drift(before, clone)) == {name for name in before if not name.endswith(STATISTICS)}


def test_held_statistics_in_a_real_training(pairs):
    model = hold_statistics(course_resnet(2))
    before = copy.deepcopy(model.state_dict())
    training.fit(model, pairs[0].take(20), None, 32, Recipe(epochs=1), progress=False)
    assert set(drift(before, model)) == {name for name in before if not name.endswith(STATISTICS)}


# --- proof --------------------------------------------------------------------------------------------------------


def test_frozen_state_is_a_copy_of_frozen_tensors_and_buffers(tiny):
    model = freeze(tiny(), "body")
    state = frozen_state(model)
    assert set(state) == {name for name in model.state_dict() if name.startswith(("stem.", "body."))}
    assert {"stem.1.running_mean", "body.1.num_batches_tracked"} <= set(state)
    with torch.no_grad():
        model.stem[0].weight[0, 0, 0, 0] += 0.5
    assert drift(state, model) == {"stem.0.weight": pytest.approx(0.5)}


def test_drift_sees_the_smallest_change(tiny):
    model = freeze(tiny(), "stem")
    before = frozen_state(model)
    weight = model.stem[0].weight
    with torch.no_grad():
        weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(10.0))
    assert list(drift(before, model)) == ["stem.0.weight"]


def test_drift_compares_states_too():
    before = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3)}
    assert drift(before, {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3), "c": torch.zeros(1)}) == {}
    assert drift(before, {"a": torch.tensor([0.0, 2.5]), "b": torch.tensor(5)}) == {"a": 1.0, "b": 2.0}


def test_drift_refuses_missing_tensors(tiny):
    before = frozen_state(freeze(tiny(), "stem"))
    with pytest.raises(ValueError, match=r"cannot find 'stem\.0\.weight' afterwards; compare two states of the same"):
        drift(before, torch.nn.Linear(2, 2))


# --- optimiser groups ---------------------------------------------------------------------------------------------


def test_parameter_groups_have_their_rates(tiny):
    model = tiny()
    head, body = parameter_groups(model, rate=0.1, head_ratio=10)
    assert (head["lr"], body["lr"]) == (0.1, pytest.approx(0.01))
    assert [id(p) for p in head["params"]] == [id(p) for p in model.head.parameters()]
    below = [*model.stem.parameters(), *model.body.parameters()]
    assert [id(p) for p in body["params"]] == [id(p) for p in below]


def test_parameter_groups_are_never_empty(tiny):
    groups = parameter_groups(freeze(tiny(), "pool"), rate=0.1, head_ratio=10)
    assert [group["lr"] for group in groups] == [0.1]
    model = tiny()
    model.head.requires_grad_(False)
    assert [group["lr"] for group in parameter_groups(model, rate=0.1, head_ratio=10)] == [pytest.approx(0.01)]


def test_count_parameters(tiny):
    model = tiny()
    stem, body, head = 3 * 8 * 9 + 16, 8 * 16 * 9 + 32, 16 * 2 + 2
    assert count_parameters(model) == count_parameters(model, trainable=True) == stem + body + head
    freeze(model, "stem")
    assert count_parameters(model) == stem + body + head
    assert count_parameters(model, trainable=True) == body + head
