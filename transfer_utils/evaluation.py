"""What a classifier confuses, how well it does on each class, and whether it knows how sure it may be."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from transfer_utils.stats import Share, share_interval

BINS = 10


def confusion(labels: Tensor, predicted: Tensor, classes: Sequence[str]) -> pd.DataFrame:
    """How many photos of each class (rows) were taken for which class (columns)."""
    counts = torch.bincount(labels * len(classes) + predicted, minlength=len(classes) ** 2)
    return pd.DataFrame(counts.view(len(classes), -1).numpy(), index=list(classes), columns=list(classes))


def overall(labels: Tensor, predicted: Tensor) -> Share:
    """The share of all photos that was recognised, with its interval."""
    return share_interval(int((labels == predicted).sum()), len(labels))


def per_class(labels: Tensor, predicted: Tensor, classes: Sequence[str]) -> dict[str, Share]:
    """The share of each class's photos that was recognised, with its interval; a class without photos is left out."""
    right = labels == predicted
    members = {name: labels == i for i, name in enumerate(classes)}
    return {name: share_interval(int(right[m].sum()), int(m.sum())) for name, m in members.items() if m.any()}


def reliability(logits: Tensor, labels: Tensor) -> pd.DataFrame:
    """One line per tenth of confidence that holds photos: mean confidence, accuracy with its interval, photos.

    logits: (N, C). Source: Guo and others 2017, https://arxiv.org/abs/1706.04599
    """
    confidence, predicted = logits.softmax(1).max(1)
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    lines = []
    for i in place.unique().tolist():
        right = (predicted == labels)[place == i]
        share = share_interval(int(right.sum()), len(right))
        lines.append({"confidence": confidence[place == i].mean().item(), "accuracy": share.mean, "low": share.low})
        lines[-1] |= {"high": share.high, "photos": share.n}
    return pd.DataFrame(lines)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """The gap between confidence and accuracy, averaged over photos in tenths of confidence: 0 is calibrated.

    Source: Naeini and others 2015, https://doi.org/10.1609/aaai.v29i1.9602
    """
    lines = reliability(logits, labels)
    return float(np.average((lines["confidence"] - lines["accuracy"]).abs(), weights=lines["photos"]))


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number to divide logits by, so that their cross-entropy on these photos is smallest: above 1, less sure.

    The photos must be ones that did not train the network: it is too often right on those. However good the answers,
    the aim is no more confidence than (n + 1) / (n + 2) for n photos (Platt 1999): with all of them right it would grow
    without end. Source: https://arxiv.org/abs/1706.04599
    """
    count, classes = logits.shape
    doubt = classes / ((classes - 1) * (count + 2))

    def loss(logarithm: float) -> float:
        return cross_entropy(logits.double() / np.exp(logarithm), labels, label_smoothing=doubt).item()

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4)).x))
