"""LoRA: what was pretrained stays, what is added trains, and merging gives the original structure back."""

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from transfer_utils import backbones, training
from transfer_utils.backbones import (
    GPT,
    StagedModel,
    add_lora,
    count_parameters,
    course_gpt,
    course_resnet,
    drift,
    freeze,
    gpt,
    load_backbone,
    merge_lora,
    parameter_groups,
)
from transfer_utils.backbones.lora import ALPHA, LoRA
from transfer_utils.training import Recipe, checks
from transfer_utils.training.fingerprints import fingerprint

LINES = ["a small insect", "", "the act of writing a letter", "a person who sings"]
LABELS = torch.tensor([0, 1, 2, 1])
CPU = torch.device("cpu")


@pytest.fixture
def model(small_gpt) -> GPT:
    return small_gpt().new_head(3, seed=0)


@pytest.fixture
def tokens(model) -> Tensor:
    return model.encode(LINES, 12)


@pytest.fixture
def reader() -> StagedModel:
    """A network of photos with attention of a kind, batch-norm and dropout in it."""
    torch.manual_seed(0)
    stages = OrderedDict(
        stem=nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        body=nn.Sequential(OrderedDict(attn=nn.Linear(8, 8), dropout=nn.Dropout(0.2))),
        head=nn.Linear(8, 2),
    )
    return StagedModel(stages, mean=(0.5,) * 3, std=(0.25,) * 3, name="reader")


def learn(model: StagedModel, x: Tensor, y: Tensor, steps: int = 3) -> None:
    """As training.train does it, on any input."""
    model.train()
    checks._check_gradients(model)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.02))
    for _ in range(steps):
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()


def originals(model: nn.Module) -> dict[str, Tensor]:
    """The state of what was there before LoRA, under the names that it had."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".up." not in name}
    return {name.replace(".linear.", "."): tensor for name, tensor in state.items() if ".down." not in name}


# --- what is added --------------------------------------------------------------------------------------------------


def test_it_stands_around_the_projections_of_attention(model):
    assert add_lora(model, 4) is model
    found = {name for name, module in model.named_modules() if isinstance(module, LoRA)}
    assert found == {f"block{i}.attention.{part}" for i in (1, 2) for part in ("asks", "out")}


def test_it_computes_the_formula():
    linear = nn.Linear(5, 7)
    layer = LoRA(linear, 2)
    nn.init.normal_(layer.up.weight)
    x = torch.randn(3, 4, 5)
    a, b = layer.down.weight, layer.up.weight
    assert (a.shape, b.shape) == ((2, 5), (7, 2))
    assert torch.allclose(layer(x), linear(x) + ALPHA / 2 * x @ a.T @ b.T, atol=1e-5)


@torch.no_grad()
def test_at_first_it_changes_nothing(model, tokens):
    before = model(tokens)
    assert torch.equal(add_lora(model, 4, seed=0)(tokens), before)


def test_it_counts_what_trains(model):
    everything = count_parameters(model)
    add_lora(model, 4)
    sides = (gpt.WIDTH + 3 * gpt.WIDTH) + (gpt.WIDTH + gpt.WIDTH)  # of asks, and of out
    assert count_parameters(model, trainable=True) == 2 * 4 * sides + count_parameters(model.head)
    assert count_parameters(model) == everything + 2 * 4 * sides
    optimised = {id(p) for group in parameter_groups(model, 0.1) for p in group["params"]}
    assert optimised == {id(p) for p in model.parameters() if p.requires_grad}


def test_other_layers_by_name(model):
    add_lora(model, 2, inside="work")
    found = {name for name, module in model.named_modules() if isinstance(module, LoRA)}
    assert found == {f"block{i}.work.{part}" for i in (1, 2) for part in (0, 2)}
    names = [name for name, _ in model.get_submodule("block1.work").named_children()]
    assert names == ["0", "1", "2"]


def test_a_seed_draws_the_same_and_leaves_other_draws_alone(model):
    state = torch.get_rng_state()
    states = [add_lora(copy.deepcopy(model), 4, seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert drift(states[0], states[1]) == {}
    assert {name.split(".")[-2] for name in drift(states[0], states[2])} == {"down"}


def test_it_is_where_the_layer_is_and_in_its_digits_and_mode(model):
    add_lora(model.double().eval(), 2)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not any(module.training for module in model.modules())


# --- training -------------------------------------------------------------------------------------------------------


def test_nothing_that_was_pretrained_moves(model, tokens):
    before = originals(model)
    add_lora(model, 4, seed=0)
    added = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".up." in name or ".down." in name}
    learn(model, tokens, LABELS)
    assert set(drift(before, originals(model))) == {"head.weight", "head.bias"}
    assert set(drift(added, model)) == set(added)
    assert model.frozen == []


def test_in_a_real_training_batch_norm_stays_too(reader, pairs):
    before = originals(reader)
    add_lora(reader, 2, seed=0)
    training.fit(reader, pairs[0].take(20), pairs[1].take(20), 32, Recipe(epochs=2), progress=False)
    assert set(drift(before, originals(reader))) == {"head.weight", "head.bias"}
    assert reader.get_submodule("body.attn").up.weight.abs().max() > 0


def test_it_learns_what_the_head_alone_cannot(model, tokens):
    add_lora(model, 8, seed=0)
    model.head.requires_grad_(False)
    learn(model, tokens, LABELS, steps=60)
    assert model(tokens).argmax(1).tolist() == LABELS.tolist()


def test_frozen_stages_are_released_first(model, tokens):
    add_lora(freeze(model, "pool"), 4, seed=0)
    assert model.frozen == []
    learn(model, tokens, LABELS)
    assert model.get_submodule("block1.attention.asks").up.weight.abs().max() > 0


def test_a_head_that_shares_the_embedding_stays_with_it(small_gpt):
    model = add_lora(small_gpt(), 4, seed=0)
    assert not model.head.weight.requires_grad
    model.new_head(3)
    assert model.head.weight.requires_grad
    assert not model.embedding.token.weight.requires_grad


# --- merging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [("attention",), ("attention", "work")])
def test_merged_it_says_the_same_in_the_original_structure(model, tokens, inside):
    keys = list(model.state_dict())
    add_lora(model, 4, seed=0, inside=inside)
    learn(model, tokens, LABELS, steps=20)
    with torch.no_grad():
        wanted = model(tokens)
        assert merge_lora(model) is model
        found = model(tokens)
    assert list(model.state_dict()) == keys
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not any(isinstance(module, LoRA) for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert model.frozen == []


def test_what_is_merged_did_learn(model, tokens):
    before = originals(model)
    add_lora(model, 4, seed=0)
    learn(model, tokens, LABELS)
    moved = set(drift(before, merge_lora(model)))
    assert moved == {"head.weight", "head.bias"} | {
        f"block{i}.attention.{part}.weight" for i in (1, 2) for part in ("asks", "out")
    }


def test_a_merged_network_fits_the_plain_checkpoint_and_takes_lora_again(model, tokens, tmp_path):
    add_lora(model, 4, seed=0)
    learn(model, tokens, LABELS)
    backbones.save_checkpoint(tmp_path / "merged", merge_lora(model), {})
    plain = backbones.load_checkpoint(tmp_path / "merged", course_gpt(seed=9).new_head(3))
    assert drift(model.state_dict(), plain) == {}
    before = originals(plain)
    learn(add_lora(plain, 2, seed=1), tokens, LABELS)
    assert set(drift(before, originals(plain))) == {"head.weight", "head.bias"}


# --- copies, files, features ----------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("trip", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_say_the_same_and_learn_alone(model, tokens, trip):
    add_lora(model, 4, seed=0)
    nn.init.normal_(model.get_submodule("block1.attention.out").up.weight)
    again = trip(model)
    assert torch.equal(again(tokens), model(tokens))
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]
    before = copy.deepcopy(model.state_dict())
    with torch.enable_grad():
        learn(again, tokens, LABELS)
    assert drift(before, model) == {}
    assert drift(before, again)


def test_a_checkpoint_comes_back(model, tokens, tmp_path):
    add_lora(model, 4, seed=0)
    learn(model, tokens, LABELS)
    backbones.save_checkpoint(tmp_path / "lora", model, {"rank": 4})
    again = backbones.load_checkpoint(tmp_path / "lora", add_lora(course_gpt(seed=9).new_head(3), 4))
    assert drift(model.state_dict(), again) == {}
    assert again.card == {"rank": 4}


def test_features_know_what_lora_learned(model, tokens):
    def name(network: GPT) -> str | None:
        return fingerprint(network, network.split(after="pool")[0], tokens, CPU)

    plain = name(model)
    add_lora(model, 4, seed=0)
    first = name(model)
    assert first == name(copy.deepcopy(model))
    assert first not in (None, plain)
    nn.init.ones_(model.get_submodule("block1.attention.out").up.weight)
    assert name(model) not in (None, first)


def test_wrapped_networks_work_too(model, tokens):
    averaged = AveragedModel(model)
    assert add_lora(averaged, 2) is averaged
    assert isinstance(averaged.module.get_submodule("block1.attention.out"), LoRA)
    assert merge_lora(averaged) is averaged


@torch.no_grad()
def test_a_vision_transformer_of_timm():
    model = load_backbone("timm/vit_tiny_patch16_224", pretrained=False, classes=2, seed=0).eval()
    keys, x = list(model.state_dict()), torch.randn(1, 3, 224, 224)
    before = model(x)
    assert torch.equal(add_lora(model, 4, seed=0)(x), before)
    assert count_parameters(model, trainable=True) == 12 * 4 * (192 + 576 + 192 + 192) + 192 * 2 + 2
    assert list(merge_lora(model).state_dict()) == keys


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, -1, 25, 2.0, True, "4", None])
def test_ranks_that_no_layer_has_are_refused_and_nothing_changes(model, rank):
    freeze(model, "block1")
    before = list(model.state_dict())
    with pytest.raises(ValueError, match=r"add_lora\(\) got rank=.*a whole number from 1 to 24, for example 4"):
        add_lora(model, rank)
    assert list(model.state_dict()) == before
    assert model.frozen == ["embedding", "block1"]


def test_a_seed_that_is_none_is_refused_and_nothing_changes(model):
    freeze(model, "block1")
    with pytest.raises(ValueError, match="A seed was 'x'"):
        add_lora(model, 4, seed="x")
    assert model.frozen == ["embedding", "block1"]


@pytest.mark.parametrize("inside", [3, None, [], (3,), ["attention", None]])
def test_what_are_no_names_is_refused(model, inside):
    with pytest.raises(
        ValueError, match=r"add_lora\(\) got inside=.*names of parts, for example \('attention', 'attn'\)"
    ):
        add_lora(model, 2, inside=inside)


def test_networks_without_such_layers_are_refused(model):
    with pytest.raises(ValueError, match=r"no linear layer inside attention or attn of course_resnet\. Freeze some"):
        add_lora(course_resnet(2), 4)
    with pytest.raises(ValueError, match=r"inside atention of course_gpt\. It has block1\.attention\.asks, block1"):
        add_lora(model, 4, inside=("atention",))
    with pytest.raises(TypeError, match="needs a network with named stages"):
        add_lora(nn.Linear(2, 2), 1)


def test_lora_is_added_once_and_merged_once(model):
    with pytest.raises(ValueError, match=r"course_gpt without LoRA.*add_lora\(\) comes first"):
        merge_lora(model)
    add_lora(model, 4)
    with pytest.raises(ValueError, match=r"has LoRA already\. Call merge_lora\(model\) first"):
        add_lora(model, 4)


def test_layers_that_others_look_into_are_left_alone():
    """nn.MultiheadAttention reads the weights of its projection, whatever stands around them."""
    part = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2)})
    model = StagedModel(OrderedDict(body=part, head=nn.Linear(8, 2)), mean=(), std=(), name="other")
    with pytest.raises(ValueError, match="no linear layer inside attention or attn of other"):
        add_lora(model, 2)


@pytest.mark.parametrize("call", [lambda model: add_lora(model, 2), merge_lora])
def test_not_while_a_training_loop_runs(reader, pairs, call):
    if call is merge_lora:
        add_lora(reader, 2)
    loop = training.train(reader, pairs[0].take(4), None, 32, Recipe(epochs=1))
    next(loop)
    with pytest.raises(RuntimeError, match=r"_lora\(\) would change reader while a training loop runs on it"):
        call(reader)
    loop.close()
    call(reader)
