"""Where in a photo a prediction comes from, and whether the network needs that place."""

import torch
from torch import Tensor, nn

from transfer_utils.backbones.in_use import keeping_modes
from transfer_utils.backbones.stages import StagedModel, unwrapped
from transfer_utils.machine import check_labels, check_photos

BATCH = 64  # gradients keep every map of these


def grad_cam(model: nn.Module, photos: Tensor, labels: Tensor, stage: str) -> Tensor:
    """How much each place of each photo speaks for its label: (N, h, w), stretched to 1, the size of the stage's maps.

    photos: uint8 (N, 3, H, W), of the size that the model is used at. labels: int64 (N,), the classes to explain. The
    model runs in eval mode, and nothing in it changes. ValueError for a stage without maps, and for what are no
    photos or no labels of the head's classes; TypeError where they are no tensors.
    Source: Selvaraju and others 2017, Grad-CAM, https://arxiv.org/abs/1610.02391
    """
    staged = unwrapped(model)
    check_photos("grad_cam()", photos)
    check_labels("grad_cam()", labels, len(photos), getattr(staged.head, "out_features", None))
    device, pairs = staged.mean.device, zip(photos.split(BATCH), labels.split(BATCH), strict=True)
    with keeping_modes(staged), torch.inference_mode(False):  # gradients, also where the caller has no_grad
        staged.eval()
        return torch.cat([_heat(staged, part.to(device), of.to(device), stage) for part, of in pairs])


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
