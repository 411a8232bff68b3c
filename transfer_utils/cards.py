"""What a stranger needs to know about a trained network, written from the run that made it."""

import datetime
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from transfer_utils import evaluation
from transfer_utils.photo_folders import PhotoFolder
from transfer_utils.stats import Share


def model_card(
    name: str,
    facts: Mapping[str, object],
    accuracy: Share,
    judged_on: str,
    per_class: Mapping[str, Share],
    limits: Sequence[str],
) -> str:
    """A model card in Markdown: facts, accuracy with its interval, accuracy by class, what it must not be used for.

    judged_on: which photos the accuracy is measured on. Source: Mitchell and others 2019, Model Cards for Model
    Reporting, https://arxiv.org/abs/1810.03993
    """
    lines = [f"# {_cell(name)}", "", *(f"- **{key}**: {value}" for key, value in facts.items()), ""]
    lines += ["## How good it is", "", f"Accuracy on {judged_on}: {accuracy}.", ""]
    lines += ["| class | recognised | 95 % interval | photos |", "|---|---|---|---|"]
    lines += [f"| {_cell(c)} | {s.mean:.0%} | {s.low:.0%} to {s.high:.0%} | {s.n} |" for c, s in per_class.items()]
    lines += ["", "## What it does not know", "", *(f"- {limit}" for limit in limits), ""]
    return "\n".join(lines)


def _cell(name: str) -> str:
    """A name that stays in its cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")


def folder_card(folder: PhotoFolder, logits: Tensor, backbone: str) -> str:
    """The card of a classifier for a learner's folder, with its cross-validated logits (N, classes)."""
    photos, predicted = folder.photos, logits.argmax(1)
    per_class = evaluation.per_class(photos.labels, predicted, photos.classes)
    facts = {
        "Classes": ", ".join(map(_cell, photos.classes)),
        "Photos": f"{len(photos)}, seen as squares of {photos.images.shape[-1]} pixels from their middle",
        "Network": f"{backbone} with ImageNet weights, frozen; a linear probe as its head",
        "Made on": f"{datetime.date.today()}, torch {torch.__version__}",
    }
    twins = len(photos) - len(folder.groups.unique())
    limits = [
        often_confused(evaluation.confusion(photos.labels, predicted, photos.classes)),
        "Whatever it is shown, it answers with one of its classes. `unlike` marks photos far from all that it knows.",
        "It was judged on photos from the same folder. Photos from another camera, place or season may be harder.",
        "`memory.safetensors` holds a summary of each training photo. Treat it as you would treat the photos.",
    ]
    if twins:
        limits.append(f"{twins} of its photos are near-copies of others, which makes the intervals too narrow.")
    judged = "photos of the folder, each judged by a probe that had not seen it (cross-validation)"
    accuracy = evaluation.overall(photos.labels, predicted)
    return model_card(" or ".join(photos.classes), facts, accuracy, judged, per_class, limits)


def often_confused(table: pd.DataFrame) -> str:
    """The most frequent mistake of a confusion matrix (rows: true classes) in words."""
    wrong = table.stack()
    wrong = wrong[[true != taken for true, taken in wrong.index]]
    if not wrong.any():
        return "No photo was mistaken for another class."
    true, taken = wrong.idxmax()
    return (
        f"Its most frequent mistake: {wrong.max()} of {table.loc[true].sum()} photos of {true} were taken for {taken}."
    )
