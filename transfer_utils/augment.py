"""Random flips and shifts of a whole batch at once, on the device it is on."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def flip(photos: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each photo of a batch (N, 3, H, W) left to right with probability one half."""
    mirrored = torch.rand(len(photos), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored.to(photos.device), photos.flip(-1), photos)


def shift(photos: Tensor, generator: torch.Generator | None = None, most: int = 4) -> Tensor:
    """Move each photo of a batch (N, 3, H, W) by up to `most` pixels each way; the border is mirrored inwards."""
    count, _, height, width = photos.shape
    dy, dx = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator).to(photos.device)
    # reflect padding is not there for uint8; a byte fits into a float exactly
    padded = pad(photos.float(), (most,) * 4, mode="reflect").to(photos.dtype)
    rows = (dy + torch.arange(height, device=photos.device))[:, None, :, None]
    columns = (dx + torch.arange(width, device=photos.device))[:, None, None, :]
    photo = torch.arange(count, device=photos.device)[:, None, None, None]
    channel = torch.arange(photos.shape[1], device=photos.device)[None, :, None, None]
    return padded[photo, channel, rows, columns]


def flip_and_shift(photos: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The augmentation of the course: a flip, and a shift by up to an eighth of the side."""
    return shift(flip(photos, generator), generator, most=max(1, photos.shape[-1] // 8))
