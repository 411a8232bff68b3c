"""Lesson 4: its checks, its quiz, and the explorer of the map's rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from transfer_utils import stats
from transfer_utils.course.checking import NotYet, Question, checked, filled
from transfer_utils.course.methods import METHODS
from transfer_utils.show import Explorer, explore
from transfer_utils.stats import Interval


def method_explorer(rows: pd.DataFrame) -> Explorer:
    """Source by target by photos per class: every method's accuracy on test photos, the best on valid photos marked.

    rows: the runs of the map that judge.
    """
    sources = [name for name in rows["source"].unique() if name != "scratch"]
    targets = list(rows["target"].unique())
    sizes = sorted(rows.loc[rows["method"] == "scratch", "per_class"].unique())
    names = [name for name in METHODS if name in set(rows["method"])]
    scores = stats.summarise(rows, "source", "target", "per_class", "method")
    chart = {"names": names, "xlabel": "accuracy on test photos"}
    chart |= {"low": max(0, scores["low"].min() - 0.02), "high": min(1, scores["high"].max() + 0.02)}

    def frame(i: int, j: int, k: int) -> dict[str, Any]:
        part = stats.select(rows, target=targets[j], per_class=sizes[k])
        part = part[part["source"].isin((sources[i], "scratch"))]
        best = str(part.groupby("method")["valid"].mean().idxmax())
        lines = [_line(part, name, best) for name in names if name in set(part["method"])]
        setting = f"Pretrained on {sources[i]}, new task {targets[j]}, {sizes[k]} photos per class."
        told = "Beside the others: how far they are from it on test photos, in points."
        return {"sentence": f"{setting} Best on valid photos: {best}. {told}", "intervals": lines}

    labels = [str(size) for size in sizes]
    controls: dict[str, Sequence[str]] = {"pretrained on": sources, "new task": targets, "photos per class": labels}
    return explore("Method explorer", controls, frame, chart, state=[0, 0, len(sizes) // 2])


def _line(part: pd.DataFrame, name: str, best: str) -> dict[str, Any]:
    """What the chart shows of a method: accuracy on test photos, and its difference to the one best on valid photos."""
    score, note = stats.mean_interval(stats.select(part, method=name)["test"]), "best on valid photos"
    if name != best:
        gap = stats.difference(part, name, best)
        note = f"{100 * gap.mean:+.1f}: {gap.told()}"
    numbers = {edge: round(getattr(score, edge), 4) for edge in ("mean", "low", "high")}
    return {"name": name, **numbers, "note": note, "picked": name == best}


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
    if abs(found - 20) < 1e-4:
        raise NotYet("my_gain returned points.", "leave the gain as a share: 0.2, not 20.")
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
        "five points, two of them beaten": {
            "b": (2, 0.7),
            "a": (1, 0.5),
            "c": (3, 0.6),
            "d": (4, 0.65),
            "e": (5, 0.9),
        },
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


WAYS = ("scratch", "linear probe", "last stage", "full")
START = "it may well win in the end, but without a probe, which takes seconds, you cannot know what it is worth."
DECISIONS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (  # key, its values, and why some are wrong
    (
        "first",
        WAYS,
        {
            "scratch": "it is a twin to compare with, not a start: so few tiles do not make good features.",
            "last stage": START,
            "full": START,
        },
    ),
    (
        "then",
        WAYS,
        {
            "scratch": "in our rows with 20 and with 100 photos per class, fine-tuning led it from every source.",
            "linear probe": "the second step must be able to learn what the frozen backbone does not know.",
        },
    ),
    (
        "judge",
        ("train", "split", "folds", "test"),
        {
            "train": "on the tiles that it trains on, the method that learns by heart wins.",
            "split": "one split of 32 is one draw: two methods that are alike differ by several of its tiles.",
            "test": "what chooses cannot report: the report's number would be too high.",
        },
    ),
)
LEAST, MOST = 2, 8  # points


@checked
def project_plan(answer: Callable) -> str:
    """The learner's plan() for 200 satellite tiles: a cheap start, a next step, and a fair way to choose."""
    plan = answer()
    filled(plan, answer, "return the dictionary.")
    if not isinstance(plan, dict) or set(plan) != {"first", "then", "judge", "take it"}:
        raise NotYet(f"plan() returned {plan!r}.", "keep the four keys: first, then, judge and 'take it'.")
    for key, known, wrong in DECISIONS:
        if plan[key] not in known:
            raise NotYet(f"{key!r} is {plan[key]!r}.", f"choose one of {', '.join(known)}.")
        if plan[key] in wrong:
            raise NotYet(f"{key!r} is {plan[key]!r}.", wrong[plan[key]])
    points = plan["take it"]
    if isinstance(points, bool) or not isinstance(points, (int, float, np.number)):
        raise NotYet(f"'take it' is {points!r}.", "give a number of points, such as 3.")
    if not LEAST <= points <= MOST:
        raise NotYet(
            f"'take it' is {points:g} points.",
            f"in points; below {LEAST}, three of the 160 tiles decide, which may be luck; above {MOST}, you turn down "
            "more than fine-tuning gained over a probe from any source, in our rows with 20 photos per class.",
        )
    return "a start that takes seconds, a step that can learn, and folds to choose on."


QUIZ = (
    Question(
        "A gain is +3.1 points, with a 95 % interval from -0.4 to +6.6. What do we say?",
        (
            ("Transfer helps by 3.1 points.", "The interval holds zero: other draws may turn it round."),
            ("The difference is at most 7 points either way.", "That is what it allows. More draws would narrow it."),
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

CHECKS = {"4.1": paired_gain, "4.2": pareto_front, "4.3": project_plan}
