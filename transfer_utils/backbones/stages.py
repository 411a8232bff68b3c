"""A network as named stages that knows which of them are frozen, and keeps them so."""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from transfer_utils.backbones.held import eval_held, is_held
from transfer_utils.backbones.in_use import refuse_while_training
from transfer_utils.machine import Seed, check_photos, check_size, draws_from, generator, is_whole, unknown


class Stages(nn.Sequential):
    """Stages in a row. Those that are held stay in eval mode, and so do held batch-norms, whoever calls train()."""

    def train(self, mode: bool = True) -> Self:
        """As in every module, but for what is held."""
        super().train(mode)
        eval_held(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The stages in order."""
        eval_held(self)  # somebody may have switched a single stage, or a layer in it
        return super().forward(x)


class StagedModel(Stages):
    """A network as named stages, the last of which is `head`: model(x) runs them in order.

    Input: float (N, 3, H, W) from `preprocess`. Output: logits (N, classes). What freeze() froze stays frozen through
    train(), deepcopy, pickle and torch.save. card: what is known about its weights, {} where nothing is.
    """

    head: nn.Linear
    mean: Tensor
    std: Tensor
    takes: ClassVar[str] = "photos"  # what preprocess() gets

    def __init__(self, stages: "OrderedDict[str, nn.Module]", mean: Iterable[float], std: Iterable[float], name: str):
        if not stages or next(reversed(stages)) != "head" or not isinstance(stages["head"], nn.Linear):
            raise ValueError(
                f"A staged model got the stages {', '.join(stages) or 'none'}; the last one must be called 'head' and "
                "be one nn.Linear, since a new task replaces it."
            )
        super().__init__(stages)
        self.name = name
        self.card: dict[str, Any] = {}
        # Not persistent: normalisation belongs to the code, not to the weights in a checkpoint.
        for part, values in (("mean", mean), ("std", std)):
            self.register_buffer(part, torch.tensor(tuple(values)).reshape(1, -1, 1, 1), persistent=False)

    @property
    def stages(self) -> list[str]:
        """The names of the stages, from the photo to the head."""
        return list(self._modules)

    @property
    def frozen(self) -> list[str]:
        """The names of the frozen stages: from the first one on, and empty when that one trains."""
        return list(takewhile(lambda name: is_held(self.get_submodule(name)), self.stages))

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """What is frozen, and what trains: rest(frozen(x)) equals model(x) bit for bit, and they share weights with it.

        Where nothing is frozen, the first part gives back what it gets, and the second is the model itself.
        ValueError when every stage is frozen.
        """
        return self.split(after=self.frozen[-1]) if self.frozen else (Stages(), self)

    def frozen_state(self) -> dict[str, Tensor]:
        """A copy of every tensor and buffer in the frozen stages, to compare with later, see drift."""
        stages = tuple(f"{name}." for name in self.frozen)
        return {k: v.detach().clone() for k, v in self.state_dict().items() if stages and k.startswith(stages)}

    def preprocess(self, photos: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) to normalised float32 of the same shape. It never resizes.

        TypeError or ValueError for what are no such photos: pixels that were scaled already would be scaled twice.
        """
        self.check_rows("preprocess()", photos)
        return (photos.float() / 255 - self.mean) / self.std

    def check_rows(self, call: str, rows: Any) -> None:
        """Refuse what `preprocess` cannot take, with TypeError or ValueError. call: who asks, for the message."""
        check_photos(call, rows)

    def check_size(self, call: str, size: Any) -> None:
        """ValueError for a size that this network cannot take, in pixels or tokens. call: who asks."""
        check_size(call, size)

    def example(self, count: int, size: int) -> Tensor:
        """Made-up input for `preprocess`: black photos, uint8 (count, 3, size, size)."""
        return torch.zeros(count, 3, size, size, dtype=torch.uint8)

    def position(self, stage: str) -> int:
        """The index of a stage. ValueError with a suggestion for a name it does not have."""
        if stage not in self.stages:
            raise unknown(f"stage of {self.name}", stage, self.stages)
        return self.stages.index(stage)

    def __getitem__(self, index: Any) -> Any:
        """One stage, or the stages of a slice."""
        return (
            Stages(OrderedDict(list(self._modules.items())[index]))
            if isinstance(index, slice)
            else super().__getitem__(index)
        )

    def split(self, after: str) -> tuple[Stages, Stages]:
        """The stages through `after`, and the rest; they share weights with the model.

        suffix(prefix(x)) equals model(x) bit for bit. ValueError if nothing would be left of the rest.
        """
        cut = self.position(after) + 1
        if cut == len(self.stages):
            raise ValueError(
                f"Splitting after {after!r} leaves no stage to train; split after {self.stages[-2]!r} or earlier."
            )
        items = list(self._modules.items())
        return Stages(OrderedDict(items[:cut])), Stages(OrderedDict(items[cut:]))

    def new_head(self, classes: int, seed: Seed = None) -> "StagedModel":
        """Replace the head by a fresh linear layer for this many classes, and return the model.

        seed: of its random weights; None for the one last given to torch.manual_seed. A seed makes the same head each
        time, whatever else draws meanwhile. ValueError for fewer than two; RuntimeError while a training loop runs on
        the model.
        """
        if not is_whole(classes, 2):
            raise ValueError(f"new_head() got classes={classes!r}; a classifier needs at least 2, a whole number.")
        refuse_while_training(self, "new_head()")
        with draws_from(generator(seed)):
            fresh = nn.Linear(self.head.in_features, classes)
        self.head = fresh.to(self.head.weight.device)
        return self


def unwrapped(model: nn.Module) -> StagedModel:
    """The staged model inside what torch puts around it: torch.compile, DataParallel, averaged weights.

    TypeError for any other network.
    """
    inner = plain(model)
    if not isinstance(inner, StagedModel):
        raise TypeError(
            f"This needs a network with named stages and a head, and got {type(model).__name__}. Take one from "
            "load_backbone(...), or put yours into a StagedModel, whose last stage is called 'head'."
        )
    return inner


def plain(model: nn.Module) -> nn.Module:
    """The network inside what torch puts around it, whose weights have names without _orig_mod. or module."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
            model = model.module
        elif "_orig_mod" in getattr(
            model, "_modules", ()
        ):  # torch.compile's class, whose module takes seconds to import
            model = model.get_submodule("_orig_mod")
        else:
            return model
