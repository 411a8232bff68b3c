"""Lesson 1: its checks and its quiz."""

from collections.abc import Callable

import torch
from torch import Tensor

from transfer_utils import backbones
from transfer_utils.course.checking import NotYet, Question, checked, filled


@checked
def transplanted(answer: Callable) -> str:
    """The learner's transplant(pretrained, new) copies every stage but the head."""
    pretrained, new = backbones.course_resnet(5, seed=1), backbones.course_resnet(3, seed=2)
    for buffer in (b for b in pretrained.buffers() if b.is_floating_point()):
        buffer.add_(0.5)  # statistics that a fresh network does not have
    before = {name: tensor.clone() for name, tensor in new.head.state_dict().items()}
    given = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    result = answer(pretrained, new)
    filled(result, answer, "return the new network when its stages are filled.")
    result = backbones.unwrapped(result)
    if result.head.out_features != 3:
        raise NotYet("the head came along: it answers the old question.", "skip the stage named 'head'.")
    if backbones.drift(given, pretrained.state_dict()):
        raise NotYet("the pretrained network changed.", "load into the new network, not into the old one.")
    backbone, _ = result.cpu().split(after="pool")  # an answer may have tried the network on a graphics card
    if backbones.drift(before, result.head):
        raise NotYet("the new head changed.", "leave the head as it is: it will be trained.")
    for name, tensor in backbone.state_dict().items():
        if not torch.equal(tensor, given[name]):
            kind = "statistic" if "running" in name or "tracked" in name else "weight"
            raise NotYet(
                f"the {kind} {name} was not copied.",
                "state_dict() holds the weights and the batch-norm statistics; parameters() holds only weights.",
            )
    return "every weight and every batch-norm statistic came along, and the head stayed new."


@checked
def neighbour_agreement(answer: Callable) -> str:
    """The learner's agreement(points, labels): the share of points whose nearest other point has their label."""
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(60, 4, generator=generator), torch.arange(60) % 3
    points[:, 0] += labels * 1.5
    expected = _agreement(points, labels)
    found = answer(points, labels)
    filled(found, answer, "torch.cdist(points, points) holds every distance; argmin(1) finds the nearest.")
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


QUIZ = (
    Question(
        "Which photos may the network see while it is being pretrained?",
        (
            ("All photos, as long as the labels differ.", "Then the new task's photos would not be new."),
            ("Training photos of the source classes only.", "Target classes and test photos stay out."),
            ("Source and target classes, without test photos.", "The target classes must be new to it."),
        ),
        1,
    ),
    Question(
        "The pretrained network has never seen a deer. What did it bring to the task with deer and horses?",
        (
            ("A better start: the same steps lead to a better network.", "That is what the paired gain measures."),
            ("An output for deer in its head.", "Its head knows only the five source classes."),
            ("Nothing: it only trained for longer.", "Scratch with ten times the epochs is in the stored rows."),
        ),
        0,
    ),
    Question(
        "What does a checkpoint need besides its weights?",
        (
            ("Nothing: the weights say it all.", "They do not say which output means which class."),
            ("The optimiser's memory.", "Only to go on training exactly where we stopped."),
            ("A card: classes, photos, recipe, accuracy.", "Without it, nobody can use or judge the weights."),
        ),
        2,
    ),
)

CHECKS = {"1.1": neighbour_agreement, "1.2": transplanted}
