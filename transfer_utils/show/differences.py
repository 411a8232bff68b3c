"""Figures of differences: a dot for each draw, means with intervals, and what they allow to say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from transfer_utils import stats
from transfer_utils.show.drawing import COLOURS, looks, new_axes, picture, plain

STAR: dict[str, Any] = {"marker": "*", "ms": 15, "color": "black", "mfc": "#F0E442", "ls": ""}


def forest(
    rows: dict[str, Sequence[float]], xlabel: str, mine: dict[str, float] | None = None, margin: float = 0.02
) -> HTML:
    """The differences of each name: one dot a draw, their mean with its interval, and what it allows us to say.

    mine: our own run's difference, as a star. margin: as in stats.Interval.told, shaded. ValueError for fewer than two
    differences of a name, and as in told.
    """
    intervals = {name: stats.mean_interval(values) for name, values in rows.items()}
    told = {name: found.told(margin) for name, found in intervals.items()}
    figure = Figure((7, 0.55 * len(rows) + 1.4))
    axes = figure.subplots()
    axes.axvspan(-margin, margin, color="#EEEEEE", lw=0, zorder=0)
    axes.axvline(0, color="gray", lw=1, zorder=1)
    for i, (name, found) in enumerate(intervals.items()):
        draws = np.arange(len(rows[name]))
        # Spread over the line, so that dots do not hide one another.
        axes.plot(list(rows[name]), -i + 0.16 * np.sin(2.4 * draws), "o", color=COLOURS[0], alpha=0.35, ms=6, mew=0)
        bars = [[found.mean - found.low], [found.high - found.mean]]
        axes.errorbar(found.mean, -i, xerr=bars, fmt="s", color="black", capsize=4, ms=6, zorder=3)
        if mine and name in mine:
            axes.plot(mine[name], -i, **STAR, zorder=4)
        axes.text(1.02, -i, told[name], transform=axes.get_yaxis_transform(), va="center", fontsize=10)
    axes.set_yticks([-i for i in range(len(rows))], list(map(plain, rows)))
    axes.set(xlabel=f"{xlabel}, in points\n{_legend(margin, mine)}", ylim=(-len(rows) + 0.4, 0.6))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(_signed_points)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return picture(figure, _in_words(intervals, told, xlabel, mine or {}))


def _legend(margin: float, mine: dict[str, float] | None) -> str:
    star = ", star: our own run" if mine else ""
    return f"dot: one draw, square: mean with 95 % interval, grey: within {100 * margin:g} of zero{star}"


def _in_words(intervals: dict[str, stats.Interval], told: dict[str, str], xlabel: str, mine: dict[str, float]) -> str:
    words = []
    for name, found in intervals.items():
        own = f", our own run {100 * mine[name]:+.1f}" if name in mine else ""
        span = f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        words.append(f"{name}: {span} over {found.n} draws{own}: {told[name]}")
    return f"{xlabel} in points, means with 95 % intervals. {'. '.join(words)}."


def lead_curve(leads: dict[str, dict[int, Sequence[float]]], xlabel: str, ylabel: str, margin: float = 0.02) -> HTML:
    """Differences against a size (log scale), {line: {size: one difference a draw}}: dots, means, intervals, and zero.

    margin: the largest difference that does not matter, shaded around zero. Alt text is written from the numbers.
    """
    figure, axes = new_axes(7, 4, xlabel=f"{xlabel} (log scale)", ylabel=f"{ylabel}, in points", xscale="log")
    axes.axhspan(-margin, margin, color="#EEEEEE", lw=0, zorder=0)
    axes.axhline(0, color="gray", lw=1, zorder=1)
    sentences, sizes = [], sorted({size for line in leads.values() for size in line})
    for i, ((name, line), look) in enumerate(zip(leads.items(), looks(leads).values(), strict=True)):
        aside = 1.06 ** (i - (len(leads) - 1) / 2)  # so that marks at one size do not hide one another
        found = {size: stats.mean_interval(line[size]) for size in sorted(line)}
        for size in found:
            axes.plot([size * aside] * len(line[size]), line[size], ".", color=look.color, alpha=0.3, ms=7, mew=0)
        means = [interval.mean for interval in found.values()]
        halves = [interval.half for interval in found.values()]
        axes.errorbar([size * aside for size in found], means, halves, **look._asdict(), capsize=4, label=plain(name))
        told = ", ".join(f"{100 * interval.mean:+.1f} at {size}" for size, interval in found.items())
        sentences.append(f"{name}: {told}")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(_signed_points)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return picture(figure, f"{ylabel} in points against {xlabel}, means with 95 % intervals. {'. '.join(sentences)}.")


def _signed_points(value: float, _: float) -> str:
    """A tick label: a share as signed points."""
    return f"{round(100 * value, 6):+g}" if abs(value) > 1e-9 else "0"
