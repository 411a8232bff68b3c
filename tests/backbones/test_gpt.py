"""The GPT against one that is written out with loops, and what a staged model of text promises."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from transfer_utils import backbones
from transfer_utils.backbones import END, GPT, LONGEST, PAD, course_gpt, freeze, gpt, to_tokens
from transfer_utils.backbones.text_models import real

LINES = ["a small insect", "", "the act of writing a letter to a friend", "a person who sings"]


@pytest.fixture
def model() -> GPT:
    """With weights so large that every part of it has a say."""
    found = course_gpt(seed=0).eval()
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=draws)
    return found


@pytest.fixture
def tokens(model) -> Tensor:
    return model.encode(LINES, 16)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


# --- against loops --------------------------------------------------------------------------------------------------


def norm(layer: nn.LayerNorm, row: Tensor) -> Tensor:
    mean, spread = row.mean(), ((row - row.mean()) ** 2).mean()
    return (row - mean) / (spread + 1e-5).sqrt() * layer.weight + layer.bias


def linear(layer: nn.Linear, row: Tensor) -> Tensor:
    return layer.weight @ row + (0 if layer.bias is None else layer.bias)


def attention(layer: nn.Module, rows: list[Tensor]) -> list[Tensor]:
    """For every position and head: how much of each row up to there, and what that gives."""
    width, heads = gpt.WIDTH, gpt.HEADS
    each = width // heads
    asked = [linear(layer.asks, row).split(width) for row in rows]
    gathered = []
    for here in range(len(rows)):
        parts = []
        for head in range(heads):
            own = slice(head * each, (head + 1) * each)
            query = asked[here][0][own]
            scores = [float(query @ asked[there][1][own]) / math.sqrt(each) for there in range(here + 1)]
            shares = [math.exp(score - max(scores)) for score in scores]
            parts.append(sum(s / sum(shares) * asked[there][2][own] for there, s in enumerate(shares)))
        gathered.append(linear(layer.out, torch.cat(parts)))
    return gathered


def block(layer: nn.Module, rows: list[Tensor]) -> list[Tensor]:
    gathered = attention(layer.attention, [norm(layer.norm1, row) for row in rows])
    rows = [row + more for row, more in zip(rows, gathered, strict=True)]
    first, last = layer.work[0], layer.work[2]
    worked = []
    for row in rows:
        inner = linear(first, norm(layer.norm2, row))
        worked.append(row + linear(last, inner * (1 + torch.erf(inner / math.sqrt(2))) / 2))
    return worked


@torch.no_grad()
def reference(model: GPT, line: str) -> list[Tensor]:
    """The vector of each token of a line behind the last norm, without any batch or padding."""
    embedding = model.embedding
    seen = [END, *to_tokens([line])[0]]
    rows = [embedding.token.weight[token] + embedding.place.weight[place] for place, token in enumerate(seen)]
    for name in model.stages[1:-3]:
        rows = block(model.get_submodule(name), rows)
    return [norm(model.get_submodule("norm"), row) for row in rows]


@pytest.mark.parametrize("line", LINES)
def test_it_computes_what_the_loops_do(model, tokens, line):
    rows = reference(model, line)
    with torch.no_grad():
        found = model[: model.position("pool")](tokens[LINES.index(line)][None])[0]
        said = model.next_tokens(tokens[LINES.index(line)][None])[0]
        logits = model(tokens[LINES.index(line)][None])[0]
    wanted = torch.stack(rows)
    assert apart(found[: len(rows)], wanted) < 1e-5
    assert torch.equal(found[len(rows) :], torch.zeros(16 - len(rows), gpt.WIDTH))
    assert apart(said[: len(rows)], wanted @ model.embedding.token.weight.T) < 1e-5
    assert apart(logits, model.head.weight @ wanted.mean(0)) < 1e-5


def test_its_size_is_as_told():
    model = course_gpt(seed=0)
    assert model.stages == ["embedding", "block1", "block2", "block3", "block4", "norm", "pool", "head"]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(2.2e6, rel=0.02)


# --- what no token sees ---------------------------------------------------------------------------------------------


@torch.no_grad()
def test_no_token_sees_a_later_one(model, tokens):
    line = tokens[2:3]
    before = model.next_tokens(line)
    for place in range(1, line.shape[1]):
        other = line.clone()
        other[0, place] = (other[0, place] + 700) % 2048
        after = model.next_tokens(other)
        assert apart(after[:, :place], before[:, :place]) < 1e-6
        assert (after[:, place] - before[:, place]).abs().max() > 1e-3


@torch.no_grad()
def test_every_token_sees_the_earlier_ones(model, tokens):
    line = tokens[2:3]
    before = model.next_tokens(line)
    other = line.clone()
    other[0, 1] += 1
    assert (model.next_tokens(other) - before).abs().amax(2)[tokens[2:3] != PAD][1:].min() > 1e-4


@pytest.mark.parametrize("size", [16, 30, 64])
@torch.no_grad()
def test_neither_padding_nor_neighbours_change_anything(model, size):
    together = model(model.encode(LINES, size))
    for line, logits in zip(LINES, together, strict=True):
        alone = model(model.encode([line], 1 + len(to_tokens([line])[0])))
        assert apart(alone[0], logits) < 1e-6


@torch.no_grad()
def test_padding_is_zero_behind_every_stage(model, tokens):
    x = tokens
    for name in model.stages[: model.position("pool")]:
        x = model.get_submodule(name)(x)
        assert torch.equal(real(x)[..., 0], tokens != PAD), name
        assert torch.equal(x[tokens == PAD], torch.zeros(int((tokens == PAD).sum()), gpt.WIDTH)), name


# --- lines as tokens ------------------------------------------------------------------------------------------------


def test_lines_begin_with_the_mark_and_end_with_padding(model):
    found = model.encode(["a cat", ""], 6)
    (cat,) = to_tokens(["a cat"])
    assert found.tolist() == [[END, *cat, *[PAD] * (5 - len(cat))], [END, *[PAD] * 5]]
    assert found.dtype == torch.int64


def test_a_line_that_is_too_long_is_cut(model):
    long = "a cat and a dog " * 40
    assert model.encode([long], LONGEST)[0].tolist() == [END, *to_tokens([long])[0]][:LONGEST]
    assert model.encode([long], 1).tolist() == [[END]]
    assert model(model.encode([long], LONGEST)).isfinite().all()


def test_no_lines_are_no_rows(model):
    assert model.encode([], 5).shape == (0, 5)
    assert model.encode([], 5).dtype == torch.int64


def test_an_empty_line_is_the_mark_alone(model):
    with torch.no_grad():
        assert apart(model(model.encode([""], 9))[0], model.next_tokens(torch.tensor([[END]]))[0, 0]) < 1e-6


@pytest.mark.parametrize("size", [0, -1, 65, 3.5, True, "12", None])
def test_sizes_that_it_cannot_read_are_refused(model, size):
    with pytest.raises(ValueError, match=r"course_gpt got size=.*Give a whole number from 1 to 64"):
        model.encode(LINES, size)


def test_a_single_line_is_a_batch_of_one(model):
    with pytest.raises(TypeError, match=r"for a single line a list of one: \[line\]"):
        model.encode("a cat", 12)


def test_preprocess_passes_tokens_on_and_refuses_the_rest(model, tokens):
    assert model.preprocess(tokens) is tokens
    with pytest.raises(TypeError, match=r"model\.encode\(lines, size\) makes them"):
        model.preprocess(LINES)
    with pytest.raises(ValueError, match="tokens are int64"):
        model.preprocess(tokens.float())
    with pytest.raises(ValueError, match="a single line is a batch of one"):
        model.preprocess(tokens[0])


NO_TOKENS = {
    "too many": (torch.ones(2, 65, dtype=torch.int64), "with L from 1 to 64"),
    "none": (torch.ones(2, 0, dtype=torch.int64), "with L from 1 to 64"),
    "a row": (torch.ones(5, dtype=torch.int64), "a single line is a batch of one"),
    "float": (torch.ones(2, 5), "tokens are int64"),
    "lines": (LINES, r"model\.encode\(lines, size\) makes them"),
}


@pytest.mark.parametrize("call", ["preprocess", "next_tokens"])
@pytest.mark.parametrize("what", NO_TOKENS)
def test_what_it_cannot_read_is_refused(model, call, what):
    wrong, said = NO_TOKENS[what]
    with pytest.raises((TypeError, ValueError), match=rf"{call}\(\) got .*{said}"):
        getattr(model, call)(wrong)


# --- a staged model -------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("through", course_gpt(seed=0).stages[:-1])
def test_the_parts_are_the_model_bit_for_bit(model, tokens, through):
    wanted = model(tokens)
    first, rest = model.split(after=through)
    assert torch.equal(rest(first(tokens)), wanted)
    frozen, rest = freeze(model, through).parts()
    assert torch.equal(rest(frozen(tokens)), wanted)
    assert model.frozen[-1] == through


def test_a_head_that_shares_frozen_weights_is_frozen_and_a_new_one_trains(model):
    freeze(model, "block1")
    assert not model.embedding.token.weight.requires_grad
    assert all(p.requires_grad for p in model.get_submodule("block2").parameters())
    model.new_head(10, seed=0)
    assert not model.embedding.token.weight.requires_grad
    assert all(p.requires_grad for p in model.head.parameters())
    freeze(model, None)
    assert all(p.requires_grad for p in model.parameters())


def test_a_new_head_leaves_the_embedding_alone(model, tokens):
    before = model.embedding.token.weight.clone()
    assert model.new_head(10, seed=0)(tokens).shape == (4, 10)
    assert torch.equal(model.embedding.token.weight, before)
    with pytest.raises(ValueError, match=r"head of course_gpt was replaced by one with 10 outputs.*copy\.deepcopy"):
        model.next_tokens(tokens)


def saved_and_loaded(model: GPT) -> GPT:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


TRIPS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved_and_loaded,
    "to": lambda model: copy.deepcopy(model).to(torch.float64).to(torch.float32),
}


@torch.no_grad()
@pytest.mark.parametrize("trip", TRIPS)
def test_copies_keep_head_and_embedding_together(model, tokens, trip):
    again = TRIPS[trip](model)
    assert again.head.weight is again.embedding.token.weight
    assert again.head.weight is not model.head.weight
    assert torch.equal(again.next_tokens(tokens), model.next_tokens(tokens))


@torch.no_grad()
def test_a_checkpoint_keeps_head_and_embedding_together(model, tokens, tmp_path):
    backbones.save_checkpoint(tmp_path / "gpt", model, {"name": "gpt"})
    again = backbones.load_checkpoint(tmp_path / "gpt", course_gpt(seed=5)).eval()
    assert again.head.weight is again.embedding.token.weight
    assert torch.equal(again.next_tokens(tokens), model.next_tokens(tokens))
    assert again.card == {"name": "gpt"}


def test_a_seed_makes_the_same_weights_and_leaves_other_draws_alone():
    state = torch.get_rng_state()
    first, second, other = (course_gpt(seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.token.weight"], other["embedding.token.weight"])


def test_untrained_it_knows_nothing():
    """The loss of an even guess among 2048 tokens is ln 2048 = 7.62."""
    model = course_gpt(seed=0).eval()
    tokens = model.encode(LINES, 12)[:, :8]
    with torch.no_grad():
        said = model.next_tokens(tokens[2:3, :-1])
    loss = nn.functional.cross_entropy(said.flatten(0, 1), tokens[2:3, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(2048), abs=0.3)


@pytest.mark.parametrize("digits", [torch.bfloat16, torch.float64])
def test_it_works_in_other_digits(small_gpt, digits):
    model = small_gpt().eval()
    x = model.encode(["a small bird", "a stone"], 8)
    wanted, found = model(x), copy.deepcopy(model).to(digits)(x)
    assert found.dtype == torch.float32 or found.dtype == digits
    assert torch.allclose(found.float(), wanted, atol=0.05 if digits == torch.bfloat16 else 1e-5)
