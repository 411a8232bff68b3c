"""What a classifier confuses, how well it does on each class, and whether it knows how sure it may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from transfer_utils.machine import check_labels
from transfer_utils.stats.intervals import Share, share_interval

BINS = 10


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Answers to photos whose classes are known, and what follows from them: logits (N, C), labels (N,), C names."""

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    @property
    def predicted(self) -> Tensor:
        """The answer to each photo, int64 (N,)."""
        return self.logits.argmax(1)

    @property
    def accuracy(self) -> Share:
        """The share of all photos that was recognised, with its interval."""
        return _share(self.predicted == self.labels)

    @property
    def confusion(self) -> pd.DataFrame:
        """How many photos of each class (rows) were taken for which class (columns)."""
        names = list(self.classes)
        counts = torch.bincount(self.labels * len(names) + self.predicted, minlength=len(names) ** 2)
        return pd.DataFrame(counts.view(len(names), -1).numpy(), index=names, columns=names)

    @property
    def per_class(self) -> dict[str, Share]:
        """The share of each class's photos that was recognised, with its interval; no photos, no entry."""
        right = self.predicted == self.labels
        members = {name: self.labels == i for i, name in enumerate(self.classes)}
        return {name: _share(right[part]) for name, part in members.items() if part.any()}

    @property
    def often_confused(self) -> str:
        """The most frequent mistake in words."""
        table = self.confusion
        wrong = table.stack()
        wrong = wrong[[true != taken for true, taken in wrong.index]]
        if not wrong.any():
            return "No photo was mistaken for another class."
        true, taken = wrong.idxmax()
        of_all = f"{wrong.max()} of {table.loc[true].sum()} photos of {true}"
        return f"Its most frequent mistake: {of_all} were taken for {taken}."

    @property
    def reliability(self) -> pd.DataFrame:
        """One line per tenth of confidence that holds photos: mean confidence, accuracy with its interval, photos.

        Source: Guo and others 2017, https://arxiv.org/abs/1706.04599
        """
        confidence, right = self.logits.softmax(1).amax(1), self.predicted == self.labels
        place = (confidence * BINS).long().clamp(max=BINS - 1)
        lines = []
        for i in place.unique().tolist():
            share = _share(right[place == i])
            lines.append({"confidence": confidence[place == i].mean().item(), "accuracy": share.mean})
            lines[-1] |= {"low": share.low, "high": share.high, "photos": share.n}
        return pd.DataFrame(lines)

    @property
    def calibration_error(self) -> float:
        """The gap between confidence and accuracy, averaged over photos in tenths of confidence: 0 is calibrated.

        Source: Naeini and others 2015, https://doi.org/10.1609/aaai.v29i1.9602
        """
        lines = self.reliability
        return float(np.average((lines["confidence"] - lines["accuracy"]).abs(), weights=lines["photos"]))

    @property
    def temperature(self) -> float:
        """The number to divide logits by, so that their cross-entropy on these photos is smallest: above 1, less sure.

        The photos must be ones that did not train the network: it is too often right on those. However good the
        answers, the aim is no more confidence than (n + 1) / (n + 2) for n photos (Platt 1999): with all of them right
        it would grow without end. Source: https://arxiv.org/abs/1706.04599
        """
        from scipy.optimize import minimize_scalar

        count, classes = self.logits.shape
        doubt = classes / ((classes - 1) * (count + 2))
        logits = self.logits.double()

        def loss(logarithm: float) -> float:
            return cross_entropy(logits / np.exp(logarithm), self.labels, label_smoothing=doubt).item()

        return float(np.exp(minimize_scalar(loss, bounds=(-4, 4)).x))

    def card(self, name: str, facts: Mapping[str, object], judged_on: str, limits: Sequence[str]) -> str:
        """A model card in Markdown: facts, accuracy over all and by class, what the model must not be used for.

        judged_on: which photos these are. Source: Mitchell and others 2019, Model Cards for Model Reporting,
        https://arxiv.org/abs/1810.03993
        """
        shares = self.per_class.items()
        lines = [f"# {cell(name)}", "", *(f"- **{key}**: {value}" for key, value in facts.items()), ""]
        lines += ["## How good it is", "", f"Accuracy on {judged_on}: {self.accuracy}.", ""]
        lines += ["| class | recognised | 95 % interval | photos |", "|---|---|---|---|"]
        lines += [f"| {cell(c)} | {s.mean:.0%} | {s.low:.0%} to {s.high:.0%} | {s.n} |" for c, s in shares]
        lines += ["", "## What it does not know", "", *(f"- {limit}" for limit in limits), ""]
        return "\n".join(lines)


def evaluate(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> Evaluation:
    """Judge logits (N, C) by the labels (N,), which are positions in the C classes.

    ValueError for no photos, shapes that do not fit each other, logits that make no probabilities, or a label that is
    no position; TypeError for what are no tensors.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        what = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"evaluate() got logits of {what}; they are a tensor of floats, as predict() gives it.")
    if logits.ndim != 2 or logits.shape[1] != len(classes) or not len(logits):
        raise ValueError(
            f"evaluate() got logits {tuple(logits.shape)} and {len(classes)} classes; it needs logits (photos, "
            "classes) of at least one photo, with a column for each class."
        )
    check_labels("evaluate()", labels, len(logits), len(classes))
    strange = int(logits.softmax(1).isnan().any(1).sum())  # -inf is fine: a class that is out of the question
    if strange:
        raise ValueError(
            f"evaluate() got logits of {strange} of {len(logits)} photos that make no probabilities (NaN or infinite): "
            "nothing said of them would be true. The network diverged: train it again, for example at a lower rate."
        )
    return Evaluation(logits, labels, tuple(classes))


def cell(name: str) -> str:
    """A name that stays in its cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")


def _share(right: Tensor) -> Share:
    """The share of True in a bool tensor (N,), with its interval."""
    return share_interval(int(right.sum()), len(right))
