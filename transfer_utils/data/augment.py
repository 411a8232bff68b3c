"""Flips, shifts and corruptions of a whole batch at once, on the device it is on.

What is random is drawn on the CPU, so that a seed draws the same on every device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from transfer_utils import machine
from transfer_utils.machine import Seed, check_photos, send

VIEWS = 4  # augmented copies of each photo where they are made beforehand; the same number in every arm of a comparison


def flip(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each photo of a batch (N, 3, H, W) left to right with probability one half."""
    mirrored = torch.rand(len(photos), 1, 1, 1, generator=generator) < 0.5
    return torch.where(send(mirrored, photos.device), photos.flip(-1), photos)


def shift(photos: Tensor, generator: torch.Generator, most: int = 4) -> Tensor:
    """Move each photo of a batch (N, 3, H, W) by up to `most` pixels each way; the border is mirrored inwards."""
    count, _, height, width = photos.shape
    dy, dx = send(torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator), photos.device)
    rows = _inside(dy + torch.arange(height, device=photos.device) - most, height)[:, None, :, None]
    columns = _inside(dx + torch.arange(width, device=photos.device) - most, width)[:, None, None, :]
    photo = torch.arange(count, device=photos.device)[:, None, None, None]
    channel = torch.arange(photos.shape[1], device=photos.device)[None, :, None, None]
    return photos[photo, channel, rows, columns]


def _inside(positions: Tensor, size: int) -> Tensor:
    """Positions up to `size` - 1 beyond the border, mirrored at it."""
    return size - 1 - (size - 1 - positions.abs()).abs()


def flip_and_shift(photos: Tensor, seed: Seed) -> Tensor:
    """The augmentation of the course: a flip, and a shift by up to an eighth of the side, of uint8 (N, 3, H, W).

    seed: a number, or a generator that goes on. TypeError or ValueError for what are no such photos, or for smaller
    ones than the shift can mirror.
    """
    check_photos("flip_and_shift()", photos)
    most = max(1, photos.shape[-1] // 8)
    _check_sides("flip_and_shift()", photos, most)
    generator = machine.generator(seed)
    return shift(flip(photos, generator), generator, most)


def _check_sides(call: str, photos: Tensor, mirrored: int) -> None:
    height, width = photos.shape[-2:]
    if min(height, width) <= mirrored:
        raise ValueError(
            f"{call} got photos of {height}x{width} pixels. It mirrors {mirrored} of them at each border, so photos "
            f"need at least {mirrored + 1} each way. Resize them first: resize(photos, 32)."
        )


def views(photos: Tensor, seed: int) -> Tensor:
    """VIEWS augmented copies of each photo of a batch: uint8 (VIEWS, N, 3, H, W), the same ones for the same seed."""
    check_photos("views()", photos)
    generator = machine.generator(seed)
    return torch.stack([flip_and_shift(photos, generator) for _ in range(VIEWS)])


def noise(photos: Tensor, seed: int = 0) -> Tensor:
    """Photos with Gaussian noise of 20 grey levels, the same noise for the same seed."""
    check_photos("noise()", photos)
    grain = torch.randn(photos.shape, generator=machine.generator(seed)).to(photos.device)
    return (photos + 20 * grain).round().clamp(0, 255).byte()


def blur(photos: Tensor) -> Tensor:
    """Photos out of focus: a Gaussian of one pixel."""
    check_photos("blur()", photos)
    _check_sides("blur()", photos, 3)  # half of the kernel
    from torchvision.transforms.v2 import functional as transforms  # takes a second to import

    return transforms.gaussian_blur(photos, kernel_size=[7, 7], sigma=[1.0, 1.0])


def low_contrast(photos: Tensor) -> Tensor:
    """Photos in fog: a third of the contrast."""
    check_photos("low_contrast()", photos)
    from torchvision.transforms.v2 import functional as transforms

    return transforms.adjust_contrast(photos, 1 / 3)


# What training never saw, of uint8 (N, 3, H, W); what are no photos is refused. After Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261
CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {"noise": noise, "blur": blur, "low contrast": low_contrast}
