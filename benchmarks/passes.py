"""How long a frozen pass takes: EfficientNet-Lite0 at 224 pixels, through OpenVINO and by torch alone.

OpenVINO's time holds converting the network: each round begins with an empty cache folder. Accuracy is that of a linear
probe on half of the features, judged on the other half.
"""

import tempfile
from functools import partial
from unittest.mock import patch

import torch
from side_by_side import race, table

from transfer_utils import backbones, data, machine, training
from transfer_utils.training import converted

OURS = "as the course does it, conversion included"


def main(repeats: int = 5, small: bool = False) -> str:
    arms = {OURS: partial(ours, small), "by torch alone": partial(by_torch, small)}
    return table(race(arms, partial(of_a_probe, small), repeats), OURS)


def photos(small: bool) -> data.ImageSet:
    """2,000 of them."""
    return data.load("cifar10_photos", "train").take(4 if small else 200, seed=0)


def ours(small: bool) -> torch.Tensor:
    machine.hold_memory()
    with tempfile.TemporaryDirectory() as home, patch.dict("os.environ", TRANSFER_UTILS_HOME=home):
        return features(small)


def by_torch(small: bool) -> torch.Tensor:
    with patch.object(converted, "_installed", lambda: None):
        return features(small)


def features(small: bool) -> torch.Tensor:
    return training.extract(
        backbones.load_backbone("efficientnet_lite0"), photos(small), 32 if small else 224, cache=False
    )


def of_a_probe(small: bool, found: torch.Tensor) -> float:
    labels, fit = photos(small).labels, torch.arange(len(found)) % 2 == 0
    return training.linear_probe(found[fit], labels[fit], penalty=0.1).accuracy(found[~fit], labels[~fit])


if __name__ == "__main__":
    print(main())
