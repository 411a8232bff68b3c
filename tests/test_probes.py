import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from transfer_utils import probes
from transfer_utils.probes import PENALTIES, Probe, best_probe, linear_probe


def blobs(classes: int, seed: int = 0, count: int = 300, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds on features of different scales."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(count) % classes
    features = centres[labels] + 1.5 * torch.randn(count, width, generator=generator)
    return features * torch.logspace(-0.5, 0.5, width) + 5, labels


@pytest.mark.parametrize("penalty", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probe_is_scikit_learns_logistic_regression(classes, penalty):
    features, labels = blobs(classes)
    new, _ = blobs(classes, seed=1)
    probe = linear_probe(features, labels, penalty)
    # scikit-learn: C * sum of losses + 1/2 |w|^2. With two classes it has one vector, the difference of our two,
    # and the best split of a difference d into d/2 and -d/2 costs half of |d|^2.
    strength = (2 if classes == 2 else 1) / (len(features) * penalty)
    centre = features.mean(0)
    scale = (features - centre).square().mean().sqrt()
    points, seen = ((x - centre).div(scale).double().numpy() for x in (new, features))
    oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(seen, labels.numpy())
    assert np.mean(probe.predict(new).numpy() == oracle.predict(points)) >= 0.99
    logits = ((new - probe.centre) / probe.scale) @ probe.weight + probe.bias
    np.testing.assert_allclose(logits.softmax(1).numpy(), oracle.predict_proba(points), atol=5e-3)
    if classes > 2:
        np.testing.assert_allclose(probe.weight.numpy(), oracle.coef_.T, atol=1e-2)


def test_probe_remembers_its_scaling_and_penalty():
    features, labels = blobs(3)
    probe = linear_probe(features, labels, 0.1)
    torch.testing.assert_close(probe.centre, features.mean(0))
    torch.testing.assert_close(probe.scale, (features - features.mean(0)).square().mean().sqrt())
    assert probe.penalty == 0.1
    assert probe.weight.shape == (12, 3)
    assert probe.bias.shape == (3,)
    assert not probe.weight.requires_grad


def test_a_sparse_feature_does_not_drown_the_others():
    """A feature that hardly varied on the photos of the fit may be large on the next one."""
    features, labels = blobs(2)
    features[:, 0] = 1e-4 * torch.randn(len(features))
    new, new_labels = blobs(2, seed=1)
    new[:, 0] = 0
    expected = linear_probe(features, labels).accuracy(new, new_labels)
    new[::2, 0] = 1
    assert linear_probe(features, labels).accuracy(new, new_labels) == expected


def test_scale_of_all_features_does_not_matter():
    features, labels = blobs(3)
    first, second = linear_probe(features, labels), linear_probe(features * 1000 - 7, labels)
    torch.testing.assert_close(first.weight, second.weight, atol=1e-3, rtol=1e-3)


def test_a_stronger_penalty_gives_smaller_weights():
    features, labels = blobs(3)
    norms = [linear_probe(features, labels, penalty).weight.norm().item() for penalty in PENALTIES]
    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 2 * norms[-1]


def test_a_constant_feature_does_no_harm():
    features, labels = blobs(3)
    features[:, 4] = 2.5
    probe = linear_probe(features, labels)
    assert torch.isfinite(probe.weight).all()
    assert probe.weight[4].abs().max() < 1e-3
    assert probe.accuracy(features, labels) > 0.6


def test_accuracy_is_the_share_of_right_predictions():
    probe = Probe(torch.eye(2), torch.zeros(2), torch.zeros(2), torch.ones(2), 0.0)
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 0.1]])
    assert probe.predict(features).tolist() == [0, 1, 0, 1]
    assert probe.accuracy(features, torch.tensor([0, 1, 1, 1])) == 0.75


@pytest.mark.parametrize("shape", [(10, 4, 2, 2), (10,), (9, 4)])
def test_features_must_be_one_vector_per_label(shape):
    with pytest.raises(ValueError, match=r"for 10 labels; it needs one vector per label, \(N, D\)") as error:
        linear_probe(torch.zeros(shape), torch.arange(10) % 2)
    assert str(tuple(shape)) in str(error.value)


def test_negative_penalty_is_refused():
    with pytest.raises(ValueError, match=r"penalty=-0\.1; it must be 0 or more, for example 0\.01"):
        linear_probe(*blobs(2), penalty=-0.1)


def with_valid_accuracies(monkeypatch, accuracies: tuple[float, ...]) -> None:
    scores = dict(zip(PENALTIES, accuracies, strict=True))
    monkeypatch.setattr(Probe, "accuracy", lambda probe, *_: scores[probe.penalty])
    monkeypatch.setattr(probes, "linear_probe", lambda *arguments: Probe(*[torch.zeros(1)] * 4, arguments[-1]))


@pytest.mark.parametrize(
    ("accuracies", "chosen"),
    [
        ((0.9, 0.8, 0.7, 0.6, 0.5), 0),
        ((0.1, 0.2, 0.7, 0.2, 0.1), 2),
        ((0.7, 0.7, 0.7, 0.2, 0.1), 2),  # a tie: the stronger one
        ((0.5, 0.5, 0.5, 0.5, 0.5), 4),
    ],
)
def test_best_probe_is_best_on_valid(monkeypatch, accuracies, chosen):
    with_valid_accuracies(monkeypatch, accuracies)
    assert best_probe(*[torch.zeros(1)] * 4).penalty == PENALTIES[chosen]


def test_best_probe_on_real_numbers():
    train, valid = blobs(3, count=60), blobs(3, seed=1)
    best = best_probe(*train, *valid)
    assert best.accuracy(*valid) == max(linear_probe(*train, penalty).accuracy(*valid) for penalty in PENALTIES)
