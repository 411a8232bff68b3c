"""Figures: each is an image with alt text that holds the numbers."""

import html
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from transfer_utils import backbones, data, show, stats
from transfer_utils.show import figures

PHOTOS = data.load(split="valid").take(3, seed=0)
ROWS = pd.DataFrame(
    {"method": m, "per_class": n, "seed": s, "test": base + n / 1000 + s / 100}
    for m, base in (("a", 0.3), ("b", 0.5))
    for n in (1, 10)
    for s in range(3)
)


def alt(picture) -> str:
    assert plt.get_fignums() == [], "a figure is in the list that all threads share"
    return re.search(r'<img alt="([^"]*)" src="data:image/png;base64,', picture.data).group(1)


@pytest.fixture
def frozen_network():
    return backbones.freeze(backbones.course_resnet(3), through="stage2")


def test_label_curve_says_its_ends():
    words = alt(show.label_curve(ROWS, mine={"mine": (10, 0.4)}, chance=0.1))
    assert "Accuracy against photos per class" in words
    assert "a: 31% at 1, 32% at 10. b: 51% at 1, 52% at 10." in words


def test_loss_by_rate_says_its_ends_its_lowest_and_the_marks():
    tried = pd.DataFrame({"rate": [1e-4, 1e-3, 1e-2], "loss": [1.1, 0.7, 3.0]})
    words = alt(show.loss_by_rate(tried, {"read off": 5e-4}))
    assert "first, lowest and last: 1.10 at 0.0001, 0.70 at 0.001, 3.00 at 0.01. read off: 0.0005." in words
    assert "read off" not in alt(show.loss_by_rate(tried))


def test_label_curve_over_rates_says_its_ends_and_its_best():
    means = {0.001: 0.5, 0.01: 0.7, 0.03: 0.6, 0.1: 0.1}
    rows = pd.DataFrame(
        {"method": "full", "rate": rate, "seed": s, "test": 0.0, "valid": mean + s / 100}
        for rate, mean in means.items()
        for s in (-1, 0, 1)
    )
    words = alt(show.label_curve(rows, value="valid", x="rate"))
    assert words.startswith("Accuracy against learning rate")
    assert "full: 50% at 0.001, 70% at 0.01, 10% at 0.1." in words


def test_intervals_say_mean_and_interval():
    words = alt(show.intervals({"a": stats.mean_interval([0.4, 0.5, 0.6])}, "accuracy", {"a": 0.5}))
    assert "a: 50.0% [25.2%, 74.8%] over 3 seeds" in words


def test_history_says_where_it_ended():
    rows = pd.DataFrame({"epoch": [1, 2], "train": [0.5, 0.75], "valid": [0.4, 0.5]})
    assert "At the end: train 75%, valid 50%" in alt(show.history(rows))


def test_network_says_what_is_frozen(frozen_network):
    words = alt(show.network(frozen_network))
    assert "stage2 is frozen, stage3 trains, head trains" in words
    assert "pool" not in words


def test_draw_network_labels_boxes_and_says_what_trains():
    axes = Figure().subplots()
    words = figures.draw_network(axes, [("stem", 928, False), ("late", 1_234_567, True)])
    assert words == "stem is frozen, late trains"
    assert {"stem", "0.9 k", "late", "1.23 M"} <= {text.get_text() for text in axes.texts}
    assert [box.get_linestyle() for box in axes.patches] == ["--", "-"]


def test_grid_says_every_mean_with_half_its_interval():
    made = [("full", "clean", 0.5), ("full", "noise", 0.25), ("scratch", "clean", 0.375), ("scratch", "noise", 0.125)]
    values = {(row, column): stats.Interval(mean, mean - 0.05, mean + 0.05, 5) for row, column, mean in made}
    expected = (
        "accuracy. full, clean: 50.0% ± 5.0; full, noise: 25.0% ± 5.0; "
        "scratch, clean: 37.5% ± 5.0; scratch, noise: 12.5% ± 5.0."
    )
    assert alt(show.grid(values, "accuracy")) == expected


def test_grid_of_one_row():
    assert "full, clean: 50.0%" in alt(show.grid({("full", "clean"): stats.mean_interval([0.4, 0.6])}, "accuracy"))


GAINS = {
    ("both", "5"): stats.Interval(0.082, 0.061, 0.103, 5),
    ("both", "20"): stats.Interval(0.004, -0.006, 0.014, 5),
    ("vehicles", "5"): stats.Interval(-0.031, -0.05, -0.012, 5),
    ("vehicles", "20"): stats.Interval(-0.002, -0.012, 0.008, 5),
}


def test_grid_of_gains_has_signs_and_brackets_where_the_interval_holds_zero():
    expected = "gain. both, 5: +8.2 ± 2.1; both, 20: (+0.4 ± 1.0); vehicles, 5: -3.1 ± 1.9; vehicles, 20: (-0.2 ± 1.0)."
    assert alt(show.grid(GAINS, "gain", gains=True)) == expected


def test_grid_of_gains_colours_only_what_can_be_told(monkeypatch):
    """And shows in its cells what its alt text says."""
    drawn = []
    monkeypatch.setattr(figures, "picture", lambda figure, words: drawn.append((figure, words)))
    show.grid(GAINS, "gain", gains=True)
    ((figure, words),) = drawn
    (axes,) = figure.axes
    cells = [text.get_text() for text in axes.texts]
    assert cells == ["+8.2 ± 2.1", "(+0.4 ± 1.0)", "-3.1 ± 1.9", "(-0.2 ± 1.0)"]
    assert all(cell in words for cell in cells)
    (image,) = axes.images
    (most, untold), (hurts, also_untold) = image.get_array()
    assert untold == also_untold == 0
    assert 0 < -hurts < most < 1
    assert image.norm.vmin == -image.norm.vmax  # zero is the colourless middle


def test_grid_of_gains_without_any_gain(recwarn):
    values = {("both", "5"): stats.Interval(0.0, 0.0, 0.0, 5)}
    assert alt(show.grid(values, "gain", gains=True)) == "gain. both, 5: (+0.0 ± 0.0)."
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_tradeoff_names_the_front_cheapest_first():
    made = {"full": (12.3456, 0.8), "probe": (0.01, 0.5), "longer": (60.0, 0.7), "last stage": (5.0, 0.75)}
    points = {n: (cost, stats.Interval(mean, mean - 0.02, mean + 0.02, 5)) for n, (cost, mean) in made.items()}
    words = alt(show.tradeoff(points, "TFLOPs"))
    assert words.startswith("Accuracy against TFLOPs. full: 80.0% [78.0%, 82.0%] over 5 seeds at 12.3. probe: 50.0%")
    assert words.endswith(" No other mark beats: probe, last stage, full.")


def test_tradeoff_draws_its_line_along_the_front(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "picture", lambda figure, words: drawn.append(figure))
    made = {"full": (12, 0.8), "probe": (0.01, 0.5), "longer": (60, 0.7)}
    show.tradeoff({n: (cost, stats.Interval(mean, mean, mean, 5)) for n, (cost, mean) in made.items()}, "TFLOPs")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    assert [[0.01, 0.5], [12, 0.8]] in [line.get_xydata().tolist() for line in axes.lines]


def test_photos_names_the_classes():
    assert "airplane" in alt(show.photos(PHOTOS, per_class=2))


def test_alt_text_is_escaped():
    assert 'alt="a &quot;quoted&quot; &lt;word&gt;"' in figures.picture(Figure(), 'a "quoted" <word>').data


def test_embeddings():
    points = {"before": torch.rand(30, 2), "after": torch.rand(30, 2)}
    assert alt(show.embeddings(points, PHOTOS.labels, PHOTOS.classes, "points")) == "points"


NO_FORMULA = "$5_or_$10"  # between its dollars matplotlib would look for a formula, and fail


def test_names_with_dollars_are_drawn_as_they_stand():
    photos = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    values = {NO_FORMULA: stats.share_interval(1, 2)}
    for shown in (show.photo_rows([(NO_FORMULA, photos)], NO_FORMULA), show.intervals(values, "share")):
        assert NO_FORMULA in html.unescape(shown.data)
