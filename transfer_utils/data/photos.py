"""The course's photographs: shipped or downloaded, in splits, by source and target."""

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from transfer_utils import machine
from transfer_utils.data.sets import ImageSet
from transfer_utils.machine import cache_folder, unknown

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


def load(name: str = "cifar10_photos", split: str = "train") -> ImageSet:
    """The photos of one split: train, valid (the last 300 training photos of each class) or test.

    They are the caller's own: whoever changes them changes no other cell's photos.

    cifar10_photos: shipped with the course, 1,700 train, 300 valid and up to 300 test photos per class; test
    photos that nearly equal a training photo are left out (data/photos/near_duplicates.csv).
    cifar10: all 60,000 photos, downloaded once (170 MB); 4,700, 300 and 1,000 per class.
    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """
    if name not in list(_LOADERS):  # a dict would not look for what it cannot hold
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


def splits(classes: Iterable[str]) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The train, valid and test photos of these classes, of those that ship with the course."""
    train, valid, test = (load("cifar10_photos", split).only(*classes) for split in ("train", "valid", "test"))
    return train, valid, test


_LOADERS = {"cifar10_photos": _photos, "cifar10": _full_cifar10}
