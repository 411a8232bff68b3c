"""The classic recipe, whole and with one part left out: the runs behind lesson 5."""

from dataclasses import dataclass

from runs.shared import SIZE, every, named
from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel, hold_statistics
from transfer_utils.data import ImageSet, splits
from transfer_utils.stats import Row, result_row
from transfer_utils.training import Recipe, accuracy, fit

BACKBONE = "efficientnet_lite0"
EPOCHS = {20: 6, 50: 4, 10: 8, 100: 3}  # by photos per class
BATCH = 32
RATES = (1e-4, 3e-4, 1e-3)  # of the backbone, the same choice for every method
HEAD_RATIO = 10.0
WATCHED = 100  # valid photos per class that choose the penalty and the rate


@dataclass(frozen=True)
class Method:
    """The recipe's parts: which of them a run has. trains: every stage; otherwise only a probe is fitted."""

    name: str
    trains: bool = True
    hold: bool = True  # batch-norm's statistics
    probe_first: bool = True  # the head starts as the best linear probe
    head_ratio: float = HEAD_RATIO  # how many times the backbone's rate the head gets


FROZEN, FULL = Method("frozen", trains=False), Method("fine-tuned")
MOVING = Method("fine-tuned, statistics move", hold=False)
RANDOM_HEAD = Method("fine-tuned, random head", probe_first=False)
ONE_RATE = Method("fine-tuned, one rate", head_ratio=1.0)
METHODS = (FROZEN, FULL, MOVING, RANDOM_HEAD, ONE_RATE)


def jobs() -> list[Row]:
    """Every run: the frozen network and the whole recipe at four sizes, without one of its parts at 20 per class.

    Batch-norm is the part that matters there, so it has rows at 50 per class too.
    """
    whole, parts = every((FROZEN.name, FULL.name), EPOCHS), every((RANDOM_HEAD.name, ONE_RATE.name), (20,))
    return whole + every((MOVING.name,), (20, 50)) + parts


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """One row: the best of RATES on some valid photos, and its accuracy on the test photos, read once."""
    way = named(method, METHODS)
    train, valid, test = splits(data.CIFAR10)
    few, watched = train.take(per_class, seed), valid.take(WATCHED, seed)
    tried = []
    for rate in RATES if way.trains else (None,):
        model = start(few, watched, way.probe_first, seed)
        if rate:
            fine_tune(model, few, recipe(per_class, seed, rate, way), way.hold)
        tried.append((accuracy(model, watched, SIZE), rate, model))
    best, rate, model = max(tried, key=lambda run: run[0])
    return [result_row(best, accuracy(model, test, SIZE), None, rate=rate)]


def start(few: ImageSet, watched: ImageSet, probe_first: bool = True, seed: int = 0) -> StagedModel:
    """The ImageNet network with the best linear probe on its features as its head, or with a random head of a seed."""
    model = backbones.load_backbone(BACKBONE, classes=len(few.classes), seed=seed)
    if probe_first:
        banks = [training.extract(model, photos, SIZE) for photos in (few, watched)]
        model.head = training.best_probe(banks[0], few.labels, banks[1], watched.labels).linear()
    return model


def fine_tune(model: StagedModel, few: ImageSet, how: Recipe, hold: bool) -> None:
    """Train every stage, with batch-norm's statistics held or moving."""
    if hold:
        hold_statistics(model)
    fit(model, few, None, SIZE, how, progress=False)


def recipe(per_class: int, seed: int, rate: float, way: Method = FULL) -> Recipe:
    """The recipe for a rate of the backbone; the head gets the method's ratio times that."""
    return Recipe(EPOCHS[per_class], way.head_ratio * rate, way.head_ratio, BATCH, seed=seed)


RUNS = {rows: jobs()}
