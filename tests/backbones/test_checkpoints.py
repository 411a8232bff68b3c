import copy
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file
from torch import nn

from transfer_utils import backbones, data, machine
from transfer_utils.backbones import checkpoints, course_resnet, load_backbone
from transfer_utils.data import SOURCES
from transfer_utils.training import accuracy

CARD = {"classes": ["ship", "truck"], "note": "ä"}


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_weights_come_back_exactly(tmp_path, tiny, memory):
    model = tiny(seed=1).to(memory_format=memory)
    model(torch.randn(4, 3, 8, 8))  # batch-norm statistics of its own
    path = backbones.save_checkpoint(tmp_path / "deep" / "folder" / "model", model, CARD)
    assert path == tmp_path / "deep" / "folder" / "model.safetensors"
    other = tiny(seed=2)
    assert not same(other, model)
    assert backbones.load_checkpoint(tmp_path / "deep" / "folder" / "model", other) is other
    assert same(other, model)


def test_card_comes_back(tmp_path, tiny):
    backbones.save_checkpoint(tmp_path / "model", tiny(), CARD)
    assert backbones.checkpoint_card(tmp_path / "model") == CARD
    assert backbones.load_checkpoint(tmp_path / "model", tiny()).card == CARD


def test_names_with_dots_keep_them(tmp_path, tiny):
    assert backbones.save_checkpoint(tmp_path / "rate0.1", tiny(), CARD).name == "rate0.1.safetensors"
    assert backbones.checkpoint_card(tmp_path / "rate0.1") == CARD


def test_missing_checkpoint(tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors does not exist\. Save a checkpoint there first"):
        backbones.load_checkpoint(tmp_path / "model", tiny())


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated_file_is_refused(tmp_path, tiny, length):
    path = backbones.save_checkpoint(tmp_path / "model", tiny(seed=1), CARD)
    path.write_bytes(path.read_bytes()[:length])
    model, before = tiny(seed=2), tiny(seed=2)
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file .*Save it again"):
        backbones.load_checkpoint(tmp_path / "model", model)
    assert same(model, before)


# --- files that do not fit ----------------------------------------------------------------------------------------


def refused(path, model, words: str) -> None:
    """Loading says these words, and leaves the model as it was."""
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=words) as error:
        backbones.load_checkpoint(path, model)
    assert same(model, before)
    assert len(str(error.value)) < 600


def renamed(tensors, prefix: str) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: renamed(t, "_orig_mod."), "begin with '_orig_mod.', as torch.compile writes them. Take that off"),
        (lambda t: renamed(t, "module."), "begin with 'module.', as DataParallel writes them. Take that off"),
        (
            lambda t: {**renamed(t, "module."), "n_averaged": torch.tensor(3)},
            "begin with 'module.', as AveragedModel writes them",
        ),
        (lambda t: renamed(t, "model."), "begin with 'model.', as Lightning writes them"),
        (lambda t: {**renamed(t, "model."), "loss.weight": torch.ones(2)}, "begin with 'model.', as Lightning"),
        (lambda t: renamed(t, "module._orig_mod."), "as torch.compile and DataParallel writes them"),
        (lambda t: renamed(t, "backbone."), r"begin with 'backbone\.'\. Take that off"),
        (lambda t: renamed(t, "my.deep.net."), r"begin with 'my\.deep\.net\.'\. Take that off"),
        (
            lambda t: {k.replace("body.", "body._orig_mod."): v for k, v in t.items()},
            "torch.compile put '_orig_mod.' into some names",
        ),
        (lambda t: {k.replace("body", "trunk"): v for k, v in t.items()}, "lacks 5 of 14 .* has 6 that the network"),
        (lambda t: {k: v for k, v in t.items() if "head" not in k}, "it lacks 2 of 14 tensors, first head"),
        (lambda t: {**t, "more": torch.ones(1)}, "has 1 that the network lacks, first more"),
        (lambda t: {}, "it lacks 12 of 14 tensors"),
        (lambda t: {**t, "head.bias": torch.ones(2, dtype=torch.int8)}, "head.bias holds torch.int8 where .*float32"),
        (lambda t: {**t, "head.bias": torch.ones(2, dtype=torch.complex64)}, "head.bias holds torch.complex64"),
        (lambda t: {**t, "head.bias": torch.ones(())}, r"head.bias has the shape \(\) in the file and \(2,\) in"),
        (lambda t: {**t, "head.weight": torch.ones(2, 9)}, r"head.weight has the shape \(2, 9\) in the file"),
    ],
)
def test_what_does_not_fit_is_said_in_a_few_words(tmp_path, tiny, change, words):
    save_file(change(tiny(seed=1).state_dict()), tmp_path / "model.safetensors")
    refused(tmp_path / "model", tiny(seed=2), f"model.safetensors does not fit this network: .*{words}")


def test_the_way_out_of_a_prefix_works(tmp_path, tiny):
    path = tmp_path / "model.safetensors"
    save_file(renamed(tiny(seed=1).state_dict(), "module."), path)
    model = tiny(seed=2)
    with pytest.raises(ValueError, match="Take that off") as error:
        backbones.load_checkpoint(path, model)
    assert safetensors.torch.load_file(path)  # the names that the words go by
    exec(str(error.value).partition("Take that off: ")[2].partition(", and save it")[0])
    assert same(model, tiny(seed=1))


@pytest.mark.parametrize("name", ["net", "backbone", "model", "inner_one"])
def test_a_network_inside_another_one_is_said(tmp_path, tiny, name):
    backbones.save_checkpoint(tmp_path / "model", tiny(seed=1), CARD)
    outer = nn.ModuleDict({name: tiny(seed=2)})
    refused(tmp_path / "model", outer, rf"names begin with '{name}\.', those in the file do not. Load into that part")


@pytest.mark.parametrize(("stored", "built"), [(2, 3), (5, 2), (3, 4), (10, 2)])
def test_another_number_of_classes_is_said(tmp_path, tiny, stored, built):
    backbones.save_checkpoint(tmp_path / "model", tiny(classes=stored), CARD)
    words = rf"for {stored} classes in the file and for {built} in the network.*, and then call new_head\({built}\)"
    refused(tmp_path / "model", tiny(classes=built), words)


def test_another_architecture_is_refused(tmp_path, tiny):
    backbones.save_checkpoint(tmp_path / "model", tiny(), CARD)
    words = r"does not fit this network: it lacks \d+ of \d+ tensors.*Build the network with the architecture"
    refused(tmp_path / "model", course_resnet(2), words)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(tmp_path, tiny, dtype):
    backbones.save_checkpoint(tmp_path / "model", tiny(seed=1).to(dtype), CARD)
    model = backbones.load_checkpoint(tmp_path / "model", tiny(seed=2))
    assert model.head.weight.dtype is torch.float32
    assert torch.equal(model.head.weight.to(dtype), tiny(seed=1).head.weight.to(dtype))


def test_counters_of_batch_norms_may_be_missing(tmp_path, tiny):
    tensors = {name: tensor for name, tensor in tiny(seed=1).state_dict().items() if "num_batches" not in name}
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(backbones.load_checkpoint(tmp_path / "model", tiny(seed=2)), tiny(seed=1))


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_pickle_under_another_name_is_said(tmp_path, tiny, as_zip):
    torch.save(tiny().state_dict(), tmp_path / "model.safetensors", _use_new_zipfile_serialization=as_zip)
    refused(
        tmp_path / "model", tiny(seed=2), r"looks like one of torch\.save\(\) under another name.*weights_only=True"
    )
    with pytest.raises(ValueError, match="under another name"):
        backbones.checkpoint_card(tmp_path / "model")


@pytest.mark.parametrize("place", ["net", "net.safetensors", "~/net", "~/net.safetensors", "a.b/c.d"])
@pytest.mark.parametrize("kind", [str, Path])
def test_any_way_to_write_a_path_is_that_file(tmp_path, tiny, monkeypatch, place, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    path = backbones.save_checkpoint(kind(place), tiny(seed=1), CARD)
    assert path.name in ("net.safetensors", "c.d.safetensors")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [path.name]
    for again in (kind(place), path, path.with_suffix("")):
        assert same(backbones.load_checkpoint(again, tiny(seed=2)), tiny(seed=1))
        assert backbones.checkpoint_card(again) == CARD


# --- what is no network, or has no weights ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda model: (model, "net", {}), "got a StagedModel as its path"),
        (lambda model: (None, model, {}), "got a NoneType as its path"),
        (lambda model: ("net", model.state_dict(), {}), "got a OrderedDict as the model"),
        (lambda model: ("net", {}, model), "got a dict as the model"),
    ],
)
def test_arguments_in_another_order_are_refused(tmp_path, monkeypatch, tiny, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=f"{words}; give the path, the model and the card in this order"):
        backbones.save_checkpoint(*arguments(tiny()))
    assert list(tmp_path.iterdir()) == []


def test_loading_needs_the_path_first(tiny):
    with pytest.raises(TypeError, match="got a StagedModel as its path; give the path, the model"):
        backbones.load_checkpoint(tiny(), "net")


class WithExtra(nn.Linear):
    def get_extra_state(self):
        return {"kind": "extra"}


NO_WEIGHTS = {
    "without values": lambda: nn.Linear(2, 2, device="meta"),
    "sparse": lambda: holding(torch.eye(2).to_sparse()),
    "quantised": lambda: holding(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)),
    "a quantised layer": lambda: torch.ao.nn.quantized.Linear(2, 2),
    "extra state": lambda: WithExtra(2, 2),
}


def holding(tensor: torch.Tensor) -> nn.Module:
    network = nn.Linear(2, 2)
    network.register_buffer("more", tensor)
    return network


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("make", NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_what_is_no_weight_is_refused_before_anything_is_written(tmp_path, make):
    with pytest.raises(ValueError, match="is no plain tensor with values.*Save the network before it is quantised"):
        backbones.save_checkpoint(tmp_path / "folder" / "model", make(), CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_memory_takes_no_weights(tmp_path, tiny):
    backbones.save_checkpoint(tmp_path / "model", tiny(seed=1), CARD)
    with pytest.raises(
        ValueError, match=r"is on the device 'meta'.*Build the network outside of torch\.device\('meta'"
    ):
        backbones.load_checkpoint(tmp_path / "model", tiny().to("meta"))


def shared_weights() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    return network


def halves_of_one() -> nn.Module:
    network, both = nn.Linear(4, 4), torch.randn(8, 4)
    network.weight = nn.Parameter(both[:4])
    network.register_buffer("more", both[4:].T)
    return network


@pytest.mark.parametrize("make", [shared_weights, halves_of_one, lambda: holding(torch.ones(1).expand(5))])
def test_weights_may_share_their_memory(tmp_path, make):
    network = make()
    backbones.save_checkpoint(tmp_path / "model", network, CARD)
    fresh = copy.deepcopy(network)
    if "more" in dict(fresh.named_buffers()):
        fresh.more = torch.zeros(fresh.more.shape)
    nn.init.zeros_(fresh[0].weight if isinstance(fresh, nn.Sequential) else fresh.weight)
    assert same(backbones.load_checkpoint(tmp_path / "model", fresh), network)


@pytest.mark.parametrize("place", ["taken", "file/model", "x" * 300, "/proc/model"])
def test_a_place_that_cannot_be_written_is_said(tmp_path, tiny, place):
    (tmp_path / "taken.safetensors").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"save_checkpoint\(\) cannot write .*\.safetensors \(.*or give another path"):
        backbones.save_checkpoint(tmp_path / place, tiny(), CARD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.safetensors"]


# --- cards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "card",
    [{}, {"a": None, "b": [1, 2.5, True, "x", {"c": []}]}, {"": 'ä\n"\0'}, {"n": 2**70}, {"deep": {"e": {"r": 1}}}],
)
def test_whatever_json_holds_comes_back(tmp_path, tiny, card):
    backbones.save_checkpoint(tmp_path / "model", tiny(), card)
    assert backbones.checkpoint_card(tmp_path / "model") == card


CIRCLE: dict = {}
CIRCLE["again"] = CIRCLE


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"a": torch.ones(2)}, r"card\['a'\] is a Tensor, which JSON cannot hold"),
        ({"a": math.nan}, r"card\['a'\] is nan, which JSON"),
        ({"a": {"b": [0, math.inf]}}, r"card\['a'\]\['b'\]\[1\] is inf"),
        ({"a": {1, 2}}, r"card\['a'\] is a set"),
        ({"a": [Path("x")]}, r"card\['a'\]\[0\] is a PosixPath"),
        ({"a": b"x"}, r"card\['a'\] is a bytes"),
        ({"a": np.float32(1)}, r"card\['a'\] is a float32"),
        ({"a": {0: "cat"}}, r"card\['a'\] has the key 0; JSON has keys of text alone: write '0'"),
        (CIRCLE, "The card holds itself"),
        (None, "A card is a dict"),
        ([("a", 1)], "A card is a dict"),
    ],
)
def test_a_card_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, tiny, card, words):
    with pytest.raises(ValueError, match=words):
        backbones.save_checkpoint(tmp_path / "folder" / "model", tiny(), card)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "header", [None, {}, {"format": "pt"}, {"card": "not json"}, {"card": "[1]"}, {"card": "null"}]
)
def test_a_file_without_a_card_still_has_weights(tmp_path, tiny, header):
    save_file(tiny(seed=1).state_dict(), tmp_path / "model.safetensors", header)
    with pytest.raises(ValueError, match=r"model\.safetensors has no card: .* Its weights can be loaded"):
        backbones.checkpoint_card(tmp_path / "model")
    assert same(backbones.load_checkpoint(tmp_path / "model", tiny(seed=2)), tiny(seed=1))


def test_a_card_needs_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist. Save a checkpoint there first"):
        backbones.checkpoint_card(tmp_path / "model")


def test_of_two_that_save_at_once_one_wins_whole(tmp_path, tiny):
    models = [tiny(seed=seed) for seed in range(4)]

    def save(seed):
        for _ in range(15):
            backbones.save_checkpoint(tmp_path / "model", models[seed], {"seed": seed})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(save, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    winner = backbones.checkpoint_card(tmp_path / "model")["seed"]
    assert same(backbones.load_checkpoint(tmp_path / "model", tiny(seed=9)), models[winner])


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_leaves_the_old_file(tmp_path, tiny, monkeypatch, call):
    path = backbones.save_checkpoint(tmp_path / "model", tiny(seed=1), CARD)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, call, crash)
    with pytest.raises(OSError, match="disk full"):
        backbones.save_checkpoint(tmp_path / "model", tiny(seed=2), {"other": "card"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert same(backbones.load_checkpoint(tmp_path / "model", tiny()), tiny(seed=1))
    assert path.is_file()


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    machine.write_atomically(path, b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        machine.write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    """Until the new content is whole and on disk, the name still means the old file."""
    path, seen = tmp_path / "file", []
    machine.write_atomically(path, b"old")
    replace = os.replace

    def look_then_replace(source, target):
        seen.append((Path(source).read_bytes(), path.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look_then_replace)
    machine.write_atomically(path, b"new")
    assert seen == [(b"new", b"old")]
    assert path.read_bytes() == b"new"


# --- the shipped ones ---------------------------------------------------------------------------------------------


def test_shipped_names():
    assert backbones.shipped() == ["animals", "both", "both_small", "vehicles"]


@pytest.mark.parametrize("name", SOURCES)
def test_shipped_card_says_what_it_was_trained_on(name):
    card = backbones.shipped_card(name)
    classes, count = SOURCES[name]
    assert card["name"] == name
    assert card["architecture"] == "course_resnet"
    assert tuple(card["classes"]) == classes
    assert card["photos"] == count
    assert card["recipe"]["epochs"] >= 1


@pytest.mark.parametrize("name", SOURCES)
def test_shipped_weights_are_as_good_as_their_card_says(name):
    card = backbones.shipped_card(name)
    model = checkpoints.load_shipped(name, course_resnet(len(card["classes"])))
    valid = data.load(split="valid").only(*card["classes"])
    # the last digit depends on the precision of the processor
    assert accuracy(model, valid, 32) == pytest.approx(card["valid_accuracy"], abs=0.01)


def test_unknown_shipped_checkpoint():
    with pytest.raises(ValueError, match=r"There is no checkpoint 'animal'\. Did you mean 'animals'\? Known: animals"):
        backbones.shipped_card("animal")


def test_damaged_shipped_checkpoint_is_refused(shipped_copy, damage):
    damage(shipped_copy / "checkpoints" / "vehicles.safetensors")
    restore = r"vehicles\.safetensors is damaged.*git checkout -- data/checkpoints/vehicles\.safetensors"
    with pytest.raises(ValueError, match=restore):
        load_backbone("course_resnet/vehicles", pretrained=False)  # reads the card
    with pytest.raises(ValueError, match=restore):
        checkpoints.load_shipped("vehicles", course_resnet(2))


def test_shipped_cards_are_json_with_a_licence(tmp_path):
    for name in backbones.shipped():
        assert "MIT" in json.loads(json.dumps(backbones.shipped_card(name)))["licence"]
