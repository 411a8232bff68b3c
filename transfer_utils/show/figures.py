"""The figures of the course: each with alt text, in colours and shapes that colour-blind readers can tell apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from transfer_utils import backbones, stats
from transfer_utils.show.drawing import COLOURS, LINES, MARKERS, looks, new_axes, picture, plain

FROZEN, TRAINS = "#DBEAFE", "#FDEBD3"


def network(model: nn.Module) -> HTML:
    """The stages as boxes with their parameters: frozen ones dashed and blue, those that train solid and orange."""
    staged = backbones.unwrapped(model)
    stages = {name: stage for name, stage in staged.named_children() if backbones.count_parameters(stage)}
    boxes = [
        (
            name,
            backbones.count_parameters(stage),
            name not in staged.frozen and backbones.count_parameters(stage, trainable=True) > 0,
        )
        for name, stage in stages.items()
    ]
    figure = Figure((1.25 * len(boxes) + 0.6, 1.7))
    words = draw_network(figure.subplots(), boxes)
    return picture(figure, f"The network as a row of stages: {words}.")


def draw_network(axes: Axes, boxes: Sequence[tuple[str, int, bool]]) -> str:
    """Draw (name, parameters, trains) as boxes into axes; returns the same in words."""
    axes.set(xlim=(-0.2, len(boxes) * 1.25), ylim=(-0.75, 1.1))
    axes.set_axis_off()
    for i, (name, count, trains) in enumerate(boxes):
        fill, edge, line = (TRAINS, "#B45309", "-") if trains else (FROZEN, "#1D4ED8", "--")
        box = FancyBboxPatch((i * 1.25, 0), 0.95, 0.9, "round,pad=0.02", lw=1.8, ls=line, fc=fill, ec=edge)
        axes.add_patch(box)
        fits = 10 if len(name) < 9 else 8  # points: a long name must not leave its box
        axes.text(i * 1.25 + 0.475, 0.58, name, ha="center", va="center", fontsize=fits)
        axes.text(i * 1.25 + 0.475, 0.26, _short(count), ha="center", va="center", fontsize=9)
        if i:
            axes.annotate("", (i * 1.25 - 0.03, 0.45), (i * 1.25 - 0.27, 0.45), arrowprops={"arrowstyle": "->"})
    axes.text(0, -0.5, "dashed, blue: frozen      solid, orange: trains      numbers: parameters", fontsize=9)
    return ", ".join(f"{name} {'trains' if trains else 'is frozen'}" for name, _, trains in boxes)


def _short(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def embeddings(panels: dict[str, Tensor], labels: Tensor, classes: Sequence[str], alt: str) -> HTML:
    """Points (N, 2) side by side, one panel a title; each class has its own colour and marker."""
    figure = Figure((4.6 * len(panels), 4), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)
    for (title, points), axes in zip(panels.items(), grid[0], strict=True):
        for i, name in enumerate(classes):
            x, y = points[labels == i].T
            axes.scatter(x, y, s=14, alpha=0.7, color=COLOURS[i], marker=MARKERS[i], label=name, linewidths=0)
        axes.set(title=title, xticks=[], yticks=[])
    figure.legend(
        *grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(classes), markerscale=2
    )
    return picture(figure, alt)


def history(rows: pd.DataFrame, alt: str | None = None) -> HTML:
    """Accuracy by epoch, on the photos it trains on and on valid photos: the data frame that training.fit returns."""
    figure, axes = new_axes(6, 3.4, xlabel="epoch", ylabel="accuracy")
    for i, (column, label) in enumerate({"train": "photos it trains on", "valid": "valid photos"}.items()):
        if column in rows:
            seen = rows.dropna(subset=[column])
            axes.plot(seen["epoch"], seen[column], color=COLOURS[1 - i], ls=LINES[1 - i], marker=".", label=label)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(frameon=False)
    last = rows.iloc[-1]
    words = ", ".join(f"{c} {last[c]:.0%}" for c in ("train", "valid") if c in rows and not np.isnan(last[c]))
    return picture(figure, alt or f"Accuracy by epoch over {len(rows)} epochs. At the end: {words}.")


def loss_by_rate(tried: pd.DataFrame, marked: dict[str, float] | None = None) -> HTML:
    """The loss while the rate rose: what training.try_rates returns. marked: {label: rate}, as lines across."""
    figure, axes = new_axes(6, 3.2, xlabel="learning rate (log scale)", ylabel="loss (smoothed)", xscale="log")
    axes.plot(tried["rate"], tried["loss"], color="black")
    for i, (label, rate) in enumerate((marked or {}).items()):
        axes.axvline(rate, color=COLOURS[i], ls=LINES[i], label=f"{label}: {rate:.2g}")
    if marked:
        axes.legend(frameon=False, fontsize=9)
    lowest = tried.loc[tried["loss"].idxmin()]
    places = [tried.iloc[0], lowest, tried.iloc[-1]]
    words = ", ".join(f"{place['loss']:.2f} at {place['rate']:.2g}" for place in places)
    lines = "".join(f" {label}: {rate:.2g}." for label, rate in (marked or {}).items())
    return picture(figure, f"Loss against a rising learning rate; first, lowest and last: {words}.{lines}")


def label_curve(
    rows: pd.DataFrame,
    line: str = "method",
    mine: dict[str, tuple[float, float]] | None = None,
    chance: float | None = None,
    value: str = "test",
    x: str = "per_class",
    of: str = "photos",
) -> HTML:
    """Accuracy against column `x` (log scale), one line for each value of column `line`, with 95 % intervals.

    mine: {label: (x, accuracy)}, our own points. of: what is labelled. Alt text is written from the numbers.
    """
    summary = stats.summarise(rows, line, x, value=value)
    named = {"per_class": f"{of} per class", "rate": "learning rate"}[x]
    figure, axes = new_axes(xlabel=f"{named} (log scale)", ylabel=f"accuracy on {value} {of}", xscale="log")
    drawn = looks(summary[line].unique())
    for name, part in summary.groupby(line, sort=False):
        part = part.sort_values(x)
        axes.plot(part[x], part["mean"], **drawn[name]._asdict(), label=name)
        axes.fill_between(part[x], part["low"], part["high"], color=drawn[name].color, alpha=0.18, lw=0)
    for label, point in (mine or {}).items():
        axes.plot(*point, "*", ms=16, color="black", mfc="#F0E442", label=label)
    if chance:
        axes.axhline(chance, color="gray", lw=1, ls=":", label="guessing")
    places = sorted(rows[x].unique())
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylim(bottom=max(0, min(chance or 0, summary["low"].min()) - 0.1))
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    own = "".join(f" {label}: {point[1]:.0%} at {point[0]:g}." for label, point in (mine or {}).items())
    return picture(figure, describe(summary, line, x, named) + own)


def describe(summary: pd.DataFrame, line: str, x: str, named: str) -> str:
    """Alt text of a label curve: every line with its first, best and last point."""
    sentences = []
    for name, part in summary.groupby(line, sort=False):
        places = [part[x].idxmin(), part["mean"].idxmax(), part[x].idxmax()]
        points = part.loc[list(dict.fromkeys(places))].sort_values(x)
        sentences.append(f"{name}: " + ", ".join(f"{p['mean']:.0%} at {p[x]:g}" for _, p in points.iterrows()))
    return f"Accuracy against {named}, means with 95 % intervals. {'. '.join(sentences)}."


def intervals(values: dict[str, stats.Interval], xlabel: str, mine: dict[str, float] | None = None) -> HTML:
    """One line per name: a mean with its interval, and our own point as a star where there is one."""
    figure, axes = new_axes(7, 0.55 * len(values) + 1.1, xlabel=xlabel)
    drawn = looks(values)
    for i, (name, interval) in enumerate(values.items()):
        bars = [[interval.mean - interval.low], [interval.high - interval.mean]]
        axes.errorbar(interval.mean, -i, xerr=bars, fmt=drawn[name].marker, color=drawn[name].color, capsize=4, ms=7)
        if mine and name in mine:
            axes.plot(mine[name], -i, "*", ms=15, color="black", mfc="#F0E442")
    axes.set_yticks([-i for i in range(len(values))], list(map(plain, values)))
    axes.set_ylim(-len(values) + 0.4, 0.6)
    axes.xaxis.set_major_formatter("{x:.0%}")
    low, high = min(0, *(v.low for v in values.values())), axes.get_xlim()[1]
    axes.set_xlim(left=low - 0.02 * (high - low))
    axes.axvline(0, color="gray", lw=1)
    words = [f"{name}: {interval}" for name, interval in values.items()]
    note = " A star marks our own run." if mine else ""
    return picture(figure, f"{xlabel}, means with 95 % intervals. {'. '.join(words)}.{note}")


def grid(values: dict[tuple[str, str], stats.Interval], title: str, gains: bool = False) -> HTML:
    """A table of means with half their intervals, (row, column) to interval: darker is more, in each column.

    gains: signed points instead, purple above zero and orange below, in brackets where the interval holds zero.
    """
    rows, columns = (list(dict.fromkeys(key[i] for key in values)) for i in (0, 1))
    means = np.array([[values[row, column].mean for column in columns] for row in rows])
    if gains:
        told = [[values[row, column].verdict is not stats.Verdict.EITHER for column in columns] for row in rows]
        # From 0.15 on, so that a small difference that can be told from none has a colour too.
        shade = np.where(told, np.sign(means) * (0.15 + 0.45 * np.abs(means) / np.abs(means).max().clip(1e-9)), 0)
        cells = {key: _signed(interval) for key, interval in values.items()}
    else:
        shade = (means - means.min(0)) / np.ptp(means, axis=0).clip(1e-9)
        cells = {key: f"{interval.mean:.1%} ± {100 * interval.half:.1f}" for key, interval in values.items()}
    figure = Figure((1.6 * len(columns) + 2, 0.42 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    colours, least, most = ("PuOr", -1, 1) if gains else ("Blues", 0, 2)
    axes.imshow(shade, cmap=colours, vmin=least, vmax=most, aspect="auto")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            axes.text(j, i, cells[row, column], ha="center", va="center", fontsize=10)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    words = "; ".join(f"{row}, {column}: {cells[row, column]}" for row, column in values)
    return picture(figure, f"{title}. {words}.")


def _signed(difference: stats.Interval) -> str:
    """A difference in points; in brackets where it may be zero."""
    text = f"{100 * difference.mean:+.1f} ± {100 * difference.half:.1f}"
    return f"({text})" if difference.verdict is stats.Verdict.EITHER else text


def tradeoff(points: dict[str, tuple[float, stats.Interval]], cost: str) -> HTML:
    """Accuracy against cost (log scale), one mark a name, and a line along those that no other one beats."""
    figure, axes = new_axes(7, 4, xlabel=f"{cost} (log scale)", ylabel="accuracy on test photos", xscale="log")
    for (name, (place, interval)), look in zip(points.items(), looks(points).values(), strict=True):
        axes.errorbar(
            place, interval.mean, interval.half, fmt=look.marker, color=look.color, capsize=4, ms=8, label=name
        )
    front = stats.pareto({name: (place, interval.mean) for name, (place, interval) in points.items()})
    axes.xaxis.set_major_formatter("{x:g}")
    axes.plot([points[n][0] for n in front], [points[n][1].mean for n in front], color="gray", lw=1, zorder=0)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    words = ". ".join(f"{name}: {interval} at {place:.3g}" for name, (place, interval) in points.items())
    return picture(figure, f"Accuracy against {cost}. {words}. No other mark beats: {', '.join(front)}.")
