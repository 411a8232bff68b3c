"""Which learning rates a network can take, tried out in one short run on a copy of it."""

import copy
import math
from dataclasses import replace

import pandas as pd
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from transfer_utils.backbones import guarded, unwrapped
from transfer_utils.data import LabelledSet
from transfer_utils.machine import is_whole
from transfer_utils.training.checks import check_training
from transfer_utils.training.loop import Step, steps_an_epoch, steps_of
from transfer_utils.training.recipes import Recipe

KEPT = 0.9  # the share of the smoothed loss that stays from step to step
LOST = 4  # times the lowest loss, and the network is lost


def try_rates(
    model: nn.Module,
    photos: LabelledSet,
    size: int = 32,
    recipe: Recipe | None = None,
    lowest: float = 1e-5,
    highest: float = 1.0,
    steps: int = 100,
) -> pd.DataFrame:
    """A learning-rate range test: train a copy while the rate rises from `lowest` to `highest`, by the same factor in
    every step, and write down the loss. The model, its statistics and all random states stay as they are.

    Returns one row a step: `rate`, of the head, and `loss`, the smoothed cross-entropy of its batches. It ends early
    where the loss is lost. recipe: how a step is taken; its epochs and rate do not matter. Errors as in train, and
    ValueError for rates that do not rise, and fewer than 10 steps. Source: Smith 2017,
    https://arxiv.org/abs/1506.01186
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            f"try_rates() got lowest={lowest!r} and highest={highest!r}; rates rise from a number above 0 to a larger "
            "one, for example from 1e-5 to 1."
        )
    if not is_whole(steps, 10):
        raise ValueError(f"try_rates() got steps={steps!r}; it needs a whole number of at least 10, for example 100.")
    staged, recipe = unwrapped(model), Recipe() if recipe is None else recipe
    check_training(staged, photos, None, size, recipe)
    factor = (highest / lowest) ** (1 / (steps - 1))
    trial = replace(recipe, rate=lowest, epochs=math.ceil(steps / steps_an_epoch(photos, recipe)))
    twin = copy.deepcopy(staged)
    rising = steps_of(twin, photos, None, size, trial, False, lambda adam, *_: LambdaLR(adam, lambda n: factor**n))
    run = guarded(twin, "try_rates()", rising)
    losses = (record.loss.item() for record in run if isinstance(record, Step))
    rows: list[tuple[float, float]] = []
    smoothed = 0.0
    for step, loss in zip(range(1, steps + 1), losses, strict=False):
        smoothed = KEPT * smoothed + (1 - KEPT) * loss
        rows.append((lowest * factor ** (step - 1), smoothed / (1 - KEPT**step)))
        if not rows[-1][1] < LOST * min(row[1] for row in rows):
            break
    return pd.DataFrame(rows, columns=["rate", "loss"])
