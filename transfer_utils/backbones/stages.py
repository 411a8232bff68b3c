"""A network as named stages that knows which of them are frozen, and keeps them so."""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from transfer_utils.machine import unknown


class StagedModel(nn.Sequential):
    """A network as named stages, the last of which is `head`: model(x) runs them in order.

    Input: float (N, 3, H, W) from `preprocess`. Output: logits (N, classes).
    """

    head: nn.Linear
    mean: Tensor
    std: Tensor

    def __init__(self, stages: "OrderedDict[str, nn.Module]", mean: Iterable[float], std: Iterable[float], name: str):
        super().__init__(stages)
        self.name = name
        # Not persistent: normalisation belongs to the code, not to the weights in a checkpoint.
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)

    @property
    def stages(self) -> list[str]:
        """The names of the stages, from the photo to the head."""
        return list(self._modules)

    def preprocess(self, photos: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) to normalised float32 of the same shape. It never resizes."""
        return (photos.float() / 255 - self.mean) / self.std

    def position(self, stage: str) -> int:
        """The index of a stage. ValueError with a suggestion for a name it does not have."""
        if stage not in self.stages:
            raise unknown(f"stage of {self.name}", stage, self.stages)
        return self.stages.index(stage)

    def split(self, after: str) -> tuple[nn.Sequential, nn.Sequential]:
        """The stages through `after`, and the rest; they share weights with the model.

        suffix(prefix(x)) equals model(x) bit for bit. ValueError if nothing would be left of the rest.
        """
        cut = self.position(after) + 1
        if cut == len(self.stages):
            raise ValueError(
                f"Splitting after {after!r} leaves no stage to train; split after {self.stages[-2]!r} or earlier."
            )
        items = list(self._modules.items())
        return nn.Sequential(OrderedDict(items[:cut])), nn.Sequential(OrderedDict(items[cut:]))

    def new_head(self, classes: int) -> "StagedModel":
        """Replace the head by a fresh linear layer for this many classes, and return the model."""
        if classes < 2:
            raise ValueError(f"new_head() got classes={classes}; a classifier needs at least 2.")
        self.head = nn.Linear(self.head.in_features, classes).to(self.head.weight.device)
        return self
