"""Figures about predictions: each is an image with alt text that holds the numbers."""

import html
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from transfer_utils import data, show, stats
from transfer_utils.show import pictures, predictions

PHOTOS = data.load(split="valid").only("cat", "ship").take(2)


def alt(picture) -> str:
    assert plt.get_fignums() == [], "a figure was left open"
    words = re.search(r'<img alt="([^"]*)" src="data:image/png;base64,[A-Za-z0-9+/=]{100,}"', picture.data).group(1)
    assert len(words) >= 20
    return html.unescape(words)


@pytest.fixture(autouse=True)
def closed():
    """What one test left open is no concern of the next."""
    yield
    plt.close("all")


@pytest.fixture
def drawn(monkeypatch):
    """The figures, before they become pictures."""
    figures = []
    monkeypatch.setattr(predictions, "picture", lambda figure, words: figures.append(figure))
    return figures


# --- confusion ----------------------------------------------------------------------------------------------------


def told(rows: list[list[int]], *classes: str) -> stats.Evaluation:
    """Answers with this confusion matrix: rows are the true classes."""
    pairs = [(i, j) for i, row in enumerate(rows) for j, count in enumerate(row) for _ in range(count)]
    labels, predicted = torch.tensor(pairs).T
    return stats.evaluate(torch.eye(len(classes))[predicted], labels, classes)


TOLD = told([[7, 3, 0], [1, 9, 0], [0, 0, 0]], "cat", "dog", "ship")


def test_confusion_says_what_is_recognised_and_what_is_confused():
    words = alt(show.confusion(TOLD))
    assert words == (
        "Confusion matrix. Recognised: cat 7 of 10; dog 9 of 10; ship 0 of 0. "
        "Its most frequent mistake: 3 of 10 photos of cat were taken for dog."
    )


def shown(axes) -> dict[tuple[str, str], str]:
    """What stands in the cell of a true class and of what it was taken for."""
    across, down = ([label.get_text() for label in labels()] for labels in (axes.get_xticklabels, axes.get_yticklabels))
    assert across == down
    return {(down[y], across[x]): text.get_text() for text in axes.texts for x, y in [text.get_position()]}


def test_confusion_shows_every_count_in_its_place(drawn):
    show.confusion(TOLD)
    (axes,) = drawn[0].axes
    cells = shown(axes)
    assert (cells["cat", "dog"], cells["dog", "cat"], cells["ship", "ship"]) == ("3", "1", "·")
    assert len(cells) == 9
    right, mistakes = (image.get_array() for image in axes.images)
    assert sorted(right.compressed()) == [0, 0.7, 0.9]  # the diagonal, in blue
    assert sorted(mistakes.compressed()) == [0, 0, 0, 0, 0.1, 0.3]  # the rest, in orange


def test_classes_that_are_taken_for_one_another_stand_side_by_side(drawn):
    apart = [[7, 0, 0, 3], [0, 6, 4, 0], [0, 5, 5, 0], [2, 0, 0, 8]]
    show.confusion(told(apart, "cat", "truck", "ship", "dog"))
    (axes,) = drawn[0].axes
    names, cells = [label.get_text() for label in axes.get_yticklabels()], shown(axes)
    assert abs(names.index("cat") - names.index("dog")) == 1
    assert abs(names.index("truck") - names.index("ship")) == 1
    assert (cells["cat", "dog"], cells["dog", "cat"]) == ("3", "2")


def test_a_class_may_have_any_name():
    assert "$5_or_$10 1 of 1" in alt(show.confusion(told([[1, 0], [0, 1]], "$5_or_$10", "dog")))


# --- reliability --------------------------------------------------------------------------------------------------


def test_reliability_says_where_each_line_ends():
    logits = torch.tensor([[3.0, 0.0]] * 10 + [[0.5, 0.0]] * 4)
    labels = torch.tensor([0] * 8 + [1] * 2 + [0, 0, 1, 1])
    sure, cooled = (stats.evaluate(x, labels, ("cat", "dog")) for x in (logits, logits / 3))
    words = alt(show.reliability({"as it is": sure, "cooled": cooled}))
    assert words == (
        "Accuracy against confidence with 95 % intervals. as it is: answers given at 95% are right in 80%. "
        "cooled: answers given at 73% are right in 80%."
    )


def test_reliability_draws_confidence_across_and_accuracy_up(drawn):
    lines = pd.DataFrame({"confidence": [0.4, 0.9], "accuracy": [0.5, 1.0], "low": [0.3, 0.8], "high": [0.7, 1.0]})
    show.reliability({"one": SimpleNamespace(reliability=lines)})
    (axes,) = drawn[0].axes
    assert [[0.4, 0.5], [0.9, 1.0]] in [line.get_xydata().tolist() for line in axes.lines]
    (bars,) = [container for container in axes.containers if container.has_yerr]
    segments = bars.lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in segments] == [pytest.approx([0.3, 0.7]), pytest.approx([0.8, 1.0])]


# --- heat ---------------------------------------------------------------------------------------------------------


def test_heated_photos_are_photos():
    maps = torch.rand(4, 3, 3)
    found = pictures.heated(PHOTOS.images, maps)
    assert found.shape == PHOTOS.images.shape
    assert found.dtype is torch.uint8
    assert not torch.equal(found, PHOTOS.images)


def test_heat_is_brightest_where_the_map_is():
    maps = torch.zeros(4, 4, 4)
    maps[:, 0, 0] = 1
    grey = torch.full((4, 3, 32, 32), 100, dtype=torch.uint8)
    found = pictures.heated(grey, maps).float().sum(1)
    assert (found[:, 0, 0] > found[:, 31, 31] + 100).all()
    assert (found[:, 0, 0] == found.amax((1, 2))).all()
    assert (pictures.heated(grey, torch.zeros(4, 4, 4)).float().sum(1).flatten(1).std(1) == 0).all()


def test_heat_rows_say_what_is_shown():
    maps = {"stage3": torch.rand(4, 6, 6), "stage5": torch.rand(4, 3, 3)}
    words = alt(show.heat_rows(PHOTOS.images, maps, [PHOTOS.classes[label] for label in PHOTOS.labels]))
    for name in ("cat", "ship", "stage3", "stage5"):
        assert name in words


# --- spread -------------------------------------------------------------------------------------------------------

SCORES = {"known": pd.Series([0.1, 0.2, 0.5]), "unknown": pd.Series([0.6, 0.7])}


def test_spread_counts_what_lies_above_the_limit():
    words = alt(show.spread(SCORES, 0.5, "strangeness"))
    assert words == "Strangeness, one mark a photo. known: 0 of 3 above the limit. unknown: 2 of 2 above the limit."


def test_spread_draws_each_photo_once_and_the_limit(drawn):
    show.spread(SCORES, 0.4, "strangeness")
    (axes,) = drawn[0].axes
    *marks, limit = axes.lines
    assert [list(line.get_xdata()) for line in marks] == [[0.1, 0.2, 0.5], [0.6, 0.7]]
    assert set(limit.get_xdata()) == {0.4}
    assert all(abs(y + i) < 0.5 for i, line in enumerate(marks) for y in line.get_ydata())  # each near its own name
