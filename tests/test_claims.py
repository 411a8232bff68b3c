"""Every claim that a lesson makes about the stored rows, held against these rows."""

import re
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from runs import lesson02, lesson03, lesson04, lesson05, lesson08
from transfer_utils import course, data, stats
from transfer_utils.stats import SEEDS

LESSONS = sorted((Path(__file__).parent.parent / "lessons").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def first():
    return stats.results("lesson00")


@pytest.fixture(scope="module")
def pretraining():
    return stats.results("lesson01")


@pytest.fixture(scope="module")
def stages():
    return stats.results("lesson02")


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
    for _, rows in stats.results(name).groupby(columns):
        assert sorted(rows["seed"]) == list(SEEDS)


# --- lesson 00


@pytest.mark.parametrize(("per_class", "least"), [(10, 0.60), (50, 0.72)])
def test_frozen_imagenet_features_on_few_photos(first, per_class, least):
    assert mean(first, method="linear probe", per_class=per_class) >= least


@pytest.mark.parametrize("per_class", [10, 50])
@pytest.mark.parametrize("baseline", ["linear probe, random weights", "scratch", "scratch until flat"])
def test_scratch_stays_far_below(first, per_class, baseline):
    assert stats.difference(stats.select(first, per_class=per_class), "linear probe", baseline).low > 0.25


def test_scratch_at_50_stays_below_the_probe_at_10(first):
    scratch = [
        stats.mean_interval(stats.select(first, method=m, per_class=50)["test"])
        for m in ("scratch", "scratch until flat")
    ]
    probe = stats.mean_interval(stats.select(first, method="linear probe", per_class=10)["test"])
    assert max(interval.high for interval in scratch) < probe.low


def test_rows_are_measured_not_made_up(first):
    """Rows that came from a run are rounded to four digits and took some time."""
    assert (first["test"] == first["test"].round(4)).all()
    assert first["seconds"].nunique() > len(first) / 2


# --- lesson 01


def test_fine_tuning_gains_at_20_per_class(pretraining):
    gain = stats.difference(stats.select(pretraining, per_class=20), "full", "scratch")
    assert gain.mean >= 0.05
    assert gain.low > 0


def test_ten_times_the_epochs_do_not_save_scratch(pretraining):
    assert stats.difference(stats.select(pretraining, per_class=20), "full", "scratch, 10x epochs").low > 0


def test_fine_tuning_gains_at_every_size(pretraining):
    for per_class in (5, 20, 100):
        assert stats.difference(stats.select(pretraining, per_class=per_class), "full", "scratch").low > 0


def test_pretrained_features_help_with_new_classes_without_training(pretraining):
    assert (
        stats.difference(stats.select(pretraining, per_class=20), "linear probe", "linear probe, random weights").low
        > 0
    )


@pytest.mark.parametrize("per_class", [20, 100])
def test_fine_tuning_adds_to_the_probe(pretraining, per_class):
    assert stats.difference(stats.select(pretraining, per_class=per_class), "full", "linear probe").low > 0


def test_at_five_per_class_a_probe_is_near_fine_tuning(pretraining):
    difference = stats.difference(stats.select(pretraining, per_class=5), "full", "linear probe")
    assert difference.told() == "at most 5 points either way"


def test_at_a_hundred_per_class_a_probe_is_near_scratch(pretraining):
    difference = stats.difference(stats.select(pretraining, per_class=100), "linear probe", "scratch")
    assert difference.told() == "at most 3 points either way"


# --- lesson 02


@pytest.mark.parametrize("per_class", lesson02.PROBE_SIZES)
def test_frozen_features_beat_raw_pixels_everywhere(stages, per_class):
    here = stats.select(stages, per_class=per_class)
    assert stats.difference(here, {"stage": "neck"}, {"stage": "pixels"}).low > 0


def test_a_few_photos_with_features_beat_many_with_pixels(stages):
    assert mean(stages, stage="neck", per_class=5) > mean(stages, stage="pixels", per_class=200)


def test_late_stages_beat_early_ones_at_50(stages):
    order = ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6"]
    accuracy = [mean(stages, stage=stage, per_class=50) for stage in order]
    assert accuracy == sorted(accuracy)


@pytest.mark.parametrize("per_class", lesson02.PROBE_SIZES)
def test_the_neck_is_never_the_better_choice(stages, per_class):
    difference = stats.difference(stats.select(stages, per_class=per_class), {"stage": "stage7"}, {"stage": "neck"})
    assert difference.mean > 0
    assert difference.high > 0


def test_stage_7_is_ahead_of_the_neck_at_some_sizes_and_not_at_all(stages):
    found = {n: stats.select(stages, per_class=n) for n in (10, 50, 100)}
    told = {n: stats.difference(rows, {"stage": "stage7"}, {"stage": "neck"}).told() for n, rows in found.items()}
    assert told == {10: "more", 50: "the same within 2 points", 100: "more"}


@pytest.mark.parametrize("stage", ["stem", "stage1"])
def test_the_first_stages_give_no_more_than_pixels(stages, stage):
    assert stats.difference(stats.select(stages, per_class=50), {"stage": stage}, {"stage": "pixels"}).high < 0


def test_accuracy_hardly_changes_after_stage_6(stages):
    late = [mean(stages, "valid", stage=stage, per_class=50) for stage in ("stage6", "stage7", "neck")]
    assert max(late) - min(late) < 0.02


# --- lesson 03


@pytest.fixture(scope="module")
def judged():
    """The draws that judge, with what is kept of the source and withstood of corruption, above guessing."""
    rows = stats.results("lesson03").dropna(subset=["test"])
    kept = (rows["source_after"] - 1 / 5) / (rows["source_before"] - 1 / 5)
    corrupted = rows[list(data.CORRUPTIONS)].mean(axis=1)
    return rows.assign(kept=kept, corrupted=corrupted, withstood=(corrupted - 1 / 3) / (rows["test"] - 1 / 3))


REFINED = ("full, head 10x", "gradual unfreezing", "head, then full")
MOVING = ("last stage", "full", *REFINED)


def told(rows, method, rival, per_class, value="test"):
    return stats.difference(stats.select(rows, per_class=per_class), method, rival, value).told()


def test_every_comparison_of_lesson_3_has_all_its_draws(judged):
    found = judged.groupby(["method", "per_class"])["seed"].apply(sorted)
    wanted = {(method, size) for method, sizes in lesson03.COMPARED.items() for size in sizes}
    assert set(found.index) == wanted | {(method, 20) for method in lesson03.UNCHOSEN}
    assert all(seeds == list(lesson03.JUDGING) for seeds in found)


def test_at_20_scratch_and_the_head_alone_are_behind(judged):
    scratch = stats.difference(stats.select(judged, per_class=20), "scratch", "full")
    assert scratch.high < -0.08
    assert told(judged, "head only", "full", 20) == "less"


@pytest.mark.parametrize("method", REFINED)
def test_at_20_refined_ways_are_the_same_as_full(judged, method):
    assert told(judged, method, "full", 20) == "the same within 2 points"


def test_the_last_stage_is_ahead_with_few_photos(judged):
    at_20 = stats.difference(stats.select(judged, per_class=20), "last stage", "full")
    assert at_20.told() == "more"
    assert 0.01 < at_20.mean < 0.02
    assert told(judged, "last stage", "full", 5) == "more"


def test_at_5_holding_things_still_pays(judged):
    for method in ("last stage", "gradual unfreezing", "head, then full"):
        assert told(judged, method, "full", 5) == "more", method
    assert stats.difference(stats.select(judged, per_class=5), "head only", "full").high > 0


def test_at_100_the_head_alone_is_far_behind_and_most_ways_equal_full(judged):
    here = stats.select(judged, per_class=100)
    assert stats.difference(here, "head only", "full").high < -0.05
    assert -0.04 < stats.difference(here, "gradual unfreezing", "full").high < 0
    for method in ("last stage", "full, head 10x", "head, then full"):
        assert told(judged, method, "full", 100) == "the same within 2 points", method


def test_five_times_the_epochs_do_not_close_the_gap(judged):
    here = stats.select(judged, per_class=20)
    assert told(judged, "scratch, longer", "scratch", 20) == "the same within 2 points"
    assert told(judged, "full, longer", "full", 20) == "the same within 2 points"
    assert stats.difference(here, "full, longer", "scratch, longer").low > 0.08


def test_the_finder_is_as_good_as_five_draws_and_valid_photos(judged):
    assert told(judged, "full, rate found", "full", 20) == "the same within 2 points"


def test_a_rate_that_is_too_high_leaves_nothing_of_pretraining(judged):
    here = stats.select(judged, per_class=20)
    assert stats.difference(here, "full at 0.1", "scratch").verdict == "less"
    close = stats.difference(here, "full at 0.1", "scratch at 0.1")
    assert close.low < 0 < close.high < 0.03


def test_too_high_a_rate_costs_more_than_any_choice_among_the_pretrained_ways(judged):
    cost = stats.difference(stats.select(judged, per_class=20), "full", "full at 0.1").low
    for per_class in (5, 20, 100):
        means = [mean(judged, method=method, per_class=per_class) for method in (*MOVING, "head only")]
        assert max(means) - min(means) < cost


def test_against_overfitting_only_freezing_helps(judged):
    here, bare = stats.select(judged, per_class=5), "full, no augmentation"
    assert stats.difference(here, "last stage", bare).low > 0.02
    for way in ("full", "full, decay x100"):
        assert told(judged, way, bare, 5) == "the same within 2 points", way
    assert stats.difference(here, "full, head 10x", bare).high < 0.03


def test_a_frozen_backbone_forgets_exactly_nothing(judged):
    assert (stats.select(judged, method="head only")["kept"] == 1).all()


def test_no_tensor_or_buffer_of_a_frozen_stage_moved():
    rows = stats.results("lesson03")
    for method in ("head only", "last stage"):
        assert (stats.select(rows, method=method)["drift"] == 0).all()


@pytest.mark.parametrize("per_class", [20, 100])
def test_every_way_that_moves_the_backbone_forgets(judged, per_class):
    for method in MOVING:
        assert stats.mean_interval(stats.select(judged, method=method, per_class=per_class)["kept"]).high < 1, method


def test_gentle_ways_keep_more_than_full(judged):
    for method in ("last stage", *REFINED):
        assert told(judged, method, "full", 20, "kept") == "more", method
        assert told(judged, method, "full", 20) in ("more", "the same within 2 points"), method
    for method in ("gradual unfreezing", "head, then full"):
        assert told(judged, method, "full", 100, "kept") == "more", method


def test_head_then_full_helps_under_corruption_at_5_and_not_at_100(judged):
    assert told(judged, "head, then full", "full", 5, "corrupted") == "more"
    assert told(judged, "head, then full", "full", 5) == "more"
    assert (
        stats.difference(stats.select(judged, per_class=100), "head, then full", "full", "corrupted").verdict == "less"
    )


def test_corruption_takes_the_lead_of_pretraining(judged):
    assert stats.difference(stats.select(judged, per_class=20), "full", "scratch", "corrupted").verdict == "more"
    assert stats.difference(stats.select(judged, per_class=20), "full", "scratch", "corrupted").high < 0.04
    assert told(judged, "full", "scratch", 100, "corrupted") == "the same within 2 points"
    for per_class in (20, 100):
        assert stats.difference(stats.select(judged, per_class=per_class), "full", "scratch").low > 0.08
        assert told(judged, "full", "scratch", per_class, "withstood") == "less"


def test_noise_and_low_contrast_part_the_two(judged):
    at_100 = stats.select(judged, per_class=100)
    assert stats.difference(at_100, "full", "scratch", "noise").verdict == "less"
    assert stats.difference(at_100, "full", "scratch", "low contrast").verdict == "more"


def test_low_contrast_is_the_hardest(judged):
    means = judged.groupby(["method", "per_class"])[["test", *data.CORRUPTIONS]].mean() - 1 / 3
    assert (means["low contrast"] < means[["noise", "blur"]].min(axis=1)).all()
    assert (means["low contrast"] < means["test"] / 2).all()


# --- lesson 04 ------------------------------------------------------------------------------------------------------

SIZES = (5, 20, 100, 500)
PAIRS = [(source, target) for target in data.TARGETS for source in lesson04.SOURCES]


@pytest.fixture(scope="module")
def tried():
    """All runs of the map, with those that chose."""
    return stats.results("lesson04")


@pytest.fixture(scope="module")
def map_rows(tried):
    """The runs that judge."""
    return tried.dropna(subset=["test"])


@pytest.fixture(scope="module")
def kinds(map_rows):
    """The mean over both targets, by what the source is to the target."""
    named = map_rows.assign(kind="other")
    named.loc[named["source"] == named["target"], "kind"] = "similar"
    named.loc[named["source"].isin(["both", "scratch"]), "kind"] = named["source"]
    return named.groupby(["kind", "method", "per_class", "seed"], as_index=False)["test"].mean()


def gain(rows, source, target, method, per_class):
    here = stats.select(rows, target=target, per_class=per_class)
    return stats.difference(here, {"source": source, "method": method}, "scratch")


def between(rows, first, second, per_class, **where):
    """The first side minus the second at a size."""
    return stats.difference(stats.select(rows, per_class=per_class, **where), first, second)


def test_all_runs_of_a_draw_have_the_same_photos(tried):
    assert (tried.groupby(["target", "per_class", "seed"])["photos"].nunique() == 1).all()


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("per_class", SIZES[1:])
def test_full_is_ahead_of_scratch_from_20_on(map_rows, source, target, per_class):
    assert gain(map_rows, source, target, "full", per_class).low > 0


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_with_five_full_is_nowhere_clearly_behind(map_rows, source, target):
    assert gain(map_rows, source, target, "full", 5).high > 0


@pytest.mark.parametrize("target", data.TARGETS)
@pytest.mark.parametrize("per_class", SIZES[1:])
def test_both_gains_most_from_20_on(map_rows, target, per_class):
    means = {source: gain(map_rows, source, target, "full", per_class).mean for source in lesson04.SOURCES}
    assert max(means, key=means.get) == "both"


def test_gains_shrink_with_photos_for_vehicles_and_not_for_animals(map_rows):
    shrinks = [gain(map_rows, "both", "vehicles", "full", size).mean for size in SIZES]
    assert shrinks == sorted(shrinks, reverse=True)
    assert gain(map_rows, "both", "animals", "full", 500).mean > gain(map_rows, "both", "animals", "full", 5).mean


@pytest.mark.parametrize("kind", ["similar", "both"])
@pytest.mark.parametrize("per_class", [20, 500])
def test_with_the_same_time_full_stays_ahead(kinds, kind, per_class):
    longer = between(kinds, {"kind": kind, "method": "full, longer"}, "scratch, longer", per_class)
    assert longer.low > 0
    assert longer.mean < between(kinds, {"kind": kind, "method": "full"}, "scratch", per_class).mean


def test_time_for_scratch_alone_hides_the_lead(kinds):
    assert between(kinds, {"kind": "similar", "method": "full"}, "scratch, longer", 500).high < 0.02
    assert between(kinds, {"kind": "similar", "method": "full"}, "scratch", 500).low > 0.02
    assert between(kinds, "scratch, longer", "scratch", 500).low > 0.02


def test_probe_and_full_cross_between_5_and_20(kinds):
    for kind in ("similar", "both"):
        leads = [between(kinds, "linear probe", "full", size, kind=kind) for size in SIZES]
        assert leads[0].low > 0
        assert all(lead.high < 0 for lead in leads[1:])
        assert [lead.mean for lead in leads] == sorted((lead.mean for lead in leads), reverse=True)
    assert all(between(kinds, "linear probe", "full", size, kind="other").verdict != "more" for size in SIZES)


def test_with_five_photos_what_trains_less_depends_less_on_the_draw(map_rows):
    settings = ["method", "per_class", "source", "target"]
    spread = map_rows.groupby(settings)["test"].std().groupby(["method", "per_class"]).mean().unstack()
    at_5 = spread[5]
    assert at_5["linear probe"] < at_5["last stage"] < at_5["full"] < at_5["scratch"]
    assert at_5["linear probe"] > 0.03
    assert (spread[20].drop("linear probe, random weights") < at_5["linear probe"]).all()


def test_similarity_is_worth_most_where_most_is_frozen(kinds):
    def worth(method, size):
        return between(kinds, {"kind": "similar"}, {"kind": "other"}, size, method=method)

    assert all(worth("linear probe", size).low > 0 for size in SIZES)
    for size in SIZES:
        assert worth("linear probe", size).mean > worth("last stage", size).mean > worth("full", size).mean
    for size in (100, 500):
        assert worth("full", size).told() == "the same within 2 points"
    assert worth("linear probe", 5).mean > 2 * worth("linear probe", 20).mean


def test_similarity_is_not_worth_the_same_on_either_target(map_rows):
    probes = stats.select(map_rows, method="linear probe", per_class=20)
    sides = {"source": "vehicles"}, {"source": "animals"}
    assert stats.difference(stats.select(probes, target="vehicles"), *sides).told() == "the same within 2 points"
    assert stats.difference(stats.select(probes, target="animals"), *sides).high < -0.02


@pytest.mark.parametrize("method", ["linear probe", "last stage", "full"])
@pytest.mark.parametrize("per_class", SIZES[1:])
def test_both_is_better_than_the_similar_source_from_20_on(kinds, method, per_class):
    assert between(kinds, {"kind": "both"}, {"kind": "similar"}, per_class, method=method).verdict == "more"


def test_a_frozen_backbone_from_vehicles_hurts_on_animals(map_rows):
    found = [gain(map_rows, "vehicles", "animals", "linear probe", size) for size in SIZES]
    assert [each.verdict for each in found] == ["either way", "either way", "less", "less"]
    assert found[2].mean > found[3].mean
    assert all(each.mean < 0 for each in found)


def test_at_500_a_probe_is_ahead_of_scratch_from_both_alone(map_rows):
    ahead = {(s, t) for s, t in PAIRS if gain(map_rows, s, t, "linear probe", 500).low > 0}
    assert ahead == {("both", "vehicles"), ("both", "animals")}


def test_animals_are_as_unlike_vehicles_and_do_not_hurt(map_rows):
    found = [gain(map_rows, "animals", "vehicles", "linear probe", size) for size in SIZES]
    assert [each.verdict for each in found] == ["more", "more", "more", "either way"]


def test_last_stage_is_at_least_as_good_as_full_at_20_for_less(map_rows):
    here = stats.select(map_rows, target="animals", per_class=20)
    of_both = stats.select(here, source="both")
    assert stats.difference(of_both, "last stage", "full").low > -0.02
    assert gain(map_rows, "both", "animals", "linear probe", 20).low > 0
    flops = here.groupby("method")["flops"].first()
    assert flops["last stage"] < 0.4 * flops["full"]
    assert flops["linear probe"] < 0.2 * flops.drop(["linear probe", "linear probe, random weights"]).min()
    of_both = pd.concat([of_both, here[here["source"] == "scratch"]])
    marks = {
        name: (flops[name], mean(of_both, method=name)) for name in ("scratch", "linear probe", "last stage", "full")
    }
    assert "full" not in stats.pareto(marks)


@pytest.mark.parametrize("target", data.TARGETS)
def test_from_100_on_full_is_sooner_where_scratch_ends(map_rows, target):
    for size in (100, 500):
        assert course.work_saved(map_rows, "both", target, size)[0].low > 1
    assert course.work_saved(map_rows, "both", target, 5)[0].low < 1


def regret_of_the_advice(tried, margin=0.005):
    """Formed without the source that it is for, on the draws that choose."""
    return course.regret(tried.dropna(subset=["test"]), lambda source: course.advised(tried, margin, without=source))


def test_the_advice_loses_at_most_half_a_point_on_average(tried):
    assert regret_of_the_advice(tried)["regret"].mean() <= 0.005


def test_in_no_setting_does_the_whole_interval_of_the_regret_lie_beyond_two_points(tried):
    for setting, part in regret_of_the_advice(tried).groupby(["source", "target", "per_class"]):
        assert stats.mean_interval(part["regret"]).low <= 0.02, setting


@pytest.mark.parametrize("method", ["linear probe", "last stage", "full", "scratch"])
def test_the_advice_is_better_than_always_the_same_method(tried, map_rows, method):
    always = course.regret(map_rows, lambda source: dict.fromkeys(SIZES, method))
    more = always["regret"] - regret_of_the_advice(tried)["regret"]
    assert stats.mean_interval(more.groupby(always["seed"]).mean()).low > 0


def test_the_cheap_rule_costs_a_point_more(tried):
    cheap, careful = (regret_of_the_advice(tried, margin) for margin in (0.02, 0.005))
    assert 0.005 < (cheap["regret"] - careful["regret"]).mean() < 0.015
    settings = cheap.groupby(["source", "target", "per_class"])["regret"]
    assert set(settings.mean().nlargest(2).index) == {("vehicles", "animals", 5), ("vehicles", "animals", 500)}
    beyond = [setting for setting, losses in settings if stats.mean_interval(losses).low > 0.02]
    assert beyond == [("vehicles", "animals", 500)]


def test_from_100_photos_per_class_on_the_advice_is_full(tried):
    advice = course.advised(tried)
    assert advice == {5: "last stage", 20: "last stage", 100: "full", 500: "full"}
    assert all(course.advised(tried, without=source) == advice for source in lesson04.SOURCES)


def test_five_times_the_photos_are_worth_more_than_the_method(kinds):
    both = stats.select(kinds, kind="both")
    photos = stats.difference(stats.select(both, method="full"), {"per_class": 100}, {"per_class": 20})
    assert photos.low > between(both, "last stage", "linear probe", 20).high


def test_a_fifth_of_the_photos_does(kinds):
    here = kinds[kinds["kind"].isin(["both", "scratch"])]
    fifth = stats.difference(here, {"method": "last stage", "per_class": 20}, {"method": "scratch", "per_class": 100})
    assert fifth.low > 0


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("way", ["last stage", "full"])
def test_what_the_check_of_a_plan_says_holds(map_rows, source, target, way):
    """Exercise 4.3 turns down scratch as the second step, and a bar of more than 8 points."""
    here = stats.select(map_rows, source=source, target=target, per_class=20)
    assert stats.difference(here, way, "linear probe").mean < 0.08
    assert all(gain(map_rows, source, target, way, size).mean > 0 for size in (20, 100))


# --- lesson 05 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipes():
    """The draws that judge."""
    return stats.results("lesson05").dropna(subset=["test"])


def test_every_comparison_of_lesson_5_has_all_its_draws(recipes):
    found = recipes.groupby(["method", "per_class"])["seed"].apply(sorted)
    assert set(found.index) == {(way.name, size) for way in lesson05.METHODS for size in way.sizes}
    assert all(seeds == list(lesson05.JUDGING) for seeds in found)


@pytest.mark.parametrize("per_class", lesson05.EPOCHS)
def test_the_recipe_leads_the_probe_at_every_size(recipes, per_class):
    assert told(recipes, "recipe", "linear probe", per_class) == "more"


@pytest.mark.parametrize("per_class", [10, 50])
def test_scratch_that_had_its_time_stays_far_behind(recipes, per_class):
    """Its draws are other ones, so the two are not paired: the worst of one is far above the best of the other."""
    scratch = stats.select(stats.results("lesson00"), method="scratch until flat", per_class=per_class)["test"]
    assert stats.select(recipes, method="recipe", per_class=10)["test"].min() > scratch.max() + 0.1


@pytest.mark.parametrize("per_class", lesson05.EPOCHS)
def test_it_is_not_the_views(recipes, per_class):
    assert told(recipes, "linear probe, augmented", "linear probe", per_class) == "the same within 2 points"
    assert told(recipes, "recipe", "linear probe, augmented", per_class) == "more"


def test_moving_statistics_cost_more_than_fine_tuning_gains(recipes):
    here = stats.select(recipes, per_class=20)
    assert stats.difference(here, "recipe, statistics move", "recipe").high < -0.08
    assert told(recipes, "recipe, statistics move", "linear probe", 20) == "less"


def test_a_random_head_costs_a_few_points(recipes):
    found = stats.difference(stats.select(recipes, per_class=20), "recipe, random head", "recipe")
    assert -0.06 < found.low < found.high < -0.02


@pytest.mark.parametrize("part", ["one rate", "label smoothing", "mixup"])
def test_one_rate_smoothing_and_mixup_change_little(recipes, part):
    assert told(recipes, f"recipe, {part}", "recipe", 20) == "the same within 2 points"


def test_one_rate_is_if_anything_ahead(recipes):
    assert stats.difference(stats.select(recipes, per_class=20), "recipe, one rate", "recipe").verdict == "more"


@pytest.mark.parametrize("part", ["label smoothing", "mixup"])
def test_label_smoothing_and_mixup_did_not_help(recipes, part):
    assert stats.difference(stats.select(recipes, per_class=20), f"recipe, {part}", "recipe").high < 0.01


def test_held_statistics_help_one_network_with_either_head(recipes):
    for way in ("recipe", "recipe, random head"):
        assert stats.difference(stats.select(recipes, per_class=20), way, f"{way}, statistics move").low > 0.05


@pytest.mark.parametrize("per_class", lesson03.SIZES)
def test_held_statistics_change_little_on_the_course_resnet(judged, per_class):
    assert told(judged, "full, statistics held", "full", per_class) == "the same within 2 points"


@pytest.mark.parametrize("per_class", [5, 20])
def test_held_statistics_are_not_why_the_last_stage_leads(judged, per_class):
    assert told(judged, "last stage", "full, statistics held", per_class) == "more"


# --- lesson 07 ------------------------------------------------------------------------------------------------------


def promise(method: str, per_class: int) -> pd.DataFrame:
    return stats.select(stats.results("lesson07"), method=method, per_class=per_class)


@pytest.mark.parametrize(("per_class", "bound"), [(10, 5), (40, 3)])
@pytest.mark.parametrize("method", ["photos", "with copies, kept together"])
def test_on_average_the_promise_is_true(method, per_class, bound):
    rows = promise(method, per_class)
    assert stats.mean_interval(rows["promised"] - rows["accuracy"]).told() == f"at most {bound} points either way"


@pytest.mark.parametrize("per_class", [10, 40])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(per_class):
    rows = promise("photos", per_class)
    assert rows["accuracy"].between(rows["low"], rows["high"]).mean() >= 0.9
    twins = promise("with copies, kept together", per_class)
    assert twins["accuracy"].between(twins["low"], twins["high"]).mean() <= 0.85


def test_a_single_small_folder_may_be_far_off():
    off = [(rows["promised"] - rows["accuracy"]).abs() for rows in (promise("photos", 10), promise("photos", 40))]
    assert off[0].max() > 0.1
    assert off[0].mean() > 2 * off[1].mean()


@pytest.mark.parametrize("per_class", [10, 40])
def test_scattered_copies_promise_too_much(per_class):
    rows = promise("with copies, scattered", per_class)
    assert stats.mean_interval(rows["promised"] - rows["accuracy"]).low > 0.08


@pytest.mark.parametrize("per_class", [10, 40])
def test_views_gain_nothing_that_the_rows_can_show(per_class):
    rows = stats.select(stats.results("lesson07"), per_class=per_class)
    assert stats.difference(rows, "photos and views", "photos", value="accuracy").told() == "the same within 2 points"


def test_a_warning_is_rare_on_ordinary_photos_and_misses_many_strangers():
    few, more = promise("photos", 10), promise("photos", 40)
    for rows in (few, more):
        assert stats.mean_interval(rows["flagged"]).high < 0.1
        assert stats.mean_interval(rows["flagged_others"]).high < 0.7
    photos = stats.select(stats.results("lesson07"), method="photos")
    assert stats.difference(photos, {"per_class": 40}, {"per_class": 10}, "flagged_others").low > 0


# --- lesson 08


def of_lines(task, per_class=None):
    """The rows of the draws that judge."""
    rows = stats.select(stats.results("lesson08"), task=task)
    rows = rows[rows["seed"].isin(lesson08.JUDGING)]
    return rows if per_class is None else stats.select(rows, per_class=per_class)


def lead(first, second, per_class, task="topics"):
    return stats.difference(of_lines(task, per_class), first, second)


def test_every_comparison_of_lesson_8_has_all_its_draws():
    rows = pd.concat([of_lines(task) for task in lesson08.EPOCHS])
    found = rows.groupby(["task", "method", "per_class"])["seed"].apply(sorted)
    assert set(found.index) == {
        (task, method, size) for (task, method), sizes in lesson08.COMPARED.items() for size in sizes
    }
    assert all(seeds == list(lesson08.JUDGING) for seeds in found)


def test_reading_definitions_is_worth_ten_points_at_20_labels():
    found = lead("full", "scratch", 20)
    assert found.n >= 20
    assert found.mean >= 0.10
    assert found.low > 0.05
    full, scratch = stats.paired(of_lines("topics", 20), "full", "scratch", ["test"])
    assert (full["test"] - scratch["test"]).min() > 0.10


def test_fine_tuning_beats_scratch_on_topics_and_most_where_labels_are_few():
    found = [lead("full", "scratch", size) for size in lesson08.SIZES]
    assert min(interval.low for interval in found) > 0
    assert [interval.mean for interval in found] == sorted((interval.mean for interval in found), reverse=True)
    assert found[0].low > found[-1].high


def test_a_frozen_probe_keeps_up_at_five_labels_and_falls_behind():
    found = [lead("full", "linear probe", size) for size in lesson08.SIZES]
    assert found[0].told() == "the same within 2 points"
    assert all(before.high < after.low for before, after in pairwise(found))
    assert found[1].verdict == "more"
    assert lead("linear probe", "scratch", 500).verdict == "less"


@pytest.mark.parametrize("per_class", lesson08.SIZES)
def test_word_counts_beat_training_from_scratch(per_class):
    assert lead("word counts", "scratch", per_class).verdict == "more"


def test_word_counts_pass_the_probe_at_100_labels_and_fine_tuning_at_500():
    assert lead("word counts", "linear probe", 20).verdict == "less"
    assert lead("word counts", "linear probe", 100).verdict == "more"
    assert lead("word counts", "full", 100).verdict == "less"
    assert lead("word counts", "full", 500).verdict == "more"
    assert lead("word counts", "full", 500).high < 0.03


def test_the_features_were_learned():
    """The same stages without their reading."""
    assert lead("full", "word counts", 20).verdict == "more"
    assert all(lead("linear probe", "linear probe, random weights", size).low > 0.2 for size in lesson08.SIZES)


def test_three_times_the_steps_change_neither():
    for way in ("full", "scratch"):
        assert lead(f"{way}, longer", way, 20).told() == "the same within 2 points"
    assert lead("full, longer", "scratch, longer", 20).low > 0.1


def test_gradual_unfreezing_ends_where_full_fine_tuning_does():
    assert lead("gradual unfreezing", "full", 20).told() == "the same within 2 points"


def test_lora_stays_behind_full_fine_tuning_and_the_probe():
    assert lead("LoRA", "full", 20).verdict == "less"
    assert lead("LoRA", "linear probe", 20).verdict == "less"


@pytest.mark.parametrize("per_class", lesson08.SIZES)
def test_reading_definitions_is_worth_less_than_three_points_on_film_reviews(per_class):
    found = lead("full", "scratch", per_class, "film_reviews")
    assert found.low > -0.02
    assert found.high < 0.03


def test_a_frozen_probe_gains_a_few_points_from_reading_on_film_reviews():
    found = [lead("linear probe", "linear probe, random weights", size, "film_reviews") for size in lesson08.SIZES]
    assert min(interval.low for interval in found) > 0
    assert max(interval.high for interval in found) < 0.06


def test_with_few_labels_all_of_ours_are_close_to_guessing_on_film_reviews():
    rows = of_lines("film_reviews", 20)
    assert max(mean(rows, method=method) for method in ("full", "linear probe", "scratch", "word counts")) < 0.57


@pytest.mark.parametrize("per_class", [100, 500])
def test_word_counts_overtake_the_network_on_film_reviews(per_class):
    assert lead("word counts", "full", per_class, "film_reviews").verdict == "more"


@pytest.mark.parametrize("task", lesson08.EPOCHS)
@pytest.mark.parametrize("per_class", lesson08.SIZES)
@pytest.mark.parametrize("other", ["full", "linear probe", "scratch", "word counts"])
def test_a_probe_on_minilm_beats_all_of_ours_near_and_far(task, per_class, other):
    assert lead("MiniLM, linear probe", other, per_class, task).told() == "more"


def test_every_claim_that_a_lesson_names_is_tested():
    named = [name for path in LESSONS for name in re.findall(r"<!-- (test_\w+) -->", path.read_text(encoding="utf-8"))]
    assert named
    assert set(named) <= set(globals())


@pytest.mark.parametrize("number", ["00", "01", "02", "03", "04", "05", "07", "08"])
def test_every_takeaway_names_its_tests_or_is_about_what_was_seen(number):
    (path,) = [path for path in LESSONS if path.name.startswith(number)]
    for cell in path.read_text(encoding="utf-8").split("# %%"):
        for claim in cell.split("**Takeaway.**")[1:]:
            assert re.search(r"<!-- (test_\w+|live) -->", claim), f"a claim without a test: {claim[:90]}"
