"""Every exercise check: the solution is right, and each common mistake gets its own hint."""

import functools
import itertools
import math
import operator
import re
import statistics

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from transfer_utils import backbones, course, data, stats, training
from transfer_utils.course import checking
from transfer_utils.course.exercises import CHECKS, QUIZZES


def verdict(check, answer, capsys) -> str:
    check(answer)
    return capsys.readouterr().out


def unfilled(*arguments):
    return None


@pytest.mark.parametrize(
    "check",
    [
        CHECKS["0.1"],
        CHECKS["0.2"],
        CHECKS["1.2"],
        CHECKS["1.1"],
        CHECKS["2.2"],
        CHECKS["2.1"],
        CHECKS["3.1"],
        CHECKS["3.2"],
        CHECKS["3.3"],
        CHECKS["4.1"],
        CHECKS["4.2"],
        CHECKS["4.3"],
        CHECKS["5.2"],
        CHECKS["5.1"],
        CHECKS["7.1"],
        CHECKS["7.2"],
        CHECKS["8.1"],
        CHECKS["8.2"],
        CHECKS["8.3"],
    ],
)
def test_an_open_exercise_is_not_yet_done(check, capsys):
    said = verdict(check, unfilled, capsys)
    assert said.startswith("Not yet: unfilled() returned None.")
    assert "Hint:" in said


def test_a_called_function_and_a_crash_are_explained(capsys):
    assert "without brackets" in verdict(CHECKS["2.2"], 3, capsys)
    said = verdict(CHECKS["2.2"], lambda model: model.no_such_thing, capsys)
    assert "AttributeError" in said
    assert "Hint:" in said


CRASHES = {  # in torch, in the course, in Python, and in the line itself
    "0.2": lambda count: data.load("no_such_photos"),
    "1.1": lambda points, labels: cross_entropy(points, labels[1:]),
    "3.2": lambda model, rate, factor: model.no_such_stage,
    "5.1": lambda logits, labels: cross_entropy(logits, labels[1:]),
    "7.1": lambda labels, predicted: cross_entropy(labels, predicted),
    "8.1": lambda logits, tokens: cross_entropy(logits, tokens[1:]),
    "8.2": lambda layer, rank: layer(torch.zeros(rank)),
    "8.3": lambda pretraining, test: statistics.mean(test),
}


@pytest.mark.parametrize("exercise", CRASHES)
def test_a_crash_names_the_learner_s_own_line(exercise, capsys):
    said = verdict(CHECKS[exercise], CRASHES[exercise], capsys)
    assert said.startswith("Not yet: <lambda>() stopped with ")
    assert f'Hint: it happened at `"{exercise}": lambda' in said


def only_one(value):
    return value


@pytest.mark.parametrize(
    ("exercise", "said"),
    [
        ("1.1", "only_one(Tensor (60, 4), Tensor (60,))."),
        ("2.1", "only_one(DataFrame, 10)."),
        ("3.2", "1.0, 2.0)."),
        ("4.1", "only_one(DataFrame, 'both', 'animals', 'full', 20)."),
        ("5.1", "only_one(Tensor ("),
        ("7.2", "only_one(Tensor (10,), 3)."),
        ("8.1", "only_one(Tensor (2, 5, 7), Tensor (2, 5))."),
        ("8.3", "only_one(list of 7, list of 12)."),
    ],
)
def test_a_call_that_does_not_fit_is_told(exercise, said, capsys):
    shown = verdict(CHECKS[exercise], only_one, capsys)
    assert shown.startswith("Not yet: only_one() stopped with TypeError")
    assert "Hint: the check called only_one(" in shown
    assert said in shown
    assert "`" not in shown  # none of our own lines


@pytest.mark.parametrize("exercise", ["1.1", "5.1", "7.1"])
def test_what_a_check_cannot_use_is_told(exercise, capsys):
    said = verdict(CHECKS[exercise], lambda one, other: "warm", capsys)
    assert said.startswith("Not yet: the check stopped with ")
    assert "Hint: it called <lambda>(Tensor (" in said
    assert "and cannot use what came back: 'warm'." in said


def test_a_check_that_cannot_begin_says_so(capsys):
    said = verdict(checking.checked(statistics.mean), only_one, capsys)
    assert said.startswith("Not yet: the check stopped with TypeError")
    assert "Hint: it has not come to only_one yet" in said


def test_a_function_without_a_name_has_its_type_s(capsys):
    said = verdict(CHECKS["8.1"], functools.partial(unfilled, 1), capsys)
    assert said.startswith("Not yet: partial() returned None.")


# --- lesson 00


def test_ten_classes(capsys):
    load = backbones.load_backbone
    assert verdict(CHECKS["0.1"], lambda: load("efficientnet_lite0", classes=10), capsys).startswith("Right")
    assert "1000 outputs" in verdict(CHECKS["0.1"], lambda: load("efficientnet_lite0"), capsys)
    assert "3 outputs" in verdict(CHECKS["0.1"], lambda: load("efficientnet_lite0", classes=3), capsys)
    assert "pretrained=False" in verdict(CHECKS["0.1"], lambda: load("efficientnet_lite0", False, 10), capsys)


def test_accuracy_with(capsys, monkeypatch):
    """On few photos and a small network: the check itself is what is tested."""
    few_valid = data.load(split="valid").take(10, seed=0)
    small = backbones.load_backbone("course_resnet/both")
    real = data.load
    monkeypatch.setattr(data, "load", lambda name, split: few_valid if split == "valid" else real(name, split))
    monkeypatch.setattr(backbones, "load_backbone", lambda name: small)

    def accuracy(count, measured_on=None):
        drawn = real().take(count, seed=0)
        unseen = drawn if measured_on == "train" else few_valid
        bank, unseen_bank = (training.extract(small, photos, 96) for photos in (drawn, unseen))
        return training.linear_probe(bank, drawn.labels).accuracy(unseen_bank, unseen.labels)

    assert verdict(CHECKS["0.2"], accuracy, capsys).startswith("Right")
    assert "seen those photos" in verdict(CHECKS["0.2"], lambda n: accuracy(n, "train"), capsys)
    assert "we get" in verdict(CHECKS["0.2"], lambda n: 0.5 + accuracy(n) / 10, capsys)


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
    assert said in verdict(CHECKS["1.2"], answer, capsys)


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
    assert said in verdict(CHECKS["1.1"], answer, capsys)


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
    assert said in verdict(CHECKS["2.2"], answer, capsys)


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
    assert said in verdict(CHECKS["2.1"], answer, capsys)


# --- lesson 03


def train_head(model, photos, trains="head", mode=False, epochs=5, clear="after", sign=1, rate=1e-2, once=False):
    """The lesson's solution, and what one may do instead. clear: gradients, after or before a step, or never."""
    model.requires_grad_(False)
    optimiser = torch.optim.AdamW(model.get_submodule(trains).requires_grad_(True).parameters(), lr=rate)
    for epoch in range(epochs):
        model.train(mode)
        if clear == "before":
            optimiser.zero_grad()
        rows = [0, 1] if once and epoch else slice(None)
        (sign * cross_entropy(model(model.preprocess(photos.images[rows])), photos.labels[rows])).backward()
        optimiser.step()
        if clear == "after":
            optimiser.zero_grad()
    return model


def train_frozen(model, photos):
    """The course's own freeze() instead of the switches, and the mode of a plain model.train()."""
    backbones.freeze(model, "pool")
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=1e-2)
    for _ in range(5):
        model.train()
        cross_entropy(model(model.preprocess(photos.images)), photos.labels).backward()
        optimiser.step()
        model.zero_grad()
    return model


def train_on_features(model, photos):
    """The head alone sees what the backbone says once."""
    with torch.no_grad():
        bank = model.eval()[:-1](model.preprocess(photos.images))
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=1e-2)
    for _ in range(5):
        optimiser.zero_grad()
        cross_entropy(model.head(bank), photos.labels).backward()
        optimiser.step()
    return model


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (train_head, "Right"),
        (lambda m, p: train_head(m, p, clear="before"), "Right"),
        (train_frozen, "Right"),
        (train_on_features, "Right"),
        (lambda m, p: train_head(m, p, mode=True), "in which mode"),
        (lambda m, p: train_head(m, p, trains=""), "stem.0.weight moved"),
        (lambda m, p: train_head(m, p, epochs=0), "the head did not move either"),
        (lambda m, p: train_head(m, p, epochs=1), "all 5 epochs should run"),
        (lambda m, p: train_head(m, p, sign=-1), "is it the loss itself?"),
        (lambda m, p: train_head(m, p, clear="never"), "call optimiser.zero_grad()"),
        (lambda m, p: train_head(m, p, rate=1e-3), "at the rate that stood there"),
        (lambda m, p: train_head(m, p, once=True), "each on all photos"),
        (lambda m, p: train_head(m, p).head, "Not yet"),
    ],
)
def test_trains_only_the_head(answer, said, capsys):
    assert said in verdict(CHECKS["3.1"], answer, capsys)


def read_rate(rates, losses):
    return rates[losses.nan_to_num(torch.inf).argmin()].item() / 10


def by_loop(rates, losses):
    best = min((loss, rate) for rate, loss in zip(rates.tolist(), losses.tolist(), strict=True) if loss == loss)
    return best[1] / 10


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (read_rate, "Right"),
        (by_loop, "Right"),
        (lambda rates, losses: rates[np.nanargmin(losses.numpy())] / 10, "Right"),
        (lambda rates, losses: None, "returned None"),
        (lambda rates, losses: rates[losses.argmin()].item() / 10, "argmin() takes nan for the smallest"),
        (lambda rates, losses: 10 * read_rate(rates, losses), "Take a tenth of that rate"),
        (lambda rates, losses: losses.argmin().item() / 10, "losses.argmin() is a place"),
        (lambda rates, losses: losses.nan_to_num(9).min().item() / 10, "losses.argmin() is a place"),
        (lambda rates, losses: rates[losses.nan_to_num(-1).argmax()].item() / 10, "losses.argmin() is a place"),
        (lambda rates, losses: rates[-1].item() / 10, "losses.argmin() is a place"),
        (lambda rates, losses: rates / 10, "return one rate"),
        (lambda rates, losses: float("nan"), "return one rate"),
        (lambda rates, losses: 1e-3, "losses.argmin() is a place"),
    ],
)
def test_read_rate(answer, said, capsys):
    assert said in verdict(CHECKS["3.3"], answer, capsys)


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
    assert said in verdict(CHECKS["3.2"], answer, capsys)


# --- lesson 04


def my_gain(
    grid,
    source,
    target,
    method,
    per_class,
    drop=(),
    by="seed",
    turned=1,
    minus=operator.sub,
    reduce=lambda gains: gains.mean(),
):
    """The lesson's solution. drop: columns that it forgets to select by."""

    def scores(**where):
        found = stats.select(grid, **{name: value for name, value in where.items() if name not in drop})
        return (found.set_index(by) if by else found)["test"]

    here = {"target": target, "per_class": per_class}
    tuned = scores(source=source, method=method, **here)
    return reduce(turned * minus(tuned, scores(source="scratch", method="scratch", **here)))


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
        ({"reduce": lambda series: 100 * series.mean()}, "my_gain returned points.\nHint: leave the gain as a share"),
        ({"reduce": lambda series: series.sum()}, "on our small table my_gain gives 0.600; we get 0.200"),
        (
            {"minus": lambda a, b: a.mean() - b.mean(), "reduce": float},
            "with a seed that scratch alone has, my_gain gives",
        ),
        ({"minus": lambda a, b: a.reset_index(drop=True) - b.reset_index(drop=True)}, "with a seed that scratch alone"),
        ({"minus": lambda a, b: a.to_numpy() - b.to_numpy()}, "stopped with ValueError: operands could not"),
    ],
)
def test_paired_gain(change, said, capsys):
    shown = verdict(CHECKS["4.1"], lambda *setting: my_gain(*setting, **change), capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


@pytest.mark.parametrize("take", [lambda interval: interval, lambda interval: interval.mean])
def test_paired_gain_takes_the_lesson_s_own_way(take, capsys):
    """It refuses a seed that is on one side alone, which is right too."""

    def gain(grid, source, target, method, per_class):
        here = stats.select(grid, target=target, per_class=per_class)
        return take(stats.difference(here, {"source": source, "method": method}, "scratch"))

    assert verdict(CHECKS["4.1"], gain, capsys).startswith("Right")


def test_paired_gain_takes_a_merge(capsys):
    def gain(grid, source, target, method, per_class):
        here = stats.select(grid, target=target, per_class=per_class)
        sides = stats.select(here, source=source, method=method), stats.select(here, method="scratch")
        both = sides[0].merge(sides[1], on="seed", suffixes=("_tuned", "_scratch"))
        return np.mean(both["test_tuned"] - both["test_scratch"])

    assert verdict(CHECKS["4.1"], gain, capsys).startswith("Right")


def front(points, order=lambda name, points: (points[name][0], -points[name][1]), better=lambda new, old: new > old):
    """The lesson's solution."""
    kept, best = [], 0
    for name in sorted(points, key=lambda name: order(name, points)):
        if better(points[name][1], best):
            kept.append(name)
            best = points[name][1]
    return kept


def by_the_words(points):
    """What no other point is both cheaper and better than, ties and all."""
    kept = [n for n, (c, a) in points.items() if not any(d < c and b > a for d, b in points.values())]
    return sorted(kept, key=lambda name: points[name][0])


def better_than_the_one_before(points):
    """Forgets that the best so far may have come earlier."""
    order = sorted(points, key=lambda name: (points[name][0], -points[name][1]))
    return order[:1] + [b for a, b in itertools.pairwise(order) if points[b][1] > points[a][1]]


BEATEN = "a point is beaten when another one is both cheaper and better"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (front, "Right"),
        (lambda points: (name for name in front(points)), "Right"),
        (stats.pareto, "Right"),
        (by_the_words, "Right"),
        (lambda points: front(points)[::-1], "the names are right, their order is not.\nHint: cheapest first"),
        (lambda points: sorted(points, key=points.get), f"five points, two of them beaten: .*{BEATEN}"),
        (lambda points: [], f"five points, two of them beaten: .*{BEATEN}"),
        (lambda points: front(points, lambda name, points: points[name]), "Right"),
        (lambda points: front(points, lambda name, points: -points[name][1]), f"five points.*{BEATEN}"),
        (lambda points: sorted(points, key=points.get)[:3], f"five points.*{BEATEN}"),
        (lambda points: [min(points, key=points.get)], f"five points.*{BEATEN}"),
        (lambda points: [max(points, key=lambda name: points[name][1])], f"five points.*{BEATEN}"),
        (lambda points: front(points) * 2, f"five points.*{BEATEN}"),
        (better_than_the_one_before, f"five points.*{BEATEN}"),
        (lambda points: [points[name] for name in front(points)], f"gave .*{BEATEN}"),
    ],
    ids=[
        "solution",
        "generator",
        "the course's own",
        "the lesson's words",
        "dear first",
        "everything",
        "nothing",
        "keeps what ties in cost",
        "by accuracy alone",
        "the three cheapest",
        "the cheapest alone",
        "the best alone",
        "each twice",
        "better than the one before",
        "points instead of names",
    ],
)
def test_pareto_front(answer, said, capsys):
    shown = verdict(CHECKS["4.2"], answer, capsys)
    assert re.search(said, shown, re.DOTALL)
    assert shown.startswith("Right" if said == "Right" else "Not yet")


def test_pareto_front_that_is_no_list_is_no_list_of_names(capsys):
    shown = verdict(CHECKS["4.2"], lambda points: 3, capsys)
    assert shown.startswith("Not yet")
    assert "list of names" in shown


PLAN = {"first": "linear probe", "then": "last stage", "judge": "folds", "take it": 2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Right"),
        ({"then": "full"}, "Right"),
        ({"take it": 3.5}, "Right"),
        ({"take it": np.float64(2.0)}, "Right"),
        ({"first": None}, "'first' is None.\nHint: choose one of scratch, linear probe, last stage, full."),
        ({"first": "probe"}, "'first' is 'probe'.\nHint: choose one of"),
        ({"first": "scratch"}, "it is a twin to compare with"),
        ({"first": "last stage"}, "without a probe, which takes seconds"),
        ({"first": "full"}, "without a probe, which takes seconds"),
        ({"then": "scratch"}, "fine-tuning led it from every source"),
        ({"then": "linear probe"}, "must be able to learn"),
        ({"judge": "train"}, "the method that learns by heart wins"),
        ({"judge": "split"}, "one split of 32 is one draw"),
        ({"judge": "test"}, "what chooses cannot report"),
        ({"judge": 5}, "'judge' is 5.\nHint: choose one of train, split, folds, test."),
        ({"take it": None}, "'take it' is None.\nHint: give a number of points"),
        ({"take it": "2"}, "'take it' is '2'.\nHint: give a number of points"),
        ({"take it": True}, "'take it' is True.\nHint: give a number of points"),
        ({"take it": 0}, "'take it' is 0 points.\nHint: in points; below 2, three of the 160 tiles decide"),
        ({"take it": 0.02}, "'take it' is 0.02 points."),
        ({"take it": 20}, "above 8, you turn down more than fine-tuning gained"),
        ({"take it": math.nan}, "'take it' is nan points."),
        ({"more": 1}, "keep the four keys"),
    ],
)
def test_project_plan(change, said, capsys):
    shown = verdict(CHECKS["4.3"], lambda: PLAN | change, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


@pytest.mark.parametrize("answer", [lambda: "linear probe", list, lambda: ["linear probe", "full", "folds", 2]])
def test_a_project_plan_is_a_dictionary(answer, capsys):
    assert "keep the four keys" in verdict(CHECKS["4.3"], answer, capsys)


# --- lesson 05


def heat(maps, slopes, places=(2, 3), cut=torch.relu):
    """The lesson's solution."""
    return cut((slopes.mean(places, keepdim=True) * maps).sum(1))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (heat, "Right"),
        (lambda m, s: heat(m, s).tolist(), "Right"),
        (lambda m, s: torch.einsum("nc,nchw->nhw", s.mean((2, 3)), m).clamp(min=0), "Right"),
        (lambda m, s: heat(m, s, cut=lambda x: x), "some places are negative.\nHint: what speaks against the class"),
        (lambda m, s: (s * m).sum(1).relu(), "each place has a weight of its own.\nHint: average the slopes"),
        (lambda m, s: (s.mean((2, 3), True) * m).relu().sum(1), "relu came before the sum.\nHint: add the channels"),
        (lambda m, s: heat(m, 12 * s), "the slopes are added up.\nHint: take their mean"),
        (lambda m, s: heat(m, s) / 6, "the channels are averaged.\nHint: add the channels up"),
        (lambda m, s: heat(m, s) / heat(m, s).amax((1, 2), True), "the map is stretched to 1.\nHint: leave it"),
        (lambda m, s: (s.mean((2, 3)) @ m.flatten(2)).relu(), "returned a tensor (2, 2, 12) for maps (2, 6, 3, 4)"),
        (lambda m, s: s.mean((2, 3), keepdim=True) * m, "it should be (2, 3, 4).\nHint: slopes.mean("),
        (lambda m, s: heat(m, s, cut=torch.abs), "the numbers differ from ours.\nHint: weight * maps"),
        (lambda m, s: heat(m, s, places=(0, 2, 3)), "the numbers differ from ours"),
        (lambda m, s: heat(m, s) / 0 * 0, "the numbers differ from ours"),
        (lambda m, s: 3, "returned a tensor ()"),
        (lambda m, s: "warm", "stopped with"),
    ],
)
def test_heat_map(answer, said, capsys):
    shown = verdict(CHECKS["5.2"], answer, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


def cooled(logits, labels, candidates=None, loss=cross_entropy, best=torch.argmin):
    """The lesson's solution."""
    candidates = torch.logspace(-1, 1, 200) if candidates is None else candidates
    return candidates[best(torch.stack([loss(logits / t, labels) for t in candidates]))].item()


class ByTheirSize:
    """Is right once, and from then on looks at the logits alone."""

    share = None

    def __call__(self, logits, labels):
        self.share = self.share or cooled(logits, labels) / logits.std()
        return self.share * logits.std()


def mistakes_at(logits, labels):
    return (logits.argmax(1) != labels).float().mean()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (cooled, "Right"),
        (lambda x, y: torch.tensor(cooled(x, y)), "Right"),
        (lambda x, y: minimize_scalar(lambda t: float(cross_entropy(x / t, y)), bounds=(0.1, 10)).x, "Right"),
        (lambda x, y: 1 / cooled(x, y), "Hint: divide the logits by each candidate"),
        (lambda x, y: cooled(x, y, best=torch.argmax), "Hint: divide the logits by each candidate"),
        (lambda x, y: cooled(x, y, loss=mistakes_at), "Hint: divide the logits by each candidate"),
        (lambda x, y: cooled(x, y, torch.linspace(1, 10, 200)), "0.5 times as large as honest ones"),
        (lambda x, y: cooled(x, y, torch.linspace(0.1, 1, 200)), "4 times as large as honest ones"),
        (lambda x, y: 1.0, "4 times as large as honest ones gave 1.00; we get "),
        (lambda x, y: float("nan"), "Hint: divide the logits by each candidate"),
        (ByTheirSize(), "logits with other labels gave"),
        (lambda x, y: "warm", "stopped with ValueError"),
        (lambda x, y: x / 2, "stopped with"),
    ],
)
def test_best_temperature(answer, said, capsys):
    shown = verdict(CHECKS["5.1"], answer, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


# --- lesson 07


def balanced(labels, predicted, classes=torch.unique):
    """The lesson's solution."""
    right = (predicted == labels).float()
    return torch.stack([right[labels == c].mean() for c in classes(labels)]).mean().item()


def precision(labels, predicted):
    return torch.stack([(labels[predicted == c] == c).float().mean() for c in labels.unique()]).mean()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (balanced, "Right"),
        (lambda y, p: torch.tensor(balanced(y, p)), "Right"),
        (
            lambda y, p: (y == p).float().mean(),
            "0.9 is the share of all photos.\nHint: take the accuracy of each class",
        ),
        (precision, "8 of 8 and 1 of 2 gave 0.944; we get 0.750.\nHint: for each class"),
        (lambda y, p: 100 * balanced(y, p), "gave 75.000; we get 0.750"),
        (lambda y, p: float("nan"), "gave nan; we get 0.750"),
        (
            lambda y, p: torch.stack(
                [(p[y == c] == c).sum() / max(1, (y == c).sum()) for c in range(y.max() + 1)]
            ).mean(),
            "a class without photos is counted.\nHint: go over labels.unique()",
        ),
        (lambda y, p: balanced(y, p, lambda y: range(y.max() + 1)), "a class without photos is counted"),  # it is nan
        (lambda y, p: "three quarters", "stopped with ValueError"),
        (lambda y, p: [1.0, 0.5], "stopped with TypeError"),
    ],
)
def test_balanced_accuracy(answer, said, capsys):
    shown = verdict(CHECKS["7.1"], answer, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


def parts(groups, count):
    """The lesson's solution."""
    return torch.unique(groups, return_inverse=True)[1] % count


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (parts, "Right"),
        (lambda groups, count: parts(groups, count).tolist(), "Right"),
        (lambda groups, count: parts(groups, count).numpy(), "Right"),
        (
            lambda groups, count: torch.arange(len(groups)) % count,
            "the near-duplicates of group 1 are in parts [1, 2].\nHint: deal the groups, not the photos",
        ),
        (lambda groups, count: groups % count, "are dealt into parts of [100, 0].\nHint: number the groups"),
        (lambda groups, count: parts(groups, 2), "the parts are [0, 1]; we asked for 0, 1 and 2"),
        (lambda groups, count: parts(groups, count) + 1, "the parts are [1, 2, 3]; we asked for 0, 1 and 2"),
        (lambda groups, count: torch.zeros(len(groups)), "the parts are [0.0]"),
        (lambda groups, count: parts(groups.unique(), count), "parts returned (7,); there are 10 photos"),
        (lambda groups, count: 3, "parts returned (); there are 10 photos"),
        (lambda groups, count: "abc", "stopped with"),
    ],
)
def test_parts_without_leaks(answer, said, capsys):
    shown = verdict(CHECKS["7.2"], answer, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


# --- self-tests


@pytest.mark.parametrize("answer", ["B", " b", "b "])
def test_a_letter_is_known_in_any_dress(answer):
    question = QUIZZES["08"][0]
    assert checking.feedback(question, answer) == checking.feedback(question, "b")


@pytest.mark.parametrize("answer", [2, 1.0, "ab", "", "z", ["b"], True])
def test_what_is_no_letter_is_said_and_does_not_stop_the_cell(answer):
    assert checking.feedback(QUIZZES["08"][0], answer) == f"{answer!r} is not one of the letters a, b, c."


@pytest.mark.parametrize("lesson", QUIZZES)
def test_self_tests_give_feedback_on_every_option(lesson):
    assert len(QUIZZES[lesson]) == 3
    for question in QUIZZES[lesson]:
        for position, (_, feedback) in enumerate(question.options):
            letter = "abc"[position]
            said = checking.feedback(question, letter)
            assert feedback in said
            assert ("Right." in said) == (position == question.right)
    shown = course.self_test(lesson, "z", None).data
    assert "&#x27;z&#x27;" in shown or "'z' is not one of" in shown
    assert shown.count("No answer yet.") == 2
