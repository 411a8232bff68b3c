"""From a folder of 250 photos to a saved model: the course's command, and the tutorial's 25 epochs.

The tutorial is https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html with the network as a fixed
feature extractor: its transforms, loader, optimiser and schedule. Both use EfficientNet-Lite0 at 224 pixels, and two
classes of photos, 500 x 375 pixels, about as large as its ants and bees. Each run is a process of its own, whose start
counts. Accuracy is that of the saved models on 400 other photos.

usage: python benchmarks/tutorial.py [FOLDER MODEL EPOCHS]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import folders
import pandas as pd
import torch
from side_by_side import table
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

from transfer_utils import backbones, data, own_photos

FIRST = "`transfer_utils train`"
AGAIN = "the same again, features cached"
SIZE = (500, 375)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # as the network's weights were trained with


def main(repeats: int = 5, small: bool = False) -> str:
    with tempfile.TemporaryDirectory() as place:
        folder, test = Path(place, "photos"), Path(place, "test")
        folders.write_photos(folder, SIZE, data.load("cifar10_photos", "train"), 6 if small else 125)
        folders.write_photos(test, SIZE, data.load("cifar10_photos", "test"), 5 if small else 200)
        rows = [
            row for turn in range(repeats) for row in one_round(turn, folder, test, Path(place), 1 if small else 25)
        ]
    return table(pd.DataFrame(rows), FIRST)


def one_round(turn: int, folder: Path, test: Path, place: Path, epochs: int) -> list[dict]:
    home, model, weights = place / "home", place / "model", place / "weights.pt"
    shutil.rmtree(home, ignore_errors=True)
    course = [sys.executable, "-m", "transfer_utils", "train", folder, "--out", model]
    commands = {
        FIRST: course,
        AGAIN: course,
        f"the tutorial, {epochs} epochs": [sys.executable, __file__, folder, weights, str(epochs)],
    }
    rows = []
    for name, command in commands.items():
        shutil.rmtree(model, ignore_errors=True)
        started = time.perf_counter()
        subprocess.run(command, env={**os.environ, "TRANSFER_UTILS_HOME": str(home)}, capture_output=True, check=True)
        seconds = time.perf_counter() - started
        accuracy = of_ours(model, test) if command is course else of_tutorial(weights, test)
        rows.append({"round": turn, "arm": name, "seconds": seconds, "accuracy": accuracy})
    return rows


def of_ours(saved: Path, test: Path) -> float:
    photos = own_photos.read(test, progress=False).photos
    found = own_photos.load(saved).predict(photos.images)["class"]
    return (found == [photos.classes[label] for label in photos.labels]).mean()


# --- the tutorial ---------------------------------------------------------------------------------------------------

AS_SEEN = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
TRAIN = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *AS_SEEN])
VALID = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *AS_SEEN])


def network() -> nn.Module:
    model = backbones.load_backbone("efficientnet_lite0", classes=2, seed=0)
    for parameter in model[:-1].parameters():
        parameter.requires_grad = False
    return model


def train(folder: str, weights: str, epochs: int) -> None:
    """Four fifths of the photos train, and on the others it keeps the best epoch, as the tutorial does."""
    split = partial(random_split, lengths=(0.8, 0.2))
    kept, _ = split(datasets.ImageFolder(folder, TRAIN), generator=torch.Generator().manual_seed(0))
    _, held_out = split(datasets.ImageFolder(folder, VALID), generator=torch.Generator().manual_seed(0))
    loader = partial(DataLoader, batch_size=4, shuffle=True, num_workers=4)
    loaders = {"train": loader(kept), "val": loader(held_out)}
    model, criterion, best = network(), nn.CrossEntropyLoss(), -1
    optimiser = torch.optim.SGD(model.head.parameters(), lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=7, gamma=0.1)
    for _ in range(epochs):
        for phase, loader in loaders.items():
            model.train(phase == "train")
            running_loss, corrects = 0.0, 0
            for inputs, labels in loader:
                optimiser.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, found = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimiser.step()
                running_loss += loss.item() * inputs.size(0)
                corrects += torch.sum(found == labels).item()
            if phase == "val" and corrects > best:
                best = corrects
                torch.save(model.state_dict(), weights)
        schedule.step()


def of_tutorial(weights: Path, test: Path) -> float:
    model = network().eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    photos = datasets.ImageFolder(test, VALID)
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).sum().item() for x, y in DataLoader(photos, batch_size=50)]
    return sum(hits) / len(photos)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        print(main())
