"""The classic recipe, whole, with one part left out, and with one more: the runs behind lesson 5.

All start from EfficientNet-Lite0 with ImageNet weights. Draws 0 to 4 choose the penalty and the rates, by the valid
photos; draws 5 to 24 judge, and read the test photos once.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from runs.shared import CHOOSING, JUDGING, SIZE, named
from transfer_utils import backbones, data, machine, training
from transfer_utils.backbones import StagedModel, hold_statistics
from transfer_utils.data import ImageSet, splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe, accuracy, fit
from transfer_utils.training.probes import PENALTIES, Probe

BACKBONE = "efficientnet_lite0"
EPOCHS = {20: 6, 10: 8, 100: 3}  # by photos per class
BATCH = 32
HEAD_RATIO = 10.0
TRIED = (3e-5, 1e-4, 3e-4, 1e-3)  # rates of the backbone
PENALTY = {20: 1.0, 10: 1.0, 100: 0.1}  # by photos per class: what the draws that choose chose for both probes


@dataclass(frozen=True)
class Method:
    """The recipe's parts: which of them a run has. trains: every stage; otherwise a probe is fitted."""

    name: str
    sizes: tuple[int, ...] = (20,)
    trains: bool = True
    tried: tuple[float, ...] = TRIED
    views: bool = False  # a probe on augmented views too, as many as fine-tuning has epochs
    hold: bool = True  # batch-norm's statistics
    probe_first: bool = True  # the head starts as the linear probe
    changes: dict[str, Any] = field(default_factory=dict)  # to the recipe


WHOLE = Method("recipe", tuple(EPOCHS))
METHODS = (
    Method("linear probe", tuple(EPOCHS), trains=False),
    Method("linear probe, augmented", tuple(EPOCHS), trains=False, views=True),
    WHOLE,
    Method("recipe, statistics move", tried=(*TRIED, 3e-3), hold=False),
    Method("recipe, random head", probe_first=False),
    Method("recipe, random head, statistics move", tried=(*TRIED[1:], 3e-3), hold=False, probe_first=False),
    Method("recipe, one rate", changes={"head_ratio": 1.0}),
    Method("recipe, label smoothing", changes={"smoothing": 0.1}),
    Method("recipe, mixup", changes={"mixup": 0.2}),
)
RATES: dict[str, dict[int, float]] = {  # of the backbone: what the draws that choose chose
    "recipe": {20: 1e-4, 10: 1e-4, 100: 3e-4},
    "recipe, statistics move": {20: 1e-3},
    "recipe, random head": {20: 3e-4},
    "recipe, random head, statistics move": {20: 1e-3},
    "recipe, one rate": {20: 1e-4},
    "recipe, label smoothing": {20: 1e-4},
    "recipe, mixup": {20: 1e-4},
}


def rows(method: str, per_class: int, seed: int, penalty: float, rate: float | None) -> list[Row]:
    """One run: accuracy on valid photos where the draw chooses, on test photos where it judges.

    penalty: of the linear probe that is the head, or its start. rate: of the backbone; None for a probe alone.
    """
    way, (train, valid, test) = named(method, METHODS), splits(data.CIFAR10)
    few, (name, photos) = train.take(per_class, seed), ("valid", valid) if seed in CHOOSING else ("test", test)
    if rate is None:
        seen = augmented(few, EPOCHS[per_class], seed) if way.views else few
        score = probe(seen, penalty).accuracy(features(photos), photos.labels)
    else:
        model = start(few, penalty, way, seed)
        fine_tune(model, few, recipe(per_class, seed, rate, way), way.hold)
        score = accuracy(model, photos, SIZE)
    return [{name: round(score, 4)}]


def features(photos: ImageSet) -> Tensor:
    """What the frozen ImageNet network says about photos."""
    return training.extract(backbones.load_backbone(BACKBONE), photos, SIZE)


def probe(seen: ImageSet, penalty: float) -> Probe:
    """A linear probe on the frozen features."""
    return training.linear_probe(features(seen), seen.labels, penalty)


def start(few: ImageSet, penalty: float, way: Method = WHOLE, seed: int = 0) -> StagedModel:
    """The ImageNet network with the probe as its head, or with a random head of a seed."""
    model = backbones.load_backbone(BACKBONE, classes=len(few.classes), seed=seed)
    if way.probe_first:
        model.head = probe(few, penalty).linear()
    return model


def augmented(few: ImageSet, views: int, seed: int) -> ImageSet:
    """Each photo as it is, and as many mirrored and shifted views of it, as fine-tuning sees them."""
    draws = machine.generator(seed)
    images = torch.cat([few.images, *(data.flip_and_shift(few.images, draws) for _ in range(views))])
    return replace(few, images=images, labels=few.labels.repeat(1 + views))


def fine_tune(model: StagedModel, few: ImageSet, how: Recipe, hold: bool) -> None:
    """Train every stage, with batch-norm's statistics held or moving."""
    if hold:
        hold_statistics(model)
    fit(model, few, None, SIZE, how, progress=False)


def recipe(per_class: int, seed: int, rate: float, way: Method = WHOLE) -> Recipe:
    """The recipe for a rate of the backbone; the head gets head_ratio times that."""
    ratio = way.changes.get("head_ratio", HEAD_RATIO)
    whole = Recipe(EPOCHS[per_class], ratio * rate, ratio, BATCH, seed=seed)
    return replace(whole, **way.changes)


def choosing() -> list[Row]:
    """The jobs of the draws that choose: every penalty of the probes, and every rate of the others."""
    return [
        {"method": way.name, "per_class": n, "seed": seed, "penalty": penalty, "rate": rate}
        for way in METHODS
        for n in way.sizes
        for penalty, rate in (product([PENALTY[n]], way.tried) if way.trains else product(PENALTIES, [None]))
        for seed in CHOOSING
    ]


def judging() -> list[Row]:
    """The jobs of the draws that judge."""
    return [
        {"method": way.name, "per_class": n, "seed": seed, "penalty": PENALTY[n], "rate": rate}
        for way in METHODS
        for n, rate in (RATES[way.name] if way.trains else dict.fromkeys(way.sizes)).items()
        for seed in JUDGING
    ]


RUNS = {rows: choosing() + judging()}
