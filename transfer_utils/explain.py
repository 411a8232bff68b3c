"""Where in a photo a prediction comes from, and whether the network needs that place."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils.backbones import StagedModel

GREY = 128
BATCH = 64  # gradients keep every map of these
COVERED = 0.25  # share of a photo


def grad_cam(model: StagedModel, photos: Tensor, labels: Tensor, stage: str) -> Tensor:
    """How much each place of each photo speaks for its label: (N, h, w), stretched to 1, the size of the stage's maps.

    photos: uint8 (N, 3, H, W), of the size that the model is used at. labels: int64 (N,), the classes to explain. The
    model runs in eval mode, and nothing in it changes. ValueError for a stage without maps, or a photo without label.
    Source: Selvaraju and others 2017, Grad-CAM, https://arxiv.org/abs/1610.02391
    """
    if len(photos) != len(labels):
        raise ValueError(
            f"grad_cam() got {len(photos)} photos and {len(labels)} labels; it needs a label for each photo."
        )
    device, was_training = model.mean.device, model.training
    model.eval()
    try:
        pairs = zip(photos.split(BATCH), labels.split(BATCH), strict=True)
        return torch.cat([_heat(model, part.to(device), of.to(device), stage) for part, of in pairs])
    finally:
        model.train(was_training)


def _heat(model: StagedModel, photos: Tensor, labels: Tensor, stage: str) -> Tensor:
    prefix, suffix = model.split(after=stage)
    with torch.no_grad():
        maps = prefix(model.preprocess(photos))
    if maps.ndim != 4:
        raise ValueError(f"{stage!r} of {model.name} gives no maps, and Grad-CAM needs them. Name an earlier stage.")
    maps.requires_grad_()
    scores = suffix(maps).gather(1, labels[:, None])
    (slopes,) = torch.autograd.grad(scores.sum(), maps)
    weight = slopes.mean((2, 3), keepdim=True)
    heat = (weight * maps.detach()).sum(1).relu().cpu()
    return heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-8)


def cover(photos: Tensor, maps: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Photos with a quarter of their places grey, chosen in four ways by maps (N, h, w) or without them."""
    _, height, width = maps.shape
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    middle = -torch.maximum(down.abs(), across.abs()).expand_as(maps)
    orders = {"what glows": maps, "what glows on another photo": maps.roll(1, 0), "the middle": middle}
    orders["what does not glow"] = -maps
    # Many places glow not at all, and of equals topk would take those in the middle.
    noise = 1e-6 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(seed))
    return {name: _covered(photos, order + noise) for name, order in orders.items()}


def _covered(photos: Tensor, order: Tensor) -> Tensor:
    count = round(COVERED * order[0].numel())
    chosen = torch.zeros_like(order).flatten(1)
    chosen.scatter_(1, order.flatten(1).topk(count, dim=1).indices, 1.0)
    hidden = interpolate(chosen.view(len(order), 1, *order.shape[1:]), photos.shape[-2:], mode="nearest").bool()
    return photos.masked_fill(hidden, GREY)
