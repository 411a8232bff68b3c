"""The runs of lesson 2: linear probes on every stage of the frozen ImageNet network, and on raw pixels."""

import torch

from runs.shared import SIZE
from transfer_utils import backbones, data, training
from transfer_utils.data import splits
from transfer_utils.stats import SEEDS, Row, result_row

PROBE_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)  # photos per class


def rows(seed: int) -> list[Row]:
    """A probe for every stage and size of one draw; 'pixels' is the same probe on the 3,072 raw values."""
    train, valid, test = splits(data.CIFAR10)
    drawn = train.take(max(PROBE_SIZES), seed)
    backbone = backbones.load_backbone("efficientnet_lite0")
    banks = [training.by_stage(backbone, photos, SIZE) for photos in (drawn, valid, test)]
    for bank, photos in zip(banks, (drawn, valid, test), strict=True):
        bank["pixels"] = photos.images.flatten(1).float()
    place = torch.arange(len(drawn)) % max(PROBE_SIZES)  # take() returns class after class
    rows = []
    for stage in banks[0]:
        for per_class in PROBE_SIZES:
            few = place < per_class
            fitted = training.best_probe(banks[0][stage][few], drawn.labels[few], banks[1][stage], valid.labels)
            scores = fitted.accuracy(banks[1][stage], valid.labels), fitted.accuracy(banks[2][stage], test.labels)
            rows.append({"stage": stage, "per_class": per_class, **result_row(*scores, None, penalty=fitted.penalty)})
    return rows


RUNS = {rows: [{"seed": seed} for seed in SEEDS]}
