"""Photos or lines, as the first stage of a network gets them."""

from typing import Any

from torch import Tensor

from transfer_utils.backbones import StagedModel, TextModel
from transfer_utils.data import ImageSet, LabelledSet, TextSet, resize
from transfer_utils.machine import channels_last


def check_input(call: str, model: StagedModel, items: Any, size: Any) -> None:
    """TypeError unless items are what this model reads, ImageSet or TextSet; ValueError for a size that is none."""
    reads, example = (TextSet, "texts") if isinstance(model, TextModel) else (ImageSet, "images")
    if not isinstance(items, reads):
        raise TypeError(
            f"{call} got {reads.many} of type {type(items).__name__}; {model.name} reads {reads.many}, so it needs a "
            f"labelled set of them: {reads.__name__}({example}, labels, classes)."
        )
    model.check_size(call, size)


def raw(model: StagedModel, items: LabelledSet, size: int) -> Tensor:
    """What a pass starts from: uint8 photos as they are (N, 3, H, W), or tokens of lines, int64 (N, size)."""
    if isinstance(items, TextSet) and isinstance(model, TextModel):
        return model.encode(items.texts, size)
    assert isinstance(items, ImageSet)  # check_input saw to it
    return items.images


def seen(model: StagedModel, rows: Tensor, size: int) -> Tensor:
    """Some rows of raw(), at the size at which the network sees them."""
    return rows if isinstance(model, TextModel) else resize(rows, size)


def prepared(model: StagedModel, rows: Tensor, size: int) -> Tensor:
    """Some rows of raw(), as the first stage gets them."""
    return channels_last(model.preprocess(seen(model, rows, size)))
