"""What the runs behind the stored rows share; each lessonNN.py makes data/results/lessonNN.csv."""

import time
from collections.abc import Callable, Iterable
from itertools import product
from typing import Protocol, TypeVar

from transfer_utils import backbones, machine, training
from transfer_utils.backbones import StagedModel, checkpoint_folder
from transfer_utils.data import SOURCES, ImageSet
from transfer_utils.machine import unknown
from transfer_utils.stats import SEEDS, Row, result_row
from transfer_utils.training import Recipe, accuracy, fit, fit_until_flat

CHOOSING, JUDGING = range(5), range(5, 25)  # draws of a comparison on one pretrained network
SIZE = 96  # pixels at which the ImageNet network sees the photos
LOOK_EVERY, PATIENCE = 5, 3  # epochs between looks at the valid photos, and looks without a rise


class Named(Protocol):
    """A method: what the name in its rows stands for."""

    @property
    def name(self) -> str: ...


M = TypeVar("M", bound=Named)


def named(name: str, methods: Iterable[M]) -> M:
    """The method of this name. ValueError for an unknown one."""
    known = {method.name: method for method in methods}
    if name not in known:
        raise unknown("method", name, known)
    return known[name]


def every(methods: Iterable[str], sizes: Iterable[int]) -> list[Row]:
    """A job for every method, number of photos per class and seed."""
    return [{"method": method, "per_class": n, "seed": seed} for method, n, seed in product(methods, sizes, SEEDS)]


def pretrained_on_both(seed: int, classes: int | None = None) -> StagedModel:
    """The course ResNet pretrained on the five source classes with this seed; classes: size of a new head.

    The head's draws come after those of a whole network, as they did when the stored rows were made.
    """
    source = machine.generator(seed)
    untrained = backbones.course_resnet(len(SOURCES["both"][0]), source)
    model = backbones.load_checkpoint(checkpoint_folder(seed) / "both", untrained)
    return model if classes is None else model.new_head(classes, source)


def probe_row(backbone: StagedModel, few: ImageSet, valid: ImageSet, test: ImageSet, size: int) -> Row:
    valid_bank, test_bank = (training.extract(backbone, photos, size) for photos in (valid, test))
    started = time.perf_counter()
    bank = training.extract(backbone, few, size, cache=False)
    probe = training.best_probe(bank, few.labels, valid_bank, valid.labels)
    seconds = time.perf_counter() - started
    scores = probe.accuracy(valid_bank, valid.labels), probe.accuracy(test_bank, test.labels)
    return result_row(*scores, seconds, rate=None, head_ratio=None, epochs=1)


def best_of(
    build: Callable[[], StagedModel],
    recipes: list[Recipe],
    few: ImageSet,
    valid: ImageSet,
    test: ImageSet,
    size: int,
    watched: ImageSet | None = None,
) -> Row:
    """Train with each recipe from the same start, build(); the best on valid photos reads the test photos, once.

    watched: valid photos to train until accuracy on them stops rising; None: train for all epochs.
    """
    tried = []
    for recipe in recipes:
        model, started = build(), time.perf_counter()
        if watched is None:
            history = fit(model, few, None, size, recipe, progress=False)
        else:
            history = fit_until_flat(model, few, watched, size, recipe, PATIENCE)
        seconds = time.perf_counter() - started
        tried.append((accuracy(model, valid, size), seconds, model, recipe, int(history["epoch"].max())))
    best_valid, seconds, model, recipe, epochs = max(tried, key=lambda run: run[0])
    chosen = {"rate": recipe.rate, "head_ratio": recipe.head_ratio, "epochs": epochs}
    return result_row(best_valid, accuracy(model, test, size), seconds, **chosen)
