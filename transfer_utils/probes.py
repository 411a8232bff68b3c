"""Linear probes: logistic regression on features that never change (Alain and Bengio 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

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
    if features.ndim != 2 or len(features) != len(labels):
        raise ValueError(
            f"linear_probe() got features of shape {tuple(features.shape)} for {len(labels)} labels; it needs one "
            "vector per label, (N, D). Average a map over its positions: x.mean((2, 3))."
        )
    if penalty < 0:
        raise ValueError(f"linear_probe() got penalty={penalty}; it must be 0 or more, for example 0.01.")
    # One scale for all dimensions: with few photos a sparse feature hardly varies, and a scale of its own would
    # blow it up on the next photo.
    centre = features.mean(0)
    scale = (features - centre).square().mean().sqrt().clamp_min(1e-6)
    x = (features - centre) / scale
    weight = torch.zeros(x.shape[1], int(labels.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=200, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = cross_entropy(x @ weight + bias, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return Probe(weight.detach(), bias.detach(), centre, scale, penalty)


def best_probe(features: Tensor, labels: Tensor, valid_features: Tensor, valid_labels: Tensor) -> Probe:
    """The probe whose penalty, one of PENALTIES, is best on the valid photos; ties go to the stronger penalty."""
    fitted = [linear_probe(features, labels, penalty) for penalty in PENALTIES]
    return max(reversed(fitted), key=lambda probe: probe.accuracy(valid_features, valid_labels))
