"""One look for each method, in every figure."""

import re

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from transfer_utils import show, stats
from transfer_utils.show import drawing, figures


def test_a_method_looks_the_same_whatever_stands_beside_it():
    first, other = drawing.looks(["full", "scratch"]), drawing.looks(["last stage", "scratch", "full"])
    assert first["full"] == other["full"]
    assert first["scratch"] == other["scratch"]


def test_other_names_take_what_is_left_of_the_palette_in_order():
    found = drawing.looks(["stem", "word counts", "stage1"])
    assert found["word counts"].color == drawing.COLOURS[0]
    assert [found[name].color for name in ("stem", "stage1")] == list(drawing.COLOURS[1:3])
    assert [look.color for look in drawing.looks(["stem", "stage1"]).values()] == list(drawing.COLOURS[:2])


def test_methods_are_told_apart_and_twins_share_a_colour():
    looks = drawing.METHODS
    assert len({look.marker for look in looks.values()}) == len(looks)
    twins = {
        name: re.sub(r"(, | until ).*", "", name) for name in looks if re.search("longer|epochs|flat|weights", name)
    }
    assert len(twins) == 5
    assert all(looks[name].color == looks[twin].color for name, twin in twins.items())
    assert len({look.color for look in looks.values()}) == len(looks) - len(twins)


@pytest.mark.parametrize("lesson", ["lesson00", "lesson01", "lesson03", "lesson04", "lesson05", "lesson08"])
def test_a_method_has_one_name_and_what_a_variant_varies_has_a_look(lesson):
    """A name is one of METHODS, or one of them and what is different, behind a comma or a preposition."""
    names = stats.results(lesson)["method"].unique()
    assert len(names) > 2
    for name in names:
        of = re.sub(r"^MiniLM, ", "", name)
        assert of in drawing.METHODS or re.sub(r"(,| at ).*", "", of) in drawing.METHODS, name


@pytest.mark.parametrize("look", drawing.METHODS.values(), ids=drawing.METHODS)
def test_a_look_can_be_drawn(look):
    to_rgb(look.color)
    assert look.marker in matplotlib.markers.MarkerStyle.markers
    Figure().subplots().plot([0, 1], **look._asdict())


def test_figures_draw_methods_in_their_own_colours(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "picture", lambda figure, _: drawn.append(figure))
    spread = stats.mean_interval([0.4, 0.5, 0.6])
    show.intervals({"full": spread, "scratch": spread}, "accuracy")
    show.tradeoff({"scratch": (1, spread), "full": (2, spread)}, "cost")
    for figure in drawn:
        colours = [bars[0].get_color() for bars in figure.axes[0].containers]
        assert set(colours) == {drawing.METHODS[name].color for name in ("full", "scratch")}
