"""What every figure is made with: a palette, alt text, and one look for each method through the whole course.

They are plain Figures: those of pyplot stand in a list that cells and widgets, in their two threads, would share.
"""

import base64
import html
import io
from collections.abc import Iterable
from typing import Any, NamedTuple

from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), each colour with a marker and a line of its own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F", "#8C564B", "#BCBD22")
MARKERS = "osD^vP*Xph"
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)), (0, (2, 2)), (0, (9, 1, 1, 1)))


class Look(NamedTuple):
    """How a line, or a mark, is drawn."""

    color: str
    marker: str
    ls: Any


# Ways to learn a task, the same in every figure. What trains longer, or starts from random weights, has the colour of
# its twin.
METHODS: dict[str, Look] = {
    "scratch": Look("#767676", "o", LINES[0]),
    "scratch, longer": Look("#767676", "P", LINES[4]),
    "scratch, 10x epochs": Look("#767676", "x", LINES[6]),
    "scratch until flat": Look("#767676", "H", LINES[9]),
    "linear probe": Look(COLOURS[2], "D", LINES[2]),
    "linear probe, random weights": Look(COLOURS[2], "8", LINES[8]),
    "head only": Look(COLOURS[4], "v", LINES[3]),
    "last stage": Look(COLOURS[3], "^", LINES[5]),
    "gradual unfreezing": Look(COLOURS[8], "X", LINES[6]),
    "head, then full": Look(COLOURS[5], "h", LINES[7]),
    "full": Look(COLOURS[1], "s", LINES[1]),
    "full, longer": Look(COLOURS[1], "*", LINES[4]),
    "full, head 10x": Look("#9B8816", "p", LINES[8]),
    "recipe": Look(COLOURS[6], ">", LINES[5]),
    "LoRA": Look(COLOURS[9], "d", LINES[9]),
    "word counts": Look(COLOURS[0], "<", LINES[3]),
}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """How each of these is drawn: a method as everywhere, what is none in colours that are left, in their order."""
    found = {name: METHODS.get(name) for name in names}
    taken = {look[part] for look in found.values() if look for part in (0, 1)}
    colours, markers = ([each for each in palette if each not in taken] for palette in (COLOURS, MARKERS))
    others = map(Look, colours, markers, LINES)
    return {name: look or next(others) for name, look in found.items()}


def picture(figure: Figure, alt: str) -> HTML:
    """The figure as an <img> with alt text, which JupyterLab, Colab and web pages all keep."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90, bbox_inches="tight", facecolor="white")
    # A palette of 256 colours cuts a page of photos to a third; committed notebooks stay small.
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    code = base64.b64encode(small.getvalue()).decode()
    return HTML(f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{code}">')


def plain(name: str) -> str:
    """A name as it stands: between two dollars matplotlib would see a formula, and fail at one that it cannot read."""
    return name.replace("$", r"\$")


def new_axes(width: float = 7, height: float = 4, **names: str) -> tuple[Figure, Axes]:
    figure = Figure((width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(**names)
    return figure, axes
