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
@pytest.mark.parametrize("baseline", ["probe, random weights", "scratch", "scratch until flat"])
def test_scratch_stays_far_below(first, per_class, baseline):
    assert stats.paired_difference(first, "probe", baseline, per_class=per_class).low > 0.25


def test_scratch_at_50_stays_below_the_probe_at_10(first):
    scratch = [
        stats.mean_interval(stats.select(first, method=m, per_class=50)["test"])
        for m in ("scratch", "scratch until flat")
    ]
    probe = stats.mean_interval(stats.select(first, method="probe", per_class=10)["test"])
    assert max(interval.high for interval in scratch) < probe.low


def test_rows_are_measured_not_made_up(first):
    """Rows that came from a run are rounded to four digits and took some time."""
    assert (first["test"] == first["test"].round(4)).all()
    assert first["seconds"].nunique() > len(first) / 2


# --- lesson 01


def test_fine_tuning_gains_at_20_per_class(pretraining):
    gain = stats.paired_difference(pretraining, "fine-tuned", "scratch", per_class=20)
    assert gain.mean >= 0.05
    assert gain.low > 0


def test_ten_times_the_epochs_do_not_save_scratch(pretraining):
    assert stats.paired_difference(pretraining, "fine-tuned", "scratch, 10x epochs", per_class=20).low > 0


def test_fine_tuning_gains_at_every_size(pretraining):
    for per_class in (5, 20, 100):
        assert stats.paired_difference(pretraining, "fine-tuned", "scratch", per_class=per_class).low > 0


def test_pretrained_features_help_with_new_classes_without_training(pretraining):
    assert stats.paired_difference(pretraining, "probe", "probe, random weights", per_class=20).low > 0


@pytest.mark.parametrize("per_class", [20, 100])
def test_fine_tuning_adds_to_the_probe(pretraining, per_class):
    assert stats.paired_difference(pretraining, "fine-tuned", "probe", per_class=per_class).low > 0


def test_at_five_per_class_probe_and_fine_tuning_cannot_be_told_apart(pretraining):
    difference = stats.paired_difference(pretraining, "fine-tuned", "probe", per_class=5)
    assert difference.low < 0 < difference.high


def test_at_a_hundred_per_class_a_probe_is_no_better_than_scratch(pretraining):
    assert stats.paired_difference(pretraining, "probe", "scratch", per_class=100).low < 0


# --- lesson 02


@pytest.mark.parametrize("per_class", PROBE_SIZES)
def test_frozen_features_beat_raw_pixels_everywhere(stages, per_class):
    rows = stages.rename(columns={"stage": "method"})
    assert stats.paired_difference(rows, "neck", "pixels", per_class=per_class).low > 0


def test_a_few_photos_with_features_beat_many_with_pixels(stages):
    assert mean(stages, stage="neck", per_class=5) > mean(stages, stage="pixels", per_class=200)


def test_late_stages_beat_early_ones_at_50(stages):
    order = ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6"]
    accuracy = [mean(stages, stage=stage, per_class=50) for stage in order]
    assert accuracy == sorted(accuracy)


@pytest.mark.parametrize("per_class", PROBE_SIZES)
def test_the_neck_is_never_the_better_choice(stages, per_class):
    difference = stats.paired_difference(
        stages.rename(columns={"stage": "method"}), "stage7", "neck", per_class=per_class
    )
    assert difference.mean > 0
    assert difference.high > 0


def test_stage_7_is_ahead_of_the_neck_at_some_sizes_and_not_at_all(stages):
    rows = stages.rename(columns={"stage": "method"})
    low = [stats.paired_difference(rows, "stage7", "neck", per_class=size).low for size in (1, 10, 50, 100)]
    assert min(low) < 0 < max(low)


@pytest.mark.parametrize("stage", ["stem", "stage1"])
def test_the_first_stages_give_no_more_than_pixels(stages, stage):
    difference = stats.paired_difference(stages.rename(columns={"stage": "method"}), stage, "pixels", per_class=50)
    assert difference.high < 0


def test_accuracy_hardly_changes_after_stage_6(stages):
    late = [mean(stages, "valid", stage=stage, per_class=50) for stage in ("stage6", "stage7", "neck")]
    assert max(late) - min(late) < 0.02
