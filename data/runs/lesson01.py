"""The runs of lesson 1: the course ResNet, pretrained on five classes, fine-tuned on three new ones."""

import torch

from runs.shared import best_of, pretrained_on_both, probe_row
from transfer_utils import backbones
from transfer_utils.backbones import StagedModel
from transfer_utils.data import TARGETS, splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe

TUNED_RATES = [(1e-3, 1), (4e-3, 1), (1.6e-2, 1), (1e-3, 10), (4e-3, 10), (1.6e-2, 10)]  # (head rate, head : backbone)
FROM_SCRATCH_RATES = [(rate, 1) for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)]  # as many choices
EPOCHS = 20


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """method: 'fine-tuned', 'scratch', 'scratch, 10x epochs', 'probe', or 'probe, random weights'."""
    train, valid, test = splits(TARGETS["animals"])
    if method.startswith("probe"):
        torch.manual_seed(seed)
        backbone = pretrained_on_both(seed) if method == "probe" else backbones.course_resnet(len(test.classes))
        return [probe_row(backbone, train.take(per_class, seed), valid, test, 32)]
    rates = TUNED_RATES if method == "fine-tuned" else FROM_SCRATCH_RATES
    epochs = EPOCHS * (10 if "10x" in method else 1)
    recipes = [Recipe(epochs=epochs, rate=rate, head_ratio=ratio, batch=16, seed=seed) for rate, ratio in rates]

    def build() -> StagedModel:
        if method == "fine-tuned":
            return pretrained_on_both(seed).new_head(len(test.classes))
        return backbones.course_resnet(len(test.classes))

    return [best_of(build, recipes, train.take(per_class, seed), valid, test, 32, seed)]
