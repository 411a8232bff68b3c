"""Exercise checks: each runs the learner's function, and says what is wrong and where to look."""

import functools
import traceback
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from torch import Tensor, nn

from transfer_utils import backbones, data, evaluation, features, freezing, guide, probes, stats
from transfer_utils.quizzes import QUIZZES, Question


class NotYet(Exception):
    """An answer that is not right yet: what was seen, and a hint."""

    def __init__(self, seen: str, hint: str):
        super().__init__(f"{seen}\nHint: {hint}")


def check(examine: Callable[[Callable], str]) -> Callable[[Callable], None]:
    """Turn examine(answer) -> praise, which raises NotYet, into a check that prints one verdict and never raises."""

    @functools.wraps(examine)
    def report(answer: Callable) -> None:
        name = getattr(answer, "__name__", repr(answer))
        if not callable(answer):
            print(
                f"Not yet: the check needs the function itself, and got {name}.\nHint: write its name without brackets."
            )
            return
        try:
            with torch.random.fork_rng(devices=[]):
                print(f"Right: {examine(answer)}")
        except NotYet as verdict:
            print(f"Not yet: {verdict}")
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"Not yet: {name}() stopped with {type(error).__name__}: {error}\n"
                f"Hint: it happened at `{line.line}`; print the values in that line just before it."
            )

    return report


def _filled(value: object, answer: Callable, hint: str) -> None:
    if value is None or value is Ellipsis:
        raise NotYet(f"{answer.__name__}() returned {value}.", hint)


# --- lesson 00 ------------------------------------------------------------------------------------------------------


@check
def ten_classes(answer: Callable) -> str:
    """The learner's network has the ImageNet backbone, unchanged, and a fresh head for ten classes."""
    model = answer()
    _filled(model, answer, "return a model; load_backbone(name, classes=...) makes one with a fresh head.")
    original = backbones.load_backbone("efficientnet_lite0").state_dict()
    outputs = model.head.out_features if isinstance(getattr(model, "head", None), nn.Linear) else None
    if outputs == 1000:
        raise NotYet("the head still has ImageNet's 1000 outputs.", "say how many classes our photos have.")
    if outputs != 10:
        raise NotYet(f"the head has {outputs} outputs, and our photos have 10 classes.", "look at len(photos.classes).")
    # On the CPU: the lesson's own network, with a new head, is an answer too, and may be on a graphics card.
    body = {name: tensor.cpu() for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    changed = [name for name, tensor in body.items() if not torch.equal(tensor, original[name])]
    if changed:
        raise NotYet(
            f"{changed[0]} differs from ImageNet's weights.", "pretrained=False gives random weights; leave it out."
        )
    return "ImageNet's backbone, and a new head with ten outputs."


@check
def accuracy_with(answer: Callable) -> str:
    """The learner's accuracy_with(per_class) draws, fits and measures on valid photos."""
    reference = {count: _probe_accuracy(count) for count in (2, 5)}
    for count, expected in reference.items():
        found = answer(count)
        _filled(found, answer, "draw photos with photos.take(per_class, seed=0), fit a probe, return its accuracy.")
        if found == 1.0:
            raise NotYet(
                f"accuracy_with({count}) is 100 %.", "the probe has seen those photos; measure on valid photos instead."
            )
        if abs(float(found) - expected) > 0.02:
            raise NotYet(
                f"accuracy_with({count}) gave {float(found):.1%}; we get {expected:.1%}.",
                "use seed=0, the frozen features of exactly these photos, and probes.linear_probe as it is.",
            )
    return f"from {reference[2]:.0%} with 2 photos per class to {reference[5]:.0%} with 5."


def _probe_accuracy(per_class: int) -> float:
    backbone = backbones.load_backbone("efficientnet_lite0")
    few, valid = data.load("cifar10_photos", "train").take(per_class, seed=0), data.load("cifar10_photos", "valid")
    bank, valid_bank = (features.extract(backbone, photos, size=96) for photos in (few, valid))
    return probes.linear_probe(bank, few.labels).accuracy(valid_bank, valid.labels)


# --- lesson 01 ------------------------------------------------------------------------------------------------------


@check
def transplanted(answer: Callable) -> str:
    """The learner's transplant(pretrained, new) copies every stage but the head."""
    torch.manual_seed(1)
    pretrained, new = backbones.course_resnet(5), backbones.course_resnet(3)
    for buffer in (b for b in pretrained.buffers() if b.is_floating_point()):
        buffer.add_(0.5)  # statistics that a fresh network does not have
    before = {name: tensor.clone() for name, tensor in new.head.state_dict().items()}
    given = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    result = answer(pretrained, new)
    _filled(result, answer, "return the new network when its stages are filled.")
    if result.head.out_features != 3:
        raise NotYet("the head came along: it answers the old question.", "skip the stage named 'head'.")
    if freezing.drift(given, pretrained.state_dict()):
        raise NotYet("the pretrained network changed.", "load into the new network, not into the old one.")
    for name, tensor in result.cpu().state_dict().items():  # an answer may have tried the network on a graphics card
        if name.startswith("head."):
            if not torch.equal(tensor, before[name.removeprefix("head.")]):
                raise NotYet("the new head changed.", "leave the head as it is: it will be trained.")
        elif not torch.equal(tensor, given[name]):
            kind = "statistic" if "running" in name or "tracked" in name else "weight"
            raise NotYet(
                f"the {kind} {name} was not copied.",
                "state_dict() holds the weights and the batch-norm statistics; parameters() holds only weights.",
            )
    return "every weight and every batch-norm statistic came along, and the head stayed new."


@check
def neighbour_agreement(answer: Callable) -> str:
    """The learner's agreement(points, labels): the share of points whose nearest other point has their label."""
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(60, 4, generator=generator), torch.arange(60) % 3
    points[:, 0] += labels * 1.5
    expected = _agreement(points, labels)
    found = answer(points, labels)
    _filled(found, answer, "torch.cdist(points, points) holds every distance; argmin(1) finds the nearest.")
    if float(found) == 1.0:
        raise NotYet("every point agrees.", "each point's nearest point is itself; set the diagonal to infinity first.")
    if abs(float(found) - expected) > 1e-4:
        raise NotYet(
            f"on our test points it gave {float(found):.3f}; the share is {expected:.3f}.",
            "compare labels[nearest] with labels, and take the mean.",
        )
    return "the nearest other point, and the share that agrees."


def _agreement(points: Tensor, labels: Tensor) -> float:
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return (labels[distances.argmin(1)] == labels).float().mean().item()


# --- lesson 02 ------------------------------------------------------------------------------------------------------


@check
def frozen(answer: Callable) -> str:
    """The learner's freeze(model) keeps all three promises, even after model.train()."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    photos = torch.randn(16, 3, 8, 8) + 2
    model(photos)
    result = answer(model)
    _filled(result, answer, "return the model that you were given.")
    before = {name: tensor.clone() for name, tensor in result.state_dict().items()}
    trainable = [name for name, p in result.named_parameters() if p.requires_grad]
    if trainable:
        raise NotYet(
            f"gradients still reach {len(trainable)} tensors (first: {trainable[0]}).",
            "which attribute of a parameter tells autograd to leave it alone?",
        )
    result(photos)
    _statistics_held(before, result, "which switch decides whether batch-norm uses its stored statistics?")
    result.train()
    result(photos)
    _statistics_held(before, result, "model.train() turned your eval() back. Give the model a train() that does not.")
    return "all three promises hold, and still hold after model.train()."


def _statistics_held(before: dict[str, Tensor], model: nn.Module, hint: str) -> None:
    moved = freezing.drift(before, model.state_dict())
    if moved:
        raise NotYet(
            f"the weights held still, but {len(moved)} batch-norm values moved (first: {next(iter(moved))}).", hint
        )


@check
def best_stage(answer: Callable) -> str:
    """The learner's best_stage(rows, per_class) chooses on valid and reports test."""
    made = [("early", 0.40, 0.48), ("middle", 0.62, 0.55), ("late", 0.58, 0.66)]
    rows = pd.DataFrame(
        {"stage": stage, "per_class": size, "seed": seed, "valid": valid + shift, "test": test + shift}
        for stage, valid, test in made
        for size, shift in ((10, 0.0), (50, 0.1))
        for seed in range(3)
    )
    rows.loc[(rows.stage == "early") & (rows.per_class == 50), "valid"] = 0.95
    found = answer(rows, 10)
    _filled(found, answer, "return two things: the stage's name and its mean test accuracy.")
    if not isinstance(found, tuple) or len(found) != 2:
        raise NotYet(f"it returned {found!r}.", "return a pair: return stage, accuracy")
    stage, accuracy = found
    if stage == "late":
        raise NotYet(
            "it chose by accuracy on test photos.",
            "what we choose by is no longer unseen. Choose by the column 'valid'.",
        )
    if stage == "early":
        raise NotYet("it mixed rows of different sizes.", "keep only the rows with this per_class first.")
    if stage != "middle" or abs(float(accuracy) - 0.55) > 1e-6:
        raise NotYet(
            f"on our made-up rows it gave {stage!r} and {float(accuracy):.3f}.",
            "group by stage, average 'valid', take the largest; then average 'test' of that stage.",
        )
    return "chosen on valid photos, reported on test photos."


# --- lesson 03 ------------------------------------------------------------------------------------------------------


@check
def trains_only_the_head(answer: Callable) -> str:
    """The learner's train_head(model, photos) moves the head, and nothing else."""
    torch.manual_seed(3)
    model = backbones.load_backbone("course_resnet/both", classes=3)
    photos = data.load("cifar10_photos", "train").only("cat", "deer", "horse").take(5, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = answer(model, photos)
    _filled(result, answer, "return the model at the end.")
    moved = list(freezing.drift(before, result.state_dict()))
    weights = {name for name, _ in result.named_parameters()}
    body = [name for name in moved if not name.startswith("head.")]
    trained = [name for name in body if name in weights]
    if trained:
        raise NotYet(f"{trained[0]} moved.", "only the head's parameters may get a gradient and be in the optimiser.")
    if body:
        raise NotYet(
            f"no weight of the backbone moved, but {len(body)} batch-norm values did (first: {body[0]}).",
            "in which mode is the network while it sees the photos?",
        )
    if not moved:
        raise NotYet("the head did not move either.", "it needs gradients, and an optimiser that steps.")
    return "the head learned, and no weight or statistic of the backbone moved."


@check
def layer_rates(answer: Callable) -> str:
    """The learner's layer_rates(model, rate, factor) divides the rate once for each stage below the head."""
    torch.manual_seed(3)
    model = freezing.freeze(backbones.course_resnet(3), through="stem")
    groups = answer(model, 1.0, 2.0)
    _filled(groups, answer, "collect one dict for each stage in a list, and return the list.")
    given = [(id(p), group["lr"]) for group in groups for p in group["params"]]
    found = dict(given)
    if len(given) > len(found):
        raise NotYet("some parameters are in two groups.", "each stage makes one group of its own.")
    for stage, expected in {"head": 1.0, "stage3": 0.5, "stage2": 0.25, "stage1": 0.125}.items():
        for name, parameter in model.get_submodule(stage).named_parameters():
            if id(parameter) not in found:
                raise NotYet(f"{stage}.{name} is in no group.", "every parameter that trains needs a rate.")
            if abs(found[id(parameter)] - expected) > 1e-9:
                raise NotYet(
                    f"with rate 1 and factor 2, {stage} got {found[id(parameter)]:g}; we get {expected:g}.",
                    "start at the head, and divide after each stage that has weights to train. pool has none.",
                )
    if any(id(parameter) in found for parameter in model.get_submodule("stem").parameters()):
        raise NotYet("the stem is frozen, and yet in a group.", "keep only parameters with requires_grad.")
    if given[0][1] != 1.0:
        raise NotYet(f"the first group has the rate {given[0][1]:g}.", "begin with the head: its rate is the largest.")
    return "head first, each stage below it slower, and nothing frozen among them."


@check
def paired_gain(answer: Callable) -> str:
    """The learner's my_gain(grid, source, target, method, per_class) is the mean of differences seed by seed."""
    rows = [("scratch", "scratch", "animals", seed, 0.5 + seed / 10) for seed in range(3)]
    rows += [("both", "full", "animals", seed, 0.6 + seed / 5) for seed in (2, 0, 1)]  # in another order
    rows += [(source, method, "vehicles", 0, 0.0) for source, method in (("scratch", "scratch"), ("both", "full"))]
    grid = pd.DataFrame(rows, columns=["source", "method", "target", "seed", "test"]).assign(per_class=20)
    elsewhere = stats.select(grid, source="both", target="animals").assign(source="vehicles", test=0.9)
    more = pd.concat([grid, grid.assign(per_class=5, test=0.1), grid.assign(test=0.9, method="last stage"), elsewhere])
    found = answer(more, "both", "animals", "full", 20)
    _filled(found, answer, "return the mean of tuned minus scratch.")
    if not isinstance(found, (int, float, np.number)):
        raise NotYet(f"my_gain returned {type(found).__name__}.", "take the mean over the seeds: one number.")
    if np.isnan(found):
        raise NotYet("my_gain returned nan.", "set_index('seed') on both, so that pandas can match seed with seed.")
    if abs(found + 0.2) < 1e-6:
        raise NotYet("the sign is turned round.", "a gain is the method minus scratch.")
    if abs(found - 0.2) > 1e-6:
        raise NotYet(
            f"on our small table my_gain gives {found:.3f}; we get 0.200.",
            "select source, target, method and per_class, and scratch with the same target and per_class.",
        )
    return "a gain of 0.2 on our small table."


@check
def pareto_front(answer: Callable) -> str:
    """The learner's front(points) names what no other point beats, cheapest first."""
    cases: dict[str, dict[str, tuple[float, float]]] = {
        "four points, one of them beaten": {"b": (2, 0.7), "a": (1, 0.5), "c": (3, 0.6), "d": (4, 0.9)},
        "two of the same cost": {"a": (1, 0.5), "b": (1, 0.6), "c": (2, 0.7)},
        "two of the same accuracy": {"dear": (2, 0.5), "cheap": (1, 0.5)},
    }
    for name, points in cases.items():
        found = answer(dict(points))
        _filled(found, answer, "return a list of names.")
        if not isinstance(found, Iterable):
            raise NotYet(f"front returned {type(found).__name__}.", "return a list of names.")
        found, expected = list(found), guide.pareto(points)
        if sorted(found) != sorted(expected):
            raise NotYet(
                f"{name}: {points} gave {found}; we get {expected}.",
                "a point is beaten when another one is as cheap and better, or as good and cheaper.",
            )
        if found != expected:
            raise NotYet(f"{name}: the names are right, their order is not.", "cheapest first.")
    return "what is beaten is out, and the rest goes from cheap to dear."


# --- lesson 05 ------------------------------------------------------------------------------------------------------


@check
def heat_map(answer: Callable) -> str:
    """The learner's heat_of(maps, slopes) weights each map with its mean slope, adds them up, and cuts at zero."""
    generator = torch.Generator().manual_seed(0)
    maps, slopes = (torch.randn(2, 6, 3, 4, generator=generator) for _ in range(2))
    found = answer(maps.clone(), slopes.clone())
    _filled(found, answer, "return a tensor (N, h, w).")
    found = torch.as_tensor(found).float()
    weight = slopes.mean((2, 3), keepdim=True)
    expected = (weight * maps).sum(1).relu()
    if found.shape != expected.shape:
        raise NotYet(
            f"heat_of returned a tensor {tuple(found.shape)} for maps {tuple(maps.shape)}; it should be (2, 3, 4).",
            "slopes.mean((2, 3), keepdim=True) is one weight per channel; sum(1) adds the channels up.",
        )
    mistakes = {
        "some places are negative": ((weight * maps).sum(1), "what speaks against the class counts as zero: relu()."),
        "each place has a weight of its own": ((slopes * maps).sum(1).relu(), "average the slopes over positions."),
        "relu came before the sum": ((weight * maps).relu().sum(1), "add the channels up first, then relu()."),
        "the slopes are added up": (12 * expected, "take their mean over positions, not their sum."),
        "the channels are averaged": (expected / 6, "add the channels up: sum(1)."),
        "the map is stretched to 1": (expected / expected.amax((1, 2), keepdim=True), "leave it as it comes."),
    }
    for seen, (wrong, hint) in mistakes.items():
        if torch.allclose(found, wrong, atol=1e-4):
            raise NotYet(f"{seen}.", hint)
    if not torch.allclose(found, expected, atol=1e-4):
        raise NotYet("the numbers differ from ours.", "weight * maps, summed over channels, then relu().")
    return "one weight per channel, added up, and only what speaks for the class."


@check
def best_temperature(answer: Callable) -> str:
    """The learner's temperature(logits, labels) has the smallest cross-entropy, of a few that are tried."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    honest = torch.randn(300, 3, generator=generator)
    honest[torch.arange(300), labels] += 1.0
    half_wrong = torch.where(torch.arange(300) % 4 == 0, (labels + 1) % 3, labels)
    for factor, true in ((4.0, labels), (0.5, labels), (1.0, half_wrong)):
        found = answer(honest * factor, true)
        _filled(found, answer, "return the temperature.")
        ours = evaluation.temperature(honest * factor, true)
        if not abs(float(found) / ours - 1) <= 0.15:
            told = f"logits {factor:g} times as large as honest ones" if true is labels else "logits with other labels"
            raise NotYet(
                f"{told} gave {float(found):.2f}; we get {ours:.2f}.",
                "divide the logits by each candidate, take cross_entropy(logits / t, labels), keep the smallest.",
            )
    return "logits that are too sure get a temperature above 1, timid ones a temperature below 1."


# --- lesson 07 ------------------------------------------------------------------------------------------------------


@check
def balanced_accuracy(answer: Callable) -> str:
    """The learner's balanced(labels, predicted) averages the accuracy of each class."""
    labels = torch.tensor([0] * 8 + [1] * 2)
    predicted = torch.tensor([0] * 8 + [0, 1])
    found = answer(labels.clone(), predicted.clone())
    _filled(found, answer, "return one number between 0 and 1.")
    if abs(float(found) - 0.9) < 1e-4:
        raise NotYet("0.9 is the share of all photos.", "take the accuracy of each class first, then their mean.")
    if not abs(float(found) - 0.75) <= 1e-4:
        raise NotYet(
            f"8 of 8 and 1 of 2 gave {float(found):.3f}; we get 0.750.",
            "for each class: (predicted[labels == c] == c).float().mean()",
        )
    if not abs(float(answer(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2]))) - 0.75) <= 1e-4:
        raise NotYet("a class without photos is counted.", "go over labels.unique().")
    return "each class counts the same, however few photos it has."


@check
def parts_without_leaks(answer: Callable) -> str:
    """The learner's parts(groups, count) deals photos into parts so that near-duplicates stay together."""
    groups = torch.tensor([0, 1, 1, 2, 3, 3, 3, 4, 5, 6])
    found = answer(groups.clone(), 3)
    _filled(found, answer, "return one part number for each photo.")
    found = torch.as_tensor(found)
    if found.shape != groups.shape:
        raise NotYet(f"parts returned {tuple(found.shape)}; there are {len(groups)} photos.", "one number per photo.")
    for group in groups.unique():
        if len(found[groups == group].unique()) > 1:
            raise NotYet(
                f"the near-duplicates of group {int(group)} are in parts {found[groups == group].tolist()}.",
                "deal the groups, not the photos: every photo gets its group's part.",
            )
    if set(found.tolist()) != {0, 1, 2}:
        raise NotYet(f"the parts are {sorted(set(found.tolist()))}; we asked for 0, 1 and 2.", "remainder: % count.")
    many = torch.as_tensor(answer(torch.arange(0, 200, 2), 2)).bincount(minlength=2)
    if many.min() < 40:
        raise NotYet(
            f"100 groups with even numbers are dealt into parts of {many.tolist()}.",
            "number the groups 0, 1, 2, ... first: torch.unique(groups, return_inverse=True).",
        )
    return "near-duplicates stay together, so no photo is judged by a classifier that has seen its twin."


# --- self-tests -----------------------------------------------------------------------------------------------------


def self_test(lesson: str, *answers: str | None) -> HTML:
    """The questions of a lesson's self-test with feedback on the answers given so far, for example 'b', None, 'a'."""
    parts = []
    for number, question in enumerate(QUIZZES[lesson], start=1):
        answer = answers[number - 1] if number <= len(answers) else None
        options = "".join(f"<li>{text}</li>" for text, _ in question.options)
        parts.append(
            f"<p><b>Question {number}.</b> {question.text}</p>"
            f'<ol style="list-style-type: lower-alpha">{options}</ol><p><i>{_feedback(question, answer)}</i></p>'
        )
    return HTML("".join(parts))


def _feedback(question: Question, answer: str | None) -> str:
    letters = "abcdefgh"[: len(question.options)]
    if answer is None:
        return "No answer yet."
    if answer not in letters or len(answer) != 1:
        return f"{answer!r} is not one of the letters {', '.join(letters)}."
    position = letters.index(answer)
    verdict = "Right." if position == question.right else "Not quite."
    return f"{answer}: {verdict} {question.options[position][1]}"
