"""What the rows say, on tables small enough to work out by hand."""

import math

import pandas as pd
import pytest

from transfer_utils import course, stats
from transfer_utils.course.lesson04_map import LOOKS
from transfer_utils.course.lesson04_rows import CANDIDATES
from transfer_utils.stats import Interval, mean_interval


def runs(method, test, source="both", target="animals", per_class=20, **more) -> pd.DataFrame:
    """One row for each accuracy in test; its seed is its place."""
    setting = {"source": "scratch" if method.startswith("scratch") else source, "target": target}
    setting |= {"method": method, "per_class": per_class}
    return pd.DataFrame({"seed": range(len(test)), "test": test, "valid": test}).assign(**setting | more)


def shuffled(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables).sample(frac=1, random_state=3, ignore_index=True)


# --- work saved -----------------------------------------------------------------------------------------------------


def looks(*accuracies: float) -> list[float]:
    """As many looks as a run has; after the last one given, nothing changes."""
    return [*accuracies, *[accuracies[-1]] * (LOOKS - len(accuracies))]


def seen(method: str, runs_looks: list[list[float]], **setting) -> pd.DataFrame:
    """Rows with a column for each look."""
    columns = {f"look_{i}": [look[i - 1] for look in runs_looks] for i in range(1, LOOKS + 1)}
    return runs(method, [0.5] * len(runs_looks), **setting).assign(**columns)


def saved(scratch: list[list[float]], full: list[list[float]]) -> tuple[Interval, int]:
    rows = shuffled(
        seen("scratch", scratch),
        seen("full", full),
        seen("full", [looks(0.99)] * 2, source="vehicles"),
        seen("last stage", [looks(0.99)] * 2),
        seen("scratch, longer", [looks(0.99)] * 2),
    )
    return course.work_saved(rows, "both", "animals", 20)


def test_work_saved_counts_looks_until_it_is_as_good():
    # Seed 0: look 3 of scratch, and look 1; seed 1: look 4, and look 2. It may fall back afterwards.
    scratch = [looks(0.3, 0.5, 0.7, 0.7), looks(0.2, 0.4, 0.3, 0.8)]
    full = [looks(0.7, 0.6, 0.9, 0.9), looks(0.6, 0.85, 0.7, 0.7)]
    found, missed = saved(scratch, full)
    expected = mean_interval([math.log(3), math.log(2)])
    assert found.mean == pytest.approx(math.sqrt(6))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert (found.n, missed) == (2, 0)


def test_a_run_that_is_never_as_good_counts_with_its_last_look():
    scratch = [looks(0.3, 0.5, 0.7, 0.9), looks(0.3, 0.9, 0.7, 0.8)]
    full = [looks(0.5, 0.9, 0.9, 0.9), looks(0.5, 0.7, 0.8, 0.89)]
    found, missed = saved(scratch, full)
    assert found.mean == pytest.approx(math.sqrt((4 / 2) * (2 / LOOKS)))
    assert missed == 1


def test_a_short_run_that_is_never_as_good_counts_with_its_own_last_look():
    """A run of five epochs looks five times; the sixth column is empty."""
    scratch, full = [0.3, 0.5, 0.6, 0.7, 0.9, math.nan], [0.3, 0.5, 0.6, 0.7, 0.8, math.nan]
    assert saved([scratch] * 2, [full] * 2) == (Interval(1, 1, 1, 2), 2)


@pytest.mark.parametrize(("scratch", "full"), [(2, 3), (3, 2)])
def test_work_saved_refuses_other_seeds(scratch, full):
    with pytest.raises(ValueError, match="The seeds differ"):
        saved([looks(0.5, 0.6)] * scratch, [looks(0.5, 0.6)] * full)


# --- the Pareto front -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ({}, []),
        ({"only": (3, 0.1)}, ["only"]),
        ({"d": (4, 0.9), "b": (2, 0.7), "beaten": (3, 0.6), "a": (1, 0.5)}, ["a", "b", "d"]),
        ({"worse": (1, 0.5), "better": (1, 0.6), "dearer": (2, 0.7)}, ["better", "dearer"]),
        ({"dear": (2, 0.5), "cheap": (1, 0.5)}, ["cheap"]),
        ({"all": (1, 0.9), "others": (2, 0.8), "lose": (3, 0.7)}, ["all"]),
    ],
    ids=["none", "one", "one is beaten", "same cost", "same accuracy", "one beats all"],
)
def test_pareto_front(points, front):
    assert stats.pareto(points) == front
    assert stats.pareto(dict(reversed(points.items()))) == front


# --- advice ---------------------------------------------------------------------------------------------------------


def chose(valid: dict[str, float], **setting) -> list[pd.DataFrame]:
    """Rows of two draws that choose, for each method; a worse rate, or penalty, stands beside the good one."""
    tables = []
    for method, accuracy in valid.items():
        for rate, loss in ((1e-3, 0.0), (1e-2, 0.2)):
            given = {"penalty": rate, "rate": None} if method == "linear probe" else {"rate": rate, "penalty": None}
            rows = runs(method, [accuracy - loss - 0.01, accuracy - loss + 0.01], **setting, **given)
            tables.append(rows.assign(test=None))
    return tables


def judge(valid: list[float], test: list[float], method: str, **setting) -> pd.DataFrame:
    """Rows that judge, of a method."""
    given = {"rate": 1e-3, "penalty": None}
    return runs(method, test, **setting, **given).assign(valid=valid)


VALID = {"linear probe": 0.60, "last stage": 0.69, "full": 0.70, "scratch": 0.50}


def test_the_advice_is_the_cheapest_within_the_margin_at_every_size():
    few = {"linear probe": 0.5, "last stage": 0.495, "full": 0.4, "scratch": 0.3}
    rows = shuffled(*chose(VALID), *chose(few, per_class=5))
    assert course.advised(rows, 0.0) == {5: "linear probe", 20: "full"}
    assert course.advised(rows, 0.011) == {5: "linear probe", 20: "last stage"}
    assert course.advised(rows, 0.11) == {5: "linear probe", 20: "linear probe"}
    assert course.advised(shuffled(*chose(VALID | {"scratch": 0.8})), 0.02) == {20: "scratch"}


def test_the_advice_takes_every_method_at_its_best_rate_over_all_draws():
    tables = chose(VALID)
    lucky = tables[0].assign(penalty=1e-1, valid=[0.99, 0.1])  # the best in one draw, not on average
    assert course.advised(shuffled(*tables, lucky), 0.0) == {20: "full"}


@pytest.mark.parametrize("other", ["linear probe, random weights", "scratch, longer", "full, longer"])
def test_the_advice_reads_neither_what_judges_nor_other_methods(other):
    good = judge([0.99] * 2, [0.99] * 2, "linear probe")
    others = [table.assign(method=other) for table in chose({"full": 0.99})]
    assert course.advised(shuffled(*chose(VALID), good, *others), 0.0) == {20: "full"}


def test_the_advice_without_a_source_reads_the_others_and_scratch():
    far = {"linear probe": 0.7, "last stage": 0.6, "full": 0.6, "scratch": 0.5}
    rows = shuffled(*chose(VALID), *chose(far, source="vehicles"))
    assert course.advised(rows, 0.0, without="both") == {20: "linear probe"}
    assert course.advised(rows, 0.0, without="vehicles") == {20: "full"}


def test_regret_is_against_the_best_on_valid_photos_of_each_draw_with_the_source_left_out():
    """Advised without *both*: the probe. On the first draw full is best on valid photos, on the second the probe is."""
    far = {"linear probe": 0.7, "last stage": 0.6, "full": 0.6, "scratch": 0.5}
    judged = [
        judge([0.60, 0.80], [0.50, 0.55], "linear probe"),
        judge([0.70, 0.70], [0.58, 0.90], "full"),
        judge([0.10, 0.10], [0.99, 0.99], "last stage"),
        judge([0.20, 0.20], [0.99, 0.99], "scratch"),
    ]
    elsewhere = [table.assign(source="vehicles") for table in judged[:3]]
    choosing = shuffled(*chose(VALID), *chose(far, source="vehicles"))
    lost = course.regret(shuffled(*judged, *elsewhere), lambda source: course.advised(choosing, 0.0, without=source))
    both, vehicles = (
        stats.select(lost, source=source).set_index("seed").sort_index() for source in ("both", "vehicles")
    )
    assert both["regret"].tolist() == pytest.approx([0.08, 0.0])
    assert vehicles["regret"].tolist() == pytest.approx([0.0, 0.55 - 0.90])  # full in both draws
    assert len(lost) == 4


def test_the_candidates_are_those_of_the_map_from_cheap_to_dear():
    flops = stats.select(stats.results("lesson04").dropna(subset=["test"]), target="animals", per_class=20)
    costs = flops.groupby("method")["flops"].first().loc[list(CANDIDATES)]
    assert costs.is_monotonic_increasing
