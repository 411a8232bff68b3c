"""What a stranger needs to know about a classifier, written from the run that made it."""

import datetime

import torch

from transfer_utils.own_photos.folders import PhotoFolder
from transfer_utils.stats import Evaluation, cell


def folder_card(folder: PhotoFolder, judged: Evaluation, backbone: str) -> str:
    """The card of a classifier for a learner's folder, in Markdown; judged: its cross-validated answers."""
    photos = folder.photos
    facts = {
        "Classes": ", ".join(map(cell, photos.classes)),
        "Photos": f"{len(photos)}, seen as squares of {photos.images.shape[-1]} pixels from their middle",
        "Resized": "with Lanczos's filter, which is antialiased, as `PIL.ImageOps.fit` does",
        "Network": f"{backbone} with ImageNet weights, frozen; a linear probe as its head",
        "Made on": f"{datetime.date.today()}, torch {torch.__version__}",
    }
    judged_on = "photos of the folder, each judged by a probe that had not seen it (cross-validation)"
    return judged.card(" or ".join(photos.classes), facts, judged_on, _limits(folder, judged))


def _limits(folder: PhotoFolder, judged: Evaluation) -> list[str]:
    """What the classifier must not be trusted with."""
    twins = len(folder.photos) - len(folder.groups.unique())
    limits = [
        judged.often_confused,
        "Whatever it is shown, it answers with one of its classes. `unlike` marks photos far from all that it knows.",
        "It was judged on photos from the same folder. Photos from another camera, place or season may be harder.",
        "`memory.safetensors` holds a summary of each training photo. Treat it as you would treat the photos.",
    ]
    if twins:
        limits.append(f"{twins} of its photos are near-copies of others, which makes the intervals too narrow.")
    return limits
