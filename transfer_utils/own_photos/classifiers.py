"""A classifier from a few photos: a frozen backbone, a linear probe, and a memory of what it was trained on."""

import copy
import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from transfer_utils import backbones, stats, training
from transfer_utils.backbones import StagedModel, freeze
from transfer_utils.own_photos.cards import folder_card
from transfer_utils.own_photos.folders import PhotoFolder

BACKBONE = "efficientnet_lite0"
FOLDS = 5
NEIGHBOURS = 5
ORDINARY = 0.95  # the share of a classifier's own photos that it calls ordinary
PENALTY = 1.0  # as good as any of five between 0.01 and 10, from 10 photos per class to 125
CHUNK = 256  # photos at a time, at most: an interrupted run keeps what is done, and views take much memory


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that ends in our classes, and the features (N, D) of the photos it knows, each of length 1.

    size: pixels at which it sees photos. limit: photos that are stranger than this are unlike any that it knows.
    card: what a stranger needs to know about it, in Markdown.
    """

    model: StagedModel
    classes: tuple[str, ...]
    size: int
    known: Tensor
    limit: float
    card: str

    def predict(self, images: Tensor) -> pd.DataFrame:
        """What judge says about photos, uint8 (N, 3, H, W), which it sees at its own size."""
        backbone, _ = self.model.split(after=self.model.stages[-2])
        return self.judge(training.run_network(self.model, backbone, images, self.size))

    def judge(self, found: Tensor) -> pd.DataFrame:
        """One line for each row of the frozen backbone's features (N, D), with these columns.

        class, probability; shares: the probability of every class; strangeness: 1 minus the cosine similarity to the
        fifth nearest photo that it knows, or to the last if there are fewer; unlike: whether that is above the limit;
        neighbours: positions of the nearest ones. Source of the score: Sun and others 2022,
        https://arxiv.org/abs/2204.06507
        """
        shares = self.model.head.cpu()(found).softmax(1)
        likeness = normalize(found, dim=1) @ self.known.T
        strangeness = _strangeness(likeness)
        return pd.DataFrame(
            {
                "class": [self.classes[i] for i in shares.argmax(1)],
                "probability": shares.amax(1).numpy(),
                "shares": shares.tolist(),
                "strangeness": strangeness.numpy(),
                "unlike": (strangeness > self.limit).numpy(),
                "neighbours": _nearest(likeness).indices.tolist(),
            }
        )


@dataclass(frozen=True, eq=False)
class Bank:
    """What the frozen backbone says about each photo of a folder: plain (N, D), and of its views (V, N, D), if any."""

    model: StagedModel
    folder: PhotoFolder
    plain: Tensor
    views: Tensor

    def cross_validate(self, seed: int = 0) -> Tensor:
        """Logits (N, classes) of every photo from a probe that saw neither it nor a near-duplicate of it.

        The photos are dealt into five parts, or into as many as the smallest class has different photos.
        """
        from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

        labels, groups = self.folder.photos.labels, self.folder.groups
        smallest = min(len(groups[labels == label].unique()) for label in labels.unique())
        deal = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
        logits = torch.zeros(len(labels), len(self.folder.photos.classes))
        for rest, part in deal.split(self.plain, labels, groups):
            logits[part] = _fit(self, torch.from_numpy(rest)).linear().requires_grad_(False)(self.plain[part])
        return logits

    def train(self, logits: Tensor) -> Classifier:
        """A classifier from all photos, with its card; `logits`, from cross_validate, tell how sure it may sound.

        ValueError for logits that do not fit these photos.
        """
        photos = self.folder.photos
        judged = stats.evaluate(logits, photos.labels, photos.classes)
        model = copy.deepcopy(self.model)
        model.head = _fit(self, torch.arange(len(photos))).linear().requires_grad_(False)
        heat = judged.temperature
        for tensor in model.head.parameters():
            tensor.div_(heat)
        known, size = normalize(self.plain, dim=1), photos.images.shape[-1]
        card = folder_card(self.folder, judged, model.name)
        return Classifier(model.eval(), photos.classes, size, known, _limit(known, self.folder.groups), card)


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
    # Parts of one length, so that all of them are computed in the same way.
    parts = [photos[rows] for rows in torch.arange(len(photos)).tensor_split(math.ceil(len(photos) / CHUNK))]
    plain = torch.cat([training.extract(model, part, size) for part in tqdm(parts, "running the network", leave=False)])
    copies = torch.zeros(0, *plain.shape)
    if views:
        copies = torch.cat([training.extract_views(model, part, size, seed=0) for part in parts], dim=1)
    return Bank(model, folder, plain, copies)


def _fit(bank: Bank, rows: Tensor) -> training.Probe:
    """A probe on these photos and their views."""
    everything = torch.cat([bank.plain, *bank.views])
    copies = len(everything) // len(bank.plain)
    draw = torch.cat([rows + i * len(bank.plain) for i in range(copies)])
    labels = bank.folder.photos.labels.repeat(copies)
    # The labels of all photos go along, so that a class that is missing among these rows keeps its place.
    return training.linear_probes(everything, labels, draw[None], [PENALTY])[0][0]


def _limit(known: Tensor, groups: Tensor) -> float:
    """The strangeness that most photos of the folder do not exceed; of twins, none makes the other ordinary."""
    likeness = (known @ known.T).masked_fill(groups[:, None] == groups, -torch.inf)
    return torch.quantile(_strangeness(likeness), ORDINARY).item()


def _nearest(likeness: Tensor) -> torch.return_types.topk:
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
