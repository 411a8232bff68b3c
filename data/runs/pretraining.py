"""The run behind a checkpoint: the course ResNet, pretrained on one source with one seed.

In a file of its own, since worker processes import it.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from transfer_utils import backbones, data
from transfer_utils.data import source_photos
from transfer_utils.training import Recipe, accuracy, fit

RECIPE = Recipe(epochs=20, rate=3e-3, batch=128, evaluate_every=20)


def pretrain(name: str, seed: int, folder: Path) -> str:
    """Pretrain the course ResNet on a source, write <folder>/<name> with its card, and say how good it is."""
    torch.set_num_threads(1)
    photos = source_photos(name)
    valid, test = (data.load("cifar10_photos", split).only(*photos.classes) for split in ("valid", "test"))
    model = backbones.course_resnet(len(photos.classes), seed)
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
    backbones.save_checkpoint(folder / name, model, card)
    return f"{name}, seed {seed}: test accuracy {card['test_accuracy']:.3f} after {card['seconds']:.0f} s"
