"""What a network answers, and how often it is right."""

from torch import Tensor, nn

from transfer_utils.backbones import unwrapped
from transfer_utils.data import LabelledSet
from transfer_utils.training import features
from transfer_utils.training.checks import check_outputs
from transfer_utils.training.items import check_input, raw


def predict(model: nn.Module, photos: LabelledSet, size: int) -> Tensor:
    """Logits (N, classes) of photos or lines on the CPU, in eval mode; the model's own mode comes back afterwards.

    Their labels have no say. TypeError for what is no ImageSet, or no TextSet where the model reads lines; ValueError
    for a size that it cannot take.
    """
    staged = unwrapped(model)
    check_input("predict()", staged, photos, size)
    return features.run_network(staged, staged, raw(staged, photos, size), size)


def accuracy(model: nn.Module, photos: LabelledSet, size: int) -> float:
    """The share of photos whose largest logit is at their label.

    ValueError for photos with other classes than the head has outputs, and for none at all; TypeError as in predict.
    """
    staged = unwrapped(model)
    check_input("accuracy()", staged, photos, size)
    check_outputs(staged, photos)
    if not len(photos):
        raise ValueError(f"accuracy() got 0 {photos.many}; it needs at least 1.")
    return (predict(model, photos, size).argmax(1) == photos.labels).float().mean().item()
