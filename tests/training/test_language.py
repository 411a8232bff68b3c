import copy
import math

import pytest
import torch
from torch import Tensor, nn

from transfer_utils import training
from transfer_utils.backbones import END, GPT, LONGEST, add_lora, course_resnet, drift, freeze, to_tokens
from transfer_utils.training import language
from transfer_utils.training.language import Reading, rate_at, read, reader, stream, surprise, windows

SONG = ["a cat sat on a mat", "a dog ran in the fog", "the end of a day", "one small step for a person"]
QUICK = Reading(steps=20, batch=4, warm_up=5, rate=1e-2)


@pytest.fixture
def model(small_gpt) -> GPT:
    return small_gpt()


@pytest.fixture
def tokens() -> Tensor:
    return stream(SONG * 10)


def losses(loop) -> list[float]:
    return [loss.item() for loss in loop]


# --- what is read ---------------------------------------------------------------------------------------------------


def test_a_stream_is_the_lines_each_behind_the_mark():
    cat, dog = to_tokens(["a cat", "a dog"])
    found = stream(["a cat", "", "a dog"])
    assert found.tolist() == [END, *cat, END, END, *dog]
    assert found.dtype == torch.int64
    assert stream([]).dtype == torch.int64


def test_windows_begin_where_lines_do(tokens):
    found = windows(tokens, 3, Reading(batch=200))
    assert found.shape == (200, LONGEST + 1)
    assert (found[:, 0] == END).all()
    every = [tuple(tokens[start : start + LONGEST + 1].tolist()) for start in torch.nonzero(tokens == END).flatten()]
    assert set(map(tuple, found.tolist())) == {window for window in every if len(window) == LONGEST + 1}


def test_windows_follow_from_seed_and_step_alone(tokens):
    how, state = Reading(batch=8), torch.get_rng_state()
    first = windows(tokens, 3, how)
    torch.rand(5)
    assert torch.equal(windows(tokens, 3, how), first)
    assert not torch.equal(windows(tokens, 4, how), first)
    assert not torch.equal(windows(tokens, 3, Reading(batch=8, seed=1)), first)
    torch.set_rng_state(state)
    windows(tokens, 5, how)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_fewest_tokens_are_one_window():
    tokens = stream(SONG * 4)[: LONGEST + 1]
    assert torch.equal(windows(tokens, 0, Reading(batch=2)), tokens.expand(2, -1))


def test_the_rate_goes_up_in_a_line_and_down_in_half_a_wave():
    how = Reading(steps=110, rate=0.8, warm_up=10)
    rates = [rate_at(step, how) for step in range(how.steps + 1)]
    assert rates[:10] == pytest.approx([0.08 * (step + 1) for step in range(10)])
    assert (rates[10], rates[60], rates[110]) == pytest.approx((0.8, 0.4, 0.0))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[35] == pytest.approx(0.4 * (1 + math.cos(math.pi / 4)))


def test_a_run_of_no_more_than_its_warm_up_has_a_rate():
    how = Reading(steps=3, warm_up=200)
    assert [rate_at(step, how) for step in range(3)] == pytest.approx([1e-5, 2e-5, 3e-5])


# --- reading --------------------------------------------------------------------------------------------------------


def test_the_loss_falls_on_a_text_that_can_be_learned(model, tokens):
    how = Reading(steps=60, batch=4, warm_up=5, rate=2e-2)
    before = surprise(model, tokens)
    seen = losses(read(model, tokens, how))
    assert len(seen) == 60
    assert seen[0] == pytest.approx(before, abs=0.2)
    assert before == pytest.approx(math.log(2048), abs=0.2)
    assert seen[-1] < 3
    assert surprise(model, tokens) < 3


def test_the_first_step_is_as_written_out(model, tokens, in_float32):
    """One step of AdamW on the mean loss of every next token, with the gradient cut to a length of 1."""
    again, how = copy.deepcopy(model), Reading(steps=1, batch=4, warm_up=2, rate=1e-2)
    (loss,) = read(model, tokens, how)
    seen = windows(tokens, 0, how)
    chances = again.next_tokens(seen[:, :-1]).log_softmax(2)
    wanted = -torch.stack([chances[i, j, seen[i, j + 1]] for i in range(4) for j in range(LONGEST)]).mean()
    wanted.backward()
    nn.utils.clip_grad_norm_(again.parameters(), 1.0)
    torch.optim.AdamW(again.parameters(), 5e-3, betas=(0.9, 0.95), weight_decay=0.1).step()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    # Adam's first step goes by the sign of a gradient, and a bias of all keys, which changes no share, has none.
    moved = {name for name, distance in drift(again.state_dict(), model).items() if distance > 1e-4}
    assert moved <= {"block1.attention.asks.bias", "block2.attention.asks.bias"}


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_a_run_that_was_interrupted_goes_on_bit_for_bit(model, tokens, cut):
    whole, first = copy.deepcopy(model), copy.deepcopy(model)
    unbroken = losses(read(whole, tokens, QUICK))
    optimiser = reader(first, QUICK)
    loop = read(first, tokens, QUICK, optimiser)
    begun = [next(loop).item() for _ in range(cut)]
    loop.close()
    saved = copy.deepcopy((first.state_dict(), optimiser.state_dict()))
    torch.rand(3)
    second = copy.deepcopy(model)
    optimiser = reader(second, QUICK)
    second.load_state_dict(saved[0])
    optimiser.load_state_dict(saved[1])
    assert begun + losses(read(second, tokens, QUICK, optimiser, done=cut)) == unbroken
    assert drift(whole.state_dict(), second) == {}


def test_without_the_optimisers_state_it_is_another_run(model, tokens):
    """What the test above would not see if nothing of the state mattered."""
    again = copy.deepcopy(model)
    unbroken = losses(read(model, tokens, QUICK))
    loop = read(again, tokens, QUICK)
    for _ in range(7):
        next(loop)
    loop.close()
    assert losses(read(again, tokens, QUICK, done=7)) != unbroken[7:]


def test_a_run_that_is_done_has_no_steps(model, tokens):
    before = copy.deepcopy(model.state_dict())
    assert list(read(model, tokens, QUICK, done=20)) == []
    assert drift(before, model) == {}


@pytest.mark.parametrize("steps", [2, 20])
def test_modes_come_back(model, tokens, steps):
    model.train()
    model.get_submodule("block1").eval()
    before = [module.training for module in model.modules()]
    loop = read(model, tokens, QUICK)
    for _ in range(steps):
        next(loop)
    assert all(module.training for module in model.modules())
    loop.close()
    assert [module.training for module in model.modules()] == before
    surprise(model, tokens)
    assert [module.training for module in model.modules()] == before


def test_draws_of_others_are_untouched(model, tokens):
    state = torch.get_rng_state()
    losses(read(model, tokens, Reading(steps=2, batch=2)))
    surprise(model, tokens)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_also_where_the_caller_has_none(model, tokens, off):
    again = copy.deepcopy(model)
    with off():
        found = losses(read(model, tokens, Reading(steps=3, batch=2)))
    assert found == losses(read(again, tokens, Reading(steps=3, batch=2)))


@pytest.mark.parametrize("prepare", [lambda model: model, lambda model: add_lora(model, 2, seed=0)])
def test_gradients_that_somebody_left_behind_change_nothing(model, tokens, prepare):
    """An interrupt leaves some between the backward pass and the step, and so does a cell of one's own."""
    again = copy.deepcopy(model)
    again.next_tokens(tokens[None, :9]).square().sum().backward()
    model, again = prepare(model), prepare(again)
    assert losses(read(again, tokens, Reading(steps=3, batch=2))) == losses(
        read(model, tokens, Reading(steps=3, batch=2))
    )
    assert drift(model.state_dict(), again) == {}


def test_head_and_embedding_learn_as_one(model, tokens):
    losses(read(model, tokens, QUICK))
    assert model.head.weight is model.embedding.token.weight
    assert len(reader(model, QUICK).param_groups[0]["params"]) == len(list(model.parameters()))


def test_with_lora_only_what_was_added_moves(model, tokens):
    add_lora(model, 2, seed=0)
    before = copy.deepcopy(model.state_dict())
    losses(read(model, tokens, QUICK))
    assert drift(before, model)
    assert all(name.split(".")[-2] in ("up", "down") for name in drift(before, model))


def test_while_it_reads_nobody_else_may(model, tokens):
    loop = read(model, tokens, QUICK)
    next(loop)
    with pytest.raises(RuntimeError, match=r"freeze\(\) would change course_gpt while a training loop runs on it"):
        freeze(model, "block1")
    with pytest.raises(RuntimeError, match=r"read\(\) would change course_gpt while a training loop runs on it"):
        next(read(model, tokens, QUICK))
    loop.close()
    freeze(model, "block1")


# --- how surprised it is --------------------------------------------------------------------------------------------


def test_surprise_is_the_mean_over_windows_that_tile_the_tokens(model, tokens, in_float32, monkeypatch):
    monkeypatch.setattr(language, "LOOK_BATCH", 2)
    for count in (65, 128, 129, 200, len(tokens)):
        wanted = []
        for start in range(0, count - LONGEST, LONGEST):
            with torch.no_grad():
                said = model.next_tokens(tokens[start : start + LONGEST][None])[0].log_softmax(1)
            wanted += [-said[i, tokens[start + i + 1]].item() for i in range(LONGEST)]
        assert surprise(model, tokens[:count]) == pytest.approx(sum(wanted) / len(wanted), abs=1e-5)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 63, 64])
def test_too_little_text_is_refused(model, tokens, count):
    with pytest.raises(ValueError, match=rf"read\(\) got {count} tokens; it needs at least 65"):
        read(model, tokens[:count], QUICK)
    with pytest.raises(ValueError, match=rf"surprise\(\) got {count} tokens; it needs at least 65"):
        surprise(model, tokens[:count])


def test_a_stream_without_its_first_mark_is_refused(model, tokens):
    with pytest.raises(ValueError, match="the first of them the mark that begins a line"):
        read(model, tokens[1:], QUICK)


def test_what_are_no_tokens_is_refused(model, tokens):
    for wrong in (tokens.float(), tokens[None], tokens.tolist(), SONG):
        with pytest.raises(ValueError, match=r"as tokens; they are int64 \(N,\), as stream\(lines\) makes them"):
            read(model, wrong, QUICK)


def test_another_network_is_refused(model, tokens):
    for call in (lambda model: read(model, tokens, QUICK), lambda model: surprise(model, tokens)):
        with pytest.raises(TypeError, match=r"\(\) got course_resnet, which guesses no next token\. Give a GPT"):
            call(course_resnet(2))
        with pytest.raises(TypeError, match=r"\(\) got str, which guesses no next token"):
            call("course_gpt")
    with pytest.raises(ValueError, match="was replaced by one with 10 outputs"):
        next(read(model.new_head(10), tokens, QUICK))


@pytest.mark.parametrize("wrong", [-5, 0, 2048])
def test_tokens_that_it_does_not_know_are_refused(model, tokens, wrong):
    tokens[9] = wrong
    for call in (lambda: read(model, tokens, QUICK), lambda: surprise(model, tokens)):
        with pytest.raises(
            ValueError, match=rf"\(\) got tokens from .*{wrong}.*; course_gpt knows those from 1 to 2047"
        ):
            call()


@pytest.mark.parametrize("how", [3, None, training.Recipe(2)])
def test_another_recipe_is_refused_before_the_first_step(model, tokens, how):
    with pytest.raises(TypeError, match=rf"read\(\) got a recipe of type {type(how).__name__}; give a Reading"):
        read(model, tokens, how)


@pytest.mark.parametrize("done", [-1, 1.5, "3", True, None])
def test_what_is_no_number_of_steps_is_refused(model, tokens, done):
    with pytest.raises(ValueError, match=r"read\(\) got done=.*a whole number of at least 0"):
        read(model, tokens, QUICK, done=done)


def test_an_optimiser_of_other_weights_is_refused(model, tokens):
    with pytest.raises(ValueError, match=r"does not have all weights of course_gpt.*reader\(model, how\)"):
        read(model, tokens, QUICK, reader(copy.deepcopy(model), QUICK))
    optimiser = reader(model, QUICK)
    with pytest.raises(ValueError, match=r"after freeze\(\) or add_lora\(\)"):
        read(add_lora(model, 2), tokens, QUICK, optimiser)


def test_where_nothing_trains_nothing_is_read(model, tokens):
    """Its head shares its weights with the frozen embedding."""
    with pytest.raises(ValueError, match="Every stage is frozen, so nothing can train"):
        read(freeze(model, "pool"), tokens, QUICK)


def test_a_wrapped_network_reads_as_it_does_itself(model, tokens):
    again = copy.deepcopy(model)
    assert losses(read(nn.DataParallel(again), tokens, QUICK)) == losses(read(model, tokens, QUICK))
    assert surprise(nn.DataParallel(again), tokens) == surprise(model, tokens)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        *[
            (name, value, "a whole number")
            for name in ("steps", "batch", "warm_up")
            for value in (0, -1, 2.5, "3", True)
        ],
        *[("rate", value, "a number above 0") for value in (0, -1, math.nan, math.inf, "1")],
        *[("decay", value, "a number of at least 0") for value in (-1, math.nan, None)],
        *[("seed", value, "a whole number of 32 bits") for value in (1.5, 2**40, None)],
    ],
)
def test_numbers_that_nobody_can_train_with_are_refused(name, value, rule):
    with pytest.raises(ValueError, match=rf"Reading\(\) got {name}=.*it must be {rule}.*, for example"):
        Reading(**{name: value})


def test_reading_is_no_recipe(model, pairs):
    with pytest.raises(TypeError, match="got a recipe of type Reading; give a Recipe"):
        training.train(course_resnet(2), *pairs, 32, Reading())
