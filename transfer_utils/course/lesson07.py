"""Lesson 7: its checks, its quiz, and its sample folder."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from transfer_utils import data, machine
from transfer_utils.course.checking import NotYet, Question, checked, filled
from transfer_utils.machine import write_atomically
from transfer_utils.own_photos import ORIENTATION


def sample_photos(folder: str | Path) -> Path:
    """Write a small folder of photos of cats, dogs and horses, with some awkward files; what exists stays."""
    root = machine.expanded(folder)
    for name, content in _sample_files().items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    return root


def _sample_files() -> dict[str, bytes]:
    photos = data.load("cifar10_photos", "train")
    pictures = {
        name: [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in photos.only(name).images[:43]]
        for name in ("cat", "dog", "horse")
    }
    files = {
        f"{name}/{name}-{number:02}.png": _encoded(picture)
        for name, all_of_it in pictures.items()
        for number, picture in enumerate(all_of_it[:40], 1)
    }
    side = Image.Exif()
    side[ORIENTATION] = 6
    files["cat/copy-of-cat-01.png"] = files["cat/cat-01.png"]
    files["dog/small-dog-02.jpg"] = _encoded(pictures["dog"][1].resize((24, 24)), "JPEG", quality=80)
    files["dog/dog-41-grey.png"] = _encoded(pictures["dog"][40].convert("L"))
    files["horse/horse-41-on-its-side.png"] = _encoded(
        pictures["horse"][40].transpose(Image.Transpose.ROTATE_90), exif=side
    )
    files["cat/cat-41-cut-off.png"] = _encoded(pictures["cat"][40])[:1000]
    files["horse/shopping-list.jpg"] = b"apples, bread, milk\n"
    return files


def _encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@checked
def balanced_accuracy(answer: Callable) -> str:
    """The learner's balanced(labels, predicted) averages the accuracy of each class."""
    labels = torch.tensor([0] * 8 + [1] * 2)
    predicted = torch.tensor([0] * 8 + [0, 1])
    found = answer(labels.clone(), predicted.clone())
    filled(found, answer, "return one number between 0 and 1.")
    if abs(float(found) - 0.9) < 1e-4:
        raise NotYet("0.9 is the share of all photos.", "take the accuracy of each class first, then their mean.")
    if not abs(float(found) - 0.75) <= 1e-4:
        raise NotYet(
            f"8 of 8 and 1 of 2 gave {float(found):.3f}; we get 0.750.",
            "for each class: (predicted[labels == c] == c).float().mean()",
        )
    if not abs(float(answer(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2]))) - 0.75) <= 1e-4:
        raise NotYet("a class without photos is counted.", "go over labels.unique().")
    return "each class counts the same, however few photos it has."


@checked
def parts_without_leaks(answer: Callable) -> str:
    """The learner's parts(groups, count) deals photos into parts so that near-duplicates stay together."""
    groups = torch.tensor([0, 1, 1, 2, 3, 3, 3, 4, 5, 6])
    found = answer(groups.clone(), 3)
    filled(found, answer, "return one part number for each photo.")
    found = torch.as_tensor(found)
    if found.shape != groups.shape:
        raise NotYet(f"parts returned {tuple(found.shape)}; there are {len(groups)} photos.", "one number per photo.")
    for group in groups.unique():
        if len(found[groups == group].unique()) > 1:
            raise NotYet(
                f"the near-duplicates of group {int(group)} are in parts {found[groups == group].tolist()}.",
                "deal the groups, not the photos: every photo gets its group's part.",
            )
    if set(found.tolist()) != {0, 1, 2}:
        raise NotYet(f"the parts are {sorted(set(found.tolist()))}; we asked for 0, 1 and 2.", "remainder: % count.")
    many = torch.as_tensor(answer(torch.arange(0, 200, 2), 2)).bincount(minlength=2)
    if many.min() < 40:
        raise NotYet(
            f"100 groups with even numbers are dealt into parts of {many.tolist()}.",
            "number the groups 0, 1, 2, ... first: torch.unique(groups, return_inverse=True).",
        )
    return "near-duplicates stay together, so no photo is judged by a classifier that has seen its twin."


QUIZ = (
    Question(
        "A folder holds three copies of most photos, slightly cropped. Cross-validation says 99 %. Why so much?",
        (
            ("The classifier is that good.", "It has seen a copy of nearly every photo that it is asked about."),
            ("Copies of one photo are in different parts.", "Near-duplicates must stay together."),
            ("Cropping makes photos easier.", "Perhaps, but remembering a copy is easier still."),
        ),
        1,
    ),
    Question(
        "Cross-validation gives 85 % [77 %, 91 %] on 100 photos. What do we expect on our friend's photos?",
        (
            ("Between 77 % and 91 %.", "That is for photos like those in the folder. Hers may differ."),
            ("85 %.", "Another 100 photos of the same kind would already give another number."),
            ("Perhaps less, until we have measured it.", "Another camera, place or season is another task."),
        ),
        2,
    ),
    Question(
        "We show a cup to a classifier of cats and dogs. It says dog, with 97 %. What is wrong?",
        (
            ("Nothing: it must choose one of its classes.", "Its probability is only among cats and dogs."),
            ("Its temperature.", "A calibrated classifier is calibrated on cats and dogs, not on cups."),
            ("It needs more photos of dogs.", "However many it has, a cup is neither."),
        ),
        0,
    ),
)

CHECKS = {"7.1": balanced_accuracy, "7.2": parts_without_leaks}
