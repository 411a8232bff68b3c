import copy
import math

import pytest
import torch
from torch import nn

from transfer_utils import backbones
from transfer_utils.backbones import END, PAD, course_resnet, gpt, next_tokens, to_tokens, vocabulary, write, writing

LONG = "a cat and a dog " * 20


@pytest.fixture
def model(small_gpt):
    return small_gpt()


@pytest.fixture
def says(model, monkeypatch):
    """Make it say these tokens next, wherever it is; returns what it was shown each time."""

    def build(*logits: tuple[int, float]) -> list[list[int]]:
        seen = []

        def next_logits(tokens):
            seen.append(tokens[0].tolist())
            said = torch.full((1, tokens.shape[1], 2048), -30.0)
            for token, logit in logits:
                said[..., token] = logit
            return said

        monkeypatch.setattr(model, "next_tokens", next_logits)
        return seen

    return build


# --- the next token -------------------------------------------------------------------------------------------------


def test_next_tokens_are_the_softmax_of_the_last_position(model):
    found = next_tokens(model, "a small", count=2047)
    with torch.no_grad():
        logits = model.eval().next_tokens(torch.tensor([[END, *to_tokens(["a small"])[0]]]))[0, -1]
    weights = [math.exp(logit) if token != PAD else 0.0 for token, logit in enumerate(logits.tolist())]
    wanted = sorted((weight / sum(weights) for weight in weights), reverse=True)[:2047]
    assert list(found.values()) == pytest.approx(wanted, abs=1e-7)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    (first,) = to_tokens([next(iter(found))]) if next(iter(found)) != "end of line" else ([END],)
    assert first == [int(logits.argmax())] or "part of a character" in next(iter(found))


def test_next_tokens_are_shown_as_text(model, says):
    (cat,) = to_tokens([" cat"])
    says((END, 2.0), (cat[0], 1.0), (PAD, 9.0))
    found = next_tokens(model, "a", count=2)
    assert list(found) == ["end of line", vocabulary.to_text(cat[:1])]
    assert list(found.values()) == pytest.approx([math.e / (1 + math.e), 1 / (1 + math.e)])


def test_every_token_is_shown_otherwise():
    """Or two of them would share one place in the answer."""
    assert len({writing._shown(token) for token in range(1, 2048)}) == 2047
    assert writing._shown(to_tokens(["é"])[0][0]).startswith(("é", "part of a character"))


@pytest.mark.parametrize("line", ["", "a small", LONG])
def test_of_a_line_the_last_tokens_count(model, says, line):
    seen = says((END, 1.0))
    next_tokens(model, line, 1)
    assert seen == [[END, *to_tokens([line])[0]][-64:]]


@pytest.mark.parametrize("count", [0, -1, 2048, 1.5, True, "3", None])
def test_counts_out_of_range_are_refused(model, count):
    with pytest.raises(ValueError, match=r"next_tokens\(\) got count=.*from 1 to 2047"):
        next_tokens(model, "a", count)


# --- whole lines ----------------------------------------------------------------------------------------------------


def test_it_stops_where_the_model_ends_the_line(model, says):
    says((END, 1.0))
    assert write(model, "a small insect", seed=0) == "a small insect"
    assert write(model, seed=0) == ""


def test_it_stops_at_63_tokens_and_never_writes_padding(model, says):
    (cat,) = to_tokens([" cat"])
    seen = says((cat[0], 1.0), (PAD, 9.0))
    assert write(model, "a", seed=0) == "a" + 62 * vocabulary.to_text(cat[:1])
    assert max(map(len, seen)) == 63


def test_a_line_that_is_too_long_comes_back(model):
    assert write(model, LONG, seed=0) == LONG


def test_a_seed_writes_the_same_line_and_leaves_other_draws_alone(model):
    state = torch.get_rng_state()
    assert write(model, "a small", seed=1) == write(model, "a small", seed=1) != write(model, "a small", seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    draws = torch.Generator().manual_seed(1)
    assert write(model, "a small", seed=draws) == write(model, "a small", seed=1)


def test_any_bytes_that_it_writes_are_text(model, says):
    half = to_tokens(["😀"])[0][0]
    says((half, 1.0))
    assert "\ufffd" in write(model, "a", seed=0)


def test_what_is_cold_is_the_likeliest(model, says):
    cat, dog = (to_tokens([word])[0][0] for word in (" cat", " dog"))
    says((cat, 1.0), (dog, 0.0))
    assert set(write(model, seed=0, temperature=0.01).split()) == {vocabulary.to_text([cat]).strip()}
    lines = [write(model, seed=seed, temperature=1.0) for seed in range(5)]
    share = sum(line.count(vocabulary.to_text([cat])) for line in lines) / (5 * 63)
    assert share == pytest.approx(math.e / (1 + math.e), abs=0.1)


@pytest.mark.parametrize("temperature", [0.01, 100])
def test_temperatures_at_the_ends_work(model, temperature):
    assert isinstance(write(model, "a", temperature, seed=0), str)


@pytest.mark.parametrize("temperature", [0, -1, 0.001, 101, math.nan, math.inf, "0.7", None, 1j])
def test_other_temperatures_are_refused(model, temperature):
    with pytest.raises(ValueError, match=r"write\(\) got temperature=.*from 0.01 to 100, for example 0\.7"):
        write(model, "a", temperature)


# --- who can write --------------------------------------------------------------------------------------------------

CALLS = {"write()": write, "next_tokens()": lambda model, line="a": next_tokens(model, line)}


@pytest.mark.parametrize("call", CALLS)
def test_modes_and_gradients_are_as_before(model, call):
    model.train()
    model.get_submodule("block1").eval()
    before = [module.training for module in model.modules()]
    CALLS[call](model)
    assert [module.training for module in model.modules()] == before
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("call", CALLS)
def test_a_replaced_head_knows_no_words(model, call):
    with pytest.raises(
        ValueError, match=r"head of course_gpt was replaced by one with 10 outputs, which are no tokens"
    ):
        CALLS[call](model.new_head(10))


@pytest.mark.parametrize("call", CALLS)
def test_another_network_is_refused(call):
    with pytest.raises(TypeError, match=r"got course_resnet, which guesses no next token\. Give a GPT"):
        CALLS[call](course_resnet(2))
    with pytest.raises(TypeError, match="needs a network with named stages"):
        CALLS[call](nn.Linear(2, 2))
    with pytest.raises(TypeError, match="got str, which guesses no next token"):
        CALLS[call]("a small")


@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_line_is_refused(model, call):
    with pytest.raises(TypeError, match="A line of text was 3, a int"):
        CALLS[call](model, 3)


def test_a_wrapped_network_writes_as_it_does_itself(model):
    assert write(nn.DataParallel(model), "a", seed=0) == write(model, "a", seed=0)
    assert write(copy.deepcopy(model), "a", seed=0) == write(model, "a", seed=0)


def test_with_lora_it_writes_on(model):
    before = write(model, "a", seed=0)
    assert write(backbones.add_lora(model, 2, seed=0), "a", seed=0) == before


def test_the_most_that_is_written_is_what_it_reads():
    assert writing.MOST_WRITTEN == gpt.LONGEST - 1
