"""Lesson 0: its checks and its quiz."""

from collections.abc import Callable

import torch
from torch import nn

from transfer_utils import backbones, data, training
from transfer_utils.course.checking import NotYet, Question, checked, filled


@checked
def ten_classes(answer: Callable) -> str:
    """The learner's network has the ImageNet backbone, unchanged, and a fresh head for ten classes."""
    model = answer()
    filled(model, answer, "return a model; load_backbone(name, classes=...) makes one with a fresh head.")
    original = backbones.load_backbone("efficientnet_lite0").state_dict()
    outputs = model.head.out_features if isinstance(getattr(model, "head", None), nn.Linear) else None
    if outputs == 1000:
        raise NotYet("the head still has ImageNet's 1000 outputs.", "say how many classes our photos have.")
    if outputs != 10:
        raise NotYet(f"the head has {outputs} outputs, and our photos have 10 classes.", "look at len(photos.classes).")
    backbone, _ = backbones.unwrapped(model).split(after="pool")
    # On the CPU: the lesson's own network, with a new head, is an answer too, and may be on a graphics card.
    body = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    changed = [name for name, tensor in body.items() if not torch.equal(tensor, original[name])]
    if changed:
        raise NotYet(
            f"{changed[0]} differs from ImageNet's weights.", "pretrained=False gives random weights; leave it out."
        )
    return "ImageNet's backbone, and a new head with ten outputs."


@checked
def accuracy_with(answer: Callable) -> str:
    """The learner's accuracy_with(per_class) draws, fits and measures on valid photos."""
    reference = {count: _probe_accuracy(count) for count in (2, 5)}
    for count, expected in reference.items():
        found = answer(count)
        filled(found, answer, "draw photos with photos.take(per_class, seed=0), fit a probe, return its accuracy.")
        if found == 1.0:
            raise NotYet(
                f"accuracy_with({count}) is 100 %.", "the probe has seen those photos; measure on valid photos instead."
            )
        if abs(float(found) - expected) > 0.02:
            raise NotYet(
                f"accuracy_with({count}) gave {float(found):.1%}; we get {expected:.1%}.",
                "use seed=0, the frozen features of exactly these photos, and training.linear_probe as it is.",
            )
    return f"from {reference[2]:.0%} with 2 photos per class to {reference[5]:.0%} with 5."


def _probe_accuracy(per_class: int) -> float:
    backbone = backbones.load_backbone("efficientnet_lite0")
    few, valid = data.load("cifar10_photos", "train").take(per_class, seed=0), data.load("cifar10_photos", "valid")
    bank, valid_bank = (training.extract(backbone, photos, size=96) for photos in (few, valid))
    return training.linear_probe(bank, few.labels).accuracy(valid_bank, valid.labels)


QUIZ = (
    Question(
        "In the pretrained network with a probe: what was fitted to our 100 photos?",
        (
            ("All of it.", "The backbone ran, but nothing in it moved: only the probe was fitted."),
            ("A linear classifier on its features.", "It takes the place of the old head."),
            ("The first stage.", "Every stage in front of the head was frozen."),
        ),
        1,
    ),
    Question(
        "Why did we put the same probe on the same network with random weights?",
        (
            ("To find out how fast our machine is.", "Speed is measured elsewhere."),
            ("Because random weights need no download.", "True, and not the reason."),
            ("To separate what pretraining gives from what the architecture gives.", "Only the weights differ."),
        ),
        2,
    ),
    Question(
        "One run gives 66 %. What may we say about the method?",
        (
            ("That it reaches 66 %.", "Another draw of 100 photos gives another number."),
            ("Little, until we see how much other draws vary.", "That is why stored rows carry an interval."),
            ("That 66 % is its upper limit.", "One draw is neither the best nor the worst."),
        ),
        1,
    ),
)

CHECKS = {"0.1": ten_classes, "0.2": accuracy_with}
