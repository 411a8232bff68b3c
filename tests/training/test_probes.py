import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from transfer_utils.training import PENALTIES, Probe, best_probe, linear_probe, linear_probes, probes


def blobs(classes: int, seed: int = 0, count: int = 300, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds on features of different scales."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(count) % classes
    features = centres[labels] + 1.5 * torch.randn(count, width, generator=generator)
    return features * torch.logspace(-0.5, 0.5, width) + 5, labels


def scaled(features: torch.Tensor, probe: Probe) -> torch.Tensor:
    return ((features - probe.centre) / probe.scale).double()


def scikit_learns(features: torch.Tensor, labels: torch.Tensor, penalty: float) -> LogisticRegression:
    """scikit-learn: C * sum of losses + 1/2 |w|^2. With two classes it has one vector, the difference of our two,
    and the best split of a difference d into d/2 and -d/2 costs half of |d|^2."""
    strength = (2 if labels.max() == 1 else 1) / (len(labels) * penalty)
    return LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(features.numpy(), labels.numpy())


def objective(weight, bias, points: torch.Tensor, labels: torch.Tensor, penalty: float) -> float:
    weight, bias = (torch.as_tensor(part).double() for part in (weight, bias))
    return (cross_entropy(points @ weight + bias, labels) + penalty / 2 * weight.square().sum()).item()


@pytest.mark.parametrize("penalty", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probe_is_scikit_learns_logistic_regression(classes, penalty):
    features, labels = blobs(classes)
    new, _ = blobs(classes, seed=1)
    probe = linear_probe(features, labels, penalty)
    oracle, points = scikit_learns(scaled(features, probe), labels, penalty), scaled(new, probe)
    assert np.mean(probe.predict(new).numpy() == oracle.predict(points.numpy())) >= 0.99
    probabilities = (points @ probe.weight.double() + probe.bias).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, oracle.predict_proba(points.numpy()), atol=1e-2)
    if classes > 2:
        np.testing.assert_allclose(probe.weight.numpy(), oracle.coef_.T, atol=2e-2)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("count", "width"), [(14, 200), (30, 60), (60, 60), (200, 40)])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_no_weights_are_much_better_with_fewer_photos_than_dimensions_or_more(classes, count, width, penalty):
    features, labels = blobs(classes, count=count, width=width)
    new, _ = blobs(classes, seed=1, width=width)
    probe = linear_probe(features, labels, penalty)
    oracle = scikit_learns(scaled(features, probe), labels, penalty)
    weight, bias = oracle.coef_.T, oracle.intercept_
    if classes == 2:
        weight, bias = (np.concatenate([-part / 2, part / 2], axis=-1) for part in (weight, bias))
    points = scaled(features, probe)
    reached = objective(probe.weight, probe.bias, points, labels, penalty)
    assert reached < objective(weight, bias, points, labels, penalty) + 2e-4
    assert np.mean(probe.predict(new).numpy() == oracle.predict(scaled(new, probe).numpy())) >= 0.98


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("each", "width"), [(20, 50), (120, 12)])
def test_all_draws_and_penalties_together_are_as_one_by_one(classes, each, width):
    features, labels = blobs(classes, width=width)
    new, _ = blobs(classes, seed=1, width=width)
    generator = torch.Generator().manual_seed(3)
    draws = torch.stack([torch.randperm(len(labels), generator=generator)[:each] for _ in range(3)])
    together = linear_probes(features, labels, draws)
    assert [[probe.penalty for probe in fitted] for fitted in together] == [list(PENALTIES)] * 3
    for draw, fitted in zip(draws, together, strict=True):
        for probe in fitted:
            alone = linear_probe(features[draw], labels[draw], probe.penalty)
            torch.testing.assert_close(probe.centre, alone.centre)
            torch.testing.assert_close(probe.scale, alone.scale)
            assert (probe.weight - alone.weight).norm() < 0.1 * alone.weight.norm()
            torch.testing.assert_close(probe.bias, alone.bias, atol=0.1, rtol=0)
            assert (probe.predict(new) == alone.predict(new)).float().mean() >= 0.97


def test_a_draw_without_some_class_never_predicts_it():
    features, labels = blobs(3)
    with_all, without = torch.arange(60), torch.nonzero(labels < 2).flatten()[:60]
    (whole,), (partial,) = linear_probes(features, labels, torch.stack([with_all, without]), [0.1])
    assert whole.predict(features).unique().tolist() == [0, 1, 2]
    assert partial.predict(features[labels < 2]).unique().tolist() == [0, 1]
    assert partial.weight.shape == (12, 3)


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


@pytest.mark.parametrize("classes", [2, 5])
def test_a_probe_as_a_layer_is_the_same_classifier(classes):
    features, labels = blobs(classes)
    new, _ = blobs(classes, seed=1)
    probe = linear_probe(features, labels, 0.1)
    logits = probe.linear()(new)
    torch.testing.assert_close(logits, ((new - probe.centre) / probe.scale) @ probe.weight + probe.bias)
    assert torch.equal(logits.argmax(1), probe.predict(new))


def test_the_layer_is_a_head_that_can_train_and_leaves_the_probe_alone():
    features, labels = blobs(3)
    probe = linear_probe(features, labels)
    before = [tensor.clone() for tensor in (probe.weight, probe.bias, probe.centre, probe.scale)]
    head = probe.linear()
    assert (head.in_features, head.out_features) == (12, 3)
    cross_entropy(head(features), labels).backward()
    torch.optim.SGD(head.parameters(), lr=0.1).step()
    after = (probe.weight, probe.bias, probe.centre, probe.scale)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


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


@pytest.mark.parametrize("width", [12, 400])
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_photos_that_all_look_alike_give_finite_weights(value, width):
    probe = linear_probe(torch.full((300, width), value), torch.arange(300) % 3)
    assert torch.isfinite(probe.weight).all()
    assert torch.isfinite(probe.bias).all()
    assert probe.weight.abs().max() < 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("count", "width"), [(20, 50), (120, 12)])
def test_photos_twice_are_the_same_probe(count, width, penalty):
    """Two equal photos leave the matrix behind a probe without full rank; the mean loss stays the same."""
    features, labels = blobs(2, count=count, width=width)
    once, twice = (linear_probe(features.repeat(n, 1), labels.repeat(n), penalty) for n in (1, 2))
    assert torch.isfinite(twice.weight).all()
    torch.testing.assert_close(twice.weight, once.weight, atol=2e-2, rtol=0)
    assert (twice.predict(features) == once.predict(features)).all()


def test_accuracy_is_the_share_of_right_predictions():
    probe = Probe(torch.eye(2), torch.zeros(2), torch.zeros(2), torch.ones(2), 0.0)
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 0.1]])
    assert probe.predict(features).tolist() == [0, 1, 0, 1]
    assert probe.accuracy(features, torch.tensor([0, 1, 1, 1])) == 0.75


FEATURES, LABELS = torch.arange(40.0).view(10, 4).sin(), torch.arange(10) % 3
NO_FEATURES = {
    "an array": (FEATURES.numpy(), "features of type ndarray"),
    "a list": (FEATURES.tolist(), "features of type list"),
    "nothing": (None, "features of type NoneType"),
    "whole numbers": (FEATURES.long(), r"int64 features.*features\.float\(\)"),
    "pixels": (FEATURES.byte(), r"uint8 features.*features\.float\(\)"),
    "complex": (FEATURES.to(torch.complex64), "complex64 features"),
    "maps": (torch.zeros(10, 4, 2, 2), r"shape \(10, 4, 2, 2\); it needs one vector per photo, \(N, D\)"),
    "one vector": (torch.zeros(10), r"shape \(10,\); it needs one vector per photo"),
    "one number": (torch.tensor(1.0), r"shape \(\)"),
    "views": (FEATURES[None], r"shape \(1, 10, 4\)"),
    "no width": (FEATURES[:, :0], r"shape \(10, 0\)"),
    "not a number": (FEATURES / FEATURES.new_tensor([1.0, 1.0, 1.0, 0.0]) * 0, "NaN or infinite features in 10 of 10"),
    "one infinity": (
        FEATURES.index_fill(0, torch.tensor([7]), torch.inf),
        "1 of 10 rows, the first at 7",
    ),
    "beyond float32": (FEATURES.double() * 1e300, "NaN or infinite features"),
}
NO_LABELS = {
    "an array": (LABELS.numpy(), "labels of type ndarray"),
    "a list": (LABELS.tolist(), r"labels of type list.*torch\.tensor\(labels\)"),
    "float": (LABELS.float(), r"float32 labels.*labels\.long\(\)"),
    "int32": (LABELS.int(), "int32 labels"),
    "bool": (LABELS > 0, "bool labels"),
    "a column": (LABELS[:, None], r"labels of shape \(10, 1\)"),
    "one-hot": (torch.eye(3)[LABELS], r"labels of shape \(10, 3\).*argmax\(1\)"),
    "one number": (torch.tensor(1), r"labels of shape \(\)"),
    "negative": (LABELS - 1, "the label -1; labels count from 0"),
    "one": (LABELS[:1], "10 photos and 1 labels"),
    "too few": (LABELS[:9], "10 photos and 9 labels"),
    "too many": (LABELS.repeat(4), "10 photos and 40 labels"),
}
USES = {
    "linear_probe": linear_probe,
    "linear_probes": lambda x, y: linear_probes(x, y, torch.arange(10)[None]),
    "best_probe": lambda x, y: best_probe(x, y, FEATURES, LABELS),
    "best_probe on valid": lambda x, y: best_probe(FEATURES, LABELS, x, y),
    "accuracy": lambda x, y: linear_probe(FEATURES, LABELS).accuracy(x, y),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("case", NO_FEATURES)
def test_features_that_are_none_are_refused(use, case):
    features, message = NO_FEATURES[case]
    with pytest.raises((TypeError, ValueError), match=f"got .*{message}"):
        USES[use](features, LABELS)


@pytest.mark.parametrize("case", NO_FEATURES)
def test_nothing_is_predicted_from_them_either(case):
    features, message = NO_FEATURES[case]
    with pytest.raises((TypeError, ValueError), match=f"A probe got .*{message}"):
        linear_probe(FEATURES, LABELS).predict(features)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("case", NO_LABELS)
def test_labels_that_are_none_are_refused(use, case):
    """Among them those that would broadcast, and compare every prediction with every label."""
    labels, message = NO_LABELS[case]
    with pytest.raises((TypeError, ValueError), match=f"got .*{message}"):
        USES[use](FEATURES, labels)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_the_same_features(dtype):
    features, labels = blobs(3)
    features = features.to(dtype)
    probe, expected = (linear_probe(x, labels) for x in (features, features.float()))
    assert torch.equal(probe.weight, expected.weight)
    assert torch.equal(probe.predict(features), expected.predict(features.float()))
    assert best_probe(features, labels, features, labels).weight.dtype is torch.float32


@pytest.mark.parametrize("width", [1, 3, 5, 8])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: linear_probe(FEATURES, LABELS).predict(x),
        lambda x: linear_probe(FEATURES, LABELS).accuracy(x, LABELS),
        lambda x: best_probe(FEATURES, LABELS, x, LABELS),
    ],
)
def test_features_of_another_width_are_refused(use, width):
    """One column would broadcast against the probe's centre."""
    with pytest.raises(ValueError, match=f"features of width 4 got some of width {width}. Take both from"):
        use(torch.zeros(10, width))


NO_DRAWS = {
    "a list": [[0, 1]],
    "float": torch.zeros(2, 3),
    "int32": torch.zeros(2, 3, dtype=torch.int32),
    "a mask": torch.ones(1, 10, dtype=torch.bool),
    "one draw alone": torch.arange(10),
    "a mask of all": torch.ones(10, dtype=torch.bool),
    "too deep": torch.zeros(1, 1, 3, dtype=torch.int64),
    "no draw": torch.zeros(0, 3, dtype=torch.int64),
    "no photo": torch.zeros(2, 0, dtype=torch.int64),
    "negative": torch.tensor([[0, 1, -1]]),
    "behind the last": torch.tensor([[0, 1], [2, 10]]),
}


@pytest.mark.parametrize("case", NO_DRAWS)
def test_draws_that_are_none_are_refused(case):
    with pytest.raises((TypeError, ValueError), match="Linear probes got draws"):
        linear_probes(FEATURES, LABELS, NO_DRAWS[case])


@pytest.mark.parametrize("penalty", [-0.1, -1, float("nan"), float("inf"), "0.1", None, 1j, torch.tensor(0.1)])
@pytest.mark.parametrize(
    "use",
    [
        lambda penalty: linear_probe(FEATURES, LABELS, penalty),
        lambda penalty: linear_probes(FEATURES, LABELS, LABELS[None], [1.0, penalty, 0.1]),
    ],
)
def test_a_penalty_is_0_or_more(use, penalty):
    words = rf"penalty={re.escape(repr(penalty))}; it must be 0 or more, for example 0\.01"
    with pytest.raises(ValueError, match=words):
        use(penalty)


@pytest.mark.parametrize("penalties", [[], (), np.array([]), iter([]), 0.1, None])
def test_without_penalties_there_is_no_probe(penalties):
    with pytest.raises(ValueError, match=r"penalties=.*; give a list of numbers"):
        linear_probes(FEATURES, LABELS, LABELS[None], penalties)


@pytest.mark.parametrize("penalty", [0, 1, np.float32(0.5), np.float64(0.5), np.int64(2)])
def test_a_penalty_may_come_out_of_a_table(penalty):
    assert linear_probe(FEATURES, LABELS, penalty).penalty == penalty


@pytest.mark.parametrize(
    ("labels", "valid"),
    [
        (LABELS.clamp(max=1), LABELS),  # a class above all that it saw
        (torch.where(LABELS == 1, 0, LABELS), LABELS),  # one in their midst
        (LABELS + 1, LABELS),  # the first one
        (LABELS * 0, LABELS),
    ],
)
def test_valid_photos_of_a_class_without_training_photos_are_refused(labels, valid):
    """They would count as wrong, whatever the probe does."""
    with pytest.raises(ValueError, match=r"valid photos with the labels \[.*\], and no training photo has those"):
        best_probe(FEATURES, labels, FEATURES, valid)


@pytest.mark.parametrize("highest", [3, 4, 1000])
def test_a_label_that_the_probe_has_no_class_for_is_refused(highest):
    labels = LABELS.clone()
    labels[4] = highest
    with pytest.raises(ValueError, match=f"labels up to {highest} and 3 classes, so labels go from 0 to 2"):
        linear_probe(FEATURES, LABELS).accuracy(FEATURES, labels)


@pytest.mark.parametrize("labels", [[0], [2], [0, 0, 0], [1, 1]])
def test_one_photo_and_one_class_are_enough_for_a_probe(labels):
    probe = linear_probe(FEATURES[: len(labels)], torch.tensor(labels))
    assert probe.predict(FEATURES).unique().tolist() == [max(labels)]


@pytest.mark.parametrize("use", [linear_probe, lambda x, y: best_probe(FEATURES, LABELS, x, y)])
def test_without_photos_there_is_nothing_to_say(use):
    with pytest.raises(ValueError, match="at least 1 photo"):
        use(FEATURES[:0], LABELS[:0])


def with_valid_accuracies(monkeypatch, accuracies: tuple[float, ...]) -> None:
    scores = dict(zip(PENALTIES, accuracies, strict=True))
    fitted = [Probe(*[torch.zeros(1)] * 4, penalty) for penalty in PENALTIES]
    monkeypatch.setattr(Probe, "accuracy", lambda probe, *_: scores[probe.penalty])
    monkeypatch.setattr(probes, "linear_probes", lambda *_: [fitted])


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
    assert best_probe(FEATURES, LABELS, FEATURES, LABELS).penalty == PENALTIES[chosen]


def test_best_probe_on_real_numbers():
    train, valid = blobs(3, count=60), blobs(3, seed=1)
    best = best_probe(*train, *valid)
    (fitted,) = linear_probes(*train, torch.arange(60)[None])
    assert best.accuracy(*valid) == max(probe.accuracy(*valid) for probe in fitted)
    assert best.accuracy(*valid) > min(probe.accuracy(*valid) for probe in fitted)


def test_best_probe_is_the_same_for_the_same_photos():
    train, valid = blobs(3, count=60, width=100), blobs(3, seed=1, width=100)
    first, second = (best_probe(*train, *valid) for _ in range(2))
    assert first.penalty == second.penalty
    assert torch.equal(first.weight, second.weight)
