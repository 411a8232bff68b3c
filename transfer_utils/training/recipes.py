"""How to train: a recipe, and phases that freeze and train one after the other."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How to train. rate: peak learning rate of the head; the stages below get rate / head_ratio."""

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


@dataclass(frozen=True)
class Phase:
    """Freeze through a stage, then train for a share of the epochs. rate: instead of the rate that is tried."""

    through: str | None = None
    share: float = 1.0
    rate: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # to the recipe


def with_epochs(phases: list[Phase], epochs: int) -> list[tuple[Phase, int]]:
    """Each phase with its whole number of epochs; together they are all of the epochs, as in every other method."""
    ends = [round(epochs * sum(phase.share for phase in phases[: i + 1])) for i in range(len(phases))]
    return [(phase, end - start) for phase, start, end in zip(phases, [0, *ends], ends, strict=False)]
