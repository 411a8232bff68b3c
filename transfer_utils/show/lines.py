"""A line of English that the learner types, what it is about, and the lines that are most like it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from transfer_utils import training
from transfer_utils.backbones import PAD, TextModel, unwrapped
from transfer_utils.data import TextSet
from transfer_utils.machine import is_whole
from transfer_utils.show import drawing
from transfer_utils.show.widgets import Frame, PageWidget, page_script
from transfer_utils.training import Probe

MOST_TYPED = 300  # characters of a line that are sent: about as many as 64 tokens hold
NEIGHBOURS = 5


class LineReader(PageWidget):
    """A field for a line, the probability of each topic with few labels or many, and the most alike known lines.

    The page gives each question a number, and shows the answer to its last one alone. Answers hold what every head
    says, so that the page needs no Python to move from one to another.
    """

    _esm = page_script("lines.js")
    frame = traitlets.Dict().tag(sync=True)
    problem = traitlets.Dict().tag(sync=True)
    examples: traitlets.List = traitlets.List().tag(sync=True)
    most = traitlets.Int(MOST_TYPED).tag(sync=True)

    def __init__(self, model: TextModel, known: TextSet, heads: Mapping[int, Probe], size: int, lines: Sequence[str]):
        """known: the labelled lines to find neighbours in. heads: labels per topic to a probe on training.extract's
        features. size: tokens of a line that are read. lines: examples; the first is answered at once.

        ValueError without heads or lines, and for a head of other topics or features; otherwise errors as in
        training.extract.
        """
        self._bank = training.extract(model, known, size)
        _check(known, heads, lines, self._bank.shape[1])
        self.model: Any = unwrapped(model)
        self.known, self.size = known, size
        self.heads = {labels: heads[labels].linear().requires_grad_(False) for labels in sorted(heads)}
        super().__init__(
            title="Ask about a line",
            controls=[{"label": "labels per topic", "options": list(map(str, self.heads))}],
            state=[len(self.heads) - 1],
            examples=list(lines),
            frame={**self.read(lines[0]), "number": 0},
        )
        self.on_msg(lambda _, message, __: self._take(message))

    def read(self, line: str) -> Frame:
        """What each head says about a line, and its neighbours. ValueError for a line without anything in it."""
        line = line[:MOST_TYPED].strip()
        if not line:
            raise ValueError("it is empty. Type a line of English, or choose an example.")
        tokens = self.model.encode([line], self.size)
        backbone, _ = self.model.split(after=self.model.stages[-2])
        found = training.run_network(self.model, backbone, tokens, self.size)
        shares = {labels: head(found)[0].softmax(0).tolist() for labels, head in self.heads.items()}
        cut = f"The network reads {self.size} tokens; what follows changes nothing."
        return {
            "line": line,
            "answers": [self._answer(labels, values) for labels, values in shares.items()],
            "change": self._change(shares),
            "note": cut if (tokens != PAD).all() else "",
            "neighbours": [self._named(i) for i in self._nearest(line, found)],
        }

    def _answer(self, labels: int, shares: list[float]) -> Frame:
        name, share = self._best(shares)
        return {
            "sentence": f"With {labels} labels per topic: {name}, with a probability of {share:.0%}.",
            "shares": [[name, round(share, 4)] for name, share in zip(self.known.classes, shares, strict=True)],
        }

    def _change(self, shares: dict[int, list[float]]) -> str:
        """How the answer changes with labels."""
        best = {labels: self._best(values) for labels, values in shares.items()}
        return "With " + "; with ".join(f"{labels}: {name} {share:.0%}" for labels, (name, share) in best.items()) + "."

    def _best(self, shares: list[float]) -> tuple[str, float]:
        return max(zip(self.known.classes, shares, strict=True), key=lambda pair: pair[1])

    def _nearest(self, line: str, found: Tensor) -> list[int]:
        """The positions of the most alike known lines, without those that are this very line."""
        others = torch.tensor([i for i, text in enumerate(self.known.texts) if text != line], dtype=torch.int64)
        if not len(others):
            return []
        bank = torch.cat([self._bank[others], found])
        near = training.nearest(bank, [len(others)], min(NEIGHBOURS, len(others)))
        return others[near[0]].tolist()

    def _named(self, position: int) -> tuple[str, int, str]:
        """A known line, its label, and the name of that."""
        label = int(self.known.labels[position])
        return self.known.texts[position], label, self.known.classes[label]

    def _take(self, message: Frame) -> None:
        if message.get("act") != "read":
            return
        number = message.get("number")
        try:
            self.frame = {**self.read(message["line"]), "number": number}
        except Exception as error:  # the page must hear of it: a callback's error reaches nobody
            self.problem = {"number": number, "said": f"No answer: {error}"}

    @property
    def answer(self) -> Frame:
        """What the chosen head says about the last line that was answered."""
        return self.frame["answers"][self.state[0]]

    def sentence(self) -> str:
        return f"{self.frame['line']}. {self.answer['sentence']} {self.frame['change']}"

    def picture(self) -> HTML:
        figure = Figure((9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
        said = f"{textwrap.fill(self.frame['line'], 110)}\n{self.answer['sentence']}"
        figure.suptitle(drawing.plain(said), fontsize=10)
        self._draw_shares(left)
        self._draw_neighbours(right)
        near = "; ".join(f"{name}: {line}" for line, _, name in self.frame["neighbours"])
        return drawing.picture(figure, f"{self.title}. {self.sentence()} Most alike: {near}.")

    def _draw_shares(self, axes: Axes) -> None:
        names, shares = zip(*self.answer["shares"], strict=True)
        axes.barh(range(len(names)), shares, color=drawing.COLOURS)
        axes.set_yticks(range(len(names)), list(map(drawing.plain, names)))
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="probability")
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.spines[["top", "right"]].set_visible(False)

    def _draw_neighbours(self, axes: Axes) -> None:
        axes.set_title("most alike labelled lines", fontsize=10, loc="left")
        for i, (line, label, name) in enumerate(self.frame["neighbours"]):
            words = textwrap.fill(textwrap.shorten(f"{name}: {line}", 110), 58)
            axes.plot(0, -i, drawing.MARKERS[label], color=drawing.COLOURS[label], ms=8)
            axes.text(0.04, -i, drawing.plain(words), va="center", fontsize=9)
        axes.set(xlim=(-0.03, 1), ylim=(0.5 - NEIGHBOURS, 0.5))
        axes.set_axis_off()


def _check(known: TextSet, heads: Any, lines: Any, width: int) -> None:
    """Refuse heads and lines that cannot be asked. width: of the features that heads read. ValueError."""
    if not _are_heads(heads) or not _are_lines(lines):
        told = (
            f"heads at {list(heads)} labels" if isinstance(heads, Mapping) else f"heads of type {type(heads).__name__}"
        )
        raise ValueError(
            f"LineReader() got {told} and the lines {lines!r}; it needs at least one head, "
            "{labels per topic: probe}, as linear_probe() gives them, and a list of lines to start with, none of them "
            "empty."
        )
    topics = len(known.classes)
    for labels, probe in heads.items():
        reads, tells = probe.weight.shape
        if tells != topics:
            raise ValueError(
                f"LineReader() got a head for {tells} topics at {labels} labels, and the known lines "
                f"have {topics}: {', '.join(known.classes)}. Fit it on lines of all of them, in this order."
            )
        if reads != width:
            raise ValueError(
                f"LineReader() got a head at {labels} labels that reads {reads} features, and the network gives "
                f"{width}. Fit it on extract(model, lines, size) of this very model."
            )


def _are_heads(heads: Any) -> bool:
    known = isinstance(heads, Mapping) and all(is_whole(labels, 1) for labels in heads)
    return known and bool(heads) and all(isinstance(probe, Probe) for probe in heads.values())


def _are_lines(lines: Any) -> bool:
    known = isinstance(lines, Sequence) and not isinstance(lines, str)
    return known and bool(lines) and all(isinstance(line, str) and line.strip() for line in lines)
