"""The runs of lesson 4's map, on pretraining seeds 0 to 7.

Draws 0 to 4 choose penalties and rates, by the valid photos, over all sources and targets; draws 5 to 12 judge, and
read the test photos once.
"""

from collections.abc import Mapping, Sequence
from itertools import product

from transfer_utils.course import lesson04_map
from transfer_utils.course.lesson04_map import CHOOSING, JUDGING
from transfer_utils.data import TARGETS
from transfer_utils.stats import Row

SOURCES = ("vehicles", "animals", "both")
TRIED: dict[str, dict[int, tuple[float, ...]]] = {  # rates by photos per class: the best is neither first nor last
    "scratch": {
        5: (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        20: (3e-4, 1e-3, 3e-3),
        100: (3e-4, 1e-3, 3e-3, 1e-2),
        500: (3e-4, 1e-3, 3e-3),
    },
    "last stage": {
        5: (1e-4, 3e-4, 1e-3, 3e-3),
        20: (3e-4, 1e-3, 3e-3),
        100: (3e-4, 1e-3, 3e-3, 1e-2),
        500: (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    },
    "full": {
        5: (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        20: (1e-4, 3e-4, 1e-3, 3e-3),
        100: (3e-4, 1e-3, 3e-3),
        500: (3e-4, 1e-3, 3e-3),
    },
    "scratch, longer": {20: (1e-4, 3e-4, 1e-3, 3e-3), 500: (1e-3, 3e-3, 1e-2)},
}
RATES: dict[str, dict[int, float]] = {  # what the draws that choose chose; full, longer has that of full
    "scratch": {5: 0.0001, 20: 0.001, 100: 0.003, 500: 0.001},
    "last stage": {5: 0.0003, 20: 0.001, 100: 0.003, 500: 0.01},
    "full": {5: 0.0001, 20: 0.0003, 100: 0.001, 500: 0.001},
    "scratch, longer": {20: 0.001, 500: 0.003},
    "full, longer": {20: 0.0003, 500: 0.001},
}


def sources(method: str, target: str) -> Sequence[str]:
    """What a method starts from; the longer twin of full from the source that is like the target, and from both."""
    if method.startswith("scratch"):
        return ("scratch",)
    return (target, "both") if method == "full, longer" else SOURCES


def jobs(rates: Mapping[str, Mapping[int, Sequence[float]]], draws: range) -> list[Row]:
    """A training run for every source, target, rate and draw, quick ones first."""
    return [
        {"source": source, "target": target, "method": method, "per_class": size, "seed": seed, "rate": rate}
        for size in (5, 20, 100, 500)
        for method in rates
        for rate in rates[method].get(size, ())
        for target in TARGETS
        for source, seed in product(sources(method, target), draws)
    ]


def probes() -> list[Row]:
    """Linear probes on every network's frozen features."""
    networks = {"scratch": "linear probe, random weights", **dict.fromkeys(SOURCES, "linear probe")}
    return [
        {"source": source, "target": target, "method": method, "seed": seed}
        for (source, method), target, seed in product(networks.items(), TARGETS, (*CHOOSING, *JUDGING))
    ]


def trainings() -> list[Row]:
    """The runs that choose, and those that judge."""
    chosen = {method: {size: (rate,) for size, rate in rates.items()} for method, rates in RATES.items()}
    return jobs(TRIED, CHOOSING) + jobs(chosen, JUDGING)


RUNS = {lesson04_map.trained: trainings(), lesson04_map.probed: probes()}
