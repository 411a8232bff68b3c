"""Figures about predictions: what is confused with what, how sure the network is, and where it looked."""

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from transfer_utils.show.drawing import COLOURS, LINES, MARKERS, picture, plain
from transfer_utils.stats import Evaluation


def confusion(judged: Evaluation) -> HTML:
    """The confusion matrix of some answers: rows are the true classes, darker is a larger share of the row.

    Classes that are taken for one another stand side by side. Blue is right, orange a mistake.
    """
    table = _side_by_side(judged.confusion)
    counts = table.to_numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    right = np.eye(len(table), dtype=bool)
    side = 0.55 * len(table) + 1.6
    figure = Figure((side + 0.4, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1.2)
    # A third of a row is a mistake that nobody should miss; all of one is dark.
    axes.imshow(np.ma.masked_where(right, shares), cmap="Oranges", vmin=0, vmax=0.5)
    for (i, j), count in np.ndenumerate(counts):
        dark = shares[i, j] > (0.7 if i == j else 0.3)
        axes.text(j, i, f"{count}" if count else "·", ha="center", va="center", color="white" if dark else "black")
    names = list(map(plain, table.index))
    axes.set_xticks(range(len(table)), names, rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(table)), names)
    axes.xaxis.tick_top()
    axes.set(ylabel="true class", xlabel="taken for (blue: right, orange: a mistake)")
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    recognised = "; ".join(f"{name} {table.loc[name, name]} of {table.loc[name].sum()}" for name in judged.classes)
    return picture(figure, f"Confusion matrix. Recognised: {recognised}. {judged.often_confused}")


def _side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """The same matrix with its classes in an order in which neighbours are confused most."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # takes half a second to import
    from scipy.spatial.distance import squareform

    if len(table) < 3:
        return table
    shares = table.to_numpy() / table.to_numpy().sum(1, keepdims=True).clip(1)
    alike = (shares + shares.T) / 2
    order = leaves_list(linkage(squareform(1 - alike, checks=False), "average", optimal_ordering=True))
    return table.iloc[order, order]


def reliability(judged: dict[str, Evaluation]) -> HTML:
    """Accuracy against confidence, a line for each name; on the diagonal both agree."""
    lines = {name: answers.reliability for name, answers in judged.items()}
    figure = Figure((5.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="gray", lw=1, ls=":", label="as sure as right")
    for i, (name, part) in enumerate(lines.items()):
        bars = np.array([part["accuracy"] - part["low"], part["high"] - part["accuracy"]]).clip(0)
        place = part["confidence"], part["accuracy"]
        axes.errorbar(*place, yerr=bars, color=COLOURS[i], ls=LINES[i], marker=MARKERS[i], capsize=3, label=name)
    axes.set(xlabel="confidence: the probability of the answer", ylabel="share of these answers that are right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    ends = [
        f"{name}: answers given at {part['confidence'].iloc[-1]:.0%} are right in {part['accuracy'].iloc[-1]:.0%}"
        for name, part in lines.items()
    ]
    return picture(figure, f"Accuracy against confidence with 95 % intervals. {'. '.join(ends)}.")


def spread(values: dict[str, pd.Series], limit: float, xlabel: str) -> HTML:
    """One line of marks for each name, and a dashed line at the limit."""
    figure = Figure((7, 0.6 * len(values) + 1.1), layout="constrained")
    axes = figure.subplots()
    for i, part in enumerate(values.values()):
        # Spread over the height of the line by rank, so that marks do not hide one another.
        axes.plot(part, -i + 0.3 * np.sin(np.arange(len(part)) * 2.4), MARKERS[i], color=COLOURS[i], alpha=0.6)
    axes.axvline(limit, color="black", ls="--", lw=1)
    axes.set_yticks([-i for i in range(len(values))], list(map(plain, values)))
    axes.set(xlabel=f"{xlabel} (dashed: the limit)", ylim=(-len(values) + 0.4, 0.6))
    axes.spines[["top", "right"]].set_visible(False)
    words = [f"{name}: {(part > limit).sum()} of {len(part)} above the limit" for name, part in values.items()]
    return picture(figure, f"{xlabel.capitalize()}, one mark a photo. {'. '.join(words)}.")
