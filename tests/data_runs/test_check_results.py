"""Stored rows that are run again and compared."""

import pandas as pd
import pytest

import check_results

STORED = pd.DataFrame(
    {"method": ["full", "full", "scratch"], "seed": [0, 1, 0], "per_class": 20, "valid": 0.5, "test": [0.6, None, 0.4]}
)


def test_the_same_rows_deviate_by_nothing():
    off = check_results.deviations(STORED[:2], STORED, ["method", "seed"])
    assert off.tolist() == [0, 0, 0]  # two valid scores, and the one test score that was read


def test_a_deviation_counts_whichever_way_it_goes():
    fresh = STORED.assign(valid=[0.52, 0.5, 0.49])
    assert check_results.deviations(fresh, STORED, ["method", "seed"]).sum() == pytest.approx(0.03)


def test_rows_of_one_job_are_told_apart():
    stored = pd.concat([STORED, STORED.assign(per_class=5, valid=0.1)])
    assert check_results.deviations(stored[3:], stored, ["method", "seed"]).sum() == 0


def test_a_setting_that_is_none_is_the_gap_in_the_file():
    """As the rate of a probe: stats.results reads a gap among numbers."""
    stored = STORED.assign(rate=[None, 0.1, 0.2])
    fresh = pd.DataFrame([{"method": "full", "seed": 0, "per_class": 20, "rate": None, "valid": 0.4}])
    off = check_results.deviations(fresh, stored, ["method", "seed", "rate"])
    assert off.tolist() == pytest.approx([0.1])


def test_a_row_that_is_not_stored_is_said():
    with pytest.raises(ValueError, match="Of 3 rows that were run again, 2 are stored. Run `make results`"):
        check_results.deviations(STORED, STORED[1:], ["method", "seed"])


def test_an_unknown_name_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no result 'lesson33'"):
        check_results.main(["lesson33"])


@pytest.mark.parametrize(("off", "fails"), [(0.004, False), (0.006, True)])
def test_more_than_half_a_point_fails(monkeypatch, off, fails):
    monkeypatch.setattr(check_results, "check", lambda name: off)
    if fails:
        with pytest.raises(SystemExit):
            check_results.main(["lesson03"])
    else:
        check_results.main(["lesson03"])
