"""Freeze the first stages of a network for good, and prove that they did not move."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from transfer_utils.backbones.held import hold, let_go
from transfer_utils.backbones.in_use import refuse_while_training
from transfer_utils.backbones.stages import plain, unwrapped

Model = TypeVar("Model", bound=nn.Module)
State = dict[str, Tensor]


def freeze(model: Model, through: str | None) -> Model:
    """Freeze the stages from the first one through `through`; the rest trains. None unfreezes everything.

    Frozen is three promises: no gradient, not in the optimiser (see parameter_groups), and batch-norm keeps its
    stored statistics, even after model.train(). model: a staged model, perhaps wrapped (torch.compile, DataParallel).
    ValueError for an unknown stage; TypeError for another network; RuntimeError while a training loop runs on it.
    """
    staged = unwrapped(model)
    last = -1 if through is None else staged.position(through)
    refuse_while_training(staged, "freeze()")
    # From the head down, so that a weight which the head shares with a frozen stage is frozen.
    for position, stage in reversed(list(enumerate(staged))):
        stage.requires_grad_(position > last)
        if position <= last:
            hold(stage)
        else:
            let_go(stage, staged.training)
    return model


def hold_statistics(model: Model) -> Model:
    """Hold the stored statistics of every batch-norm, also after freeze(model, None); its weights may train.

    What fine-tuning on few photos needs: statistics of small batches blur what pretraining stored. Source:
    https://keras.io/guides/transfer_learning/. Errors as in freeze.
    """
    staged = unwrapped(model)
    refuse_while_training(staged, "hold_statistics()")
    for module in staged.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            hold(module)
    return model


def drift(before: State, after: State | nn.Module) -> dict[str, float]:
    """What moved: the largest absolute change of each tensor or buffer of `before`; empty when none did.

    ValueError when `after` lacks one of them.
    """
    now = {**after.state_dict(), **plain(after).state_dict()} if isinstance(after, nn.Module) else after
    missing = [name for name in before if name not in now]
    if missing:
        raise ValueError(f"drift() cannot find {missing[0]!r} afterwards; compare two states of the same network.")
    moved = {}
    for name, tensor in before.items():
        if not torch.equal(tensor, now[name].to(tensor.device)):
            moved[name] = float((now[name].detach().cpu().double() - tensor.detach().cpu().double()).abs().max())
    return moved


def parameter_groups(model: nn.Module, rate: float, head_ratio: float = 1.0) -> list[dict]:
    """Optimiser groups with discriminative learning rates: the head at `rate`, the stages below at rate/head_ratio.

    Frozen parameters are in no group (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146). TypeError as in freeze.
    """
    staged = unwrapped(model)
    of_head = {id(parameter) for parameter in staged.head.parameters()}
    rest = [stage for name, stage in staged.named_children() if name not in staged.frozen]
    training = [p for stage in rest for p in stage.parameters() if p.requires_grad]
    head, body = ([p for p in training if (id(p) in of_head) is wanted] for wanted in (True, False))
    groups = [{"params": head, "lr": rate}, {"params": body, "lr": rate / head_ratio}]
    return [group for group in groups if group["params"]]


def refuse_untrainable(model: nn.Module) -> None:
    """ValueError where nothing is left to train, as when the head shares its weights with a frozen stage."""
    if not count_parameters(model, trainable=True):
        raise ValueError(
            "Every stage is frozen, so nothing can train. Freeze through an earlier stage, or give the model a "
            "new_head()."
        )


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """The number of parameters, or of those that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
