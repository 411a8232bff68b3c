"""A classifier from a few photos: a frozen backbone, a linear probe, and a memory of what it was trained on."""

import copy
from dataclasses import dataclass

import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from transfer_utils import backbones, stats, training
from transfer_utils.backbones import StagedModel, freeze
from transfer_utils.own_photos.folders import PhotoFolder

BACKBONE = "efficientnet_lite0"
FOLDS = 5
NEIGHBOURS = 5
ORDINARY = 0.95  # the share of a classifier's own photos that it calls ordinary
PENALTY = 1.0  # as good as any of five between 0.01 and 10, from 10 photos per class to 125
CHUNK = 128  # photos at a time: an interrupted run keeps what is done, and views take much memory


@dataclass(frozen=True, eq=False)
class Bank:
    """What the frozen backbone says about each photo of a folder: plain (N, D), and of its views (V, N, D), if any."""

    model: StagedModel
    folder: PhotoFolder
    plain: Tensor
    views: Tensor


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that ends in our classes, and the features (N, D) of the photos it knows, each of length 1.

    size: pixels at which it sees photos. limit: photos that are stranger than this are unlike any that it knows.
    """

    model: StagedModel
    classes: tuple[str, ...]
    size: int
    known: Tensor
    limit: float


def extract(folder: PhotoFolder, backbone: str = BACKBONE, views: bool = False) -> Bank:
    """Run every photo through the frozen backbone, once: its features are kept in the user's cache folder.

    views: augmented copies of each photo as well, as further examples for the probe. They take five times as long, and
    did not make it better (data/results/lesson07.csv). ValueError for a class with fewer than two different photos,
    since it could not be cross-validated.
    """
    _check(folder)
    model = backbones.load_backbone(backbone)
    freeze(model, through=model.stages[-2])
    photos, size = folder.photos, folder.photos.images.shape[-1]
    parts = [photos[i : i + CHUNK] for i in range(0, len(photos), CHUNK)]
    plain = torch.cat([training.extract(model, part, size) for part in tqdm(parts, "running the network", leave=False)])
    copies = torch.zeros(0, *plain.shape)
    if views:
        copies = torch.cat([training.extract_views(model, part, size, seed=0) for part in parts], dim=1)
    return Bank(model, folder, plain, copies)


def cross_validate(bank: Bank, seed: int = 0) -> Tensor:
    """Logits (N, classes) of every photo from a probe that saw neither it nor a near-duplicate of it.

    The photos are dealt into five parts, or into as many as the smallest class has different photos.
    """
    labels, groups = bank.folder.photos.labels, bank.folder.groups
    smallest = min(len(groups[labels == label].unique()) for label in labels.unique())
    deal = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    logits = torch.zeros(len(labels), len(bank.folder.photos.classes))
    for rest, part in deal.split(bank.plain, labels, groups):
        logits[part] = _fit(bank, torch.from_numpy(rest)).linear().requires_grad_(False)(bank.plain[part])
    return logits


def train(bank: Bank, logits: Tensor) -> Classifier:
    """A classifier from all photos; `logits`, from cross_validate, tell how sure its answers may sound."""
    photos, groups = bank.folder.photos, bank.folder.groups
    model = copy.deepcopy(bank.model)
    model.head = _fit(bank, torch.arange(len(photos))).linear().requires_grad_(False)
    heat = stats.temperature(logits, photos.labels)
    for tensor in model.head.parameters():
        tensor.div_(heat)
    known = normalize(bank.plain, dim=1)
    likeness = (known @ known.T).masked_fill(groups[:, None] == groups, -torch.inf)
    limit = torch.quantile(_strangeness(likeness), ORDINARY).item()
    size = photos.images.shape[-1]
    return Classifier(model.eval(), photos.classes, size, known, limit)


def predict(classifier: Classifier, images: Tensor) -> pd.DataFrame:
    """What judge says about photos, uint8 (N, 3, size, size)."""
    backbone, _ = classifier.model.split(after=classifier.model.stages[-2])
    return judge(classifier, training.run_network(classifier.model, backbone, images, classifier.size))


def judge(classifier: Classifier, found: Tensor) -> pd.DataFrame:
    """One line for each row of the frozen backbone's features (N, D), with these columns.

    class, probability; shares: the probability of every class; strangeness: 1 minus the cosine similarity to the fifth
    nearest photo that it knows, or to the last if there are fewer; unlike: whether that is above the limit; neighbours:
    positions of the nearest ones. Source of the score: Sun and others 2022, https://arxiv.org/abs/2204.06507
    """
    shares = classifier.model.head.cpu()(found).softmax(1)
    likeness = normalize(found, dim=1) @ classifier.known.T
    strangeness = _strangeness(likeness)
    return pd.DataFrame(
        {
            "class": [classifier.classes[i] for i in shares.argmax(1)],
            "probability": shares.amax(1).numpy(),
            "shares": shares.tolist(),
            "strangeness": strangeness.numpy(),
            "unlike": (strangeness > classifier.limit).numpy(),
            "neighbours": _nearest(likeness).indices.tolist(),
        }
    )


def _fit(bank: Bank, rows: Tensor) -> training.Probe:
    """A probe on these photos and their views."""
    everything = torch.cat([bank.plain, *bank.views])
    copies = len(everything) // len(bank.plain)
    draw = torch.cat([rows + i * len(bank.plain) for i in range(copies)])
    labels = bank.folder.photos.labels.repeat(copies)
    # The labels of all photos go along, so that a class that is missing among these rows keeps its place.
    return training.linear_probes(everything, labels, draw[None], [PENALTY])[0][0]


def _nearest(likeness: Tensor):
    return likeness.topk(min(NEIGHBOURS, likeness.shape[1]), dim=1)


def _strangeness(likeness: Tensor) -> Tensor:
    """1 minus the likeness to the fifth nearest, or to the last where there are fewer (the others are -inf)."""
    near = _nearest(likeness).values
    last = near.isfinite().sum(1, keepdim=True) - 1
    return 1 - near.gather(1, last).squeeze(1)


def _check(folder: PhotoFolder) -> None:
    labels = folder.photos.labels
    for i, name in enumerate(folder.photos.classes):
        count, different = int((labels == i).sum()), len(folder.groups[labels == i].unique())
        if different < 2:
            has = "has only 1 photo" if count == 1 else f"has {count} photos that all look nearly the same"
            raise ValueError(
                f"The class {name!r} {has}; it needs at least 2 different ones. Add photos to it, or take the class "
                "out of the folder."
            )
