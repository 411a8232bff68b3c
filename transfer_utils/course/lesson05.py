"""Lesson 5: its checks, its quiz, and photos with a part covered."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils import stats
from transfer_utils.course.checking import NotYet, Question, checked, filled
from transfer_utils.data import ImageSet

GREY = 128
COVERED = 0.25  # share of a photo


def cover(photos: ImageSet, maps: Tensor, seed: int = 0) -> dict[str, ImageSet]:
    """The photos with a quarter of their places grey, chosen in four ways by maps (N, h, w) or without them."""
    _, height, width = maps.shape
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    middle = -torch.maximum(down.abs(), across.abs()).expand_as(maps)
    orders = {"what glows": maps, "what glows on another photo": maps.roll(1, 0), "the middle": middle}
    orders["what does not glow"] = -maps
    # Many places glow not at all, and of equals topk would take those in the middle.
    noise = 1e-6 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(seed))
    return {name: replace(photos, images=_covered(photos.images, order + noise)) for name, order in orders.items()}


def _covered(photos: Tensor, order: Tensor) -> Tensor:
    count = round(COVERED * order[0].numel())
    chosen = torch.zeros_like(order).flatten(1)
    chosen.scatter_(1, order.flatten(1).topk(count, dim=1).indices, 1.0)
    hidden = interpolate(chosen.view(len(order), 1, *order.shape[1:]), photos.shape[-2:], mode="nearest").bool()
    return photos.masked_fill(hidden, GREY)


@checked
def heat_map(answer: Callable) -> str:
    """The learner's heat_of(maps, slopes) weights each map with its mean slope, adds them up, and cuts at zero."""
    generator = torch.Generator().manual_seed(0)
    maps, slopes = (torch.randn(2, 6, 3, 4, generator=generator) for _ in range(2))
    found = answer(maps.clone(), slopes.clone())
    filled(found, answer, "return a tensor (N, h, w).")
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


@checked
def best_temperature(answer: Callable) -> str:
    """The learner's temperature(logits, labels) has the smallest cross-entropy, of a few that are tried."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    honest = torch.randn(300, 3, generator=generator)
    honest[torch.arange(300), labels] += 1.0
    half_wrong = torch.where(torch.arange(300) % 4 == 0, (labels + 1) % 3, labels)
    for factor, true in ((4.0, labels), (0.5, labels), (1.0, half_wrong)):
        found = answer(honest * factor, true)
        filled(found, answer, "return the temperature.")
        ours = stats.evaluate(honest * factor, true, ("cat", "dog", "frog")).temperature
        if not abs(float(found) / ours - 1) <= 0.15:
            told = f"logits {factor:g} times as large as honest ones" if true is labels else "logits with other labels"
            raise NotYet(
                f"{told} gave {float(found):.2f}; we get {ours:.2f}.",
                "divide the logits by each candidate, take cross_entropy(logits / t, labels), keep the smallest.",
            )
    return "logits that are too sure get a temperature above 1, timid ones a temperature below 1."


QUIZ = (
    Question(
        "Fine-tuning ends below the frozen network with the same photos. Where do we look first?",
        (
            ("The number of epochs: more of them.", "More steps go further in the same wrong direction."),
            ("Batch-norm's statistics, then the backbone's rate.", "Both can spoil what pretraining stored."),
            ("The architecture: a larger network.", "The frozen network was good; the training spoiled it."),
        ),
        1,
    ),
    Question(
        "A network is right in 80 % of its answers, and says 95 % on average. What does a temperature of 2 change?",
        (
            ("Its answers become better.", "The largest logit stays the largest: every answer is the same."),
            ("Its probabilities move closer to what is true.", "Dividing logits makes it less sure, not wiser."),
            ("Nothing, since all logits shrink alike.", "The answers stay, but softmax gives other probabilities."),
        ),
        1,
    ),
    Question(
        "A Grad-CAM map glows on the deer's forest, not on the deer. What have we learned?",
        (
            ("What speaks for deer in this network lies there.", "It may have learned forests along with deer."),
            ("The network is broken.", "It may answer well as long as deer come with forests."),
            ("Grad-CAM does not work at this stage.", "It shows what it shows; cover the place and see."),
        ),
        0,
    ),
)

CHECKS = {"5.1": best_temperature, "5.2": heat_map}
