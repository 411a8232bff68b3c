"""JupyterLab runs widgets in one thread and cells in another: neither changes what the other draws, loads or shows."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pytest
import small_classifiers
import torch
from torch import nn

from transfer_utils import backbones, data, show, stats, training
from transfer_utils.course import lesson03_lab
from transfer_utils.data import TARGETS
from transfer_utils.training import Reading, Recipe

TRAIN, VALID = (data.load("cifar10_photos", split).only(*TARGETS["animals"]) for split in ("train", "valid"))
FEW = TRAIN.take(8, seed=0)
LINES = data.load_texts("topics", "valid").only("animal", "act").take(8, seed=0)
BANK, LABELS = torch.randn(24, 5), torch.arange(24) % 3


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.float().flatten() for tensor in model.state_dict().values()])


def trained(augment: bool = True, dropout: bool = False, through: str | None = None) -> torch.Tensor:
    model = backbones.course_resnet(3, seed=1)
    if dropout:
        model.pool = nn.Sequential(model.pool, nn.Dropout(0.5))
    backbones.freeze(model, through)
    training.fit(model, FEW, None, 32, Recipe(epochs=2, batch=8, augment=augment), progress=False)
    return weights(model)


def read() -> torch.Tensor:
    model, tokens = backbones.course_gpt(seed=1), training.stream(LINES.texts)
    list(training.read(model, tokens, Reading(steps=2, batch=2)))
    return weights(model)


def trained_on_lines() -> torch.Tensor:
    model = backbones.add_lora(backbones.course_gpt(seed=1).new_head(2, seed=1), 4, seed=1)
    training.fit(model, LINES, None, 8, Recipe(epochs=2, batch=8, augment=False), progress=False)
    return weights(model)


def lab_run() -> torch.Tensor:
    setting = lesson03_lab.Setting("both", 5, "stage2", 10, True, 1)
    return torch.tensor(list(lesson03_lab.live_run(setting, TRAIN, VALID.take(10), epochs=2))[-1]["valid"])


# Everything in the package that draws, as a function without arguments.
DRAWERS: dict[str, Callable[[], torch.Tensor]] = {
    "new head": lambda: weights(backbones.course_resnet(5, seed=0).new_head(3, seed=4).head),
    "course ResNet": lambda: weights(backbones.course_resnet(3, seed=4)),
    "checkpoint with a head": lambda: weights(backbones.load_backbone("course_resnet/both", classes=3, seed=4)),
    "Lite0 from scratch": lambda: weights(backbones.load_backbone("efficientnet_lite0", pretrained=False, seed=4)),
    "torchvision from scratch": lambda: weights(backbones.load_backbone("resnet18", pretrained=False, seed=4)),
    "timm from scratch": lambda: weights(backbones.load_backbone("timm/resnet10t", pretrained=False, seed=4)),
    "course GPT": lambda: weights(backbones.course_gpt(seed=4)),
    "course GPT from scratch": lambda: weights(backbones.load_backbone("course_gpt/definitions", False, 3, seed=4)),
    "MiniLM from scratch": lambda: weights(backbones.load_backbone("minilm", pretrained=False, seed=4)),
    "LoRA": lambda: weights(backbones.add_lora(backbones.course_gpt(seed=4), 4, seed=3)),
    "take": lambda: TRAIN.take(4, seed=3).images,
    "split": lambda: TRAIN.split(0.01, seed=3)[0].images,
    "views": lambda: data.views(FEW.images, seed=3),
    "flip and shift": lambda: data.flip_and_shift(FEW.images, seed=3),
    "noise": lambda: data.CORRUPTIONS["noise"](FEW.images),
    "training": trained,
    "training without augmentation": lambda: trained(augment=False),
    "training with dropout": lambda: trained(dropout=True),
    "training on lines": trained_on_lines,
    "pretraining": read,
    "writing": lambda: torch.tensor([ord(letter) for letter in backbones.write(backbones.course_gpt(seed=4), seed=3)]),
    "training behind frozen stages": lambda: trained(through="stage2"),
    "probe as a layer": lambda: training.linear_probe(BANK, LABELS).linear().weight.detach(),
    "cross-validation": lambda: small_classifiers.small_bank().cross_validate(seed=2),
    "freezing lab": lab_run,
}


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do this again and again in another thread."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def seed_everything() -> None:
    torch.manual_seed(random.getrandbits(32))
    torch.rand(3)


def other_states() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002  # the one that all threads share


@pytest.mark.parametrize("name", DRAWERS)
def test_what_draws_leaves_the_random_states_alone(name):
    small_classifiers.small_bank()
    state, others = torch.get_rng_state(), other_states()
    DRAWERS[name]()
    assert torch.equal(state, torch.get_rng_state())
    assert others == other_states()


@pytest.mark.parametrize("name", DRAWERS)
def test_what_draws_gives_the_same_while_another_thread_seeds_and_draws(name):
    expected = DRAWERS[name]()
    with meanwhile(seed_everything):
        for _ in range(3):
            assert torch.equal(DRAWERS[name](), expected)


def heads() -> list[torch.Tensor]:
    """What a cell does that seeds in torch's own way."""
    found = []
    model = backbones.course_resnet(5, seed=0)
    for seed in range(500):
        torch.manual_seed(seed)
        found += [model.new_head(3).head.weight.detach().clone(), torch.rand(4)]
    return found


@pytest.mark.parametrize("name", ["freezing lab", "training with dropout", "checkpoint with a head", "flip and shift"])
def test_a_cell_that_seeds_finds_no_difference_while_a_widget_works(name):
    expected = heads()
    with meanwhile(DRAWERS[name]):
        found = heads()
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_figures_drawn_in_two_threads_are_those_of_one_and_pyplot_knows_none_of_them():
    rows = stats.select(stats.results("lesson02"), stage="stage5")
    words = [show.label_curve(rows.assign(method="probe")).data, show.photos(FEW).data]
    own = plt.figure()
    with meanwhile(lambda: (show.photos(FEW), show.network(backbones.course_resnet(3)))):
        for _ in range(5):
            again = [show.label_curve(rows.assign(method="probe")).data, show.photos(FEW).data]
            assert again == words
            assert plt.gcf() is own
    assert plt.get_fignums() == [own.number]
    plt.close(own)


def test_photos_loaded_in_two_threads_are_whole_and_each_ones_own():
    expected = data.load("cifar10_photos", "valid").images.clone()
    with meanwhile(lambda: data.load("cifar10_photos", "valid").images.zero_()):
        for _ in range(5):
            assert torch.equal(data.load("cifar10_photos", "valid").images, expected)


def test_a_predictor_and_a_cell_ask_one_classifier_at_once():
    classifier, _ = small_classifiers.small_classifier()
    images = small_classifiers.new_photos().images
    expected = classifier.predict(images)
    with meanwhile(lambda: classifier.predict(images[:2])):
        for _ in range(3):
            assert classifier.predict(images).equals(expected)


def test_a_gpt_goes_on_reading_while_another_thread_lets_it_write():
    expected, model = read(), backbones.course_gpt(seed=1)
    with meanwhile(lambda: (backbones.write(model, "a", seed=0), backbones.next_words(model, "a"))):
        list(training.read(model, training.stream(LINES.texts), Reading(steps=2, batch=2)))
    assert torch.equal(weights(model), expected)


def test_training_goes_on_in_training_mode_while_another_thread_asks_the_same_network():
    """A widget may show what a network says that a cell is training."""
    expected = trained()
    model = backbones.course_resnet(3, seed=1)
    with meanwhile(lambda: training.predict(model, FEW, 32)):
        training.fit(model, FEW, None, 32, Recipe(epochs=2, batch=8), progress=False)
    assert torch.equal(weights(model), expected)
