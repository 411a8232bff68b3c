import copy
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from transfer_utils import backbones
from transfer_utils.backbones import costs

FROZEN = (None, "stem", "body", "pool")  # from everything trains to only the head does


@pytest.mark.parametrize("through", FROZEN)
def test_optimiser_bytes_are_those_of_a_real_optimiser(tiny, through):
    model = backbones.freeze(tiny(), through)
    optimiser = torch.optim.AdamW(backbones.parameter_groups(model, 1e-3))
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    optimiser.step()
    averages = [t for state in optimiser.state.values() for t in state.values() if t.ndim]  # the step is a scalar
    assert backbones.optimiser_bytes(model) == sum(t.nbytes for t in averages)


def test_optimiser_bytes_are_eight_for_each_parameter_that_trains(tiny):
    stem, body, head = 3 * 8 * 9 + 16, 8 * 16 * 9 + 32, 16 * 2 + 2
    found = [backbones.optimiser_bytes(backbones.freeze(tiny(), through)) for through in FROZEN]
    assert found == [8 * (stem + body + head), 8 * (body + head), 8 * head, 8 * head]


def test_activations_shrink_as_more_is_frozen(tiny, in_float32):
    whole, stem, body, pool = (backbones.activation_bytes(backbones.freeze(tiny(), t), 32, 8) for t in FROZEN)
    assert whole > stem > body
    assert body == pool == 8 * 16 * 4  # only what the head reads
    assert whole >= 8 * (3 * 32 * 32 + 2 * 8 * 16 * 16 + 2 * 16 * 8 * 8) * 4  # what each layer with weights reads


@pytest.mark.parametrize("through", FROZEN)
def test_activations_grow_with_the_batch_and_weights_are_left_out(tiny, through):
    model = backbones.freeze(tiny(), through)
    eight, sixteen = (backbones.activation_bytes(model, 32, batch) for batch in (8, 16))
    assert sixteen == pytest.approx(2 * eight, rel=0.01)
    assert backbones.activation_bytes(model.new_head(1000), 32, 8) == eight


@pytest.mark.parametrize("through", FROZEN)
def test_costs_are_those_of_training_whatever_the_models_mode(tiny, in_float32, through):
    training, evaluating = (backbones.freeze(tiny(), through).train(mode) for mode in (True, False))
    assert backbones.activation_bytes(training, 32, 8) == backbones.activation_bytes(evaluating, 32, 8)


def test_flops_of_a_step_are_those_counted_by_hand(tiny):
    """Two for each multiplication: forward, the weights' gradient, and the input's gradient where anybody needs it."""
    stem, body, head = (2 * 8 * n for n in (16 * 16 * 8 * 3 * 9, 8 * 8 * 16 * 8 * 9, 16 * 2))
    found = [backbones.step_flops(backbones.freeze(tiny(), through), 32, 8) for through in FROZEN]
    assert found == [2 * stem + 3 * body + 3 * head, 2 * body + 3 * head, 2 * head, 2 * head]


def test_no_prefix_costs_nothing(tiny):
    assert backbones.prefix_flops(tiny(), 32) == 0


@pytest.mark.parametrize("through", FROZEN[1:])
def test_prefix_and_the_rest_are_the_whole_forward_pass(tiny, through):
    model = backbones.freeze(tiny(), through)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    prefix, rest = model.split(after=through)
    with torch.no_grad():
        x = prefix(torch.zeros(1, 3, 32, 32))
        with FlopCounterMode(display=False) as behind:
            rest(x)
    assert backbones.prefix_flops(model, 32) + behind.get_total_flops() == whole.get_total_flops()


def test_flops_of_a_prefix_are_those_counted_by_hand(tiny):
    stem, body = (2 * n for n in (16 * 16 * 8 * 3 * 9, 8 * 8 * 16 * 8 * 9))
    found = [backbones.prefix_flops(backbones.freeze(tiny(), through), 32) for through in FROZEN]
    assert found == [0, stem, stem + body, stem + body]


@pytest.mark.parametrize("through", FROZEN)
def test_weight_bytes_are_those_of_the_parameters_frozen_or_not(tiny, through):
    model = backbones.freeze(tiny(), through)
    assert backbones.weight_bytes(model) == sum(p.nbytes for p in model.parameters())


@pytest.mark.parametrize("through", FROZEN)
def test_training_bytes_are_weights_gradients_averages_and_activations(tiny, through):
    model = backbones.freeze(tiny(), through)
    activations = backbones.activation_bytes(model, 32, 8)
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert backbones.training_bytes(model, 32, 8) == backbones.weight_bytes(model) + 3 * gradients + activations


def test_training_bytes_fall_as_more_is_frozen(tiny, in_float32):
    whole, stem, body, pool = (backbones.training_bytes(backbones.freeze(tiny(), t), 32, 8) for t in FROZEN)
    assert whole > stem > body == pool > backbones.weight_bytes(tiny())


def test_seconds_are_the_median_after_a_warm_up(tiny, monkeypatch):
    # Four steps: 0, 1, 9 and 2 seconds. Were the first one counted, the median would be another.
    ticks = iter([0, 0, 0, 1, 1, 10, 10, 12])
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert backbones.step_seconds(tiny(), 32, 4, repeats=3) == 2


MEASURES = (backbones.activation_bytes, backbones.step_flops, backbones.step_seconds, backbones.training_bytes)


@pytest.mark.parametrize("cost", MEASURES)
@pytest.mark.parametrize("through", [None, "stem", "pool"])
@pytest.mark.parametrize("mode", [True, False])
def test_measuring_leaves_the_model_alone(tiny, cost, through, mode):
    model = backbones.freeze(tiny(), through).train(mode)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    trains = [p.requires_grad for p in model.parameters()]
    assert cost(model, 32, 4) > 0
    assert backbones.drift(before, model) == {}
    assert (model.frozen or [None])[-1] == through
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == trains
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", [True, False])
def test_counting_a_prefix_leaves_the_model_alone(tiny, mode):
    model = backbones.freeze(tiny(), "stem").train(mode)
    before = copy.deepcopy(model.state_dict())
    backbones.prefix_flops(model, 32)
    assert backbones.drift(before, model) == {}
    assert model.frozen == ["stem"]
    assert model.body.training == mode


@pytest.mark.parametrize("size", [0, -1, 32.0, "32", None, True, (32, 32)])
@pytest.mark.parametrize("cost", [*MEASURES, lambda model, size, _: backbones.prefix_flops(model, size)])
def test_a_size_that_is_none_is_refused(tiny, cost, size):
    with pytest.raises(ValueError, match="got size=.*Give one whole number of at least 1"):
        cost(tiny(), size, 4)


@pytest.mark.parametrize("batch", [0, -1, 4.0, "4", None])
@pytest.mark.parametrize("cost", MEASURES)
def test_a_batch_that_is_none_is_refused(tiny, cost, batch):
    """A batch of 0 photos cost 0 operations."""
    with pytest.raises(ValueError, match="got batch=.*a whole number of at least 1"):
        cost(tiny(), 32, batch)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("cost", [backbones.activation_bytes, backbones.step_flops, backbones.training_bytes])
def test_costs_are_those_of_training_also_where_the_caller_switched_gradients_off(tiny, cost, off):
    """Nothing was kept for a backward pass then: 0 bytes."""
    model = tiny()
    expected = cost(model, 32, 4)
    with off():
        assert cost(model, 32, 4) == expected
        assert backbones.step_seconds(model, 32, 4, repeats=1) > 0


@pytest.mark.parametrize("depths", [["stem"], ["body", "body"]])
def test_depths_between_which_nothing_lies_take_what_was_measured(tiny, depths, monkeypatch):
    monkeypatch.setattr(costs, "step_seconds", lambda model, *_: 0.001 if model.frozen else 0.002)
    assert [fact["predicted_ms"] for fact in backbones.by_depth(tiny(), depths, 32, 4)] == [1.0] * len(depths)


# --- networks that read ---------------------------------------------------------------------------------------------


def test_the_deeper_lines_are_frozen_the_less_a_step_costs(small_gpt):
    model = small_gpt().new_head(2, seed=0)
    known = backbones.by_depth(model, (None, "block1", "pool"), 16, 4)
    for name in ("trainable", "flops", "activation_bytes"):
        costs = [fact[name] for fact in known]
        assert costs == sorted(set(costs), reverse=True), name
    assert known[-1]["flops"] == 2 * 2 * 4 * 24 * 2  # the head's, forward and for its gradient
    assert 0 < backbones.prefix_flops(backbones.freeze(model, "block1"), 16) < known[0]["flops"]


@pytest.mark.parametrize("cost", ["activation_bytes", "step_flops", "step_seconds", "training_bytes"])
def test_where_nothing_trains_there_is_no_step(small_gpt, cost):
    """Its head shares its weights with the frozen embedding."""
    with pytest.raises(ValueError, match=r"nothing can train\..* or give the model a new_head\(\)"):
        getattr(backbones, cost)(backbones.freeze(small_gpt(), "pool"), 16, 4)


@pytest.mark.parametrize("cost", ["activation_bytes", "step_flops", "step_seconds", "training_bytes", "prefix_flops"])
@pytest.mark.parametrize("size", [0, 65, 2.5])
def test_lines_of_more_tokens_than_it_reads_cost_nothing_that_we_could_say(small_gpt, cost, size):
    batch = () if cost == "prefix_flops" else (4,)
    with pytest.raises(ValueError, match=f"got size={size}; it is the tokens of a line.* from 1 to 64"):
        getattr(backbones, cost)(backbones.freeze(small_gpt(), "block1"), size, *batch)
