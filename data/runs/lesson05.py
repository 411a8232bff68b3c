"""The classic recipe, whole and with one part left out: the runs behind lesson 5."""

from itertools import product

import torch

from runs.shared import SIZE
from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel, hold_statistics
from transfer_utils.data import ImageSet, splits
from transfer_utils.stats import SEEDS, Row, result_row
from transfer_utils.training import Recipe, accuracy, fit

BACKBONE = "efficientnet_lite0"
EPOCHS = {20: 6, 50: 4, 10: 8, 100: 3}  # by photos per class
BATCH = 32
RATES = (1e-4, 3e-4, 1e-3)  # of the backbone, the same choice for every method
HEAD_RATIO = 10.0
WATCHED = 100  # valid photos per class that choose the penalty and the rate
FULL = "fine-tuned"
WITHOUT = ("fine-tuned, statistics move", "fine-tuned, random head", "fine-tuned, one rate")


def jobs() -> list[Row]:
    """Every run: the frozen network and the whole recipe at four sizes, without one of its parts at 20 per class.

    Batch-norm is the part that matters there, so it has rows at 50 per class too.
    """
    whole = product(("frozen", FULL), EPOCHS)
    parts = [*product(WITHOUT, (20,)), (WITHOUT[0], 50)]
    return [{"method": m, "per_class": n, "seed": seed} for m, n in (*whole, *parts) for seed in SEEDS]


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """One row: the best of RATES on some valid photos, and its accuracy on the test photos, read once."""
    train, valid, test = splits(data.CIFAR10)
    few, watched = train.take(per_class, seed), valid.take(WATCHED, seed)
    tried = []
    for rate in RATES if method != "frozen" else (None,):
        torch.manual_seed(seed)
        model = start(few, watched, random_head=method == WITHOUT[1])
        if rate:
            fine_tune(model, few, recipe(per_class, seed, rate, method), hold=method != WITHOUT[0])
        tried.append((accuracy(model, watched, SIZE), rate, model))
    best, rate, model = max(tried, key=lambda run: run[0])
    return [result_row(best, accuracy(model, test, SIZE), None, rate=rate)]


def start(few: ImageSet, watched: ImageSet, random_head: bool = False) -> StagedModel:
    """The ImageNet network with the best linear probe on its features as its head, or with a random head."""
    model = backbones.load_backbone(BACKBONE, classes=len(few.classes))
    if not random_head:
        banks = [training.extract(model, photos, SIZE) for photos in (few, watched)]
        model.head = training.best_probe(banks[0], few.labels, banks[1], watched.labels).linear()
    return model


def fine_tune(model: StagedModel, few: ImageSet, how: Recipe, hold: bool) -> None:
    """Train every stage, with batch-norm's statistics held or moving."""
    if hold:
        hold_statistics(model)
    fit(model, few, None, SIZE, how, progress=False)


def recipe(per_class: int, seed: int, rate: float, method: str = FULL) -> Recipe:
    """The recipe for a rate of the backbone; the head gets ten times that, unless both get one rate."""
    ratio = 1.0 if method == WITHOUT[2] else HEAD_RATIO
    return Recipe(EPOCHS[per_class], ratio * rate, ratio, BATCH, seed=seed)
