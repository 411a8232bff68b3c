"""What a classifier confuses, how well it does on each class, and whether it knows how sure it may be."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from transfer_utils.stats.intervals import Share, share_interval

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
    lines = [f"# {cell(name)}", "", *(f"- **{key}**: {value}" for key, value in facts.items()), ""]
    lines += ["## How good it is", "", f"Accuracy on {judged_on}: {accuracy}.", ""]
    lines += ["| class | recognised | 95 % interval | photos |", "|---|---|---|---|"]
    lines += [f"| {cell(c)} | {s.mean:.0%} | {s.low:.0%} to {s.high:.0%} | {s.n} |" for c, s in per_class.items()]
    lines += ["", "## What it does not know", "", *(f"- {limit}" for limit in limits), ""]
    return "\n".join(lines)


def cell(name: str) -> str:
    """A name that stays in its cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")


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
