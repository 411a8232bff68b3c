"""Photographs as plain tensors: load a split, pick classes, draw a few per class."""

import contextlib
import copy
import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils import machine
from transfer_utils.machine import cache_folder, check_labels, check_photos, check_size, is_whole, unknown

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = ("train", "valid", "test")
VALID_PER_CLASS = 300  # the last ones of each class's training photos; never trained on
SIDE = 32
_PARTS = {"train": slice(None, -VALID_PER_CLASS), "valid": slice(-VALID_PER_CLASS, None)}
COLUMNS = 50  # photos in one row of a contact sheet
VEHICLES, ANIMALS = ("airplane", "automobile"), ("bird", "dog", "frog")
EQUAL_AMOUNT = 3400  # photos of a source wherever sources are compared at equal amount
SOURCES = {  # name: (classes, photos)
    "vehicles": (VEHICLES, EQUAL_AMOUNT),
    "animals": (ANIMALS, EQUAL_AMOUNT),
    "both_small": (VEHICLES + ANIMALS, EQUAL_AMOUNT),
    "both": (VEHICLES + ANIMALS, 8500),
}
TARGETS = {"animals": ("cat", "deer", "horse"), "vehicles": ("ship", "truck")}  # never pretrained on


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
        """The photos at a tensor, list or slice of positions. ValueError for a single position."""
        images, labels = self.images[index], self.labels[index]
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
        if not 0 < fraction < 1:
            raise ValueError(f"split() got fraction={fraction}; it must lie between 0 and 1, for example 0.8.")
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        first, rest = self._shuffled_by_class(seed, [round(fraction * n) for n in counts])
        return self[first], self[rest]

    def resized(self, size: int) -> "ImageSet":
        """The same photos at size x size pixels, see resize."""
        return self._part(images=resize(self.images, size))

    def _shuffled_by_class(self, seed: int, sizes: list[int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
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


def load(name: str = "cifar10_photos", split: str = "train") -> ImageSet:
    """The photos of one split: train, valid (the last 300 training photos of each class) or test.

    They are the caller's own: whoever changes them changes no other cell's photos.

    cifar10_photos: shipped with the course, 1,700 train, 300 valid and up to 300 test photos per class; test
    photos that nearly equal a training photo are left out (data/photos/near_duplicates.csv).
    cifar10: all 60,000 photos, downloaded once (170 MB); 4,700, 300 and 1,000 per class.
    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """
    if name not in _LOADERS:
        raise unknown("data set", name, _LOADERS)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    photos = _LOADERS[name](split)
    return photos._part(images=photos.images.clone(), labels=photos.labels.clone())


@lru_cache
def _photos(split: str) -> ImageSet:
    sheet_split = "test" if split == "test" else "train"
    with ThreadPoolExecutor() as pool:  # WebP decoding releases the interpreter lock
        sheets = list(pool.map(lambda c: read_sheet(f"{sheet_split}_{c}.webp"), CIFAR10))
    if split == "test":
        kept = [sheet[_without_near_duplicates(label, len(sheet))] for label, sheet in enumerate(sheets)]
    else:
        kept = [sheet[_PARTS[split]] for sheet in sheets]
    images = torch.from_numpy(np.concatenate(kept)).permute(0, 3, 1, 2).contiguous()
    labels = torch.repeat_interleave(torch.arange(len(CIFAR10)), torch.tensor([len(k) for k in kept]))
    return ImageSet(images, labels, CIFAR10)


def read_sheet(name: str) -> np.ndarray:
    """One contact sheet as uint8 (photos, 32, 32, 3), bit for bit. ValueError for a damaged file."""
    with Image.open(io.BytesIO(machine.read_shipped("photos", name))) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    rows = sheet.shape[0] // SIDE
    return sheet.reshape(rows, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)


def _without_near_duplicates(label: int, count: int) -> np.ndarray:
    table = csv.DictReader(io.StringIO(machine.read_shipped("photos", "near_duplicates.csv").decode()))
    twins = {int(row["test_position"]) for row in table if row["test_class"] == CIFAR10[label]}
    return np.array([position for position in range(count) if position not in twins])


@lru_cache
def _full_cifar10(split: str) -> ImageSet:
    try:
        source = _downloaded_cifar10(train=split != "test")
    except RuntimeError as error:
        raise RuntimeError(
            f"Full CIFAR-10 could not be had: {error} Or use the photos that ship with the course: "
            "load('cifar10_photos'), or profile = \"cpu\" at the top of a lesson."
        ) from error
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    photos = ImageSet(images, torch.tensor(source.targets), CIFAR10)
    if split == "test":
        return photos
    members = [torch.nonzero(photos.labels == label).flatten() for label in range(len(CIFAR10))]
    return photos[torch.cat([m[_PARTS[split]] for m in members])]


def _downloaded_cifar10(train: bool) -> Any:
    from torchvision.datasets import CIFAR10 as Source

    folder = cache_folder() / "cifar10"
    try:
        with contextlib.suppress(RuntimeError):  # not there, or damaged
            return Source(folder, train)
        archive = machine.fetch(Source.url, folder / Source.filename, f"md5:{Source.tgz_md5}")
        with machine.alone(folder):
            with contextlib.suppress(RuntimeError):
                return Source(folder, train)  # somebody else has unpacked it meanwhile
            _unpack(archive, folder)
            return Source(folder, train)
    except OSError as error:
        raise RuntimeError(f"{folder} cannot be used: {error.strerror or error}.") from error


def _unpack(archive: Path, folder: Path) -> None:
    """Put every file of the archive in its place at one stroke, so that nobody reads one that is half written."""
    from torchvision.datasets.utils import extract_archive

    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as place:
        extract_archive(archive, place)
        for file in (path for path in Path(place).rglob("*") if path.is_file()):
            target = folder / file.relative_to(place)
            target.parent.mkdir(exist_ok=True)
            os.replace(file, target)


def source_photos(name: str) -> ImageSet:
    """The training photos of a source: the same number of every class, give or take one."""
    if name not in SOURCES:
        raise unknown("source", name, SOURCES)
    classes, count = SOURCES[name]
    photos = load("cifar10_photos", "train").only(*classes)
    shares = [count // len(classes) + (i < count % len(classes)) for i in range(len(classes))]
    rows = [torch.nonzero(photos.labels == i).flatten()[:share] for i, share in enumerate(shares)]
    return photos[torch.cat(rows)]


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


def splits(classes: Iterable[str]) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The train, valid and test photos of these classes, of those that ship with the course."""
    train, valid, test = (load("cifar10_photos", split).only(*classes) for split in ("train", "valid", "test"))
    return train, valid, test


_LOADERS = {"cifar10_photos": _photos, "cifar10": _full_cifar10}
