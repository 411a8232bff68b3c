"""Lesson 4: its checks, its quiz, and the explorer of the grid's rows."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from transfer_utils import stats
from transfer_utils.course import grid
from transfer_utils.course.checking import NotYet, Question, checked, filled
from transfer_utils.course.lesson04_rows import advice
from transfer_utils.show import Explorer, explore
from transfer_utils.stats import Interval


def method_explorer(rows: pd.DataFrame) -> Explorer:
    """Source by target by photos per class: every method's accuracy, and the one that advice() would take.

    rows: the chosen runs of the grid, of one network.
    """
    sources = [name for name in rows["source"].unique() if name != "scratch"]
    targets = list(rows["target"].unique())
    sizes = [str(size) for size in sorted(rows.loc[rows["method"] == "scratch", "per_class"].unique())]
    names = [name for name in grid.METHODS if name in set(rows["method"])]
    (network,) = rows["network"].unique()
    keys = itertools.product(sources, targets, sizes)
    tables = {key: advice(rows, key[0], key[1], int(key[2]), network) for key in keys}
    everything = pd.concat(tables.values())
    low, high = max(0, everything["low"].min() - 0.02), min(1, everything["high"].max() + 0.02)

    def frame(i: int, j: int, k: int) -> dict[str, Any]:
        table = tables[sources[i], targets[j], sizes[k]].set_index("method")
        shown = table.loc[[name for name in names if name in table.index]]
        lines = [
            {"name": name, **{edge: round(line[edge], 4) for edge in ("mean", "low", "high")}}
            | {"note": f"{line['flops'] / 1e12:.3g} TFLOPs", "picked": bool(line["pick"])}
            for name, line in shown.iterrows()
        ]
        return {"sentence": _advice_sentence(table, sources[i], targets[j], sizes[k]), "intervals": lines}

    chart = {"names": names, "xlabel": "accuracy on test photos", "low": low, "high": high}
    controls: dict[str, Sequence[str]] = {"pretrained on": sources, "new task": targets, "photos per class": sizes}
    return explore("Method explorer", controls, frame, chart, state=[len(sources) - 1, 0, len(sizes) // 2])


def _advice_sentence(table: pd.DataFrame, source: str, target: str, size: str) -> str:
    best, pick = table.index[0], table.index[table["pick"]][0]
    equal = [name for name in table.index[table["as good"]] if name != best]
    told = f"We cannot tell {_words(equal)} from it" if equal else "Every other method can be told from it"
    ratio = table.loc[best, "flops"] / table.loc[pick, "flops"]
    return (
        f"Pretrained on {source}, new task {target}, {size} photos per class. Best on valid photos: {best}. {told}. "
        f"We would take {pick}"
        + (f", with {ratio:.{0 if ratio >= 10 else 1}f} times fewer operations." if pick != best else ".")
    )


def _words(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


@checked
def paired_gain(answer: Callable) -> str:
    """The learner's my_gain(grid, source, target, method, per_class) is the mean of differences seed by seed."""
    rows = [("scratch", "scratch", "animals", seed, 0.5 + seed / 10) for seed in range(3)]
    rows += [("both", "full", "animals", seed, 0.6 + seed / 5) for seed in (2, 0, 1)]  # in another order
    rows += [(source, method, "vehicles", 0, 0.0) for source, method in (("scratch", "scratch"), ("both", "full"))]
    grid = pd.DataFrame(rows, columns=["source", "method", "target", "seed", "test"]).assign(per_class=20)
    elsewhere = stats.select(grid, source="both", target="animals").assign(source="vehicles", test=0.9)
    more = pd.concat([grid, grid.assign(per_class=5, test=0.1), grid.assign(test=0.9, method="last stage"), elsewhere])
    found = _one_number(answer(more, "both", "animals", "full", 20), answer)
    if np.isnan(found):
        raise NotYet("my_gain returned nan.", "set_index('seed') on both, so that pandas can match seed with seed.")
    if abs(found + 0.2) < 1e-6:
        raise NotYet("the sign is turned round.", "a gain is the method minus scratch.")
    if abs(found - 0.2) > 1e-6:
        raise NotYet(
            f"on our small table my_gain gives {found:.3f}; we get 0.200.",
            "select source, target, method and per_class, and scratch with the same target and per_class.",
        )
    _leaves_out_what_has_no_partner(answer, more)
    return "a gain of 0.2 on our small table, each seed against itself."


def _one_number(found: Any, answer: Callable) -> float:
    """What the learner returned, as a number; an interval stands for its mean."""
    filled(found, answer, "return the mean of tuned minus scratch.")
    found = found.mean if isinstance(found, Interval) else found
    if not isinstance(found, (int, float, np.number)):
        raise NotYet(f"my_gain returned {type(found).__name__}.", "take the mean over the seeds: one number.")
    return float(found)


def _leaves_out_what_has_no_partner(answer: Callable, table: pd.DataFrame) -> None:
    """The two means differ by as much as the pairs do, until a seed is on one side alone. Refusing it is right too."""
    alone = pd.DataFrame([("scratch", "scratch", "animals", 7, 0.95, 20)], columns=table.columns)
    try:
        found = _one_number(answer(pd.concat([alone, table]), "both", "animals", "full", 20), answer)
    except ValueError as error:
        if "seeds" not in str(error):
            raise
    else:
        if not abs(found - 0.2) <= 1e-6:
            raise NotYet(
                f"with a seed that scratch alone has, my_gain gives {found:.3f}; the pairs still give 0.200.",
                "set_index('seed') on both and subtract: pandas matches the seeds, and mean() leaves out the rest.",
            )


@checked
def pareto_front(answer: Callable) -> str:
    """The learner's front(points) names what no other point beats, cheapest first."""
    cases: dict[str, dict[str, tuple[float, float]]] = {
        "four points, one of them beaten": {"b": (2, 0.7), "a": (1, 0.5), "c": (3, 0.6), "d": (4, 0.9)},
        "one that beats all": {"dear": (9, 0.5), "middle": (5, 0.6), "cheap": (1, 0.8)},
        "two of the same cost": {"a": (1, 0.5), "b": (1, 0.6), "c": (2, 0.7)},
        "two of the same accuracy": {"dear": (2, 0.5), "cheap": (1, 0.5)},
    }
    for name, points in cases.items():
        found = answer(dict(points))
        filled(found, answer, "return a list of names.")
        if not isinstance(found, Iterable):
            raise NotYet(f"front returned {type(found).__name__}.", "return a list of names.")
        found, expected = list(found), stats.pareto(points)
        # Of two that tie in one thing, whoever asks for both cheaper and better leaves both in.
        generous = {one for one in points if not any(_beats(other, points[one]) for other in points.values())}
        if set(found) not in (set(expected), generous) or len(set(found)) < len(found):
            raise NotYet(
                f"{name}: {points} gave {found}; we get {expected}.",
                "a point is beaten when another one is both cheaper and better.",
            )
        if [points[one][0] for one in found] != sorted(points[one][0] for one in found):
            raise NotYet(f"{name}: the names are right, their order is not.", "cheapest first.")
    return "what is beaten is out, and the rest goes from cheap to dear."


def _beats(point: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether a point, (cost, accuracy), is both cheaper and better than another one."""
    return point[0] < other[0] and point[1] > other[1]


QUIZ = (
    Question(
        "A gain is +3.1 points, with a 95 % interval from -0.4 to +6.6. What goes into the decision guide?",
        (
            ("Transfer helps by 3.1 points.", "The interval holds zero: other draws may turn it round."),
            ("These draws cannot tell; take what is cheaper.", "More draws would narrow the interval."),
            ("Transfer does not help.", "It may well: the interval reaches up to 6.6 points."),
        ),
        1,
    ),
    Question(
        "The vehicles source gives ship or truck 9 points, the animals source 7. Is that the worth of similarity?",
        (
            ("Only together with the other target.", "If vehicles is better on animals too, it is just better."),
            ("Yes: 2 points.", "A source can be better for every target; then similarity explains nothing."),
            ("Yes, if both intervals stay above zero.", "They say that each helps, not why one helps more."),
        ),
        0,
    ),
    Question(
        "We search 100 cells for negative transfer, and 2 intervals lie below zero. What do we know?",
        (
            ("In these two cells transfer hurts.", "About 2 or 3 of 100 would lie there by chance alone."),
            ("Transfer never hurts.", "We found no proof of harm, which is not a proof of none."),
            ("As many as chance alone gives.", "Run these two cells again with new draws, and see."),
        ),
        2,
    ),
)

CHECKS = {"4.1": paired_gain, "4.2": pareto_front}
