"""One run of lesson 4's map, on few photos."""

from dataclasses import replace

import pytest
import torch

from transfer_utils import backbones
from transfer_utils.course import lesson04_map, trained
from transfer_utils.course.lesson04_map import CHOOSING, JUDGING, LOOKS, PENALTIES, probed, start
from transfer_utils.data import splits

EPOCHS, PER_CLASS = 6, 2
CHOOSES, JUDGES = CHOOSING[0], JUDGING[0]  # the draws that start from the checkpoints that are shipped


@pytest.fixture
def quick(monkeypatch):
    """Two photos per class, six epochs, and few photos to judge by."""

    def few(classes):
        train, valid, test = splits(classes)
        return train, valid.take(20), test.take(15)

    monkeypatch.setattr(lesson04_map, "splits", few)
    monkeypatch.setattr(lesson04_map, "WATCHED", 5)
    monkeypatch.setattr(lesson04_map, "EPOCHS", {PER_CLASS: EPOCHS})
    monkeypatch.setattr(lesson04_map, "PROBE_SIZES", (PER_CLASS, 5))
    monkeypatch.setattr(lesson04_map, "PENALTY", {"linear probe": {PER_CLASS: 1.0, 5: 0.1}})
    lesson04_map._costs.cache_clear()
    yield
    lesson04_map._costs.cache_clear()


def run(method="full", source="both", target="animals", seed=JUDGES, rate=1e-3) -> dict:
    (row,) = trained(source, target, method, PER_CLASS, seed, rate)
    return row


def probe(source="both", target="animals", seed=JUDGES) -> list[dict]:
    return probed(source, target, "linear probe", seed)


def timeless(row: dict) -> dict:
    """A row without seconds."""
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.fixture
def watched(monkeypatch) -> dict:
    """The last model whose accuracy was asked for, and the recipe of every phase."""
    seen = {"recipes": []}
    accuracy, train = lesson04_map.accuracy, lesson04_map.train

    def noting_accuracy(model, *rest):
        seen["model"] = model
        return accuracy(model, *rest)

    def noting_train(model, photos, valid, size, recipe, **options):
        seen["recipes"].append(recipe)
        return train(model, photos, valid, size, recipe, **options)

    monkeypatch.setattr(lesson04_map, "accuracy", noting_accuracy)
    monkeypatch.setattr(lesson04_map, "train", noting_train)
    return seen


@pytest.mark.parametrize("method", ["full", "last stage"])
def test_a_row_that_judges_has_accuracies_costs_and_looks_on_the_way(quick, method):
    row = run(method)
    looks = [f"look_{i}" for i in range(1, LOOKS + 1)]
    assert list(row) == ["seconds", "valid", *looks, "test", "flops", "memory_mb", "photos"]
    assert all(0 <= row[name] <= 1 for name in (*looks, "valid", "test"))
    assert row["flops"] > 0
    assert row["memory_mb"] > 4 * 1.2  # the weights alone


def test_a_draw_that_chooses_reads_no_test_photos(quick, monkeypatch):
    seen, accuracy, extract = [], lesson04_map.accuracy, lesson04_map.training.extract

    def noting(read):
        def noted(model, photos, *rest, **options):
            seen.append(len(photos))
            return read(model, photos, *rest, **options)

        return noted

    monkeypatch.setattr(lesson04_map, "accuracy", noting(accuracy))
    monkeypatch.setattr(lesson04_map.training, "extract", noting(extract))
    assert set(run(seed=CHOOSES)) == {"seconds", "valid", "photos"}
    probe(seed=CHOOSES)
    assert set(seen) == {60}, "there are 60 valid photos and 45 test photos"


def test_a_probe_that_chooses_has_a_row_for_every_size_and_penalty(quick):
    rows = probe(seed=CHOOSES)
    assert [(row["per_class"], row["penalty"]) for row in rows] == [(n, p) for n in (PER_CLASS, 5) for p in PENALTIES]
    assert all(set(row) == {"per_class", "penalty", "photos", "valid"} for row in rows)


def test_a_probe_that_judges_has_a_row_for_every_size_with_the_chosen_penalty(quick):
    rows = probe()
    assert [(row["per_class"], row["penalty"]) for row in rows] == [(PER_CLASS, 1.0), (5, 0.1)]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("valid", "test"))
    assert rows[0]["flops"] < rows[1]["flops"]
    assert rows[1]["test"] > 0.4  # three classes, and features of a network that knows other animals


@pytest.mark.parametrize("source", ["both", "scratch"])
def test_the_same_job_gives_the_same_row(quick, source):
    method = "scratch" if source == "scratch" else "full"
    torch.manual_seed(1)
    first, probes = run(method, source), probe(source)
    torch.manual_seed(2)
    assert timeless(run(method, source)) == timeless(first)
    assert probe(source) == probes


@pytest.mark.parametrize(
    ("method", "still", "moves"),
    [
        ("last stage", ("stem.", "stage1.", "stage2."), ("stage3.", "head.")),
        ("full", (), ("stem.", "stage1.", "stage2.", "stage3.", "head.")),
    ],
)
def test_only_the_stages_that_train_move(quick, watched, method, still, moves):
    run(method)
    before = start("both", JUDGES, 3).state_dict()
    drift = backbones.drift(before, watched["model"])
    assert not [name for name in drift if name.startswith(still or ("nothing",))]
    for stage in moves:
        assert any(name.startswith(stage) for name in drift)


@pytest.mark.parametrize(
    ("method", "source", "epochs"),
    [
        ("scratch", "scratch", EPOCHS),
        ("scratch, longer", "scratch", 5 * EPOCHS),
        ("full", "both", EPOCHS),
        ("full, longer", "both", 5 * EPOCHS),
        ("last stage", "both", EPOCHS),
    ],
)
def test_every_method_takes_the_same_epochs_and_the_rate_that_is_tried(quick, watched, method, source, epochs):
    run(method, source)
    assert [(recipe.epochs, recipe.rate) for recipe in watched["recipes"]] == [(epochs, 1e-3)]
    assert all(recipe.fixed_views and recipe.augment for recipe in watched["recipes"])


def test_what_a_method_changes_and_holds_is_changed_and_held(quick, watched):
    run("full, decay x100")
    assert watched["recipes"][-1].decay == 5.0
    before = start("both", JUDGES, 3).state_dict()
    run("full, statistics held")
    assert not [name for name in backbones.drift(before, watched["model"]) if "running" in name]
    run("full")
    assert [name for name in backbones.drift(before, watched["model"]) if "running" in name]


@pytest.mark.parametrize("make", [run, probe])
def test_a_checkpoint_that_is_not_built_is_named(quick, make):
    with pytest.raises(FileNotFoundError, match=r"seed94.*both\.safetensors does not exist"):
        make(seed=99)


@pytest.mark.parametrize("make", [lambda: [run(rate=3e-3)], probe])
def test_test_photos_change_nothing_but_the_accuracy_on_them(quick, monkeypatch, make):
    first, few = make(), lesson04_map.splits

    def mislabelled(classes):
        train, valid, test = few(classes)
        return train, valid, replace(test, labels=(test.labels + 1) % len(classes))

    monkeypatch.setattr(lesson04_map, "splits", mislabelled)
    second = make()
    for before, after in zip(first, second, strict=True):
        assert before["test"] != after["test"]
        assert timeless(before | {"test": 0}) == timeless(after | {"test": 0})


# --- the same photos, and the same head -----------------------------------------------------------------------------


def test_every_method_sees_the_same_photos_and_every_draw_others(quick):
    methods = (run("full"), run("last stage"), run("scratch", "scratch"), run(source="vehicles"), probe()[0])
    assert len({row["photos"] for row in methods}) == 1
    others = (run("scratch", "scratch", seed=JUDGES + 1), run("scratch", "scratch", target="vehicles"), probe()[1])
    assert len({row["photos"] for row in (methods[0], *others)}) == 4


@pytest.mark.parametrize("source", ["animals", "both", "scratch"])
def test_every_source_starts_with_the_same_head_and_other_weights(source):
    first, second = start("vehicles", JUDGES, 3), start(source, JUDGES, 3)
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(first.head.bias, second.head.bias)
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


def test_another_draw_gives_another_head_and_other_random_weights():
    first, second = (start("scratch", seed, 3) for seed in (0, 1))
    assert not torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


def test_eight_draws_judge_each_with_a_pretraining_of_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr(lesson04_map, "checkpoint_folder", lambda seed: asked.append(seed) or FileNotFoundError)
    for seed in (*CHOOSING, *JUDGING):
        with pytest.raises(TypeError):
            start("both", seed, 3)
    assert asked == [*range(5), *range(8)]
    assert not set(CHOOSING) & set(JUDGING)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_has_an_output_for_each_class(classes):
    assert start("both", JUDGES, classes).head.out_features == classes


# --- costs ----------------------------------------------------------------------------------------------------------


def test_less_that_trains_costs_less(quick):
    full, last, probes, longer = (
        lesson04_map._costs(method, 3, PER_CLASS)
        for method in ("full", "last stage", "linear probe", "scratch, longer")
    )
    assert full["flops"] > last["flops"] > probes["flops"]
    assert full["memory_mb"] > last["memory_mb"] > probes["memory_mb"]
    assert longer == {"flops": 5 * full["flops"], "memory_mb": full["memory_mb"]}
    assert lesson04_map._costs("scratch", 3, PER_CLASS) == full


def test_costs_in_a_row_are_those_of_its_method(quick):
    full, last, (probe_row, _) = run("full"), run("last stage"), probe()
    assert full["flops"] > last["flops"] > probe_row["flops"]
    assert full["memory_mb"] > last["memory_mb"]
    assert run("full", source="vehicles", rate=3e-3)["flops"] == full["flops"]
