import numpy as np
import pytest
import torch
from sklearn import metrics

from transfer_utils import stats
from transfer_utils.stats import Evaluation, intervals

NAMES = ("cat", "dog", "frog", "ship")


def answers(seed: int = 0, count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that say as often as they should how sure they are, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, len(NAMES), generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


def judged(seed: int = 0, count: int = 400, factor: float = 1.0) -> Evaluation:
    logits, labels = answers(seed, count)
    return stats.evaluate(factor * logits, labels, NAMES)


def told(labels: list[int], predicted: list[int], classes: tuple[str, ...] = NAMES) -> Evaluation:
    """An evaluation of answers that are given."""
    return stats.evaluate(torch.eye(len(classes))[predicted], torch.tensor(labels), classes)


# --- what is confused with what -----------------------------------------------------------------------------------


def test_confusion_is_scikit_learns():
    logits, labels = answers()
    table = stats.evaluate(logits, labels, NAMES).confusion
    expected = metrics.confusion_matrix(labels.numpy(), logits.argmax(1).numpy(), labels=range(4))
    assert np.array_equal(table.to_numpy(), expected)
    assert list(table.index) == list(table.columns) == list(NAMES)


def test_rows_are_the_true_classes_also_of_a_class_without_photos():
    table = told([0, 0, 1], [3, 0, 1]).confusion
    assert table.loc["cat"].tolist() == [1, 0, 0, 1]
    assert table["cat"].tolist() == [1, 0, 0, 0]
    assert table.loc["frog"].sum() == table.loc["ship"].sum() == 0
    assert table.to_numpy().sum() == 3


def test_per_class_is_the_diagonal_with_its_interval():
    table, found = judged().confusion, judged().per_class
    assert list(found) == list(NAMES)
    for name, share in found.items():
        assert share == stats.share_interval(int(table.loc[name, name]), int(table.loc[name].sum()))


def test_per_class_leaves_out_a_class_without_photos():
    found = told([0, 0, 2], [0, 1, 1]).per_class
    assert found == {"cat": stats.share_interval(1, 2), "frog": stats.share_interval(0, 1)}


def test_accuracy_counts_every_photo_once():
    logits, labels = answers()
    expected = metrics.accuracy_score(labels.numpy(), logits.argmax(1).numpy())
    found = stats.evaluate(logits, labels, NAMES).accuracy
    assert found.mean == pytest.approx(expected)
    assert found.n == len(labels)
    assert isinstance(found, intervals.Share)


# --- how sure it may be -------------------------------------------------------------------------------------------


def logits_of(*confidences: float) -> torch.Tensor:
    """Two classes; the first one is the answer, with these probabilities."""
    share = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([share.log(), (1 - share).log()], dim=1)


def of_two(logits: torch.Tensor, *labels: int) -> Evaluation:
    return stats.evaluate(logits, torch.tensor(labels), ("cat", "dog"))


def test_every_photo_is_in_exactly_one_line():
    logits, labels = answers()
    lines = stats.evaluate(logits, labels, NAMES).reliability
    confidence = logits.softmax(1).amax(1)
    assert lines["photos"].sum() == len(labels)
    assert lines["confidence"].is_monotonic_increasing
    assert len(set((lines["confidence"] * 10).astype(int))) == len(lines)
    assert (lines["confidence"] * lines["photos"]).sum() == pytest.approx(confidence.sum().item(), rel=1e-5)
    right = (logits.argmax(1) == labels).sum().item()
    assert (lines["accuracy"] * lines["photos"]).sum() == pytest.approx(right)


def test_an_answer_that_is_entirely_sure_has_a_line():
    lines = of_two(logits_of(1.0, 1.0, 0.95, 0.55), 0, 1, 0, 0).reliability
    assert lines["photos"].tolist() == [1, 3]
    assert lines["confidence"].tolist() == pytest.approx([0.55, (1 + 1 + 0.95) / 3])
    assert lines["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    share = stats.share_interval(2, 3)
    assert lines.iloc[1][["low", "high"]].tolist() == pytest.approx([share.low, share.high])


def test_calibration_error_is_the_loop_over_tenths():
    logits, labels = answers()
    logits = 3 * logits
    confidence, predicted = logits.softmax(1).numpy().max(1), logits.argmax(1).numpy()
    total = 0.0
    for i in range(10):
        inside = [n for n in range(len(labels)) if min(int(confidence[n] * 10), 9) == i]
        if inside:
            accuracy = sum(predicted[n] == int(labels[n]) for n in inside) / len(inside)
            sure = sum(float(confidence[n]) for n in inside) / len(inside)
            total += len(inside) / len(labels) * abs(accuracy - sure)
    assert total > 0.1
    assert stats.evaluate(logits, labels, NAMES).calibration_error == pytest.approx(total, abs=1e-6)


def test_gaps_above_and_below_do_not_cancel():
    found = of_two(logits_of(0.75, 0.75, 0.55, 0.55), 0, 0, 1, 1).calibration_error
    assert found == pytest.approx((0.25 + 0.55) / 2)


def test_honest_answers_have_a_small_error():
    assert judged(count=20_000).calibration_error < 0.015


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_temperature_finds_the_factor_of_logits_that_were_honest(factor):
    assert judged(count=20_000, factor=factor).temperature == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("factor", [0.5, 3.0])
@pytest.mark.parametrize("count", [12, 400])
def test_no_temperature_of_a_fine_grid_is_better(factor, count):
    """Platt's aim: (n + 1) / (n + 2) for the right class, and the rest shared by all others."""
    logits, labels = answers(seed=1, count=count)
    logits = factor * logits.double()
    aim = torch.full((count, 4), 1 / (count + 2) / 3, dtype=torch.float64)
    aim[torch.arange(count), labels] = (count + 1) / (count + 2)

    def loss(t):
        return -(aim * (logits / t).log_softmax(1)).sum(1).mean()

    found = stats.evaluate(logits, labels, NAMES).temperature
    grid = torch.logspace(-1, 1, 4001, dtype=torch.float64)
    losses = torch.stack([loss(t) for t in grid])
    assert loss(found) <= losses.min() + 1e-9
    assert found == pytest.approx(grid[losses.argmin()].item(), rel=2e-3)


@pytest.mark.parametrize("count", [4, 24, 400])
def test_without_a_mistake_it_is_as_sure_as_so_few_photos_allow(count):
    """Cross-entropy alone would want certainty, whatever the logits."""
    labels = torch.arange(count) % 2
    logits = 2 * torch.stack([1.0 - labels, labels], dim=1)
    cooled = logits / stats.evaluate(logits, labels, ("cat", "dog")).temperature
    assert cooled.softmax(1).amax(1).mean().item() == pytest.approx((count + 1) / (count + 2), abs=1e-3)


def test_a_temperature_changes_no_answer_and_mends_the_probabilities():
    sure = judged(seed=2, count=4000, factor=4)
    cooled = stats.evaluate(sure.logits / sure.temperature, sure.labels, NAMES)
    assert torch.equal(cooled.predicted, sure.predicted)
    assert cooled.calibration_error < 0.03 < 0.1 < sure.calibration_error


# --- what fits together -------------------------------------------------------------------------------------------


def test_an_evaluation_holds_what_it_was_given():
    logits, labels = answers()
    found = stats.evaluate(logits, labels, list(NAMES))
    assert found.logits is logits
    assert found.labels is labels
    assert found.classes == NAMES
    assert torch.equal(found.predicted, logits.argmax(1))


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (torch.zeros(3, 4), torch.tensor([0, 1]), "got 3 photos and 2 labels; it needs a label for each photo"),
        (torch.zeros(2, 5), torch.tensor([0, 1]), r"logits \(2, 5\) and 4 classes; it needs logits"),
        (torch.zeros(2), torch.tensor([0, 1]), "it needs logits"),
        (torch.zeros(2, 4), torch.tensor([[0], [1]]), "it needs one a photo"),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), "at least one photo"),
        (torch.zeros(2, 4), torch.tensor([0, 4]), "labels go from 0 to 3"),
        (torch.zeros(2, 4), torch.tensor([-1, 0]), "labels count from 0"),
        (torch.zeros(2, 4), torch.tensor([0.0, 1.0]), r"float32 labels; .* labels\.long\(\)"),
        # 25 * 26 is no byte: such photos would be in another cell of the confusion matrix
        (torch.zeros(2, 4), torch.tensor([0, 1], dtype=torch.uint8), r"uint8 labels; .* labels\.long\(\)"),
        (torch.full((2, 4), torch.nan), torch.tensor([0, 1]), "logits of 2 of 2 photos that make no probabilities"),
        (torch.tensor([[0.0] * 4, [torch.inf] * 4]), torch.tensor([0, 1]), "logits of 1 of 2 photos that make no"),
    ],
)
def test_logits_and_labels_that_do_not_fit_are_refused(logits, labels, said):
    with pytest.raises(ValueError, match=said):
        stats.evaluate(logits, labels, NAMES)


@pytest.mark.parametrize("logits", [[[0.0] * 4] * 2, np.zeros((2, 4)), torch.zeros(2, 4, dtype=torch.long), None])
def test_what_are_no_logits_is_refused(logits):
    with pytest.raises(TypeError, match=r"evaluate\(\) got logits of .*; they are a tensor of floats"):
        stats.evaluate(logits, torch.tensor([0, 1]), NAMES)
