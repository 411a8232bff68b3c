"""Lesson 2: its checks and its quiz."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from transfer_utils import backbones, machine
from transfer_utils.course.checking import NotYet, Question, checked, filled


@checked
def frozen(answer: Callable) -> str:
    """The learner's freeze(model) keeps all three promises, even after model.train()."""
    generator = machine.generator(2)
    with machine.draws_from(generator):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    photos = torch.randn(16, 3, 8, 8, generator=generator) + 2
    model(photos)
    result = answer(model)
    filled(result, answer, "return the model that you were given.")
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
    moved = backbones.drift(before, model.state_dict())
    if moved:
        raise NotYet(
            f"the weights held still, but {len(moved)} batch-norm values moved (first: {next(iter(moved))}).", hint
        )


@checked
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
    filled(found, answer, "return two things: the stage's name and its mean test accuracy.")
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


QUIZ = (
    Question(
        "We want to try twenty heads on one frozen backbone. How often does each photo go through it?",
        (
            ("Once.", "Its features never change, so we compute them once and keep them."),
            ("Twenty times.", "Nothing in the backbone changes between the heads."),
            ("Once per epoch and head.", "That is what fine-tuning would cost."),
        ),
        0,
    ),
    Question(
        "All weights have requires_grad=False, yet the frozen network changes while a head trains. Why?",
        (
            ("The optimiser still moves the weights.", "Without a gradient it has nothing to move them by."),
            ("Batch-norm updates its running statistics in training mode.", "They are buffers, not parameters."),
            ("The head takes over the backbone's weights.", "The head only reads what the backbone gives."),
        ),
        1,
    ),
    Question(
        "Which stage should we take features from?",
        (
            ("Always the last one.", "It is tuned to the source task; sometimes an earlier one fits better."),
            ("The one with the best accuracy on test photos.", "Then the test photos are no longer unseen."),
            ("The one with the best accuracy on valid photos.", "Choose on valid, report on test."),
        ),
        2,
    ),
)

CHECKS = {"2.1": best_stage, "2.2": frozen}
