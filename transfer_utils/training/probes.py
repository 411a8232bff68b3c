"""Linear probes: logistic regression on features that never change (Alain and Bengio 2016)."""

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from transfer_utils.machine import check_labels
from transfer_utils.training.checks import as_features

MOST_STEPS, TOLERANCE = 1000, 1e-7  # the tolerance is on twice the loss that a step may still win
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # weights of the squared norm; chosen on valid photos


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted linear classifier on scaled features: weight (D, C), bias (C,), centre (D,), scale (one number)."""

    weight: Tensor
    bias: Tensor
    centre: Tensor
    scale: Tensor
    penalty: float

    def linear(self) -> nn.Linear:
        """The same classifier as a layer that reads features as they are: a head for the backbone."""
        head = nn.utils.skip_init(nn.Linear, *self.weight.shape)
        with torch.no_grad():
            head.weight.copy_(self.weight.T / self.scale)
            head.bias.copy_(self.bias - (self.centre / self.scale) @ self.weight)
        return head

    def predict(self, features: Tensor) -> Tensor:
        """Predicted label of each row of features (N, D): int64 (N,).

        TypeError or ValueError for features that are no finite vectors, or of another width than those of the fit.
        """
        features = as_features("A probe", features)
        if features.shape[1] != len(self.weight):
            raise ValueError(
                f"A probe for features of width {len(self.weight)} got some of width {features.shape[1]}. Take both "
                "from the same stage of the same network, at the same size."
            )
        return (((features - self.centre) / self.scale) @ self.weight + self.bias).argmax(1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of rows (N, D) whose prediction equals the label, int64 (N,).

        Errors as in predict; ValueError for labels that are not one of the probe's classes for each row, and no rows.
        """
        found = self.predict(features)
        check_labels("A probe's accuracy", labels, len(found), self.weight.shape[1])
        if not len(found):
            raise ValueError("A probe's accuracy needs at least 1 photo, and got 0.")
        return (found == labels).float().mean().item()


def linear_probe(features: Tensor, labels: Tensor, penalty: float = 1.0) -> Probe:
    """Fit logistic regression: mean cross-entropy + penalty/2 * |weight|^2, on features (N, D), labels (N,).

    Features are centred first, and divided by one number, so that their mean variance is 1. Source:
    https://arxiv.org/abs/1610.01644
    TypeError or ValueError for features that are not one finite vector per label, labels that are not int64 (N,), and
    a penalty that is not 0 or more.
    """
    return linear_probes(features, labels, None, [penalty])[0][0]


def best_probe(features: Tensor, labels: Tensor, valid_features: Tensor, valid_labels: Tensor) -> Probe:
    """The probe whose penalty, one of PENALTIES, is best on the valid photos; ties go to the stronger penalty.

    Errors as in linear_probe, for both kinds of photos; ValueError for valid photos of a class without training photos.
    """
    (fitted,) = linear_probes(features, labels, None)
    valid_features = as_features("best_probe()", valid_features)
    check_labels("best_probe()", valid_labels, len(valid_features))
    _refuse_unseen(labels, valid_labels)
    return max(reversed(fitted), key=lambda probe: probe.accuracy(valid_features, valid_labels))


def linear_probes(
    features: Tensor, labels: Tensor, draws: Tensor | None, penalties: Sequence[float] = PENALTIES
) -> list[list[Probe]]:
    """For each draw, a probe for every penalty: as many calls of linear_probe, all solved together.

    draws: rows of features, int64 (draws, photos in each); None: one draw of them all. Errors as in linear_probe, and
    for draws that are no such rows.
    """
    features = as_features("A linear probe", features)
    check_labels("A linear probe", labels, len(features))
    draws = torch.arange(len(features))[None] if draws is None else draws
    _check_draws(draws, len(features))
    penalties = _as_penalties(penalties)
    x = features[draws]
    centre = x.mean(1, keepdim=True)
    rotated, back, curvature, scale = _rotate(x - centre)
    weight, bias = _solve(rotated, curvature, one_hot(labels[draws], int(labels.max()) + 1).float(), penalties)
    weight = (weight.flatten(1, 2) @ back.mT).unflatten(1, weight.shape[1:3])
    return [
        [Probe(w[:, i].T, b[:, i], c[0], one, penalty) for i, penalty in enumerate(penalties)]
        for w, b, c, one in zip(weight, bias, centre, scale, strict=True)
    ]


def _check_draws(draws: Any, count: int) -> None:
    if not isinstance(draws, Tensor) or draws.dtype != torch.int64 or draws.ndim != 2:
        what = f"{draws.dtype} {tuple(draws.shape)}" if isinstance(draws, Tensor) else type(draws).__name__
        raise TypeError(f"Linear probes got draws of {what}; they are a tensor of int64, (draws, photos in each).")
    if not draws.numel():
        raise ValueError(f"Linear probes got draws of shape {tuple(draws.shape)}; there must be at least 1 photo.")
    low, high = draws.aminmax()
    if low < 0 or high >= count:
        raise ValueError(
            f"Linear probes got draws from {low} to {high} of {count} photos; they are rows from 0 to {count - 1}. "
            "Draw from the same photos as the features."
        )


def _as_penalties(penalties: Any) -> list[float]:
    found = list(penalties) if isinstance(penalties, Iterable) else []
    if not found:
        raise ValueError(f"Linear probes got penalties={penalties!r}; give a list of numbers, such as [0.1].")
    for penalty in found:
        if not isinstance(penalty, numbers.Real) or not 0 <= float(penalty) < math.inf:
            raise ValueError(f"A linear probe got penalty={penalty!r}; it must be 0 or more, for example 0.01.")
    return [float(penalty) for penalty in found]


def _refuse_unseen(labels: Tensor, valid_labels: Tensor) -> None:
    unseen = valid_labels[~torch.isin(valid_labels, labels)].unique().tolist()
    if unseen:
        raise ValueError(
            f"best_probe() got valid photos with the labels {unseen}, and no training photo has those: each of them "
            "would count as wrong, whatever the penalty. Train on photos of every class, or leave them out of valid."
        )


def _rotate(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centred x (B, n, D), scaled, along its principal axes: (B, n, r); the way back (B, D, r); the variance of each
    axis (B, r); the scale (B,)."""
    _, count, width = x.shape
    dual = count < width  # weights never leave the space that the photos span
    variance, axes = torch.linalg.eigh((x @ x.mT if dual else x.mT @ x) / count)
    variance = variance.clamp_min(0)
    # One scale for all dimensions: with few photos a sparse feature hardly varies, and a scale of its own would
    # blow it up on the next photo.
    scale = (variance.sum(1) / width).sqrt().clamp_min(1e-6)
    variance = variance / scale[:, None].square()
    if not dual:
        return x @ (axes / scale[:, None, None]), axes, variance, scale
    length = (count * variance).sqrt()
    inverse = torch.where(length > 1e-4 * length.amax(1, keepdim=True), 1 / length, 0) / scale[:, None]
    return axes * length[:, None], x.mT @ (axes * inverse[:, None]), variance, scale


def _solve(z: Tensor, variance: Tensor, target: Tensor, penalties: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Minimise all at once: weight (B, C, P, r), bias (B, C, P), for z (B, n, r), target one-hot (B, n, C).

    Steps are gradients divided by a bound on the curvature (Boehning 1992, https://doi.org/10.1007/BF00048682), which
    the rotation makes diagonal; momentum starts anew when it points uphill (O'Donoghue and Candes 2015,
    https://arxiv.org/abs/1204.3982). A penalty that is done in every draw leaves.
    """
    (draws, count, axes), classes = z.shape, target.shape[2]
    # The labels' share of the slope never changes.
    pull = (target.mT @ z)[:, :, None] / count
    pull_bias = target.mean(1)[:, :, None, None]
    done = torch.zeros(draws, classes, len(penalties), axes + 1)  # the bias is the last weight
    live = torch.arange(len(penalties))
    penalty = torch.tensor(penalties)[:, None]
    weight = ahead = torch.zeros(draws, classes, len(penalties), axes)
    bias = ahead_bias = torch.zeros(draws, classes, len(penalties), 1)
    age = torch.zeros(draws, 1, len(penalties), 1)
    for step in range(1, MOST_STEPS + 1):
        bound = variance[:, None, None] / 2 + penalty + 1e-6
        logits = torch.baddbmm(ahead_bias.flatten(1, 2), ahead.flatten(1, 2), z.mT)
        share = logits.unflatten(1, (classes, -1)).softmax(1)
        slope = (share.flatten(1, 2) @ z).unflatten(1, (classes, -1)) / count - pull + penalty * ahead
        slope_bias = share.mean(3, keepdim=True) - pull_bias
        new, new_bias = ahead - slope / bound, ahead_bias - 2 * slope_bias
        moved, moved_bias = new - weight, new_bias - bias
        uphill = (slope * moved).sum((1, 3), keepdim=True) + (slope_bias * moved_bias).sum((1, 3), keepdim=True) > 0
        age = torch.where(uphill, 0, age + 1)
        momentum = age / (age + 3)
        ahead, ahead_bias = new + momentum * moved, new_bias + momentum * moved_bias
        weight, bias = new, new_bias
        if step % 5 and step < MOST_STEPS:
            continue
        left = (slope.square() / bound).sum((1, 3)).amax(0) > TOLERANCE
        done[:, :, live] = torch.cat([weight, bias], 3)
        if not left.any():
            break
        live, penalty = live[left], penalty[left]
        weight, bias, ahead, ahead_bias, age = (t[:, :, left] for t in (weight, bias, ahead, ahead_bias, age))
    return done[..., :-1], done[..., -1]
