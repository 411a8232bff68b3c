"""The run behind the pretrained GPT, with a small one: killed and taken up again, it is the same run."""

import copy

import pytest
import torch

from runs import reading
from transfer_utils import backbones, data
from transfer_utils.backbones import course_gpt, drift
from transfer_utils.training import language
from transfer_utils.training.language import Reading

HOW = Reading(steps=20, batch=2, warm_up=5, rate=1e-2)


class Killed(Exception):
    """Somebody pulled the plug."""


@pytest.fixture
def lines(monkeypatch) -> tuple[torch.Tensor, torch.Tensor]:
    """A few of the lines; a run that saves itself and looks often."""
    monkeypatch.setattr(reading, "SAVE_EVERY", 6)
    monkeypatch.setattr(reading, "LOOKS", (0, 3, 9, 20))
    monkeypatch.setattr(reading, "BEGINNINGS", ("a small",))
    few = data.load_lines("valid")
    monkeypatch.setattr(data, "load_lines", lambda split: few[:40] if split == "train" else few[40:60])
    return language.stream(few[:40]), language.stream(few[40:60])


def killed_after(steps: int, monkeypatch) -> None:
    """Let read() fail behind this many steps, of all calls together, once."""
    done, whole = [], language.read

    def read(*args, **kwargs):
        for loss in whole(*args, **kwargs):
            done.append(loss)
            yield loss
            if len(done) == steps:
                raise Killed

    monkeypatch.setattr(language, "read", read)


def without_clock(looks: list[dict]) -> list[dict]:
    return [{name: value for name, value in look.items() if name != "seconds"} for look in looks]


@pytest.mark.parametrize("steps", [4, 6, 11, 19])
def test_a_run_that_was_killed_goes_on_bit_for_bit(small_gpt, lines, tmp_path, monkeypatch, steps):
    tokens, valid = lines
    whole, first, second = small_gpt(), small_gpt(), small_gpt(seed=5)
    unbroken = list(reading.run(whole, tokens, HOW, tmp_path / "whole", valid))
    if steps < reading.SAVE_EVERY:
        second = copy.deepcopy(first)  # nothing was saved, so it begins anew
    killed_after(steps, monkeypatch)
    with pytest.raises(Killed):
        list(reading.run(first, tokens, HOW, tmp_path / "killed", valid))
    resumed = list(reading.run(second, tokens, HOW, tmp_path / "killed", valid))
    assert drift(whole.state_dict(), second) == {}
    assert without_clock(resumed) == without_clock(unbroken)
    assert [look["step"] for look in resumed] == [0, 3, 9, 20]
    assert [look["seconds"] for look in resumed] == sorted(look["seconds"] for look in resumed)
    states = [torch.load(tmp_path / name, weights_only=True) for name in ("whole", "killed")]
    assert states[0]["step"] == states[1]["step"] == 18
    assert drift(*(state["model"] for state in states)) == {}


def test_a_look_is_the_loss_on_other_lines_and_what_it_writes(small_gpt, lines):
    model, (_, valid) = small_gpt(), lines
    look = reading.look(model, valid, 3, 1.26)
    assert look["valid_loss"] == round(language.surprise(model, valid), 4)
    assert look["written"] == [backbones.write(model, "a small", seed=0)]
    assert (look["step"], look["seconds"]) == (3, 1.3)


@pytest.mark.usefixtures("lines")
def test_pretrain_writes_a_checkpoint_that_loads(small_gpt, tmp_path):
    threads = torch.get_num_threads()
    try:
        line = reading.pretrain(tmp_path, how=HOW)
    finally:
        torch.set_num_threads(threads)  # pretrain() is meant for a worker process and takes one thread
    card = backbones.checkpoint_card(tmp_path / "definitions")
    assert line.startswith(f"definitions: valid loss {card['valid_loss']:.3f}")
    assert (card["architecture"], card["recipe"]["steps"]) == ("course_gpt", 20)
    assert [look["step"] for look in card["looks"]] == [0, 3, 9, 20]
    assert card["valid_loss"] == card["looks"][-1]["valid_loss"] < card["looks"][0]["valid_loss"]
    model = backbones.load_checkpoint(tmp_path / "definitions", course_gpt(seed=7))
    valid = language.stream(data.load_lines("valid"))
    assert language.surprise(model, valid) == pytest.approx(card["valid_loss"], abs=1e-3)
    assert card["tokens"] == len(language.stream(data.load_lines("train")))
