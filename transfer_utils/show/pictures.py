"""Figures made of photos: rows of them, and what a network sees in them."""

from collections.abc import Sequence

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils.data import ImageSet
from transfer_utils.show.drawing import picture, plain


def photo_rows(rows: Sequence[tuple[str, Tensor]], alt: str, side: float = 0.62) -> HTML:
    """Rows of photos: a label at the left, then uint8 photos (N, 3, H, W)."""
    columns = max(len(photos) for _, photos in rows)
    figure = Figure((columns * side + 1.2, len(rows) * side))
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for (label, photos), line in zip(rows, grid, strict=True):
        for axes in line:
            axes.set_axis_off()
        for photo, axes in zip(photos, line, strict=False):
            axes.imshow(photo.permute(1, 2, 0).numpy())
        line[0].text(-0.15, 0.5, plain(label), ha="right", va="center", transform=line[0].transAxes, fontsize=9)
    return picture(figure, alt)


def photos(images: ImageSet, per_class: int = 8) -> HTML:
    """The first photos of each class, one row a class."""
    rows = [(name, images.images[images.labels == i][:per_class]) for i, name in enumerate(images.classes)]
    return photo_rows(rows, f"{per_class} example photos of each class: {', '.join(images.classes)}.")


def heated(photos: Tensor, maps: Tensor) -> Tensor:
    """Photos (N, 3, H, W) with maps (N, h, w) between 0 and 1 over them: uint8, bright where a map is high."""
    heat = interpolate(maps[:, None].float(), photos.shape[-2:], mode="bilinear").squeeze(1).cpu()
    colours = torch.from_numpy(matplotlib.colormaps["inferno"](heat.numpy())[..., :3]).permute(0, 3, 1, 2) * 255
    return (0.5 * photos + 0.5 * colours).round().byte()


def heat_rows(photos: Tensor, maps: dict[str, Tensor], names: Sequence[str]) -> HTML:
    """Photos in a row, and below it one row for each entry of maps: the photos with its maps over them."""
    rows = [("photo", photos), *((name, heated(photos, part)) for name, part in maps.items())]
    alt = f"Photos of {', '.join(names)}; below them, brighter where it matters more, one row each: {', '.join(maps)}."
    return photo_rows(rows, alt, side=1.0)
