"""Every claim that a lesson makes about the stored rows, held against these rows."""

import pytest

from transfer_utils import data, stats
from transfer_utils.experiments import PROBE_SIZES, SEEDS


@pytest.fixture(scope="module")
def first():
    return data.results("lesson00")


@pytest.fixture(scope="module")
def pretraining():
    return data.results("lesson01")


@pytest.fixture(scope="module")
def stages():
    return data.results("lesson02")


def mean(rows, value="test", **where):
    return stats.select(rows, **where)[value].mean()


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("lesson00", ["method", "per_class"]),
        ("lesson01", ["method", "per_class"]),
        ("lesson02", ["stage", "per_class"]),
    ],
)
def test_every_comparison_has_all_seeds(name, columns):
    for _, rows in data.results(name).groupby(columns):
        assert sorted(rows["seed"]) == list(SEEDS)


# --- lesson 00


@pytest.mark.parametrize(("per_class", "least"), [(10, 0.60), (50, 0.72)])
def test_frozen_imagenet_features_on_few_photos(first, per_class, least):
    assert mean(first, method="probe", per_class=per_class) >= least


@pytest.mark.parametrize("per_class", [10, 50])
@pytest.mark.parametrize("baseline", ["scratch", "scratch until flat"])
def test_scratch_stays_far_below(first, per_class, baseline):
    assert stats.paired_difference(first, "probe", baseline, per_class=per_class).low > 0.25


def test_scratch_at_50_stays_below_the_probe_at_10(first):
    scratch = [
        stats.mean_interval(stats.select(first, method=m, per_class=50)["test"])
        for m in ("scratch", "scratch until flat")
    ]
    probe = stats.mean_interval(stats.select(first, method="probe", per_class=10)["test"])
    assert max(interval.high for interval in scratch) < probe.low


def test_more_photos_help_every_method(first):
    for method in first["method"].unique():
        few, many = (stats.select(first, method=method, per_class=n).set_index("seed")["test"] for n in (10, 50))
        assert stats.mean_interval(many - few).low > 0


# --- lesson 01


def test_fine_tuning_gains_at_20_per_class(pretraining):
    gain = stats.paired_difference(pretraining, "fine-tuned", "scratch", per_class=20)
    assert gain.mean >= 0.05
    assert gain.low > 0


def test_ten_times_the_epochs_do_not_save_scratch(pretraining):
    assert stats.paired_difference(pretraining, "fine-tuned", "scratch, 10x epochs", per_class=20).low > 0


# --- lesson 02


@pytest.mark.parametrize("per_class", PROBE_SIZES)
def test_frozen_features_beat_raw_pixels_everywhere(stages, per_class):
    rows = stages.rename(columns={"stage": "method"})
    assert stats.paired_difference(rows, "neck", "pixels", per_class=per_class).low > 0


def test_a_few_photos_with_features_beat_many_with_pixels(stages):
    assert mean(stages, stage="neck", per_class=5) > mean(stages, stage="pixels", per_class=200)


def test_late_stages_beat_early_ones_at_50(stages):
    order = ["pixels", "stem", "stage3", "stage5", "stage6"]
    accuracy = [mean(stages, stage=stage, per_class=50) for stage in order]
    assert accuracy == sorted(accuracy)


@pytest.mark.parametrize("per_class", [1, 10, 100])
def test_the_last_stage_is_not_the_best(stages, per_class):
    rows = stages.rename(columns={"stage": "method"})
    assert stats.paired_difference(rows, "stage7", "neck", per_class=per_class).low > 0


def test_the_first_stages_do_little_better_than_pixels(stages):
    for stage in ("stem", "stage1"):
        assert abs(mean(stages, stage=stage, per_class=50) - mean(stages, stage="pixels", per_class=50)) < 0.05
