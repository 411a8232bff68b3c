"""Figures of differences: each draws its draws, means and intervals, and says them in its alt text."""

import html
import re

import matplotlib.pyplot as plt
import pytest

from transfer_utils import show, stats
from transfer_utils.show import differences


def alt(picture) -> str:
    assert plt.get_fignums() == [], "a figure is in the list that all threads share"
    return html.unescape(re.search(r'<img alt="([^"]*)" src="data:image/png;base64,', picture.data).group(1))


@pytest.fixture
def drawn(monkeypatch):
    """Axes of each figure, once it has been drawn."""
    every, picture = [], differences.picture
    monkeypatch.setattr(
        differences, "picture", lambda figure, words: every.append(figure.axes[0]) or picture(figure, words)
    )
    return every


ROWS = {
    "topics": [0.10, 0.12, 0.11],
    "reviews": [-0.001, 0.002, 0.001],
    "few reviews": [-0.06, -0.05, -0.055],
    "$5_or_$10": [-0.01, 0.03, 0.01],
}


def test_a_forest_says_every_mean_interval_and_verdict():
    words = alt(show.forest(ROWS, "pretrained minus scratch", {"topics": 0.125}))
    assert words.startswith(
        "pretrained minus scratch in points, means with 95 % intervals. topics: +11.0 [+8.5, +13.5]"
    )
    assert "over 3 draws, our own run +12.5: more. reviews: +0.1 [-0.3, +0.4] over 3 draws: the same within 2" in words
    assert "few reviews: -5.5 [-6.7, -4.3] over 3 draws: less. " in words
    assert words.endswith("$5_or_$10: +1.0 [-4.0, +6.0] over 3 draws: at most 6 points either way.")


def test_a_forest_draws_draws_means_verdicts_and_the_own_run(drawn):
    show.forest(ROWS, "gain", {"reviews": 0.05, "not among them": 1.0})
    (axes,) = drawn
    dots = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots == list(ROWS.values())
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"]
    assert means == pytest.approx([stats.mean_interval(values).mean for values in ROWS.values()])
    assert [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "*"] == [[[0.05, -1.0]]]
    said = [text.get_text() for text in axes.texts]
    assert said == ["more", "the same within 2 points", "less", "at most 6 points either way"]
    assert "star: our own run" in axes.get_xlabel()
    low, high = axes.get_xlim()
    assert -0.08 < low < -0.067  # where the lowest interval ends, and not far beyond
    assert 0.135 < high < 0.15


def test_a_forest_shades_the_margin_and_shows_zero_wherever_the_data_are(drawn):
    show.forest({"far": [0.5, 0.51, 0.505]}, "gain", margin=0.05)
    (axes,) = drawn
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((-0.05, 0.1))
    low, high = axes.get_xlim()
    assert low < -0.05 < 0 < high
    assert "within 5 of zero" in axes.get_xlabel()
    assert "star" not in axes.get_xlabel()


def test_a_forest_follows_the_margin(drawn):
    assert alt(show.forest({"topics": ROWS["topics"]}, "gain", margin=0.2)).endswith("the same within 20 points.")
    assert [text.get_text() for text in drawn[0].texts] == ["the same within 20 points"]


@pytest.mark.parametrize(
    ("rows", "margin", "said"),
    [({"one": [0.1]}, 0.02, r"got 1 value\(s\); an interval needs at least 2"), (ROWS, 0.0, "got margin=0.0")],
)
def test_a_forest_refuses_what_has_no_interval_or_no_margin(rows, margin, said):
    with pytest.raises(ValueError, match=said):
        show.forest(rows, "gain", margin=margin)


# --- against a size -------------------------------------------------------------------------------------------------

LEADS = {"linear probe": {20: [-0.01, -0.03], 5: [0.04, 0.06]}, "$5_or_$10": {5: [0.0, 0.02]}}


def test_a_lead_curve_says_the_means_of_every_line_from_small_to_large():
    words = alt(show.lead_curve(LEADS, "photos per class", "gain"))
    assert words.startswith("gain in points against photos per class, means with 95 % intervals. ")
    assert words.endswith("linear probe: +5.0 at 5, -2.0 at 20. $5_or_$10: +1.0 at 5.")


def test_a_lead_curve_draws_every_draw_beside_its_size_and_the_margin_around_zero(drawn):
    show.lead_curve(LEADS, "photos per class", "gain", margin=0.05)
    (axes,) = drawn
    dots = [line for line in axes.lines if line.get_marker() == "." and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in dots] == [[0.04, 0.06], [-0.01, -0.03], [0.0, 0.02]]
    assert all(abs(line.get_xdata()[0] / size - 1) < 0.05 for line, size in zip(dots, (5, 20, 5), strict=True))
    assert len({line.get_xdata()[0] for line in dots}) == 3, "two lines stand on one another"
    (band,) = axes.patches
    assert (band.get_y(), band.get_height()) == pytest.approx((-0.05, 0.1))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "20"]
    assert 0 in axes.get_yticks()


def test_a_lead_curve_has_the_look_of_each_method(drawn):
    show.lead_curve(LEADS, "photos per class", "gain")
    colours = {line.get_color() for line in drawn[0].lines if line.get_marker() == "D"}
    assert colours == {"#009E73"}, "linear probe is green with a diamond everywhere"


def test_a_lead_curve_refuses_a_size_with_one_draw():
    with pytest.raises(ValueError, match=r"got 1 value\(s\); an interval needs at least 2"):
        show.lead_curve({"one": {5: [0.1]}}, "photos per class", "gain")
