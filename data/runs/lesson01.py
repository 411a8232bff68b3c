"""The runs of lesson 1: the course ResNet, pretrained on five classes, fine-tuned on three new ones."""

from dataclasses import dataclass

from runs.shared import best_of, every, named, pretrained_on_both, probe_row
from transfer_utils import backbones
from transfer_utils.backbones import StagedModel
from transfer_utils.data import TARGETS, splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe

TUNED_RATES = [(1e-3, 1), (4e-3, 1), (1.6e-2, 1), (1e-3, 10), (4e-3, 10), (1.6e-2, 10)]  # (head rate, head : backbone)
FROM_SCRATCH_RATES = [(rate, 1) for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)]  # as many choices
EPOCHS = 20


@dataclass(frozen=True)
class Method:
    """Train, or probe what is frozen. longer: times the epochs of the others."""

    name: str
    pretrained: bool = False
    probe: bool = False
    longer: int = 1


METHODS = (
    Method("full", pretrained=True),
    Method("scratch"),
    Method("linear probe", pretrained=True, probe=True),
    Method("linear probe, random weights", probe=True),
)
LONGER = Method("scratch, 10x epochs", longer=10)


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """One row for a method of METHODS or LONGER, named."""
    way = named(method, (*METHODS, LONGER))
    train, valid, test = splits(TARGETS["animals"])
    if way.probe:
        backbone = pretrained_on_both(seed) if way.pretrained else backbones.course_resnet(len(test.classes), seed)
        return [probe_row(backbone, train.take(per_class, seed), valid, test, 32)]
    rates = TUNED_RATES if way.pretrained else FROM_SCRATCH_RATES
    epochs = way.longer * EPOCHS
    recipes = [Recipe(epochs=epochs, rate=rate, head_ratio=ratio, batch=16, seed=seed) for rate, ratio in rates]

    def build() -> StagedModel:
        if way.pretrained:
            return pretrained_on_both(seed, len(test.classes))
        return backbones.course_resnet(len(test.classes), seed)

    return [best_of(build, recipes, train.take(per_class, seed), valid, test, 32)]


RUNS = {rows: every((method.name for method in METHODS), (5, 20, 100)) + every((LONGER.name,), (20,))}
