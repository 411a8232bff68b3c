"""What training, probes and features refuse at the door, before anything is computed."""

from typing import Any

from torch import Tensor

from transfer_utils.backbones import StagedModel, refuse_untrainable
from transfer_utils.data import LabelledSet, TextSet
from transfer_utils.training.items import check_input
from transfer_utils.training.recipes import Recipe


def check_training(model: StagedModel, photos: Any, valid: Any, size: Any, recipe: Recipe) -> None:
    """Refuse a training that cannot go well: TypeError for what are no photos, ValueError for the rest."""
    _check_gradients(model)
    check_input("train()", model, photos, size)
    check_outputs(model, photos)
    if not isinstance(recipe, Recipe):
        raise TypeError(f"train() got a recipe of type {type(recipe).__name__}; give a Recipe, for example Recipe(20).")
    if len(photos) < 2:
        raise ValueError(f"train() got {len(photos)} {photos.many}; it needs at least 2.")
    if recipe.augment and isinstance(photos, TextSet):
        raise ValueError(
            "train() got lines and a recipe with augment=True, which mirrors and shifts photos. Lines stay as they "
            "are: Recipe(augment=False)."
        )
    if recipe.mixup and isinstance(photos, TextSet):
        raise ValueError(
            f"train() got lines and a recipe with mixup={recipe.mixup!r}, which mixes photos; tokens have no mixture. "
            "Leave it out: mixup=0."
        )
    if valid is not None:
        check_input("train()", model, valid, size)
        _check_valid(valid, photos.classes)


def check_outputs(model: StagedModel, photos: LabelledSet) -> None:
    """ValueError unless the head has an output for every class of the photos."""
    outputs, classes = getattr(model.head, "out_features", None), len(photos.classes)
    if outputs != classes:
        raise ValueError(
            f"The head has {outputs} outputs and the {photos.many} have {classes} classes. Give {photos.many} of the "
            f"classes that it is for, or replace the head: model.new_head({classes})."
        )


def _check_gradients(model: StagedModel) -> None:
    astray = [name for name in model.frozen if any(p.requires_grad for p in model.get_submodule(name).parameters())]
    if astray:
        raise ValueError(
            f"{astray[0]} is frozen, and yet its parameters want gradients. To train it, freeze(model, None), and "
            "freeze again what should stay; requires_grad alone does not unfreeze."
        )
    refuse_untrainable(model)


def _check_valid(valid: LabelledSet, classes: tuple[str, ...]) -> None:
    """A label means its class only where both sets count the classes alike."""
    if valid.classes != classes:
        missing = [name for name in classes if name not in valid.classes]
        absent = f"there are no valid {valid.many} of {', '.join(missing)}"
        way = absent if missing else f"take valid.only{_typed(classes)}"
        raise ValueError(
            f"The {valid.many} have the classes {', '.join(classes)} and the valid {valid.many} "
            f"{', '.join(valid.classes)}. Both need the same ones in the same order, or labels mean different things: "
            f"{way}."
        )
    if not len(valid):
        raise ValueError(
            f"train() got 0 valid {valid.many}; it needs at least 1. To train without a look at any: valid=None."
        )


def _typed(classes: tuple[str, ...]) -> str:
    return f"({', '.join(map(repr, classes))})"


def as_features(call: str, features: Any) -> Tensor:
    """Features as float32 (N, D), which is what other float types become.

    TypeError for what is no tensor; ValueError for other numbers, another shape, and what is not finite.
    """
    if not isinstance(features, Tensor):
        raise TypeError(f"{call} got features of type {type(features).__name__}; it needs a tensor: torch.tensor(...).")
    if not features.is_floating_point():
        digits = str(features.dtype).removeprefix("torch.")
        raise ValueError(f"{call} got {digits} features; it computes with real numbers: features.float().")
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(
            f"{call} got features of shape {tuple(features.shape)}; it needs one vector per photo, (N, D). Average a "
            "map over its positions: x.mean((2, 3))."
        )
    features = features.float()
    good = features.isfinite().all(1)
    if not good.all():
        raise ValueError(
            f"{call} got NaN or infinite features in {int((~good).sum())} of {len(good)} rows, the first at "
            f"{int((~good).nonzero()[0])}. Look for a network that diverged, or keep the rows of "
            "features.isfinite().all(1), and their labels."
        )
    return features
