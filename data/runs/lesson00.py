"""The runs of lesson 0: the ImageNet network, frozen, against the same network from random weights."""

from dataclasses import dataclass, replace

from runs.shared import LOOK_EVERY, SIZE, best_of, every, named, probe_row
from transfer_utils import backbones, data
from transfer_utils.backbones import StagedModel
from transfer_utils.data import splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe

SCRATCH_RATES = (4e-3, 1e-3)  # the first one was best at 10 per class; longer runs take only that one
BUDGET = 10  # epochs; the probe sees each photo once


@dataclass(frozen=True)
class Method:
    """Train from random weights, for at most `longer` times the epochs; or probe what is frozen."""

    name: str
    probe: bool = False
    pretrained: bool = False
    longer: int = 1  # more than 1: only until accuracy on valid photos is flat


METHODS = (
    Method("linear probe", probe=True, pretrained=True),
    Method("linear probe, random weights", probe=True),
    Method("scratch"),
    Method("scratch until flat", longer=10),
)


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """One row for a method of METHODS, named."""
    way = named(method, METHODS)
    train, valid, test = splits(data.CIFAR10)
    few = train.take(per_class, seed)
    if way.probe:
        backbone = backbones.load_backbone("efficientnet_lite0", pretrained=way.pretrained, seed=seed)
        return [probe_row(backbone, few, valid, test, SIZE)]
    rates = SCRATCH_RATES if way.longer == 1 and per_class == 10 else SCRATCH_RATES[:1]
    recipes = [Recipe(epochs=BUDGET, rate=rate, batch=25, seed=seed) for rate in rates]
    watched = None
    if way.longer > 1:
        recipes = [replace(recipes[0], epochs=way.longer * BUDGET, anneal=False, evaluate_every=LOOK_EVERY)]
        watched = valid.take(50, seed)  # a sixth of them: looking often at all of them would double the time

    def build() -> StagedModel:
        return backbones.load_backbone("efficientnet_lite0", pretrained=False, classes=len(data.CIFAR10), seed=seed)

    return [best_of(build, recipes, few, valid, test, SIZE, watched)]


RUNS = {rows: every((method.name for method in METHODS), (10, 50))}
