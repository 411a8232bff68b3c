import numpy as np
import pandas as pd
import pytest
import scipy.stats

from transfer_utils.stats import Interval, difference, mean_interval, paired, select, share_interval, summarise
from transfer_utils.stats.intervals import Share


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two methods, two sizes, three seeds, shuffled; better is better by 0.1 or 0.2 and a little noise."""
    records = [
        {"method": method, "size": size, "seed": seed, "test": seed / 10 + bonus * size / 10, "valid": 0.0}
        for method, noise in (("better", (1.0, 1.1, 0.9)), ("worse", (0.0, 0.0, 0.0)))
        for size in (1, 2)
        for seed, bonus in enumerate(noise)
    ]
    return pd.DataFrame(records).sample(frac=1, random_state=0)


@pytest.mark.parametrize("values", [[0.1, 0.4], [0.7, 0.71, 0.69, 0.75, 0.6], list(np.linspace(0, 1, 40))])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_mean_interval_is_the_t_interval(values, confidence):
    found = mean_interval(values, confidence)
    low, high = scipy.stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), rel=1e-12)
    assert found.n == len(values)
    assert found.half == pytest.approx((high - low) / 2)


def test_mean_interval_takes_any_iterable_and_equal_values():
    assert mean_interval(x for x in (0.5, 0.5)) == Interval(0.5, 0.5, 0.5, 2)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_mean_interval_needs_two_values(values):
    with pytest.raises(ValueError, match=rf"got {len(values)} value\(s\); an interval needs at least 2 seeds"):
        mean_interval(values)


def test_interval_in_words():
    assert str(Interval(0.123, 0.1, 0.1456, 5)) == "12.3% [10.0%, 14.6%] over 5 seeds"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.2, "more"),
        (-0.2, -0.01, "less"),
        (-0.01, 0.2, "either way"),
        (0.0, 0.2, "either way"),
        (-0.2, 0.0, "either way"),
    ],
)
def test_the_verdict_is_open_while_the_interval_holds_zero(low, high, said):
    assert Interval((low + high) / 2, low, high, 5).verdict == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.02, 0.02, "the same within 2 points"),  # the margin itself is within it
        (-0.01, 0.015, "the same within 2 points"),
        (0.005, 0.015, "the same within 2 points"),  # above zero, and too little to matter
        (-0.02, -0.001, "the same within 2 points"),
        (0.0, 0.0, "the same within 2 points"),
        (0.001, 0.021, "more"),
        (0.3, 0.5, "more"),
        (-0.021, -0.001, "less"),
        (-0.5, -0.3, "less"),
        (0.0, 0.021, "at most 3 points either way"),  # zero itself is neither above nor below
        (-0.021, 0.0, "at most 3 points either way"),
        (-0.03, 0.01, "at most 3 points either way"),
        (-0.01, 0.0301, "at most 4 points either way"),
        (-0.0499, 0.03, "at most 5 points either way"),
        (-0.2, 0.5, "at most 50 points either way"),
    ],
)
def test_what_is_told_of_a_difference(low, high, said):
    assert Interval((low + high) / 2, low, high, 5).told() == said


@pytest.mark.parametrize("points", range(3, 101))
def test_whole_points_stay_whole(points):
    """100 * 0.07 is a little more than 7 in floating point."""
    for low, high in ((-points / 100, 0.01), (-0.01, points / 100)):
        assert Interval(0.0, low, high, 5).told() == f"at most {points} points either way"


@pytest.mark.parametrize(
    ("margin", "low", "high", "said"),
    [
        (0.01, -0.01, 0.01, "the same within 1 point"),
        (0.07, -0.01, 0.07, "the same within 7 points"),
        (0.005, -0.001, 0.005, "the same within 0.5 points"),
        (0.005, -0.001, 0.006, "at most 1 point either way"),
        (1e-9, 1e-8, 0.01, "more"),
        (0.5, 0.1, 0.2, "the same within 50 points"),
    ],
)
def test_what_is_told_follows_the_margin(margin, low, high, said):
    assert Interval((low + high) / 2, low, high, 5).told(margin) == said


@pytest.mark.parametrize("margin", [0, -0.02, float("nan"), "0.02", None])
def test_told_needs_a_margin(margin):
    with pytest.raises(ValueError, match=rf"told\(\) got margin={margin!r}; it is the largest .* and above 0"):
        Interval(0.0, -0.1, 0.1, 5).told(margin)


# --- shares of photos ---------------------------------------------------------------------------------------------


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's formula, written out."""
    z = scipy.stats.norm.ppf(0.975)
    share = right / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def test_share_interval_is_wilsons():
    found = share_interval(8, 10)
    # by hand, with z = 1.959964: 0.71674 is the middle, and 0.22658 is half the width
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, 0.49016, 0.94331), abs=2e-5)
    assert found.n == 10


@pytest.mark.parametrize(("right", "n"), [(1, 2), (1, 300), (37, 41), (299, 300), (2, 3000)])
def test_share_interval_is_the_formula(right, n):
    found = share_interval(right, n)
    assert (found.low, found.high) == pytest.approx(wilson(right, n), rel=1e-9)
    assert 0 <= found.low < found.mean < found.high <= 1


@pytest.mark.parametrize("n", [1, 5, 1000])
def test_none_and_all_of_the_photos_have_an_interval_too(n):
    none, every = share_interval(0, n), share_interval(n, n)
    assert (none.mean, none.low) == (0, 0)
    assert (every.mean, every.high) == (1, 1)
    assert none.high == pytest.approx(wilson(0, n)[1])
    assert every.low == pytest.approx(1 - none.high)
    assert 0 < none.high < 1


def test_more_photos_tell_more():
    widths = [share_interval(n // 2, n).half for n in (4, 40, 400)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 5 * widths[2]


@pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 5), (0, -1)])
def test_a_share_of_no_photos_or_of_more_than_there_are_is_refused(right, n):
    with pytest.raises(ValueError, match=rf"got {right} of {n}; it needs at least 1 photo, and 0 to all of them right"):
        share_interval(right, n)


def test_a_share_speaks_of_photos_and_not_of_seeds():
    found = share_interval(1, 4)
    assert isinstance(found, Share)
    assert str(found) == "25.0% [4.6%, 69.9%] of 4 photos"


# --- differences ----------------------------------------------------------------------------------------------------


def test_a_difference_pairs_seeds_in_any_order(rows):
    """The seeds differ much more than the methods: only pairing by seed gives this narrow interval."""
    expected = mean_interval([0.2, 0.22, 0.18])
    for order in range(5):
        found = difference(select(rows, size=2).sample(frac=1, random_state=order), "better", "worse")
        assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
        assert found.n == 3


def test_a_difference_has_a_sign_and_a_column(rows):
    assert difference(select(rows, size=2), "worse", "better").mean == pytest.approx(-0.2)
    assert difference(select(rows, size=1), "better", "worse", value="valid").mean == 0


def test_a_side_is_picked_by_any_columns(rows):
    """A string is short for a method."""
    found = difference(rows, {"method": "better", "size": 2}, {"method": "worse", "size": 1})
    assert found == difference(
        rows.rename(columns={"method": "way"}), {"way": "better", "size": 2}, {"way": "worse"} | {"size": 1}
    )
    assert difference(select(rows, size=1), {"method": "better"}, "worse") == difference(
        select(rows, size=1), "better", "worse"
    )


@pytest.mark.parametrize(
    ("spoil", "second"),
    [
        (lambda rows: rows[(rows["method"] == "better") | (rows["seed"] > 0)], [1, 2]),  # one is missing
        (lambda rows: rows.assign(seed=rows["seed"] + (rows["method"] == "worse")), [1, 2, 3]),  # as many, but others
    ],
)
def test_other_seeds_are_refused(rows, spoil, second):
    told = rf"The seeds differ: 'better' has \[0, 1, 2\] and 'worse' has \[{', '.join(map(str, second))}\]; .*Select"
    with pytest.raises(ValueError, match=told):
        difference(select(spoil(rows), size=1), "better", "worse")


@pytest.mark.parametrize("twice", ["better", "worse"])
def test_a_seed_that_is_there_twice_is_refused(rows, twice):
    more = pd.concat([select(rows, size=1), select(rows, size=2, method=twice)])
    with pytest.raises(ValueError, match=rf"{twice}.* has the seeds \[0, 0, 1, 1, 2, 2\]; .* Name more columns"):
        difference(more, "better", "worse")


@pytest.mark.parametrize(
    ("first", "value", "told"),
    [
        ("beter", "test", r"no method 'beter'. Did you mean 'better'\? Known: "),
        ({"method": "better", "size": 7}, "test", "no size 7. Known: "),
        ({"methd": "better"}, "test", r"no column 'methd'. Did you mean 'method'\?"),
        ("better", "tset", r"no column 'tset'. Did you mean 'test'\?"),
    ],
)
def test_an_unknown_column_or_value_is_told_from_those_that_there_are(rows, first, value, told):
    with pytest.raises(ValueError, match=told):
        difference(select(rows, size=1), first, "worse", value)
    with pytest.raises(ValueError, match=told):
        difference(select(rows, size=1), "worse", first, value)


@pytest.mark.parametrize(
    "keep",
    [lambda rows: rows[rows["method"] != rows["size"].map({1: "worse", 2: "better"})], lambda rows: rows.iloc[:0]],
)
def test_a_side_without_rows_is_refused(rows, keep):
    """Its values are known, but no row has all of them; or nothing was left to choose from."""
    kept = keep(rows)
    with pytest.raises(
        ValueError, match=f"None of the {len(kept)} rows has .*'worse'.* needs one for each seed. Change"
    ):
        difference(kept, {"method": "worse", "size": 1}, {"method": "better", "size": 1})


def test_paired_gives_several_columns_in_the_order_of_the_seeds(rows):
    first, second = paired(select(rows, size=2), "better", "worse", ["test", "valid"])
    assert list(first) == list(second) == ["test", "valid"]
    assert list(first.index) == list(second.index) == [0, 1, 2]
    assert (first["test"] - second["test"]).tolist() == pytest.approx([0.2, 0.22, 0.18])


def test_select(rows):
    found = select(rows, method="better", size=1)
    assert len(found) == 3
    assert set(found["method"]) == {"better"}
    assert set(found["size"]) == {1}
    assert len(select(rows)) == len(rows)


def test_summarise(rows):
    table = summarise(rows.sort_values(["method", "size", "seed"]), "method", "size")
    assert list(table.columns) == ["method", "size", "mean", "low", "high", "n"]
    assert table[["method", "size"]].values.tolist() == [["better", 1], ["better", 2], ["worse", 1], ["worse", 2]]
    expected = mean_interval([0.2 + 0.0, 0.1 + 0.22, 0.2 + 0.18])
    line = table.iloc[1]
    assert (line["mean"], line["low"], line["high"], line["n"]) == pytest.approx(
        (expected.mean, expected.low, expected.high, 3)
    )


def test_summarise_by_one_column_and_another_value(rows):
    table = summarise(rows, "method", value="valid")
    assert dict(zip(table["method"], table["mean"], strict=True)) == {"better": 0.0, "worse": 0.0}
    assert table["n"].tolist() == [6, 6]
