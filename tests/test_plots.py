"""Figures: each is an image with alt text that holds the numbers."""

import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from transfer_utils import backbones, data, freezing, plots, stats

PHOTOS = data.load(split="valid").take(3, seed=0)
ROWS = pd.DataFrame(
    {"method": m, "per_class": n, "seed": s, "test": base + n / 1000 + s / 100}
    for m, base in (("a", 0.3), ("b", 0.5))
    for n in (1, 10)
    for s in range(3)
)


def alt(picture) -> str:
    assert plt.get_fignums() == [], "a figure was left open"
    return re.search(r'<img alt="([^"]*)" src="data:image/png;base64,', picture.data).group(1)


@pytest.fixture
def frozen_network():
    return freezing.freeze(backbones.course_resnet(3), through="stage2")


def test_label_curve_says_its_ends():
    words = alt(plots.label_curve(ROWS, mine={"mine": (10, 0.4)}, chance=0.1))
    assert "a: 31% with 1 photos per class, 32% with 10" in words
    assert "b: 51% with 1" in words


def test_intervals_say_mean_and_interval():
    words = alt(plots.intervals({"a": stats.mean_interval([0.4, 0.5, 0.6])}, "accuracy", {"a": 0.5}))
    assert "a: 50.0% [25.2%, 74.8%] over 3 seeds" in words


def test_history_says_where_it_ended():
    rows = pd.DataFrame({"epoch": [1, 2], "train": [0.5, 0.75], "valid": [0.4, 0.5]})
    assert "At the end: train 75%, valid 50%" in alt(plots.history(rows))


def test_network_says_what_is_frozen(frozen_network):
    words = alt(plots.network(frozen_network))
    assert "stage2 is frozen, stage3 trains, head trains" in words
    assert "pool" not in words


def test_photos_names_the_classes():
    assert "airplane" in alt(plots.photos(PHOTOS, per_class=2))


def test_alt_text_is_escaped():
    figure, _ = plt.subplots()
    assert 'alt="a &quot;quoted&quot; &lt;word&gt;"' in plots.picture(figure, 'a "quoted" <word>').data


def test_maps_and_embeddings():
    assert (
        alt(plots.maps(PHOTOS.images[0], {"stem": torch.rand(3, 8, 8), "late": torch.rand(2, 4, 4)}, "maps")) == "maps"
    )
    points = {"before": torch.rand(30, 2), "after": torch.rand(30, 2)}
    assert alt(plots.embeddings(points, PHOTOS.labels, PHOTOS.classes, "points")) == "points"
