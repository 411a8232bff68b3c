"""Widgets drawn in the page, worked by mouse or keyboard, with a still picture where no page is live.

An explorer's states are all computed beforehand, and the page draws them without asking Python.
"""

import base64
import io
import itertools
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from transfer_utils.show import drawing

SPRITE_COLUMNS = 16
VIEW = "application/vnd.jupyter.widget-view+json"
Frame = dict[str, Any]


def page_script(name: str) -> str:
    """A widget's script behind the one that all widgets share."""
    pages = Path(__file__).parent / "pages"
    return (pages / "shared.js").read_text(encoding="utf-8") + (pages / name).read_text(encoding="utf-8")


class PageWidget(anywidget.AnyWidget):
    """Controls, each a choice among options, and what the page draws for their positions (`state`)."""

    title = traitlets.Unicode().tag(sync=True)
    token = traitlets.Unicode().tag(sync=True)
    controls: traitlets.List = traitlets.List().tag(sync=True)
    state: traitlets.List = traitlets.List().tag(sync=True)

    @traitlets.default("token")
    def _new_token(self) -> str:
        return secrets.token_hex(8)

    @traitlets.validate("state")
    def _known_state(self, proposal: Any) -> list[int]:
        state, counts = proposal["value"], [len(control["options"]) for control in self.controls]
        known = len(state) == len(counts) and all(0 <= i < n for i, n in zip(state, counts, strict=True))
        if not known:
            limits = ", ".join(f"0 to {len(c['options']) - 1} ({c['label']})" for c in self.controls)
            raise traitlets.TraitError(f"{self.title} has no state {state}; positions go {limits}.")
        return state

    @property
    def chosen(self) -> dict[str, str]:
        """The option that each control shows, by its label."""
        return {c["label"]: c["options"][i] for c, i in zip(self.controls, self.state, strict=True)}

    def sentence(self) -> str:
        """What is shown now, in words."""
        raise NotImplementedError

    def picture(self) -> HTML:
        """What is shown now as a still picture with alt text."""
        raise NotImplementedError

    def still(self) -> dict[str, str]:
        """The picture, and the words beside it, for a page that cannot show the widget."""
        note = "<p><i>A still picture. Run this cell to work the controls.</i></p>"
        return {
            "text/html": f'<div data-still="{self.token}">{self.picture().data}{note}</div>',
            "text/plain": f"{self.title}: {self.sentence()}",
        }

    def _ipython_display_(self, **options: Any) -> None:
        # Two outputs, since a page that is opened again without a kernel shows the best kind of each output only:
        # for the widget that is an error. A live widget hides its picture, by the token.
        display(self.still(), raw=True)
        live, _ = super()._repr_mimebundle_(**options) or ({}, {})
        if VIEW in live:
            display({VIEW: live[VIEW]}, raw=True)


class Explorer(PageWidget):
    """Sliders over stored results: a sentence, a chart with the chosen point or intervals, and rows of photos."""

    _esm = page_script("explorer.js")
    chart = traitlets.Dict().tag(sync=True)
    frames = traitlets.Dict().tag(sync=True)
    sprite = traitlets.Dict().tag(sync=True)

    @property
    def frame(self) -> Frame:
        """What is shown now."""
        return self.frames[",".join(map(str, self.state))]

    def sentence(self) -> str:
        return self.frame["sentence"]

    def picture(self) -> HTML:
        frame, rows, lines = self.frame, self.frame.get("rows", []), self.frame.get("intervals", [])
        heights = [3.2] * bool(self.chart.get("lines")) + [0.4 * len(lines) + 0.8] * bool(lines)
        heights += [0.62 * len(rows) * self.sprite.get("shown", 46) / 46] * bool(rows)
        parts = len(heights)
        figure = Figure((8.5, sum(heights) + 0.5), layout="constrained")
        grid = figure.subplots(parts, 1, height_ratios=heights, squeeze=False)
        chosen = ", ".join(f"{label}: {option}" for label, option in self.chosen.items())
        figure.suptitle(drawing.plain(chosen), fontsize=11)
        if self.chart.get("lines"):
            self._draw_chart(grid[0][0], frame["mark"])
        if lines:
            self._draw_intervals(grid[0][0], lines)
        if rows:
            self._draw_rows(grid[-1][0], rows)
        words = ". ".join(f"{row['label']}: {row['words']}" for row in rows)
        words += ". ".join(f"{i['name']}: {i['mean']:.1%}, {i['low']:.1%} to {i['high']:.1%}" for i in lines)
        return drawing.picture(figure, f"{self.title}. {chosen}. {frame['sentence']} {words}")

    def _colour(self, position: int) -> str:
        """Of a method its own, else the palette's at this position."""
        return self.chart["colours"][position] or drawing.COLOURS[position]

    def _draw_chart(self, axes: Axes, mark: dict[str, int]) -> None:
        for i, line in enumerate(self.chart["lines"]):
            width = 3 if i == mark["line"] else 1.2
            axes.plot(line["mean"], color=self._colour(i), ls=drawing.LINES[i], lw=width, label=line["name"])
        line = self.chart["lines"][mark["line"]]
        axes.fill_between(range(len(line["mean"])), line["low"], line["high"], alpha=0.2, color="gray")
        axes.plot(mark["x"], line["mean"][mark["x"]], "o", ms=10, color=self._colour(mark["line"]), mec="black")
        axes.set(xlabel=self.chart["xlabel"], ylabel=self.chart["ylabel"], ylim=(0, None))
        axes.set_xticks(range(len(self.chart["x"])), self.chart["x"])
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    def _draw_intervals(self, axes: Axes, lines: list[dict[str, Any]]) -> None:
        for i, line in enumerate(lines):
            colour, width = self._colour(self.chart["names"].index(line["name"])), 4 if line["picked"] else 2
            axes.plot([line["low"], line["high"]], [-i, -i], color=colour, lw=width)
            axes.plot(line["mean"], -i, "o", ms=10 if line["picked"] else 7, color=colour, mec="black")
            weight = "bold" if line["picked"] else "normal"
            note = f"  {line['note']}"
            axes.text(1, -i, note, transform=axes.get_yaxis_transform(), va="center", fontsize=9, weight=weight)
        axes.set_yticks([-i for i in range(len(lines))], [line["name"] for line in lines])
        axes.set(
            xlabel=self.chart["xlabel"], xlim=(self.chart["low"], self.chart["high"]), ylim=(-len(lines) + 0.4, 0.6)
        )
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.spines[["top", "right"]].set_visible(False)

    def _draw_rows(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        side, columns = self.sprite["side"], self.sprite["columns"]
        code = self.sprite["url"].partition(",")[2]
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))
        across = max(len(row["tiles"]) for row in rows)
        canvas = np.full((len(rows) * (side + 2), across * (side + 2) + 8, 3), 255, dtype=np.uint8)
        for r, row in enumerate(rows):
            for c, tile in enumerate(row["tiles"]):
                y, x = tile // columns * side, tile % columns * side
                left = c * (side + 2) + 8 * (c >= row["gap"])
                canvas[r * (side + 2) :, left:][:side, :side] = sheet[y : y + side, x : x + side]
                if c in row.get("wrong", []):
                    corner = (left + 0.5, r * (side + 2) + 0.5)
                    axes.add_patch(Rectangle(corner, side - 2, side - 2, fill=False, ec="#D55E00", ls="--", lw=2))
        axes.imshow(canvas)
        axes.set_yticks(
            [(r + 0.5) * (side + 2) for r in range(len(rows))], [drawing.plain(row["label"]) for row in rows]
        )
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def sprite(images: Tensor, shown: int = 46) -> dict[str, Any]:
    """uint8 photos (N, 3, H, W) as one picture for the page, about half a kilobyte a photo of 32 pixels.

    shown: the side in pixels at which the page draws them.
    """
    side = images.shape[-1]
    rows = -(-len(images) // SPRITE_COLUMNS)
    sheet = np.zeros((rows * side, SPRITE_COLUMNS * side, 3), dtype=np.uint8)
    for i, photo in enumerate(images.permute(0, 2, 3, 1).numpy()):
        y, x = i // SPRITE_COLUMNS * side, i % SPRITE_COLUMNS * side
        sheet[y : y + side, x : x + side] = photo
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="webp", quality=75)
    url = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"url": url, "side": side, "columns": SPRITE_COLUMNS, "rows": rows, "shown": shown}


def explore(
    title: str,
    controls: dict[str, Sequence[str]],
    frame: Callable[..., dict[str, Any]],
    chart: dict[str, Any] | None = None,
    images: Tensor | None = None,
    state: Sequence[int] | None = None,
    shown: int = 46,
) -> Explorer:
    """An explorer whose frame(*positions) is called once for every combination of the controls' options.

    controls: {label: options}. frame returns 'sentence', and 'mark' {'line', 'x'} for a chart with lines, 'intervals',
    each {'name', 'mean', 'low', 'high', 'note', 'picked'}, for a chart {'names', 'xlabel', 'low', 'high'}, or 'rows' of
    photos, each {'label', 'words', 'tiles': positions in images, 'gap': tiles before the gap}; shown: the pixels at
    which the page draws a photo's side. ValueError without options.
    """
    for label, options in controls.items():
        if not options:
            raise ValueError(f"explore() got no options for {label!r}; a control needs at least one.")
    names = (chart or {}).get("names") or [line["name"] for line in (chart or {}).get("lines", [])]
    colours = [drawing.METHODS[name].color if name in drawing.METHODS else None for name in names]
    positions = list(itertools.product(*(range(len(options)) for options in controls.values())))
    return Explorer(
        title=title,
        controls=[{"label": label, "options": list(map(str, options))} for label, options in controls.items()],
        frames={",".join(map(str, position)): frame(*position) for position in positions},
        chart={**chart, "colours": colours} if chart else {},
        sprite={} if images is None else sprite(images, shown),
        state=list(state or positions[0]),
    )
