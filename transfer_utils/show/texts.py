"""Figures about networks that read: what comes next, and how one learned to write."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from IPython.display import HTML
from matplotlib.figure import Figure

from transfer_utils.machine import is_whole
from transfer_utils.show.drawing import COLOURS, picture, plain

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
