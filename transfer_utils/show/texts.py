"""Figures about networks that read: what comes next, how one learned to write, and what a difference allows to say."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from transfer_utils import stats
from transfer_utils.machine import is_whole
from transfer_utils.show.drawing import COLOURS, picture, plain

STAR: dict[str, Any] = {"marker": "*", "ms": 15, "color": "black", "mfc": "#F0E442", "ls": ""}
CELL = "text-align: left; vertical-align: top; padding: 2px 10px"
WROTE = f"{CELL}; font-family: monospace; white-space: pre-wrap; overflow-wrap: anywhere"


def next_words(chances: dict[str, float], line: str) -> HTML:
    """The likeliest next words as bars below the line: what backbones.next_words(model, line) returns.

    What goes on with the line's last word, without a space, is shown behind three dots.
    """
    names = [_joined(token, line) for token in chances]
    figure = Figure((6, 0.32 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(names)), list(chances.values()), color=COLOURS[0], height=0.7)
    axes.bar_label(bars, [f"{chance:.1%}" for chance in chances.values()], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), list(map(plain, names)))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    note = " (…: goes on without a space)" if any(name.startswith("…") for name in names) else ""
    axes.set(xlabel=f"probability of the next word{note}", xlim=(0, 1.15 * max(chances.values())))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    shown = f"“{line} …”" if line else "at the beginning of a line"
    axes.set_title(plain(textwrap.fill(shown, 60)), loc="left", fontsize=11)
    words = ", ".join(f"{name} {chance:.1%}" for name, chance in zip(names, chances.values(), strict=True))
    return picture(figure, f"The likeliest next words {f'after “{line}”' if line else shown}: {words}.")


def _joined(token: str, line: str) -> str:
    """A token in print: a word behind a space as it is, what goes on without one behind three dots."""
    if " " in token.strip():  # no token, but the name of what cannot be printed
        return token
    if not token.strip():
        return "line break" if "\n" in token else "space"
    shown = token.strip() if token.isprintable() else repr(token)
    return shown if token[0].isspace() or not line or line[-1].isspace() else f"…{shown}"


def pretraining_run(looks: Sequence[dict[str, Any]], beginning: int = 0) -> HTML:
    """How a GPT learned to write: its loss against steps, and below it what it wrote at each look, as a table.

    looks: of the checkpoint's card, card["looks"]. beginning: which of the four lines. ValueError for one that there is
    not, and for no looks.
    """
    count = min((len(look["written"]) for look in looks), default=0)
    if not is_whole(beginning, 0) or beginning >= count:
        raise ValueError(
            f"pretraining_run() got beginning={beginning!r} and {len(looks)} looks with {count} lines each; it is a "
            "whole number from 0 to one less than these lines. The looks are those of a checkpoint's card: "
            'card["looks"].'
        )
    rows = "".join(_row(look, look["written"][beginning]) for look in looks)
    heads = "".join(f'<th scope="col" style="{CELL}">{head}</th>' for head in ("step", "loss", "it writes"))
    return HTML(f"{_losses(looks).data}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")


def _row(look: dict[str, Any], line: str) -> str:
    numbers = "".join(f'<td style="{CELL}">{text}</td>' for text in (f"{look['step']:,}", f"{look['valid_loss']:.2f}"))
    printed = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in line)
    return f'<tr>{numbers}<td style="{WROTE}">{html.escape(printed)}</td></tr>'


def _losses(looks: Sequence[dict[str, Any]]) -> HTML:
    """The loss on held-out lines by step, on a log axis that has the untrained network at its left end."""
    steps, losses = ([look[key] for look in looks] for key in ("step", "valid_loss"))
    first = min((step for step in steps if step), default=1)
    places = [step or first / 3 for step in steps]  # a log axis has no zero
    figure = Figure((7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(places, losses, color=COLOURS[0], marker="o")
    axes.set(xlabel="step (log scale)", ylabel="loss on lines it never reads", xscale="log")
    axes.set_xticks(places, [f"{step:,}" for step in steps])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    words = ", ".join(f"{loss:.2f} after {step:,}" for step, loss in zip(steps, losses, strict=True))
    return picture(figure, f"Loss on held-out lines by step: {words}. What it wrote then is in the table below.")


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
    axes.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):+g}" if abs(value) > 1e-9 else "0")
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
