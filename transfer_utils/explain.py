"""Where in a photo a prediction comes from, and whether the network needs that place."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils.backbones import StagedModel

GREY = 128
COVERED = 0.25  # share of a photo


def grad_cam(model: StagedModel, photos: Tensor, labels: Tensor, stage: str) -> Tensor:
    """How much each place of each photo speaks for its label: (N, h, w) between 0 and 1, the size of the stage's maps.

    photos: uint8 (N, 3, H, W), of the size that the model is used at. labels: int64 (N,), the classes to explain. The
    model runs in eval mode, and nothing in it changes. ValueError for a stage without maps. Source: Selvaraju and
    others 2017, Grad-CAM, https://arxiv.org/abs/1610.02391
    """
    prefix, suffix = model.split(after=stage)
    device, was_training = model.mean.device, model.training
    model.eval()
    with torch.no_grad():
        maps = prefix(model.preprocess(photos.to(device)))
    if maps.ndim != 4:
        model.train(was_training)
        raise ValueError(f"{stage!r} of {model.name} gives no maps, and Grad-CAM needs them. Name an earlier stage.")
    maps.requires_grad_()
    scores = suffix(maps).gather(1, labels.to(device)[:, None])
    (slopes,) = torch.autograd.grad(scores.sum(), maps)
    model.train(was_training)
    weight = slopes.mean((2, 3), keepdim=True)
    heat = (weight * maps.detach()).sum(1).relu().cpu()
    return heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-8)


def cover(photos: Tensor, maps: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Photos with a quarter of their places grey: where their maps (N, h, w) are highest, lowest, and any quarter."""
    any_order = torch.rand(maps.shape, generator=torch.Generator().manual_seed(seed))
    orders = {"what glows most": maps, "any quarter": any_order, "what glows least": -maps}
    return {name: _covered(photos, order) for name, order in orders.items()}


def _covered(photos: Tensor, order: Tensor) -> Tensor:
    count = round(COVERED * order[0].numel())
    chosen = torch.zeros_like(order).flatten(1)
    chosen.scatter_(1, order.flatten(1).topk(count, dim=1).indices, 1.0)
    hidden = interpolate(chosen.view(len(order), 1, *order.shape[1:]), photos.shape[-2:], mode="nearest").bool()
    return photos.masked_fill(hidden, GREY)
