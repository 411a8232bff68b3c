from dataclasses import replace

import pandas as pd
import pytest
import torch

from transfer_utils import backbones
from transfer_utils.course import chosen, trained
from transfer_utils.course import grid as course_grid
from transfer_utils.course.grid import COURSE, HEAD_RATE, IMAGENET, KEYS, probed, start
from transfer_utils.data import TARGETS, splits
from transfer_utils.stats import SEEDS
from transfer_utils.training import PENALTIES

SOURCES = ("vehicles", "animals", "both_small", "both")
EPOCHS, PER_CLASS = 6, 2


# --- the methods ----------------------------------------------------------------------------------------------------


def test_a_method_is_found_by_its_name_and_its_phases_take_all_epochs():
    for name in course_grid.METHODS:
        method = course_grid.named(name)
        assert method.name == name
        assert sum(share for _, share in method.plan(EPOCHS)) == (0 if method.probe else method.longer * EPOCHS)


def test_what_the_methods_start_from_and_which_takes_its_time():
    methods = course_grid.METHODS.values()
    assert all(method.from_scratch == method.name.startswith("scratch") for method in methods)
    assert all(method.longer == (5 if method.name.endswith(", longer") else 1) for method in methods)
    assert [method.name for method in methods if method.probe] == ["linear probe"]


def test_an_unknown_method_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no method 'last stag'. Did you mean 'last stage'"):
        course_grid.named("last stag")
    with pytest.raises(ValueError, match="no method 'ful'. Did you mean 'full'"):
        trained(COURSE, "both", "animals", "ful", 5, 0, 1e-3)


# --- one run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Two photos per class, six epochs, and few photos to judge by."""

    def few(classes):
        train, valid, test = splits(classes)
        return train, valid.take(20), test.take(15)

    monkeypatch.setattr(course_grid, "splits", few)
    monkeypatch.setattr(course_grid, "WATCHED", 5)
    monkeypatch.setattr(course_grid, "EPOCHS", {COURSE: {PER_CLASS: EPOCHS}, IMAGENET: {PER_CLASS: 2}})
    monkeypatch.setattr(course_grid, "PROBE_SIZES", {COURSE: (PER_CLASS, 5), IMAGENET: (PER_CLASS,)})
    course_grid._costs.cache_clear()
    yield
    course_grid._costs.cache_clear()


def run(method="full", source="both", target="animals", seed=0, rate=1e-3, network=COURSE) -> dict:
    (row,) = trained(network, source, target, method, PER_CLASS, seed, rate)
    return row


def probe(source="both", target="animals", seed=0, network=COURSE) -> list[dict]:
    return probed(network, source, target, "linear probe", seed)


def timeless(row: dict) -> dict:
    """A row without seconds."""
    return {name: value for name, value in row.items() if not name.startswith("seconds")}


def looks(row: dict) -> tuple[list[float], list[float]]:
    """What a run saw on its way, and after how many seconds."""
    places = [name.removeprefix("look_") for name in row if name.startswith("look_")]
    return [row[f"look_{place}"] for place in places], [row[f"seconds_{place}"] for place in places]


@pytest.fixture
def watched(monkeypatch) -> dict:
    """The last model whose accuracy was asked for, and the recipe of every phase."""
    seen = {"recipes": []}
    accuracy, train = course_grid.accuracy, course_grid.train

    def noting_accuracy(model, *rest):
        seen["model"] = model
        return accuracy(model, *rest)

    def noting_train(model, photos, valid, size, recipe, **options):
        seen["recipes"].append(recipe)
        return train(model, photos, valid, size, recipe, **options)

    monkeypatch.setattr(course_grid, "accuracy", noting_accuracy)
    monkeypatch.setattr(course_grid, "train", noting_train)
    return seen


@pytest.mark.parametrize("method", ["full", "last stage", "head, then full"])
def test_a_row_has_accuracies_costs_and_looks_on_the_way(quick, method):
    row = run(method)
    places = range(1, 7)
    on_the_way = [*(f"look_{i}" for i in places), *(f"seconds_{i}" for i in places)]
    assert list(row) == ["valid", "test", "seconds", *on_the_way, "flops", "memory_mb", "photos"]
    assert 0 <= row["valid"] <= 1
    assert 0 <= row["test"] <= 1
    accuracies, seconds = looks(row)
    assert len(seconds) == course_grid.LOOKS[COURSE]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] <= row["seconds"] + 0.01
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)
    assert row["flops"] > 0
    assert row["memory_mb"] > 4 * 1.2  # the weights alone


def test_looks_are_off_the_clock(quick, monkeypatch):
    def slow(*_):
        now[0] += 1000
        return 0.5

    now = [0.0]
    monkeypatch.setattr(course_grid, "accuracy", slow)
    real = course_grid.time.perf_counter
    monkeypatch.setattr(course_grid.time, "perf_counter", lambda: real() + now[0])
    row = run()
    assert row["seconds"] < 500
    assert max(looks(row)[1]) < 500


@pytest.mark.parametrize(("source", "method"), [("scratch", "scratch"), ("animals", "head, then full")])
def test_the_same_job_gives_the_same_row(quick, source, method):
    torch.manual_seed(1)
    first = run(method, source)
    torch.manual_seed(2)
    assert timeless(run(method, source)) == timeless(first)


def test_probes_of_the_same_job_are_the_same(quick):
    torch.manual_seed(1)
    first = probe("scratch", "vehicles")
    torch.manual_seed(2)
    assert [timeless(row) for row in probe("scratch", "vehicles")] == [timeless(row) for row in first]


@pytest.mark.parametrize(
    ("method", "still", "moves"),
    [
        ("last stage", ("stem.", "stage1.", "stage2."), ("stage3.", "head.")),
        ("full", (), ("stem.", "stage1.", "stage2.", "stage3.", "head.")),
        ("head, then full", (), ("stem.", "stage1.", "stage2.", "stage3.", "head.")),
    ],
)
def test_only_the_stages_that_train_move(quick, watched, method, still, moves):
    run(method)
    before = start(COURSE, "both", 0, 3).state_dict()
    drift = backbones.drift(before, watched["model"])
    assert not [name for name in drift if name.startswith(still or ("nothing",))]
    for stage in moves:
        assert any(name.startswith(stage) for name in drift)


@pytest.mark.parametrize(
    ("method", "source", "phases"),
    [
        ("scratch", "scratch", [(EPOCHS, 1e-3)]),
        ("scratch, longer", "scratch", [(5 * EPOCHS, 1e-3)]),
        ("full", "both", [(EPOCHS, 1e-3)]),
        ("last stage", "both", [(EPOCHS, 1e-3)]),
        ("head, then full", "both", [(EPOCHS // 2, HEAD_RATE), (EPOCHS // 2, 1e-3)]),
    ],
)
def test_every_method_takes_the_same_epochs_and_the_rate_that_is_tried(quick, watched, method, source, phases):
    run(method, source)
    assert [(recipe.epochs, recipe.rate) for recipe in watched["recipes"]] == phases
    assert all(recipe.fixed_views and recipe.augment for recipe in watched["recipes"])


@pytest.mark.parametrize("source", ["imagenet", "scratch"])
def test_the_imagenet_network_and_its_scratch_twin_train(quick, source):
    row = run("scratch" if source == "scratch" else "head, then full", source, "vehicles", network=IMAGENET)
    assert len(looks(row)[0]) == course_grid.LOOKS[IMAGENET]
    assert row["flops"] > 0


@pytest.mark.parametrize("make", [run, probe])
def test_a_checkpoint_that_is_not_built_is_named(quick, make):
    with pytest.raises(FileNotFoundError, match=r"seed99.*both\.safetensors does not exist"):
        make(seed=99)


@pytest.mark.parametrize("make", [lambda: [run(rate=3e-3)], probe])
def test_test_photos_change_nothing_but_the_accuracy_on_them(quick, monkeypatch, make):
    first, few = make(), course_grid.splits

    def mislabelled(classes):
        train, valid, test = few(classes)
        return train, valid, replace(test, labels=(test.labels + 1) % len(classes))

    monkeypatch.setattr(course_grid, "splits", mislabelled)
    second = make()
    for before, after in zip(first, second, strict=True):
        assert before["test"] != after["test"]
        assert timeless(before | {"test": 0}) == timeless(after | {"test": 0})


def test_penalties_are_chosen_on_valid_photos(quick, monkeypatch):
    best, judges = course_grid.training.best_probe, []

    def noting(bank, labels, judge_bank, judge_labels):
        judges.append(len(judge_labels))
        return best(bank, labels, judge_bank, judge_labels)

    monkeypatch.setattr(course_grid.training, "best_probe", noting)
    probe()
    assert judges == [3 * 20] * 2  # there are three times 15 test photos


def test_probes_have_a_row_for_every_size(quick):
    rows = probe()
    assert [row["per_class"] for row in rows] == [PER_CLASS, 5]
    assert all(row["penalty"] in PENALTIES for row in rows)
    assert all(0 <= row[name] <= 1 for row in rows for name in ("valid", "test"))
    assert rows[0]["flops"] < rows[1]["flops"]
    assert rows[1]["test"] > 0.4  # three classes, and features of a network that knows other animals


# --- the same photos, and the same head -----------------------------------------------------------------------------


def test_every_method_sees_the_same_photos_and_every_seed_others(quick):
    methods = (run("full"), run("last stage"), run("scratch", "scratch"), run(source="vehicles"), probe()[0])
    assert len({row["photos"] for row in methods}) == 1
    others = (run("scratch", "scratch", seed=1), run("scratch", "scratch", target="vehicles"), probe()[1])
    assert len({row["photos"] for row in (methods[0], *others)}) == 4


@pytest.mark.parametrize("source", SOURCES[1:])
def test_every_source_starts_with_the_same_head(source):
    first, second = start(COURSE, "vehicles", 0, 3), start(COURSE, source, 0, 3)
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(first.head.bias, second.head.bias)
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


@pytest.mark.parametrize("network", [COURSE, IMAGENET])
def test_scratch_has_the_head_of_the_pretrained_network_too(network):
    pretrained = "both" if network == COURSE else "imagenet"
    first, second = start(network, "scratch", 0, 2), start(network, pretrained, 0, 2)
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


def test_another_seed_gives_another_head_and_other_random_weights():
    first, second = (start(COURSE, "scratch", seed, 3) for seed in (0, 1))
    assert not torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_has_an_output_for_each_class(classes):
    assert start(COURSE, "both", 0, classes).head.out_features == classes


def test_five_seeds():
    assert list(SEEDS) == [0, 1, 2, 3, 4]
    assert set(TARGETS) == {"animals", "vehicles"}


# --- the choice among rates -----------------------------------------------------------------------------------------


def table(*rows: tuple) -> pd.DataFrame:
    common = {"network": COURSE, "source": "both", "target": "animals", "seed": 0}
    names = ("method", "per_class", "rate", "valid", "test")
    return pd.DataFrame([common | dict(zip(names, row, strict=True)) for row in rows])


def test_the_rate_is_chosen_on_valid_photos_even_when_test_says_otherwise():
    rows = table(("full", 5, 1e-3, 0.7, 0.1), ("full", 5, 3e-3, 0.6, 0.9), ("full", 5, 1e-2, 0.5, 0.8))
    assert chosen(rows)["rate"].tolist() == [1e-3]
    assert chosen(rows[::-1])["rate"].tolist() == [1e-3]


def test_one_row_is_chosen_of_each_method_size_and_seed():
    rows = table(
        ("full", 5, 1e-3, 0.6, 0.1),
        ("full", 5, 3e-3, 0.7, 0.1),
        ("full", 20, 1e-3, 0.8, 0.1),
        ("full", 20, 3e-3, 0.7, 0.1),
        ("last stage", 5, 1e-3, 0.2, 0.1),
        ("linear probe", 5, None, 0.3, 0.1),
    )
    rows = pd.concat([rows, rows.assign(seed=1), rows.assign(source="animals")], ignore_index=True)
    found = chosen(rows)
    assert len(found) == 3 * 4
    assert found["valid"].tolist() == [0.7, 0.8, 0.2, 0.3] * 3
    assert not found.duplicated(KEYS).any()


# --- costs ----------------------------------------------------------------------------------------------------------


def test_less_that_trains_costs_less(quick):
    full, last, probes, longer = (
        course_grid._costs(COURSE, method, 3, PER_CLASS)
        for method in ("full", "last stage", "linear probe", "scratch, longer")
    )
    assert full[0] > last[0] > probes[0]
    assert full[1] > last[1] > probes[1]
    assert longer == (5 * full[0], full[1])
    assert course_grid._costs(COURSE, "scratch", 3, PER_CLASS) == full


def test_costs_in_a_row_are_those_of_its_method(quick):
    full, last, (probe_row, _) = run("full"), run("last stage"), probe()
    assert full["flops"] > last["flops"] > probe_row["flops"]
    assert full["memory_mb"] > last["memory_mb"]
    assert run("full", seed=0, source="vehicles", rate=3e-3)["flops"] == full["flops"]
