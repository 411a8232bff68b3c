import json
import os
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize("other", [lambda tiny: tiny(classes=3), lambda tiny: course_resnet(2)])
def test_another_architecture_is_refused(tmp_path, tiny, other):
    backbones.save_checkpoint(tmp_path / "model", tiny(classes=2), CARD)
    with pytest.raises(
        ValueError, match="(?s)does not fit this network.*head.weight.*Build the network with the classes"
    ):
        backbones.load_checkpoint(tmp_path / "model", other(tiny))


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


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_damaged_shipped_checkpoint_is_refused(shipped_copy, damage, suffix):
    damage(shipped_copy / "checkpoints" / f"vehicles.{suffix}")
    restore = rf"vehicles\.{suffix} is damaged.*git checkout -- data/checkpoints/vehicles\.{suffix}"
    with pytest.raises(ValueError, match=restore):
        load_backbone("course_resnet/vehicles")  # reads the card, then the weights


def test_shipped_cards_are_json_with_a_licence(tmp_path):
    for name in backbones.shipped():
        assert "MIT" in json.loads(json.dumps(backbones.shipped_card(name)))["licence"]
