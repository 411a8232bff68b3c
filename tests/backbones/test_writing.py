import copy
import math

import pytest
import torch
from torch import nn

from transfer_utils import backbones
from transfer_utils.backbones import END, PAD, course_resnet, gpt, next_words, to_tokens, vocabulary, write, writing

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
            said = torch.full((*tokens.shape, 2048), -30.0)
            for token, logit in logits:
                said[..., token] = logit
            return said

        monkeypatch.setattr(model, "next_tokens", next_logits)
        return seen

    return build


# --- the next word --------------------------------------------------------------------------------------------------

SMALL, MORE = (to_tokens([text])[0][0] for text in (" small", "s"))


def test_a_word_ends_where_the_next_token_does_not_go_on_with_it(model, says):
    says((SMALL, 2.0), (MORE, 1.0), (END, 0.0), (PAD, 9.0))
    small, more, end = (math.exp(logit) / sum(map(math.exp, (0, 1, 2))) for logit in (2, 1, 0))
    found = next_words(model, "a", count=6)
    wanted = {
        " small": small * (1 - more),
        "end of line": end,
        "s": more * (1 - more),
        " smalls": small * more * (1 - more),
        "ss": more**2 * (1 - more),
        " smallss": small * more**2 * (1 - more),
    }
    assert found == pytest.approx(wanted, abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_all_words_together_are_nearly_certain(model, says):
    says((SMALL, 2.0), (MORE, -1.0), (END, 0.0))
    assert sum(next_words(model, "a", 50).values()) == pytest.approx(1, abs=1e-3)


def test_pieces_that_make_the_same_word_add_up(model, says):
    parts = to_tokens([" s", "m", "all"])
    assert all(len(pieces) == 1 for pieces in parts)
    says((SMALL, 1.0), *((pieces[0], 0.0) for pieces in parts))
    chances = torch.tensor([1.0, 0, 0, 0]).softmax(0)
    open_end = 1 - 2 * float(chances[1])  # two of the four go on with a word
    together = float(chances[0]) + float(chances[1]) ** 3
    assert next_words(model, "a", 50)[" small"] == pytest.approx(together * open_end, abs=1e-5)


def test_a_mark_is_a_word_of_its_own(model, says):
    mark = to_tokens([";"])[0][0]
    says((mark, 1.0), (MORE, 0.0))
    assert list(next_words(model, "a", 2)) == [";", "s"]
    assert ";s" not in next_words(model, "a", 50)


@pytest.mark.parametrize("line", ["", "a small", LONG])
def test_of_a_line_the_last_tokens_count(model, says, line):
    seen = says((END, 1.0))
    next_words(model, line, 1)
    assert seen[0] == [END, *to_tokens([line])[0]][-64:]


@pytest.mark.parametrize("count", [0, -1, 51, 1.5, True, "3", None])
def test_counts_out_of_range_are_refused(model, count):
    with pytest.raises(ValueError, match=r"next_words\(\) got count=.*from 1 to 50"):
        next_words(model, "a", count)


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

CALLS = {"write()": write, "next_words()": lambda model, line="a": next_words(model, line)}


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
    with pytest.raises(TypeError, match="got Linear, which guesses no next token"):
        CALLS[call](nn.Linear(2, 2))
    with pytest.raises(TypeError, match="got str, which guesses no next token"):
        CALLS[call]("a small")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e30])
def test_a_network_that_diverged_says_nothing(model, call, broken):
    with torch.no_grad():
        model.embedding.token.weight.fill_(broken)
    with pytest.raises(ValueError, match=r"course_gpt gives NaN or infinite logits: it diverged.*a lower rate"):
        CALLS[call](model)


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
