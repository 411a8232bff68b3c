"""How to train: a recipe, and phases that freeze and train one after the other."""

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from transfer_utils.machine import is_whole

MOST_SEED = 2**32 - 1  # epochs count on from it, within 64 bits


@dataclass(frozen=True)
class Recipe:
    """How to train. rate: peak learning rate of the head; the stages below get rate / head_ratio.

    ValueError for numbers that nobody can train with.
    """

    epochs: int = 20
    rate: float = 3e-3
    head_ratio: float = 1.0
    batch: int = 64
    decay: float = 0.05
    augment: bool = True
    seed: int = 0
    anneal: bool = True  # one cycle down to zero; False: a short warm-up, then a constant rate
    evaluate_every: int = 1  # epochs between two looks at the valid photos
    fixed_views: bool = False  # augment with the few views that a frozen prefix caches: the same in every comparison
    smoothing: float = 0.0  # share of the target that is spread over all classes: https://arxiv.org/abs/1512.00567
    mixup: float = 0.0  # mixes a batch with itself, by shares from Beta(mixup, mixup): arxiv.org/abs/1710.09412

    def __post_init__(self) -> None:
        """Refuse here what would fail after an epoch, or train nothing."""
        check_numbers(self, whole=("epochs", "batch", "evaluate_every"), above=("rate", "head_ratio"))
        _need(self, "smoothing", _is_finite(self.smoothing) and 0 <= self.smoothing < 1, "a number from 0 to below 1")
        _need(self, "mixup", _is_finite(self.mixup) and self.mixup >= 0, "a number of at least 0")


@dataclass(frozen=True)
class Phase:
    """Freeze through a stage, then train for a share of the epochs. rate: instead of the rate that is tried."""

    through: str | None = None
    share: float = 1.0
    rate: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # to the recipe


def check_numbers(recipe: Any, whole: Iterable[str], above: Iterable[str]) -> None:
    """ValueError for a recipe that nobody can train with. whole: names of whole numbers, above: of ones above 0.

    Every recipe has a decay and a seed besides.
    """
    for name in whole:
        _need(recipe, name, is_whole(getattr(recipe, name), 1), "a whole number of at least 1")
    for name in above:
        _need(recipe, name, _is_finite(getattr(recipe, name)) and getattr(recipe, name) > 0, "a number above 0")
    _need(recipe, "decay", _is_finite(recipe.decay) and recipe.decay >= 0, "a number of at least 0")
    seed = is_whole(recipe.seed, -MOST_SEED) and recipe.seed <= MOST_SEED
    _need(recipe, "seed", seed, "a whole number of 32 bits")


def _need(recipe: Any, name: str, met: bool, rule: str) -> None:
    if not met:
        default, value = type(recipe).__dataclass_fields__[name].default, getattr(recipe, name)
        raise ValueError(f"{type(recipe).__name__}() got {name}={value!r}; it must be {rule}, for example {default}.")


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def with_epochs(phases: list[Phase], epochs: int) -> list[tuple[Phase, int]]:
    """Each phase with its whole number of epochs; together they are all of the epochs, as in every other method."""
    ends = [round(epochs * sum(phase.share for phase in phases[: i + 1])) for i in range(len(phases))]
    return [(phase, end - start) for phase, start, end in zip(phases, [0, *ends], ends, strict=False)]
