"""One look for each method, in every figure."""

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from transfer_utils import show, stats
from transfer_utils.course import grid
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


def test_methods_are_told_apart_and_their_other_names_are_not():
    assert drawing.METHODS["probe"] == drawing.METHODS["frozen"] == drawing.METHODS["linear probe"]
    found = set(drawing.METHODS.values())
    assert len({look.marker for look in found}) == len(found) == len(drawing.METHODS) - 3
    twins = [name for name in drawing.METHODS if name.endswith(", longer")]
    assert all(drawing.METHODS[name].color == drawing.METHODS[name.removesuffix(", longer")].color for name in twins)
    assert len({look.color for look in found}) == len(found) - len(twins)


def test_every_method_that_a_lesson_compares_has_a_look():
    assert {"scratch", "linear probe", "last stage", "full", "full, head 10x"} <= set(drawing.METHODS)
    assert set(drawing.METHODS) & set(grid.METHODS)


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
