"""Where a step's input comes from: photos or lines, or what the frozen stages said about them."""

from collections.abc import Callable

import torch
from torch import Tensor

from transfer_utils import data, machine
from transfer_utils.backbones import StagedModel
from transfer_utils.data import LabelledSet
from transfer_utils.machine import best_device, channels_last, send
from transfer_utils.training import features
from transfer_utils.training.items import prepared, raw
from transfer_utils.training.recipes import Recipe

Batch = Callable[[Tensor, torch.Generator], Tensor]  # rows and randomness to the network's input


def inputs(model: StagedModel, photos: LabelledSet, size: int, recipe: Recipe, cache: bool) -> Batch:
    """What the part that trains gets in a step: photos or lines, or features where the stages before it are frozen."""
    if model.frozen:
        return _feature_batches(model, photos, size, recipe, cache)
    return _item_batches(model, photos, size, recipe)


def _item_batches(model: StagedModel, items: LabelledSet, size: int, recipe: Recipe) -> Batch:
    """The photos or lines at some rows, photos augmented anew each time, and preprocessed."""
    fresh, rows_of_all = recipe.augment and not recipe.fixed_views, raw(model, items, size)
    views = data.views(rows_of_all, recipe.seed) if recipe.augment and not fresh else rows_of_all[None]
    take = _any_view(views)

    def batch(rows: Tensor, generator: torch.Generator) -> Tensor:
        x = take(rows, generator)
        x = data.flip_and_shift(x, generator) if fresh else x
        return prepared(model, x, size)

    return batch


def _feature_batches(model: StagedModel, photos: LabelledSet, size: int, recipe: Recipe, cache: bool) -> Batch:
    """The frozen stages' outputs at some rows, computed once; each time one of the cached augmented views."""
    if recipe.augment:
        views = features.extract_views(model, photos, size, recipe.seed, cache)
    else:
        views = features.extract(model, photos, size, model.frozen[-1], cache)[None]
    take = _any_view(views)

    def batch(rows: Tensor, generator: torch.Generator) -> Tensor:
        x = take(rows, generator)
        return channels_last(x)

    return batch


def _any_view(views: Tensor) -> Batch:
    """One of the views (V, N, ...) of each row, drawn at random, on the device."""
    count, rows_of_each = views.shape[:2]
    take = machine.on_device(views.flatten(0, 1), best_device())

    def batch(rows: Tensor, generator: torch.Generator) -> Tensor:
        return take(rows if count == 1 else rows + rows_of_each * torch.randint(count, rows.shape, generator=generator))

    return batch


def mixed_up(x: Tensor, y: Tensor, strength: float) -> tuple[Tensor, list[tuple[float, Tensor]]]:
    """A batch mixed with itself in another order, and its targets with their shares; strength 0 leaves it as it is.

    Source: Zhang and others 2018, https://arxiv.org/abs/1710.09412
    """
    if not strength:
        return x, [(1.0, y)]
    share = torch.distributions.Beta(strength, strength).sample().item()
    other = send(torch.randperm(len(x)), x.device)  # drawn on the CPU, where the recipe's seed decides
    return share * x + (1 - share) * x[other], [(share, y), (1 - share, y[other])]
