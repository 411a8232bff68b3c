"""The class split of the course: what is pretrained on, and what is held out as a new task."""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from transfer_utils import backbones, checkpoints, data
from transfer_utils.errors import unknown
from transfer_utils.training import Recipe, accuracy, fit

VEHICLES, ANIMALS = ("airplane", "automobile"), ("bird", "dog", "frog")
EQUAL_AMOUNT = 3400  # photos of a source wherever sources are compared at equal amount
SOURCES = {  # name: (classes, photos)
    "vehicles": (VEHICLES, EQUAL_AMOUNT),
    "animals": (ANIMALS, EQUAL_AMOUNT),
    "both_small": (VEHICLES + ANIMALS, EQUAL_AMOUNT),
    "both": (VEHICLES + ANIMALS, 8500),
}
TARGETS = {"animals": ("cat", "deer", "horse"), "vehicles": ("ship", "truck")}  # never pretrained on
RECIPE = Recipe(epochs=20, rate=3e-3, batch=128, evaluate_every=20)


def source_photos(name: str) -> data.ImageSet:
    """The training photos of a source: the same number of every class, give or take one."""
    if name not in SOURCES:
        raise unknown("source", name, SOURCES)
    classes, count = SOURCES[name]
    photos = data.load("cifar10_photos", "train").only(*classes)
    shares = [count // len(classes) + (i < count % len(classes)) for i in range(len(classes))]
    rows = [torch.nonzero(photos.labels == i).flatten()[:share] for i, share in enumerate(shares)]
    return photos[torch.cat(rows)]


def pretrain(name: str, seed: int, folder: Path) -> str:
    """Pretrain the course ResNet on a source, write <folder>/<name> with its card, and say how good it is."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    photos = source_photos(name)
    valid, test = (data.load("cifar10_photos", split).only(*photos.classes) for split in ("valid", "test"))
    model = backbones.course_resnet(len(photos.classes))
    recipe = replace(RECIPE, seed=seed)
    started = time.perf_counter()
    fit(model, photos, valid, 32, recipe, progress=False)
    card = {
        "name": name,
        "architecture": "course_resnet",
        "classes": list(photos.classes),
        "photos": len(photos),
        "photos_from": "data/photos, split train",
        "recipe": asdict(recipe),
        "seed": seed,
        "valid_accuracy": round(accuracy(model, valid, 32), 4),
        "test_accuracy": round(accuracy(model, test, 32), 4),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": "one thread of a two-core x86-64 server",
        "torch": torch.__version__,
        "licence": "MIT, as the course; the photos are CIFAR-10's",
    }
    checkpoints.save(folder / name, model, card)
    return f"{name}, seed {seed}: test accuracy {card['test_accuracy']:.3f} after {card['seconds']:.0f} s"
