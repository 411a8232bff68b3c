"""A small folder of photos and a classifier trained on it, for every test that needs one."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import nn

from transfer_utils import data, own_photos
from transfer_utils.data import ImageSet
from transfer_utils.own_photos import Bank, Classifier, PhotoFolder, classifiers

SIZE = 64
CLASSES = ("cat", "frog", "ship")


def as_folder(photos: ImageSet, groups: torch.Tensor | None = None, size: int = SIZE) -> PhotoFolder:
    """Photos of the course as if they had been read from a folder."""
    photos = replace(photos, images=data.resize(photos.images, size))
    names = tuple(f"{photos.classes[label]}/{i}.png" for i, label in enumerate(photos.labels.tolist()))
    return PhotoFolder(photos, names, torch.arange(len(photos)) if groups is None else groups, ())


@lru_cache
def small_folder() -> PhotoFolder:
    """Twelve photos of each of three classes. The first two of each class come twice more, mirrored and shifted."""
    photos = data.load().only(*CLASSES).take(12, seed=0)
    firsts = torch.tensor([0, 1, 12, 13, 24, 25])
    copies = [photos.images[firsts].flip(3), photos.images[firsts].roll(1, 3)]
    images = torch.cat([photos.images, *copies])
    origin = torch.cat([torch.arange(36), firsts, firsts])
    return as_folder(ImageSet(images, photos.labels[origin], CLASSES), groups=origin)


@lru_cache
def small_bank(backbone: str = classifiers.BACKBONE) -> Bank:
    return own_photos.extract(small_folder(), backbone)


@lru_cache
def small_classifier(backbone: str = classifiers.BACKBONE) -> tuple[Classifier, torch.Tensor]:
    """Trained on the small folder, with its cross-validated logits."""
    bank = small_bank(backbone)
    logits = bank.cross_validate()
    return bank.train(logits), logits


def new_photos(count: int = 4) -> ImageSet:
    photos = data.load(split="valid").only(*CLASSES).take(count)
    return replace(photos, images=data.resize(photos.images, SIZE))


def numbered_fits(monkeypatch) -> list[set[int]]:
    """The rows of every fit. Each fit answers with its own number, so that we see who judged whom."""
    seen: list[set[int]] = []

    def fit(bank, rows):
        seen.append(set(rows.tolist()))
        layer = nn.Linear(bank.plain.shape[1], len(bank.folder.photos.classes))
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, len(seen) - 1)
        return SimpleNamespace(linear=lambda: layer)

    monkeypatch.setattr(classifiers, "_fit", fit)
    return seen
