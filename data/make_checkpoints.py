"""Pretrain the course ResNets that are not there yet (`make checkpoints`).

Pretraining seed 0 is shipped in data/checkpoints/: delete a file there to make it again. Seeds 1 to 4 go to
build/checkpoints/: in the stored rows, draw i of the photos goes with pretraining seed i. Two runs give the same
accuracy within a point or two, not the same bytes: the order of floating-point sums differs between processors.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from joblib import Parallel, delayed

from transfer_utils import backbones, data, machine
from transfer_utils.backbones import checkpoint_folder
from transfer_utils.data import source_photos
from transfer_utils.stats import SEEDS
from transfer_utils.training import Recipe, accuracy, fit

RECIPE = Recipe(epochs=20, rate=3e-3, batch=128, evaluate_every=20)


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
    backbones.save_checkpoint(folder / name, model, card)
    return f"{name}, seed {seed}: test accuracy {card['test_accuracy']:.3f} after {card['seconds']:.0f} s"


def main() -> None:
    jobs = [(name, seed) for seed in SEEDS for name in data.SOURCES]
    # The card is written last: where it is, the weights are too.
    missing = [(name, seed) for name, seed in jobs if not (checkpoint_folder(seed) / f"{name}.json").is_file()]
    runs = (delayed(pretrain)(name, seed, checkpoint_folder(seed)) for name, seed in missing)
    for line in Parallel(n_jobs=2, return_as="generator_unordered")(runs):
        print(line, flush=True)
    machine.write_checksums("checkpoints")


if __name__ == "__main__":
    main()
