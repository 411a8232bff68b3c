"""Linear probes: logistic regression on features that never change (Alain and Bengio 2016)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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

    def predict(self, features: Tensor) -> Tensor:
        """Predicted label of each row of features (N, D): int64 (N,)."""
        return (((features - self.centre) / self.scale) @ self.weight + self.bias).argmax(1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of rows (N, D) whose prediction equals the label."""
        return (self.predict(features) == labels).float().mean().item()


def linear_probe(features: Tensor, labels: Tensor, penalty: float = 1.0) -> Probe:
    """Fit logistic regression: mean cross-entropy + penalty/2 * |weight|^2, on features (N, D), labels (N,).

    Features are centred first, and divided by one number, so that their mean variance is 1. Source:
    https://arxiv.org/abs/1610.01644
    ValueError for features that are not one vector per label, or a negative penalty.
    """
    return linear_probes(features, labels, torch.arange(len(labels))[None], [penalty])[0][0]


def best_probe(features: Tensor, labels: Tensor, valid_features: Tensor, valid_labels: Tensor) -> Probe:
    """The probe whose penalty, one of PENALTIES, is best on the valid photos; ties go to the stronger penalty."""
    (fitted,) = linear_probes(features, labels, torch.arange(len(labels))[None])
    return max(reversed(fitted), key=lambda probe: probe.accuracy(valid_features, valid_labels))


def linear_probes(
    features: Tensor, labels: Tensor, draws: Tensor, penalties: Sequence[float] = PENALTIES
) -> list[list[Probe]]:
    """For each draw, a probe for every penalty: as many calls of linear_probe, all solved together.

    draws: rows of features, int64 (draws, photos in each). ValueError as in linear_probe.
    """
    _check(features, labels, penalties)
    # One scale for all dimensions: with few photos a sparse feature hardly varies, and a scale of its own would
    # blow it up on the next photo.
    x = features[draws]
    centre = x.mean(1, keepdim=True)
    scale = (x - centre).square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-6)
    rotated, back, curvature = _rotate((x - centre) / scale)
    weight, bias = _solve(rotated, curvature, one_hot(labels[draws], int(labels.max()) + 1).float(), penalties)
    weight = torch.einsum("bdr,bprc->bpdc", back, weight)
    return [
        [Probe(w, b, c[0], s[0, 0], penalty) for w, b, penalty in zip(ws, bs, penalties, strict=True)]
        for ws, bs, c, s in zip(weight, bias, centre, scale, strict=True)
    ]


def _check(features: Tensor, labels: Tensor, penalties: Sequence[float]) -> None:
    if features.ndim != 2 or len(features) != len(labels):
        raise ValueError(
            f"A linear probe got features of shape {tuple(features.shape)} for {len(labels)} labels; it needs one "
            "vector per label, (N, D). Average a map over its positions: x.mean((2, 3))."
        )
    if min(penalties) < 0:
        raise ValueError(f"A linear probe got penalty={min(penalties)}; it must be 0 or more, for example 0.01.")


def _rotate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, n, D) along its principal axes: (B, n, r); the way back (B, D, r); the variance of each axis (B, r)."""
    _, count, width = x.shape
    if width <= count:
        variance, axes = torch.linalg.eigh(x.mT @ x / count)
        return x @ axes, axes, variance.clamp_min(0)
    # Fewer photos than dimensions: weights never leave the space that the photos span.
    variance, places = torch.linalg.eigh(x @ x.mT / count)
    length = (count * variance.clamp_min(0)).sqrt()
    inverse = torch.where(length > 1e-4 * length.amax(1, keepdim=True), 1 / length, 0)
    return places * length[:, None], x.mT @ places * inverse[:, None], variance.clamp_min(0)


def _solve(z: Tensor, variance: Tensor, target: Tensor, penalties: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Minimise all at once: weight (B, P, r, C), bias (B, P, C), for z (B, n, r), target one-hot (B, n, C).

    Steps are gradients divided by a bound on the curvature (Boehning 1992, https://doi.org/10.1007/BF00048682), which
    the rotation makes diagonal; momentum starts anew when it points uphill (O'Donoghue and Candes 2015,
    https://arxiv.org/abs/1204.3982).
    """
    (draws, count, axes), classes, grid = z.shape, target.shape[2], len(penalties)
    penalty = torch.tensor(penalties)[:, None, None]
    bound = variance[:, None, :, None] / 2 + penalty + 1e-6
    weight, bias = torch.zeros(draws, grid, axes, classes), torch.zeros(draws, grid, 1, classes)
    ahead, ahead_bias, age = weight, bias, torch.zeros(draws, grid, 1, 1)
    for step in range(MOST_STEPS):
        logits = (z @ ahead.transpose(1, 2).flatten(2)).unflatten(2, (grid, classes)).transpose(1, 2) + ahead_bias
        error = (logits.softmax(3) - target[:, None]) / count
        slope = (z.mT @ error.transpose(1, 2).flatten(2)).unflatten(2, (grid, classes)).transpose(1, 2)
        slope = slope + penalty * ahead
        slope_bias = error.sum(2, keepdim=True)
        new, new_bias = ahead - slope / bound, ahead_bias - 2 * slope_bias
        moved, moved_bias = new - weight, new_bias - bias
        uphill = (slope * moved).sum((2, 3), keepdim=True) + (slope_bias * moved_bias).sum((2, 3), keepdim=True) > 0
        age = torch.where(uphill, 0, age + 1)
        momentum = age / (age + 3)
        ahead, ahead_bias = new + momentum * moved, new_bias + momentum * moved_bias
        weight, bias = new, new_bias
        if step % 10 == 9 and (slope.square() / bound).sum((2, 3)).amax() < TOLERANCE:
            break
    return weight, bias.squeeze(2)
