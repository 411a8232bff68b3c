"""Lesson 3: its checks, and its quiz."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from transfer_utils import backbones, data
from transfer_utils.backbones import StagedModel
from transfer_utils.course.checking import NotYet, Question, checked, described, filled
from transfer_utils.data import ImageSet

EPOCHS = 5  # of exercise 3.1


@checked
def trains_only_the_head(answer: Callable) -> str:
    """The learner's train_head(model, photos) moves the head as far as it should, and nothing else."""
    model = backbones.load_backbone("course_resnet/both", classes=3, seed=3)
    photos = data.load("cifar10_photos", "train").only("cat", "deer", "horse").take(5, seed=0)
    start = copy.deepcopy(model)
    result = answer(model, photos)
    filled(result, answer, "return the model at the end.")
    trained = backbones.unwrapped(result)
    moved = list(backbones.drift(start.state_dict(), trained))
    backbone, _ = trained.split(after="pool")
    weights = {name for name, _ in backbone.named_parameters()}
    body = [name for name in moved if name in backbone.state_dict()]
    learned = [name for name in body if name in weights]
    if learned:
        raise NotYet(f"{learned[0]} moved.", "only the head's parameters may get a gradient and be in the optimiser.")
    if body:
        raise NotYet(
            f"no weight of the backbone moved, but {len(body)} batch-norm values did (first: {body[0]}).",
            "in which mode is the network while it sees the photos?",
        )
    if not moved:
        raise NotYet("the head did not move either.", "it needs gradients, and an optimiser that steps.")
    _check_head(start, trained, photos)
    return "the head learned, and no weight or statistic of the backbone moved."


def _check_head(start: StagedModel, trained: StagedModel, photos: ImageSet) -> None:
    """NotYet where the head has not learned as it does in the loop with its one line mended."""
    before, after, ours = (_loss(model, photos) for model in (start, trained, _mended(start, photos)))
    fell = f"the loss went from {before:.2f} to {after:.2f}; ours goes to {ours:.2f}."
    if _alike(trained, _mended(start, photos, sign=-1)):
        raise NotYet(fell, "the optimiser makes small what backward() is called on: is it the loss itself?")
    if _alike(trained, _mended(start, photos, clear=False)):
        raise NotYet("gradients of earlier steps were added to those of later ones.", "call optimiser.zero_grad().")
    if after > ours + 0.1 * (before - ours):
        raise NotYet(fell, f"all {EPOCHS} epochs should run, each on all photos, at the rate that stood there.")


def _mended(start: StagedModel, photos: ImageSet, sign: int = 1, clear: bool = True) -> StagedModel:
    """The network after the loop as it should be. sign: of the loss; clear: take away the gradients after each step."""
    model = copy.deepcopy(start).requires_grad_(False).eval()
    model.head.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        (sign * cross_entropy(model(model.preprocess(photos.images)), photos.labels)).backward()
        optimiser.step()
        if clear:
            optimiser.zero_grad()
    return model


def _loss(model: StagedModel, photos: ImageSet) -> float:
    with torch.no_grad(), backbones.keeping_modes(model):
        model.eval()
        return cross_entropy(model(model.preprocess(photos.images)), photos.labels).item()


def _alike(one: StagedModel, other: StagedModel) -> bool:
    """Whether two heads are the same but for the order in which a processor adds."""
    return bool((one.head.weight - other.head.weight).abs().max() < 1e-4)


@checked
def layer_rates(answer: Callable) -> str:
    """The learner's layer_rates(model, rate, factor) divides the rate once for each stage below the head."""
    model = backbones.freeze(backbones.course_resnet(3, seed=3), through="stem")
    groups = answer(model, 1.0, 2.0)
    filled(groups, answer, "collect one dict for each stage in a list, and return the list.")
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


@checked
def read_rate(answer: Callable) -> str:
    """The learner's read_rate(rates, losses) is a tenth of the rate at which the loss is lowest, nan left out."""
    for lowest, lost in ((3e-2, False), (3e-3, True)):
        rates, losses = _curve(lowest, lost)
        found = answer(rates, losses)
        filled(found, answer, "return the rate that you have read off.")
        if getattr(found, "shape", ()) or not math.isfinite(float(found)):
            raise NotYet(f"it returned {described(found)}.", "return one rate, a number.")
        given, place = float(found), float(rates[losses.nan_to_num(torch.inf).argmin()])
        if math.isclose(given, place, rel_tol=0.01):
            raise NotYet(
                f"{given:.2g} is where the loss is lowest.",
                "there it is about to rise. Take a tenth of that rate.",
            )
        if lost and math.isclose(given, float(rates[-1]) / 10, rel_tol=0.01):
            raise NotYet(
                f"the last loss of our curve is nan, and its rate is {float(rates[-1]):.2g}.",
                "argmin() takes nan for the smallest number of all. losses.nan_to_num(torch.inf) makes it the largest.",
            )
        if not math.isclose(given, place / 10, rel_tol=0.01):
            raise NotYet(
                f"on our curve it returned {given:.2g}; the loss is lowest at {place:.2g}.",
                "losses.argmin() is a place, and rates[place] the rate there.",
            )
    return "a tenth of where the loss is lowest, and nan does not count."


def _curve(lowest: float, lost: bool) -> tuple[Tensor, Tensor]:
    """A loss that falls up to the rate `lowest` and rises behind it; lost: its last value is nan."""
    rates = torch.logspace(-5, 0, 101)
    away = (rates / lowest).log10()
    losses = 0.5 + torch.where(away < 0, -0.1 * away, 2 * away)
    if lost:
        losses[-1] = torch.nan
    return rates, losses


QUIZ = (
    Question(
        "No parameter of the backbone has a gradient. We call model.train() and run a batch. What changes in it?",
        (
            ("Nothing: there is no gradient.", "Batch-norm's statistics need none."),
            ("Batch-norm's running mean and variance.", "They follow every batch in training mode."),
            ("Its weights, through weight decay.", "The optimiser touches only tensors that have a gradient."),
        ),
        1,
    ),
    Question(
        "Over twenty draws, one way minus another is -1.2 points [-3.1, 0.7]. Up to 2 points do not matter to us. "
        "What may we say?",
        (
            ("The first way is worse.", "The interval holds zero: another twenty draws may turn it round."),
            ("The two are the same within 2 points.", "The interval reaches to -3.1, which is outside."),
            ("They differ by at most 4 points.", "The far end of the interval, rounded up, is what we can promise."),
        ),
        2,
    ),
    Question(
        "Which way of reusing a backbone forgets nothing of the old task, for certain?",
        (
            ("Training only a new head on frozen features.", "The backbone is the same, bit for bit."),
            ("Full fine-tuning at a small rate.", "A small rate still moves the backbone."),
            ("Giving the head ten times the backbone's rate.", "The backbone moves more slowly, but it moves."),
        ),
        0,
    ),
)

CHECKS = {"3.1": trains_only_the_head, "3.2": layer_rates, "3.3": read_rate}
