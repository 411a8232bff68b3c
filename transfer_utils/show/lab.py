"""A widget that trains: on release of a control it starts a run, and the page asks for one slice of work at a time.

A new move can therefore cancel a run between two slices, also where updates from threads of ours would never reach the
page. JupyterLab delivers the page's messages in another thread than cells, older kernels between two cells: so a job
draws from generators of its own.
"""

import time
from collections.abc import Callable, Generator
from enum import StrEnum, auto
from typing import Any

import pandas as pd
import traitlets
from IPython.display import HTML
from matplotlib.figure import Figure

from transfer_utils.show import drawing, figures
from transfer_utils.show.widgets import Frame, PageWidget, page_script

KEPT_AT_MOST = 12  # finished runs in the table of a lab; the oldest that nobody keeps makes room
SLICE = 0.08  # seconds of training between two looks at the page


class Status(StrEnum):
    """What a lab is doing, or how its last run ended."""

    TRAINING = auto()
    FINISHED = auto()
    INTERRUPTED = auto()
    FAILED = auto()


class Lab(PageWidget):
    """Controls that start a training run, curves that grow while it runs, and a table of finished runs.

    job(state) -> a generator of frames: dicts with 'epoch', 'epochs', 'train', 'valid' (curves), 'step_ms' and
    'seconds'. summary(state, frame) -> what the table says of a finished run, under the keys of `columns`.
    facts: what the page shows at once for each position of the control 'through'.
    """

    _esm = page_script("lab.js")
    stages: traitlets.List = traitlets.List().tag(sync=True)
    facts: traitlets.List = traitlets.List().tag(sync=True)
    columns: traitlets.List = traitlets.List().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    batch = traitlets.Int().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    run = traitlets.Int(0).tag(sync=True)
    runs: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(self, job: Callable[[list[int]], Generator[Frame]], summary: Callable[..., Frame], **traits: Any):
        super().__init__(**traits)
        self.job, self.summary = job, summary
        self._work: Generator[Frame] | None = None
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
            self.frame = {"status": Status.TRAINING, "said": "Training."}

    def step(self) -> None:
        """Work for one slice, then publish one frame. An error ends the run and is told in the frame."""
        if self._work is None:
            return
        latest, status, said, end = self.frame, Status.TRAINING, "Training.", time.monotonic() + SLICE
        try:
            for frame in self._work:
                latest = frame
                if time.monotonic() > end:
                    break
            else:
                status, said = Status.FINISHED, f"Finished: {latest['valid'][-1]:.1%} of the valid photos."
        except KeyboardInterrupt:
            status, said = Status.INTERRUPTED, "Stopped by an interrupt. Move a control to start again."
        except Exception as error:
            status, said = Status.FAILED, f"The run stopped with {type(error).__name__}: {error}"
        self._publish({**latest, "status": status, "said": said})

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
            if frame["status"] is Status.FINISHED:
                self._finished += 1
                run = {"number": self._finished, "kept": False, **self.summary(list(self.state), frame)}
                self.runs = self._with_room(self.runs) + [run]
            if frame["status"] is not Status.TRAINING:
                self._drop()
                self.busy = False

    def _drop(self) -> None:
        if self._work is not None:
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
        figure = Figure((8.5, 5), layout="constrained")
        grid = figure.subplot_mosaic("nn;cp", height_ratios=[1.3, 3])
        words = figures.draw_network(grid["n"], boxes)
        for i, (key, name) in enumerate({"train": "photos it trains on", "valid": "valid photos"}.items()):
            curve = self.frame.get(key, [])
            epochs = range(self.frame.get("epoch", 0) - len(curve) + 1, self.frame.get("epoch", 0) + 1)
            grid["c"].plot(epochs, curve, color=drawing.COLOURS[1 - i], ls=drawing.LINES[1 - i], marker=".", label=name)
        grid["c"].set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
        grid["c"].legend(frameon=False, fontsize=9)
        for run in self.runs:
            grid["p"].plot(run["trainable"], run["accuracy"], "o", color=drawing.COLOURS[0])
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
        return drawing.picture(figure, f"{self.title}. {words}. {self.sentence()}")
