"""LoRA: the network stays as it is, and beside some of its layers a product of two small matrices learns.

Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from transfer_utils.backbones.freezing import freeze, hold_statistics
from transfer_utils.backbones.in_use import refuse_while_training
from transfer_utils.backbones.stages import StagedModel, unwrapped
from transfer_utils.machine import Seed, draws_from, generator, is_whole

Model = TypeVar("Model", bound=nn.Module)
ATTENTION = ("attention", "attn")  # as the course and timm call it
ALPHA = 16.0  # a constant, as in the paper: to tune it is to tune the rate of learning


class LoRA(nn.Module):
    """A linear layer, plus `up` of `down` of what it gets: (..., inputs) to (..., outputs). up begins at zero."""

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear, self.scale = linear, ALPHA / rank
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * self.up(self.down(x))

    def merged(self) -> nn.Linear:
        """The linear layer with the product in its weights."""
        with torch.no_grad():
            self.linear.weight += self.scale * self.up.weight @ self.down.weight
        return self.linear


def add_lora(model: Model, rank: int, seed: Seed = None, inside: Iterable[str] = ATTENTION) -> Model:
    """Freeze every weight below the head, put a LoRA around the linear layers of attention, and return the model.

    Nothing that was pretrained moves, batch-norm's statistics neither; what is added trains, and so does the head,
    unless it shares its weights with what is frozen. freeze() afterwards goes by whole stages again.
    inside: names of the parts whose linear layers get one, of GPT for example 'attention' and 'work'. seed: of the
    random half of each product, as for StagedModel.new_head. ValueError for a rank that no layer can have, and for a
    network without such layers, or with LoRA already; TypeError and RuntimeError as in freeze.
    """
    staged = unwrapped(model)
    refuse_while_training(staged, "add_lora()")
    layers = _linear_layers(staged, inside)
    _check_rank(rank, layers)
    source = generator(seed)
    hold_statistics(freeze(staged, None))
    for stage in staged[:-1]:
        stage.requires_grad_(False)
    for path, linear in layers.items():
        _put(staged, path, _around(linear, rank, source))
    return model


def merge_lora(model: Model) -> Model:
    """Put what LoRA learned into the plain weights, and return the model: built as before, and every stage trains.

    Its logits are the same but for rounding. ValueError for a network without LoRA; errors as in freeze.
    """
    staged = unwrapped(model)
    added = _added(staged)
    if not added:
        raise ValueError(
            f"merge_lora() got {staged.name} without LoRA, so nothing can be merged: add_lora() comes first."
        )
    refuse_while_training(staged, "merge_lora()")
    for path, layer in added.items():
        _put(staged, path, layer.merged())
    freeze(staged, None)
    return model


def _around(linear: nn.Linear, rank: int, source: torch.Generator) -> LoRA:
    """A LoRA of this layer, where the layer is and in its digits and mode."""
    with draws_from(source):
        layer = LoRA(linear, rank)
    return layer.to(linear.weight.device, linear.weight.dtype).train(linear.training)


def _put(model: StagedModel, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def _added(model: StagedModel) -> dict[str, LoRA]:
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRA)}


def _linear_layers(model: StagedModel, inside: Iterable[str]) -> dict[str, nn.Linear]:
    """The plain linear layers below the head that lie inside such parts, by path. ValueError where there are none."""
    names = [inside] if isinstance(inside, str) else list(inside) if isinstance(inside, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"add_lora() got inside={inside!r}; it is names of parts, for example {ATTENTION}.")
    if _added(model):
        raise ValueError(f"add_lora() got {model.name}, which has LoRA already. Call merge_lora(model) first.")
    # Not subclasses: nn.MultiheadAttention reads the weights of its own kind, and would pass LoRA by.
    every = {path: module for path, module in model.named_modules() if type(module) is nn.Linear and path != "head"}
    found = {path: layer for path, layer in every.items() if set(names) & set(path.split("."))}
    if not found:
        there = f"It has {', '.join(list(every)[:4])}: name a part of them." if every else "Freeze some stages instead."
        raise ValueError(f"add_lora() found no linear layer inside {' or '.join(names)} of {model.name}. {there}")
    return found


def _check_rank(rank: object, layers: dict[str, nn.Linear]) -> None:
    most = min(side for layer in layers.values() for side in layer.weight.shape)
    if not is_whole(rank, 1) or rank > most:
        raise ValueError(
            f"add_lora() got rank={rank!r}; it must be a whole number from 1 to {most}, for example {min(4, most)}."
        )
