"""How alike a source and a new task are, computed beforehand, and how much a linear probe really gains."""

from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from transfer_utils import backbones, data, training
from transfer_utils.backbones import freeze
from transfer_utils.course import grid
from transfer_utils.data import SOURCES, TARGETS, VIEWS, source_photos, splits
from transfer_utils.stats import SEEDS, Row

PER_CLASS = 20
HELD_OUT = sorted(TARGETS["animals"] + TARGETS["vehicles"])
TASKS = list(combinations(HELD_OUT, 2))  # every two classes that were never pretrained on


def jobs() -> list[Row]:
    """One for each source and seed; 'scratch' is a network with random weights, over which a source gains."""
    return [{"source": source, "seed": seed} for source, seed in product(("scratch", *SOURCES), SEEDS)]


def rows(source: str, seed: int) -> list[Row]:
    """A linear probe for every two-class task on the frozen features of a source, and both measures of similarity."""
    train, valid, test = splits(HELD_OUT)
    few = train.take(PER_CLASS, seed)
    model = freeze(grid.start(grid.COURSE, source, seed, 2), "pool")
    bank = training.extract_views(model, few, 32, seed, cache=False)
    valid_bank, test_bank = (training.extract(model, photos, 32, cache=False) for photos in (valid, test))
    near = {} if source == "scratch" else _nearness(source)
    rows = []
    for task in TASKS:
        wanted = [HELD_OUT.index(name) for name in task]
        part = [torch.isin(photos.labels, torch.tensor(wanted)) for photos in (few, valid, test)]
        views = bank[:, part[0]].flatten(0, 1)
        labels = [(p.labels[k] == wanted[1]).long() for p, k in zip((few, valid, test), part, strict=True)]
        probe = training.best_probe(views, labels[0].repeat(VIEWS), valid_bank[part[1]], labels[1])
        row = {"task": " or ".join(task), "test": round(probe.accuracy(test_bank[part[2]], labels[2]), 4)}
        row["alignment"] = round(alignment(bank[:, part[0]].mean(0), labels[0]), 4)
        rows.append(row | ({"nearness": round(float(np.mean([near[name] for name in task])), 4)} if near else {}))
    return rows


def alignment(bank: Tensor, labels: Tensor) -> float:
    """Centred kernel alignment of features (N, D) and labels (N,), 0 to 1: do the classes lie apart already?

    Sources: Cortes, Mohri and Rostamizadeh 2012, https://jmlr.org/papers/v13/cortes12a.html; as similarity of
    networks: Kornblith and others 2019, https://arxiv.org/abs/1905.00414
    """
    x, y = (part - part.mean(0) for part in (bank.double(), one_hot(labels).double()))
    return ((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def _nearness(source: str) -> dict[str, float]:
    """For each held-out class, the cosine to the nearest class of the source, as the ImageNet network sees both.

    Means of features as a measure of similarity between data sets: Cui and others 2018, https://arxiv.org/abs/1806.06193
    """
    neutral = backbones.load_backbone("efficientnet_lite0")

    def centres(photos: data.ImageSet) -> Tensor:
        bank = training.extract(neutral, photos, grid.PIXELS[grid.IMAGENET])
        return torch.stack([bank[photos.labels == i].mean(0) for i in range(len(photos.classes))])

    seen = centres(source_photos(source).take(100, seed=0))
    new = centres(splits(HELD_OUT)[0].take(100, seed=0))
    origin = torch.cat([seen, new]).mean(0)
    cosines = normalize(new - origin, dim=1) @ normalize(seen - origin, dim=1).T
    return dict(zip(HELD_OUT, cosines.amax(1).tolist(), strict=True))


RUNS = {rows: jobs()}
