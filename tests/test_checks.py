"""Every exercise check: the solution is right, and each common mistake gets its own hint."""

import re

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from transfer_utils import backbones, checks, data, features, guide, probes, stats
from transfer_utils.quizzes import QUIZZES


def verdict(check, answer, capsys) -> str:
    check(answer)
    return capsys.readouterr().out


def unfilled(*arguments):
    return None


@pytest.mark.parametrize(
    "check",
    [
        checks.ten_classes,
        checks.accuracy_with,
        checks.transplanted,
        checks.neighbour_agreement,
        checks.frozen,
        checks.best_stage,
        checks.trains_only_the_head,
        checks.layer_rates,
        checks.paired_gain,
        checks.pareto_front,
    ],
)
def test_an_open_exercise_is_not_yet_done(check, capsys):
    said = verdict(check, unfilled, capsys)
    assert said.startswith("Not yet: unfilled() returned None.")
    assert "Hint:" in said


def test_a_called_function_and_a_crash_are_explained(capsys):
    assert "without brackets" in verdict(checks.frozen, 3, capsys)
    said = verdict(checks.frozen, lambda model: model.no_such_thing, capsys)
    assert "AttributeError" in said
    assert "Hint:" in said


# --- lesson 00


def test_ten_classes(capsys):
    load = backbones.load_backbone
    assert verdict(checks.ten_classes, lambda: load("efficientnet_lite0", classes=10), capsys).startswith("Right")
    assert "1000 outputs" in verdict(checks.ten_classes, lambda: load("efficientnet_lite0"), capsys)
    assert "3 outputs" in verdict(checks.ten_classes, lambda: load("efficientnet_lite0", classes=3), capsys)
    assert "pretrained=False" in verdict(checks.ten_classes, lambda: load("efficientnet_lite0", False, 10), capsys)


def test_accuracy_with(capsys, monkeypatch):
    """On few photos and a small network: the check itself is what is tested."""
    few_valid = data.load(split="valid").take(10, seed=0)
    small = backbones.load_backbone("course_resnet/both")
    real = data.load
    monkeypatch.setattr(checks.data, "load", lambda name, split: few_valid if split == "valid" else real(name, split))
    monkeypatch.setattr(checks.backbones, "load_backbone", lambda name: small)

    def accuracy(count, measured_on=None):
        drawn = real().take(count, seed=0)
        unseen = drawn if measured_on == "train" else few_valid
        bank, unseen_bank = (features.extract(small, photos, 96) for photos in (drawn, unseen))
        return probes.linear_probe(bank, drawn.labels).accuracy(unseen_bank, unseen.labels)

    assert verdict(checks.accuracy_with, accuracy, capsys).startswith("Right")
    assert "seen those photos" in verdict(checks.accuracy_with, lambda n: accuracy(n, "train"), capsys)
    assert "we get" in verdict(checks.accuracy_with, lambda n: 0.5 + accuracy(n) / 10, capsys)


# --- lesson 01


def copy_stages(pretrained, new, names):
    for name in names:
        new.get_submodule(name).load_state_dict(pretrained.get_submodule(name).state_dict())
    return new


def only_parameters(pretrained, new):
    for (name, mine), theirs in zip(new.named_parameters(), pretrained.parameters(), strict=True):
        if not name.startswith("head"):
            mine.data.copy_(theirs.data)
    return new


def wrong_way(pretrained, new):
    return copy_stages(new, pretrained, ["stem"]) and new


STAGES = ["stem", "stage1", "stage2", "stage3", "pool"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda p, n: copy_stages(p, n, STAGES), "Right"),
        (only_parameters, "batch-norm statistics"),
        (lambda p, n: copy_stages(p, n, STAGES[:-2]), "stage3"),
        (lambda p, n: p, "head came along"),
        (wrong_way, "pretrained network changed"),
    ],
)
def test_transplanted(answer, said, capsys):
    assert said in verdict(checks.transplanted, answer, capsys)


def nearest_labels(points, labels, own_allowed=False):
    distances = torch.cdist(points, points)
    return labels[(distances if own_allowed else distances.fill_diagonal_(torch.inf)).argmin(1)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, y: (nearest_labels(x, y) == y).float().mean(), "Right"),
        (lambda x, y: (nearest_labels(x, y, own_allowed=True) == y).float().mean(), "is itself"),
        (lambda x, y: 0.5, "the share is"),
    ],
)
def test_neighbour_agreement(answer, said, capsys):
    assert said in verdict(checks.neighbour_agreement, answer, capsys)


# --- lesson 02


def no_gradient(model):
    return model.requires_grad_(False)


def forgets_train(model):
    return no_gradient(model).eval()


def keeps_all(model):
    forgets_train(model).train = lambda mode=True: model
    return model


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (keeps_all, "Right"),
        (lambda model: model.eval(), "gradients still reach"),
        (no_gradient, "which switch decides"),
        (forgets_train, "turned your eval() back"),
    ],
)
def test_frozen(answer, said, capsys):
    assert said in verdict(checks.frozen, answer, capsys)


def choose(rows: pd.DataFrame, per_class: int, by: str = "valid", mix: bool = False):
    means = (rows if mix else rows[rows.per_class == per_class]).groupby("stage")[["valid", "test"]].mean()
    return means[by].idxmax(), means.loc[means[by].idxmax(), "test"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (choose, "Right"),
        (lambda r, n: choose(r, n, by="test"), "chose by accuracy on test"),
        (lambda r, n: choose(r, n, mix=True), "different sizes"),
        (lambda r, n: choose(r, n)[0], "return a pair"),
        (lambda r, n: ("middle", 0.62), "then average 'test'"),
    ],
)
def test_best_stage(answer, said, capsys):
    assert said in verdict(checks.best_stage, answer, capsys)


# --- lesson 03


def train_head(model, photos, trains="head", mode=False, epochs=2):
    model.requires_grad_(False)
    optimiser = torch.optim.AdamW(model.get_submodule(trains).requires_grad_(True).parameters(), lr=1e-2)
    for _ in range(epochs):
        model.train(mode)
        cross_entropy(model(model.preprocess(photos.images)), photos.labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (train_head, "Right"),
        (lambda m, p: train_head(m, p, mode=True), "in which mode"),
        (lambda m, p: train_head(m, p, trains=""), "stem.0.weight moved"),
        (lambda m, p: train_head(m, p, epochs=0), "the head did not move either"),
    ],
)
def test_trains_only_the_head(answer, said, capsys):
    assert said in verdict(checks.trains_only_the_head, answer, capsys)


def layer_rates(model, rate, factor, pool_counts=False, frozen_too=False):
    groups = []
    for name in reversed(model.stages):
        kept = [p for p in model.get_submodule(name).parameters() if p.requires_grad or frozen_too]
        if kept:
            groups.append({"params": kept, "lr": rate})
        if kept or pool_counts:
            rate = rate / factor
    return groups


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (layer_rates, "Right"),
        (lambda m, r, f: layer_rates(m, r, f, pool_counts=True), "stage3 got 0.25; we get 0.5"),
        (lambda m, r, f: layer_rates(m, r, 1.0), "stage3 got 1; we get 0.5"),
        (lambda m, r, f: layer_rates(m, r, f, frozen_too=True), "the stem is frozen, and yet in a group"),
        (lambda m, r, f: layer_rates(m, r, f)[:-1], "stage1.conv1.weight is in no group"),
        (lambda m, r, f: [*layer_rates(m, r, f), {"params": [m.head.bias], "lr": r}], "in two groups"),
    ],
)
def test_layer_rates(answer, said, capsys):
    assert said in verdict(checks.layer_rates, answer, capsys)


# --- lesson 04


def my_gain(grid, source, target, method, per_class, drop=(), by="seed", turned=1, reduce=pd.Series.mean):
    """The lesson's solution. drop: columns that it forgets to select by."""

    def scores(**where):
        found = stats.select(grid, **{name: value for name, value in where.items() if name not in drop})
        return (found.set_index(by) if by else found)["test"]

    here = {"target": target, "per_class": per_class}
    tuned = scores(source=source, method=method, **here)
    return reduce(turned * (tuned - scores(source="scratch", method="scratch", **here)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Right"),
        ({"turned": -1}, "the sign is turned round"),
        ({"reduce": lambda series: series}, "my_gain returned Series.\nHint: take the mean"),
        ({"reduce": lambda series: list(series)}, "my_gain returned list.\nHint: take the mean"),
        ({"by": None}, "my_gain returned nan.\nHint: set_index('seed')"),
        ({"drop": ["target"]}, "select source, target, method and per_class"),
        ({"drop": ["per_class"]}, "select source, target, method and per_class"),
        ({"drop": ["source"]}, "select source, target, method and per_class"),
        ({"drop": ["method"]}, "select source, target, method and per_class"),
        ({"reduce": lambda series: 100 * series.mean()}, "on our small table my_gain gives 20.000; we get 0.200"),
    ],
)
def test_paired_gain(change, said, capsys):
    shown = verdict(checks.paired_gain, lambda *setting: my_gain(*setting, **change), capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


def test_paired_gain_takes_the_course_s_own_function(capsys):
    def gain(grid, *setting):
        return guide.gain(grid.assign(network="course_resnet"), *setting).mean

    assert verdict(checks.paired_gain, gain, capsys).startswith("Right")


def front(points, order=lambda name, points: (points[name][0], -points[name][1]), better=lambda new, old: new > old):
    """The lesson's solution."""
    kept, best = [], 0
    for name in sorted(points, key=lambda name: order(name, points)):
        if better(points[name][1], best):
            kept.append(name)
            best = points[name][1]
    return kept


BEATEN = "a point is beaten when another one is as cheap and better, or as good and cheaper"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (front, "Right"),
        (lambda points: (name for name in front(points)), "Right"),
        (guide.pareto, "Right"),
        (lambda points: front(points)[::-1], "the names are right, their order is not.\nHint: cheapest first"),
        (lambda points: sorted(points, key=points.get), f"four points, one of them beaten: .*{BEATEN}"),
        (lambda points: [], f"four points, one of them beaten: .*{BEATEN}"),
        (lambda points: front(points, lambda name, points: points[name]), f"two of the same cost: .*{BEATEN}"),
        (lambda points: front(points, better=lambda new, old: new >= old), f"two of the same accuracy: .*{BEATEN}"),
        (lambda points: [points[name] for name in front(points)], f"gave .*{BEATEN}"),
    ],
    ids=[
        "solution",
        "generator",
        "the course's own",
        "dear first",
        "everything",
        "nothing",
        "keeps what is beaten at its cost",
        "keeps what is as good and dearer",
        "points instead of names",
    ],
)
def test_pareto_front(answer, said, capsys):
    shown = verdict(checks.pareto_front, answer, capsys)
    assert re.search(said, shown, re.DOTALL)
    assert shown.startswith("Right" if said == "Right" else "Not yet")


def test_pareto_front_that_is_no_list_is_no_list_of_names(capsys):
    shown = verdict(checks.pareto_front, lambda points: 3, capsys)
    assert shown.startswith("Not yet")
    assert "list of names" in shown


# --- self-tests


@pytest.mark.parametrize("lesson", QUIZZES)
def test_self_tests_give_feedback_on_every_option(lesson):
    assert len(QUIZZES[lesson]) == 3
    for question in QUIZZES[lesson]:
        for position, (_, feedback) in enumerate(question.options):
            letter = "abc"[position]
            said = checks._feedback(question, letter)
            assert feedback in said
            assert ("Right." in said) == (position == question.right)
    shown = checks.self_test(lesson, "z", None).data
    assert "&#x27;z&#x27;" in shown or "'z' is not one of" in shown
    assert shown.count("No answer yet.") == 2
