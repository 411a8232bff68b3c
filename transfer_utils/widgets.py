"""Widgets drawn in the page, worked by mouse or keyboard, with a still picture where no page is live.

An explorer's states are all computed beforehand, and the page draws them without asking Python. A lab trains: on
release of a control it starts a run, and the page asks for one slice of work after the other, so that a new move can
cancel it. No threads, so no races; and it works where updates from threads never reach the page.
"""

import base64
import io
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import traitlets
from IPython.display import HTML
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from transfer_utils import plots
from transfer_utils.device import spare_core

SPRITE_COLUMNS = 16
KEPT_AT_MOST = 12  # finished runs in the table of a lab; the oldest that nobody keeps makes room
SLICE = 0.08  # seconds of training between two looks at the page
TRAINING = "Training."

Frame = dict[str, Any]


def _script(name: str) -> str:
    pages = Path(__file__).parent / "pages"
    return (pages / "shared.js").read_text() + (pages / name).read_text()


class PageWidget(anywidget.AnyWidget):
    """Controls, each a choice among options, and what the page draws for their positions (`state`)."""

    title = traitlets.Unicode().tag(sync=True)
    controls: traitlets.List = traitlets.List().tag(sync=True)
    state: traitlets.List = traitlets.List().tag(sync=True)

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

    def _repr_mimebundle_(self, **options):
        still = {"text/plain": f"{self.title}: {self.sentence()}", "text/html": self.picture().data}
        live, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**live, **still}, metadata


class Explorer(PageWidget):
    """Sliders over stored results: a sentence, a chart with the chosen point, and rows of photos."""

    _esm = _script("explorer.js")
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
        frame, rows = self.frame, self.frame.get("rows", [])
        parts = bool(self.chart.get("lines")) + bool(rows)
        heights = [3.2] * bool(self.chart.get("lines")) + [0.62 * len(rows)] * bool(rows)
        figure, grid = plt.subplots(
            parts, 1, figsize=(8.5, sum(heights) + 0.5), height_ratios=heights, squeeze=False, layout="constrained"
        )
        chosen = ", ".join(f"{label}: {option}" for label, option in self.chosen.items())
        figure.suptitle(chosen, fontsize=11)
        if self.chart.get("lines"):
            self._draw_chart(grid[0][0], frame["mark"])
        if rows:
            self._draw_rows(grid[-1][0], rows)
        words = ". ".join(f"{row['label']}: {row['words']}" for row in rows)
        return plots.picture(figure, f"{self.title}. {chosen}. {frame['sentence']} {words}")

    def _draw_chart(self, axes, mark: dict[str, int]) -> None:
        for i, line in enumerate(self.chart["lines"]):
            width = 3 if i == mark["line"] else 1.2
            axes.plot(line["mean"], color=plots.COLOURS[i], ls=plots.LINES[i], lw=width, label=line["name"])
        line = self.chart["lines"][mark["line"]]
        axes.fill_between(range(len(line["mean"])), line["low"], line["high"], alpha=0.2, color="gray")
        axes.plot(mark["x"], line["mean"][mark["x"]], "o", ms=10, color=plots.COLOURS[mark["line"]], mec="black")
        axes.set(xlabel=self.chart["xlabel"], ylabel=self.chart["ylabel"], ylim=(0, None))
        axes.set_xticks(range(len(self.chart["x"])), self.chart["x"])
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    def _draw_rows(self, axes, rows: list[dict[str, Any]]) -> None:
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
        axes.set_yticks([(r + 0.5) * (side + 2) for r in range(len(rows))], [row["label"] for row in rows])
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


class Lab(PageWidget):
    """Controls that start a training run, curves that grow while it runs, and a table of finished runs.

    job(state) -> an iterator of frames: dicts with 'epoch', 'epochs', 'train', 'valid' (curves), 'step_ms' and
    'seconds'. summary(state, frame) -> what the table says of a finished run, under the keys of `columns`.
    facts: what the page shows at once for each position of the control 'through'.
    """

    _esm = _script("lab.js")
    stages: traitlets.List = traitlets.List().tag(sync=True)
    facts: traitlets.List = traitlets.List().tag(sync=True)
    columns: traitlets.List = traitlets.List().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    batch = traitlets.Int().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    run = traitlets.Int(0).tag(sync=True)
    runs: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(self, job: Callable[[list[int]], Iterator[Frame]], summary: Callable[..., Frame], **traits: Any):
        super().__init__(**traits)
        self.job, self.summary = job, summary
        self._work: Iterator[Frame] | None = None
        self._answers = self._finished = 0
        self.observe(lambda _: self.start(), "state")
        self.on_msg(lambda _, message, __: self._answer(message))

    def start(self) -> None:
        """Begin a run with the present setting; one that is under way is dropped. Work starts with step()."""
        self._drop()
        self._work = self.job(list(self.state))
        with self.hold_sync():
            self.run += 1
            self.busy = True
            self.frame = {"status": TRAINING}

    def step(self) -> None:
        """Work for one slice, then publish one frame. An error ends the run and is told in the frame."""
        if self._work is None:
            return
        latest, status, failed, end = self.frame, TRAINING, False, time.monotonic() + SLICE
        try:
            with spare_core():
                for frame in self._work:
                    latest = frame
                    if time.monotonic() > end:
                        break
                else:
                    status = f"Finished: {latest['valid'][-1]:.1%} of the valid photos."
        except KeyboardInterrupt:
            status = "Stopped by an interrupt. Move a control to start again."
        except Exception as error:
            status, failed = f"The run stopped with {type(error).__name__}: {error}", True
        self._publish({**latest, "status": status, "error": failed})

    def finish(self) -> "Lab":
        """Run to the end without a page."""
        while self._work is not None:
            self.step()
        return self

    def table(self) -> pd.DataFrame:
        """The finished runs, one row each."""
        return pd.DataFrame([{key: run[key] for key, *_ in self.columns} for run in self.runs])

    def keep(self, number: int) -> None:
        """Keep a finished run in the table, or let it go again when it was kept."""
        self.runs = [{**run, "kept": run["kept"] != (run["number"] == number)} for run in self.runs]

    def remove(self, number: int) -> None:
        """Take a finished run out of the table."""
        self.runs = [run for run in self.runs if run["number"] != number]

    def _answer(self, message: Any) -> None:
        if message.get("act") == "step" and message.get("run") == self.run:
            self.step()
        elif message.get("act") in ("keep", "remove"):
            getattr(self, message["act"])(message.get("number"))

    def _publish(self, frame: Frame) -> None:
        self._answers += 1  # the page waits for a frame that differs from the last
        with self.hold_sync():
            self.frame = {**frame, "answer": self._answers}
            if frame["status"].startswith("Finished"):
                self._finished += 1
                run = {"number": self._finished, "kept": False, **self.summary(list(self.state), frame)}
                self.runs = self._with_room(self.runs) + [run]
            if frame["status"] != TRAINING:
                self._drop()
                self.busy = False

    def _drop(self) -> None:
        if self._work is not None and hasattr(self._work, "close"):
            self._work.close()
        self._work = None

    @staticmethod
    def _with_room(runs: list[Frame]) -> list[Frame]:
        loose = [run["number"] for run in runs if not run["kept"]]
        return [run for run in runs if len(runs) < KEPT_AT_MOST or not loose or run["number"] != loose[0]]

    def sentence(self) -> str:
        if not self.runs:
            return "no run has finished yet."
        last = self.runs[-1]
        chosen = ", ".join(f"{label}: {option}" for label, option in self.chosen.items())
        return f"{chosen}. Run {last['number']}: {last['accuracy']:.1%} of the valid photos after {last['seconds']} s."

    def picture(self) -> HTML:
        frozen = self.state[[control["key"] for control in self.controls].index("through")]
        boxes = [(stage["name"], stage["parameters"], i >= frozen) for i, stage in enumerate(self.stages)]
        figure, grid = plt.subplot_mosaic("nn;cp", figsize=(8.5, 5), height_ratios=[1.3, 3], layout="constrained")
        words = plots.draw_network(grid["n"], boxes)
        for i, (key, name) in enumerate({"train": "photos it trains on", "valid": "valid photos"}.items()):
            curve = self.frame.get(key, [])
            epochs = range(self.frame.get("epoch", 0) - len(curve) + 1, self.frame.get("epoch", 0) + 1)
            grid["c"].plot(epochs, curve, color=plots.COLOURS[1 - i], ls=plots.LINES[1 - i], marker=".", label=name)
        grid["c"].set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
        grid["c"].legend(frameon=False, fontsize=9)
        for run in self.runs:
            grid["p"].plot(run["trainable"], run["accuracy"], "o", color=plots.COLOURS[0])
            grid["p"].annotate(
                str(run["number"]), (run["trainable"], run["accuracy"]), (6, -3), textcoords="offset points"
            )
        grid["p"].set(
            xlabel="trainable parameters (log scale)",
            ylabel="valid accuracy",
            xscale="log",
            xlim=(1e2, 3e6),
            ylim=(0, 1.02),
        )
        for axes in (grid["c"], grid["p"]):
            axes.yaxis.set_major_formatter("{x:.0%}")
            axes.spines[["top", "right"]].set_visible(False)
        return plots.picture(figure, f"{self.title}. {words}. {self.sentence()}")


def sprite(images: Tensor) -> dict[str, Any]:
    """uint8 photos (N, 3, H, W) as one picture for the page, about half a kilobyte a photo of 32 pixels."""
    side = images.shape[-1]
    rows = -(-len(images) // SPRITE_COLUMNS)
    sheet = np.zeros((rows * side, SPRITE_COLUMNS * side, 3), dtype=np.uint8)
    for i, photo in enumerate(images.permute(0, 2, 3, 1).numpy()):
        y, x = i // SPRITE_COLUMNS * side, i % SPRITE_COLUMNS * side
        sheet[y : y + side, x : x + side] = photo
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="webp", quality=75)
    url = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"url": url, "side": side, "columns": SPRITE_COLUMNS, "rows": rows}


def explore(
    title: str,
    controls: dict[str, Sequence[str]],
    frame: Callable[..., dict[str, Any]],
    chart: dict[str, Any] | None = None,
    images: Tensor | None = None,
    state: Sequence[int] | None = None,
) -> Explorer:
    """An explorer whose frame(*positions) is called once for every combination of the controls' options.

    controls: {label: options}. frame returns 'sentence', and 'mark' {'line', 'x'} for a chart or 'rows' of photos,
    each {'label', 'words', 'tiles': positions in images, 'gap': tiles before the gap}. ValueError without options.
    """
    for label, options in controls.items():
        if not options:
            raise ValueError(f"explore() got no options for {label!r}; a control needs at least one.")
    positions = list(itertools.product(*(range(len(options)) for options in controls.values())))
    return Explorer(
        title=title,
        controls=[{"label": label, "options": list(map(str, options))} for label, options in controls.items()],
        frames={",".join(map(str, position)): frame(*position) for position in positions},
        chart=chart or {},
        sprite={} if images is None else sprite(images),
        state=list(state or positions[0]),
    )
