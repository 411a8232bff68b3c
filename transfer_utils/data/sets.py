"""Labelled photos in memory: checked when they come in, picked and drawn from without changing them."""

import copy
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils import machine
from transfer_utils.machine import check_labels, check_photos, check_size, is_whole, unknown


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled photos in memory.

    images: uint8 (N, 3, H, W), 0 to 255. labels: int64 (N,), an index into classes. classes: names, no two the same.
    TypeError or ValueError for anything else, with the way to get there.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what would train into nonsense later."""
        check_photos("ImageSet()", self.images)
        self.__dict__["classes"] = _names(self.classes)  # a list of them is welcome, and kept as a tuple
        check_labels("ImageSet()", self.labels, len(self.images), len(self.classes))
        if len(self) > 1 and self.images.max() == 1:
            raise ValueError(
                f"ImageSet() got {len(self)} photos whose brightest pixel is 1 of 255. They look as if they had been "
                "scaled to 0 to 1 before they became bytes. Scale them back first: (images * 255).round().byte()."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        _, channels, height, width = self.images.shape
        names = ", ".join(self.classes)
        return f"{len(self):,} photos of {height}x{width} pixels, {len(self.classes)} classes: {names}"

    def __getitem__(self, index: Tensor | Sequence[int] | slice) -> "ImageSet":
        """The photos at a tensor, list or slice of positions. ValueError for a single position, and for no position."""
        try:
            images, labels = self.images[index], self.labels[index]
        except (IndexError, TypeError, ValueError) as error:  # torch's words, for whatever is no index
            raise ValueError(
                f"photos[...] got a {type(index).__name__} that picks nothing of {len(self)} photos ({error}). Give "
                "a list of positions, one True or False a photo, or a slice. Photos of a class: photos.only('cat')."
            ) from error
        if labels.ndim != 1:
            raise ValueError(f"photos[{index}] would be no set of photos. Give a list of positions, or a slice.")
        return self._part(images=images, labels=labels)

    def _part(self, **changes: Any) -> "ImageSet":
        """A set made of this one, without another check: one dark photo of a good set is fine."""
        part = copy.copy(self)
        part.__dict__.update(changes)
        return part

    def only(self, *classes: str) -> "ImageSet":
        """The photos of these classes, relabelled 0, 1, ... in the order given. ValueError for an unknown class."""
        if not classes:
            raise ValueError(f"only() got no class; name at least one of: {', '.join(self.classes)}.")
        for name in classes:
            if name not in self.classes:
                raise unknown("class", name, self.classes)
        if len(set(classes)) < len(classes):
            raise ValueError(f"only() got a class twice: {', '.join(classes)}. Name each class once.")
        parts = [torch.nonzero(self.labels == self.classes.index(name)).flatten() for name in classes]
        labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(p) for p in parts]))
        return self._part(images=self.images[torch.cat(parts)], labels=labels, classes=tuple(classes))

    def take(self, per_class: int, seed: int = 0) -> "ImageSet":
        """A random draw of per_class photos of every class. ValueError for zero, or more than there are."""
        counts = torch.bincount(self.labels, minlength=len(self.classes))
        if not is_whole(per_class, 1):
            raise ValueError(
                f"take() got per_class={per_class!r}; it needs at least 1 photo per class, a whole number."
            )
        if per_class > counts.min():
            scarce, least = self.classes[int(counts.argmin())], int(counts.min())
            way = f"Ask for at most {least}." if least else "Choose classes that have photos, with only()."
            raise ValueError(f"take() got per_class={per_class}, but {scarce!r} has only {least} photos. {way}")
        draw, _ = self._shuffled_by_class(seed, [per_class] * len(self.classes))
        return self[draw]

    def split(self, fraction: float, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """Two disjoint parts: about `fraction` of every class, and the rest. ValueError unless 0 < fraction < 1."""
        if not (isinstance(fraction, numbers.Real) and 0 < fraction < 1):
            raise ValueError(f"split() got fraction={fraction!r}; it must lie between 0 and 1, for example 0.8.")
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        first, rest = self._shuffled_by_class(seed, [round(fraction * n) for n in counts])
        return self[first], self[rest]

    def resized(self, size: int) -> "ImageSet":
        """The same photos at size x size pixels, see resize."""
        return self._part(images=resize(self.images, size))

    def _shuffled_by_class(self, seed: int, sizes: list[int]) -> tuple[Tensor, Tensor]:
        generator = machine.generator(seed)
        first, rest = [], []
        for label, size in enumerate(sizes):
            members = torch.nonzero(self.labels == label).flatten()
            members = members[torch.randperm(len(members), generator=generator)]
            first.append(members[:size])
            rest.append(members[size:])
        return torch.cat(first), torch.cat(rest)


def _names(classes: Any) -> tuple[str, ...]:
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise TypeError(
            f"ImageSet() got classes={classes!r}; they are a tuple of names in the order of the labels, for example "
            "('cat', 'dog'), or ('cat',) for one class."
        )
    if not classes or len(set(classes)) < len(classes):
        raise ValueError(f"ImageSet() got the classes {classes!r}. Name at least one class, and each of them once.")
    return tuple(classes)


def resize(photos: Tensor, size: int) -> Tensor:
    """uint8 photos (N, 3, H, W) as uint8 (N, 3, size, size), bicubic and anti-aliased.

    TypeError or ValueError for what are no such photos; ValueError for a size that is no whole number of at least 1.
    """
    check_photos("resize()", photos)
    check_size("resize()", size)
    if photos.shape[-2:] == (size, size):
        return photos
    resized = interpolate(photos.float(), (size, size), mode="bicubic", antialias=True)
    return resized.round().clamp(0, 255).byte()
