"""What the rows say, on tables small enough to work out by hand."""

import math

import pandas as pd
import pytest

from transfer_utils import course, stats
from transfer_utils.course.grid import COURSE, IMAGENET, LOOKS
from transfer_utils.stats import Interval, mean_interval

FLOPS = {"scratch": 1000, "scratch, longer": 5000, "linear probe": 10, "last stage": 400, "full": 1000}


def runs(method, test, source="both", target="animals", per_class=20, valid=None, **more) -> pd.DataFrame:
    """One row for each accuracy in test; its seed is its place."""
    setting = {"network": COURSE, "source": "scratch" if method.startswith("scratch") else source, "target": target}
    setting |= {"method": method, "per_class": per_class, "flops": FLOPS[method], "seconds": 1.0}
    numbers = {"seed": range(len(test)), "test": test, "valid": test if valid is None else valid}
    return pd.DataFrame(numbers).assign(**setting, **more)


def shuffled(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables).sample(frac=1, random_state=3, ignore_index=True)


def same(found: Interval, expected: Interval) -> bool:
    return vars(found) == pytest.approx(vars(expected), abs=1e-12)


# --- photos needed --------------------------------------------------------------------------------------------------

SIZES = (5, 20, 100, 500)


def curve(*seeds: dict[int, float]) -> pd.DataFrame:
    """Scratch: for each seed {photos per class: accuracy}."""
    return shuffled(*(runs("scratch", [seed[size] for seed in seeds], per_class=size) for size in seeds[0]))


def logarithmic(size: float) -> float:
    return 0.1 + 0.1 * math.log(size)


def needed(scratch: pd.DataFrame, *levels: float) -> tuple[Interval, int]:
    rows = shuffled(
        scratch,
        runs("linear probe", levels, per_class=10),
        scratch.assign(target="vehicles", test=0.99),
        scratch.assign(method="scratch, longer", test=0.99),
        scratch.assign(network=IMAGENET, test=0.99),
    )
    return course.photos_needed(rows, "both", "animals", "linear probe", 10)


def test_photos_needed_is_exact_on_a_logarithmic_curve():
    straight = {size: logarithmic(size) for size in SIZES}
    found, missed = needed(curve(straight, straight), logarithmic(50), logarithmic(50))
    assert found == Interval(*[pytest.approx(50)] * 3, 2)
    assert missed == 0


def test_photos_needed_averages_logarithms_and_pairs_by_seed():
    """A seed whose scratch is better needs a higher level for the same number of photos."""
    low, high = ({size: logarithmic(size) + bonus for size in SIZES} for bonus in (0.0, 0.2))
    found, _ = needed(curve(low, high), logarithmic(10), logarithmic(40) + 0.2)
    expected = mean_interval([math.log(10), math.log(40)])
    assert found.mean == pytest.approx(20)
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_a_seed_whose_scratch_never_gets_there_counts_with_the_largest_size():
    straight = {size: logarithmic(size) for size in SIZES}
    found, missed = needed(curve(*[straight] * 3), logarithmic(500), 0.95, 0.99)
    assert found.mean == pytest.approx(500)
    assert missed == 2


def test_a_seed_whose_scratch_is_better_at_once_counts_with_the_smallest_size():
    straight = {size: logarithmic(size) for size in SIZES}
    found, missed = needed(curve(straight, straight), 0.1, 0.2)
    assert found.mean == pytest.approx(5)
    assert missed == 0


@pytest.mark.parametrize(
    ("level", "photos"),
    [
        (0.45, 10),  # half of the way up from 5 to 20
        (0.7, math.sqrt(100 * 500)),  # beyond the dent
        (0.6, 20),  # the peak before it: 20 photos were enough
    ],
)
def test_an_unlucky_draw_does_not_take_back_what_fewer_photos_reached(level, photos):
    dented = {5: 0.3, 20: 0.6, 100: 0.5, 500: 0.8}
    found, missed = needed(curve(dented, dented), level, level)
    assert found.mean == pytest.approx(photos)
    assert missed == 0


def test_photos_needed_counts_no_seed_as_missed_that_was_there_before_the_end():
    falling = {5: 0.3, 20: 0.6, 100: 0.5, 500: 0.4}
    assert needed(curve(falling, falling), 0.45, 0.45)[1] == 0


def test_photos_needed_refuses_other_seeds():
    straight = {size: logarithmic(size) for size in SIZES}
    with pytest.raises(ValueError, match="The seeds differ"):
        needed(curve(straight, straight), 0.3, 0.3, 0.3)


@pytest.mark.parametrize(
    ("source", "method", "over", "told"),
    [
        ("both", "linear prob", "scratch", "no method 'linear prob'. Did you mean 'linear probe'"),
        ("bothh", "linear probe", "scratch", "no source 'bothh'. Did you mean 'both'"),
        ("both", "linear probe", "scratch, long", "no method 'scratch, long'. Did you mean 'scratch, longer'"),
    ],
)
def test_photos_needed_refuses_unknown_names(source, method, over, told):
    scratch = curve(*[{size: logarithmic(size) for size in SIZES}] * 2)
    rows = pd.concat([scratch, scratch.assign(method="scratch, longer"), runs("linear probe", [0.3] * 2, per_class=10)])
    with pytest.raises(ValueError, match=told):
        course.photos_needed(rows, source, "animals", method, 10, over)


# --- work saved -----------------------------------------------------------------------------------------------------


def looks(*accuracies: float) -> list[float]:
    """As many looks as a run has; after the last one given, nothing changes."""
    return [*accuracies, *[accuracies[-1]] * (LOOKS[COURSE] - len(accuracies))]


def seen(method: str, runs_looks: list[list[float]], seconds: float = 1.0, **setting) -> pd.DataFrame:
    """Rows with a column for each look, and one for when it was taken."""
    places = range(1, LOOKS[COURSE] + 1)
    columns = {f"look_{i}": [look[i - 1] for look in runs_looks] for i in places}
    return runs(method, [0.5] * len(runs_looks), **setting).assign(
        **columns, **{f"seconds_{i}": i * seconds for i in places}
    )


def saved(scratch: list[list[float]], full: list[list[float]], seconds: float = 1.0) -> tuple[Interval, int]:
    rows = shuffled(
        seen("scratch", scratch),
        seen("full", full, seconds),
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


def test_work_saved_does_not_depend_on_the_clock():
    accuracies = (0.3, 0.5, 0.7, 0.7), (0.4, 0.7, 0.7, 0.7)
    quick, slow = (saved([looks(*accuracies[0])] * 2, [looks(*accuracies[1])] * 2, seconds) for seconds in (0.1, 60))
    assert quick == slow
    assert quick[0].mean == pytest.approx(1.5)


def test_a_run_that_is_never_as_good_counts_with_its_last_look():
    scratch = [looks(0.3, 0.5, 0.7, 0.9), looks(0.3, 0.9, 0.7, 0.8)]
    full = [looks(0.5, 0.9, 0.9, 0.9), looks(0.5, 0.7, 0.8, 0.89)]
    found, missed = saved(scratch, full)
    assert found.mean == pytest.approx(math.sqrt((4 / 2) * (2 / LOOKS[COURSE])))
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

VALID = {
    "scratch": [0.50, 0.55, 0.51],
    "scratch, longer": [0.52, 0.56, 0.53],
    "linear probe": [0.60, 0.65, 0.61],
    "last stage": [0.79, 0.83, 0.82],
    "full": [0.80, 0.82, 0.83],
}


def advised(valid=VALID, test=None, source="both") -> pd.DataFrame:
    parts = [runs(m, (test or valid)[m], source, valid=values) for m, values in valid.items()]
    # A probe of random weights is stored too. It has nothing to do with this source.
    parts.append(runs("linear probe", [0.95] * 3, source="scratch"))
    parts += [runs("linear probe", [0.95] * 3, source="other"), runs("full", [0.1] * 3, per_class=5)]
    parts += [runs("full", [0.1] * 3, target="vehicles"), runs("full", [0.1] * 3).assign(network=IMAGENET)]
    return shuffled(*parts)


def picked(rows: pd.DataFrame) -> str:
    table = course.advice(rows, "both", "animals", 20)
    return table.loc[table["pick"], "method"].item()


def test_advice_has_a_line_for_each_method_best_on_valid_first():
    test = {method: [x / 2 for x in values] for method, values in VALID.items()}
    rows = advised(test=test)
    rows.loc[rows["method"] == "full", "seconds"] = rows["seed"] * 10.0 + 1
    table = course.advice(rows, "both", "animals", 20)
    assert table["method"].tolist() == ["full", "last stage", "linear probe", "scratch, longer", "scratch"]
    first = table.iloc[0]
    assert same(Interval(*first[["mean", "low", "high", "n"]]), mean_interval(test["full"]))
    assert first["valid"] == pytest.approx(sum(VALID["full"]) / 3)
    assert (first["flops"], first["seconds"]) == (1000, 11.0)


def test_advice_is_the_cheapest_that_cannot_be_told_from_the_best():
    table = course.advice(advised(), "both", "animals", 20).set_index("method")
    assert table.index[table["as good"]].tolist() == ["full", "last stage"]
    assert table.index[table["pick"]].tolist() == ["last stage"]


@pytest.mark.parametrize(
    ("last_stage", "pick"),
    [
        ([0.49, 0.69, 0.888], "full"),  # the draws differ much more than the methods, but it is behind on each of them
        ([0.51, 0.60, 0.80], "last stage"),
    ],
)
def test_advice_pairs_by_seed(last_stage, pick):
    valid = {"scratch": [0.1, 0.3, 0.5], "full": [0.5, 0.7, 0.9], "last stage": last_stage}
    assert picked(advised(valid)) == pick


def test_of_equal_cost_advice_takes_the_better_one():
    rows = advised(VALID | {"scratch": [0.80, 0.82, 0.82], "last stage": [0.1, 0.1, 0.11]})
    assert picked(rows) == "full"


@pytest.mark.parametrize("swap", [("full", "linear probe"), ("full", "last stage"), ("last stage", "scratch")])
def test_accuracy_on_test_photos_chooses_nothing(swap):
    first, second = swap
    test = VALID | {first: VALID[second], second: VALID[first]}
    before, after = (course.advice(advised(test=t), "both", "animals", 20) for t in (VALID, test))
    chosen = ["method", "valid", "as good", "pick"]
    pd.testing.assert_frame_equal(before[chosen], after[chosen])
    means = after.set_index("method")["mean"]
    assert means[first] == pytest.approx(sum(VALID[second]) / 3)  # what is shown did change


def test_other_rows_give_other_advice():
    assert picked(advised(VALID | {"linear probe": [0.81, 0.80, 0.84]})) == "linear probe"
    assert picked(advised(VALID | {"scratch, longer": [0.90, 0.92, 0.93]})) == "scratch, longer"


def test_a_method_without_rows_is_left_out():
    rows = advised({name: VALID[name] for name in ("scratch", "linear probe", "full")})
    assert picked(rows) == "full"
    assert len(course.advice(rows, "both", "animals", 20)) == 3


@pytest.mark.parametrize(
    ("source", "target", "per_class", "said"),
    [
        ("bothh", "animals", 20, r"no source 'bothh'. Did you mean 'both'\? Known: both, other, scratch"),
        ("both", "plants", 20, r"no target 'plants'. Known: animals, vehicles"),
        ("both", "animals", 7, r"no per_class 7. Known: 5, 20"),
    ],
)
def test_advice_for_an_unknown_setting_says_what_is_known(source, target, per_class, said):
    with pytest.raises(ValueError, match=said):
        course.advice(advised(), source, target, per_class)
