"""The pretend card is as strict as a real one, computes what the CPU computes, and the package is at home on it."""

import copy
import threading
from dataclasses import replace

import numpy as np
import pretend
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

import notebooks
from transfer_utils import backbones, course, data, show, training
from transfer_utils.backbones import drift, freeze
from transfer_utils.course import lesson03_lab
from transfer_utils.data import TARGETS, TextSet
from transfer_utils.machine import device, memory
from transfer_utils.training import Reading, Recipe, Step, language, train

ONES = torch.ones(2, 3)
QUICK = Recipe(epochs=2, rate=1e-2, batch=32)


@pytest.fixture
def card(on_the_cpu, monkeypatch) -> torch.device:
    """The card, which the package takes for the best device."""
    pretend.install()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    pretend.waits.clear()
    return torch.device(pretend.NAME)


# --- the card -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + ONES,
        lambda x: x @ ONES.T,
        lambda x: torch.cat([x, ONES]),
        lambda x: torch.equal(x, ONES),
        lambda x: x[torch.tensor([0])],
        lambda x: ONES[x.argmax(0)],
        lambda x: torch.nn.Linear(3, 2)(x),
        lambda x: cross_entropy(x, torch.tensor([0, 1])),
    ],
)
def test_two_devices_do_not_mix(card, mistake):
    with pytest.raises(RuntimeError):
        mistake(ONES.to(card))


def test_numpy_cannot_read_the_card(card):
    with pytest.raises(TypeError, match="can't convert card:0 device type tensor to numpy"):
        np.asarray(ONES.to(card))


def test_single_numbers_and_copies_may_cross(card):
    x = torch.zeros(2, 3, device=card)
    x[0] = ONES[0]
    assert (x + torch.tensor(1.0)).cpu().tolist() == [[2.0] * 3, [1.0] * 3]


def test_waiting_is_counted(card):
    x = ONES.to(card, non_blocking=True)
    (x * 2).sum().to(torch.float64)
    assert not pretend.waits
    assert x.sum().item() == 6.0
    assert bool((x > 0).all())
    x[x > 0]
    x.cpu()
    ONES.to(card)
    assert pretend.waits == {"_local_scalar_dense": 2, "nonzero": 1, "copy to cpu": 1, "copy to card": 1}


def test_it_computes_what_the_cpu_computes(card, tiny):
    """Forward and backward, batch-norm's statistics, channels last, resizing and the optimiser, bit for bit."""

    def learned(place):
        model, photos = tiny().to(place), torch.rand(8, 3, 9, 9, generator=torch.Generator().manual_seed(0)).to(place)
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, foreach=False)
        x = interpolate(photos, (16, 16), mode="bicubic", antialias=True).contiguous(memory_format=torch.channels_last)
        for _ in range(3):
            cross_entropy(model(x), torch.arange(8, device=place) % 2).backward()
            optimiser.step()
            optimiser.zero_grad()
        return model

    here, there = learned(torch.device("cpu")), learned(card)
    assert {tensor.device.type for tensor in there.state_dict().values()} == {card.type}
    assert drift(here.state_dict(), there) == {}
    assert drift(here.state_dict(), copy.deepcopy(there).cpu()) == {}


# --- the package on it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [None, "stem", "pool"])
@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_training_never_waits_between_two_steps(
    card, tiny, pairs, own_home, monkeypatch, through, fits, precision, mixup
):
    monkeypatch.setattr(device, "precision", lambda _: precision)
    monkeypatch.setattr(memory, "fits", lambda size, free: fits)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    model, waited, stepping = freeze(tiny(), through), [], False
    for record in train(model, *pairs, 32, replace(QUICK, mixup=mixup)):
        if stepping and isinstance(record, Step):
            waited.append(dict(pretend.waits))
        stepping = isinstance(record, Step)
        pretend.waits.clear()
    assert waited == [{}] * 6  # two epochs of four steps


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("through", [None, "stem"])
def test_a_network_learns_there_in_every_precision(card, tiny, pairs, own_home, monkeypatch, precision, through):
    monkeypatch.setattr(device, "precision", lambda _: precision)
    model, seen = freeze(tiny(), through), set()
    held = model.frozen_state()
    model.body.register_forward_hook(lambda _, x, y: seen.add(x[0].device.type))
    model.head.register_forward_hook(lambda _, x, y: seen.add(y.dtype))
    history = training.fit(model, *pairs, 32, Recipe(epochs=6, rate=1e-2, batch=32), progress=False)
    assert seen == {card.type, precision}
    assert history["valid"].iloc[-1] > 0.7
    assert drift(held, model) == {}


def test_answers_come_back_to_the_cpu(card, tiny, pairs):
    model = tiny()
    assert training.predict(model, pairs[1], 32).device.type == "cpu"
    assert model.head.weight.device.type == card.type
    assert backbones.grad_cam(model, pairs[1].images, pairs[1].labels, "stem").device.type == "cpu"


@pytest.mark.parametrize("through", [None, "stage2", "pool"])
def test_the_labs_and_the_costs_are_at_home_there(card, through):
    train_photos, valid = (data.load("cifar10_photos", part).only(*TARGETS["vehicles"]) for part in ("train", "valid"))
    setting = lesson03_lab.Setting("both", 5, through, 10, True, 0)
    *_, last = lesson03_lab.live_run(setting, train_photos, valid.take(5, seed=0), epochs=1)
    assert len(last["valid"]) == 2
    model = freeze(backbones.course_resnet(2), through)
    assert backbones.activation_bytes(model, 32, 4) > 0
    assert backbones.step_flops(model, 32, 4) > 0
    assert backbones.step_seconds(model, 32, 4) > 0
    assert (backbones.prefix_flops(model, 32) > 0) is (through is not None)


# --- lines on it ----------------------------------------------------------------------------------------------------

LINES = TextSet(
    [f"{kind} number {i}, which is {what}" for i in range(8) for kind, what in (("bird", "alive"), ("stone", "not"))],
    torch.arange(16) % 2,
    ("bird", "stone"),
)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("through", [None, "embedding", "pool"])
def test_lines_are_learned_there_without_waiting(card, small_gpt, own_home, monkeypatch, precision, through):
    monkeypatch.setattr(device, "precision", lambda _: precision)
    model, waited, stepping = freeze(small_gpt().new_head(2, seed=0), through), [], False
    held = model.frozen_state()
    for record in train(model, LINES, LINES, 16, Recipe(epochs=15, rate=3e-2, batch=4, augment=False)):
        if stepping and isinstance(record, Step):
            waited.append(dict(pretend.waits))
        stepping = isinstance(record, Step)
        pretend.waits.clear()
    assert waited == [{}] * 45
    assert record.valid >= 0.9
    assert drift(held, model) == {}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_pretraining_never_waits_between_two_steps_and_goes_on_bit_for_bit(card, small_gpt, monkeypatch, precision):
    monkeypatch.setattr(device, "precision", lambda _: precision)
    tokens, how = training.stream(LINES.texts), Reading(steps=6, batch=2, warm_up=2)
    whole, first = small_gpt(), small_gpt()
    losses, waited = [], []
    for loss in training.read(whole, tokens, how):
        losses.append(loss)
        waited.append(dict(pretend.waits))
        pretend.waits.clear()
    assert waited[1:] == [{}] * 5
    optimiser = language.reader(first, how)
    loop = training.read(first, tokens, how, optimiser)
    begun = [next(loop) for _ in range(3)]
    loop.close()
    begun += training.read(first, tokens, how, optimiser, done=3)
    assert [loss.item() for loss in begun] == [loss.item() for loss in losses]
    assert drift(whole.state_dict(), first) == {}
    assert whole.head.weight is whole.embedding.token.weight


def test_what_a_gpt_says_comes_back_from_there(card, small_gpt):
    model, tokens = small_gpt(), training.stream(LINES.texts)
    said = backbones.write(model, "a", seed=0), backbones.next_words(model, "a")
    surprise = training.surprise(model, tokens)
    assert model.head.weight.device.type == card.type
    assert training.surprise(model, tokens.to(card)) == surprise
    assert backbones.write(model, "a", seed=0) == said[0]
    assert backbones.next_words(model, "a") == pytest.approx(said[1], rel=1e-5)
    model = backbones.add_lora(model.new_head(2, seed=0), 2, seed=0)
    bank = training.extract(model, LINES, 16, cache=False)
    assert {found.device.type for found in (bank, *training.by_stage(model, LINES, 16).values())} == {"cpu"}
    reader = show.LineReader(model, LINES, {8: training.linear_probe(bank, LINES.labels)}, 16, ["a bird"])
    assert reader.read("stone number 3")["neighbours"]
    logits = training.predict(model, LINES, 16)
    assert torch.allclose(training.predict(backbones.merge_lora(model), LINES, 16), logits, atol=1e-6)


def test_a_network_that_moves_there_while_somebody_waits_for_it_writes_all_the_same(card, small_gpt):
    model, said = small_gpt(), []
    expected = backbones.next_words(model, "a")
    with backbones.taking_turns(model):
        waiting = threading.Thread(target=lambda: said.append(backbones.next_words(model, "a")))
        waiting.start()
        waiting.join(0.5)
        model.to(card)
    waiting.join()
    assert said == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.parametrize("through", [None, "block1", "pool"])
def test_costs_on_lines_are_at_home_there(card, small_gpt, through):
    model = freeze(small_gpt().new_head(2, seed=0), through)
    assert backbones.activation_bytes(model, 16, 4) > 0
    assert backbones.step_flops(model, 16, 4) > 0
    assert backbones.step_seconds(model, 16, 4) > 0
    assert (backbones.prefix_flops(model, 16) > 0) is (through is not None)


def test_an_answer_that_was_used_on_the_card_is_checked_all_the_same(card, capsys):
    def transplant(pretrained, new):
        for name in new.stages[:-1]:
            new.get_submodule(name).load_state_dict(pretrained.get_submodule(name).state_dict())
        return new.to(card)

    course.check("0.1", lambda: backbones.load_backbone("efficientnet_lite0", classes=10).to(card))
    course.check("1.2", transplant)
    assert capsys.readouterr().out.count("Right: ") == 2


@pytest.mark.parametrize("name", notebooks.names())
def test_every_solution_passes_its_check(card, name, capsys):
    """Solutions and checks with the lesson's imports and nothing else, since the rest of a lesson takes minutes."""
    cells = [cell for cell in notebooks.solved(name).cells if cell.cell_type == "code"]
    imports = [line for cell in cells for line in cell.source.splitlines() if line.startswith(("import ", "from "))]
    solutions = [c.source for c in cells if c.metadata.get("tags") == ["solution"] and "self_test" not in c.source]
    checks = [line for cell in cells for line in cell.source.splitlines() if line.startswith("course.check(")]
    assert len(solutions) == len(checks) >= 2
    exec("\n".join([*imports, *solutions, *checks]), {})
    assert capsys.readouterr().out.count("Right: ") == len(checks)
