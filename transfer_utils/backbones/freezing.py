"""Freeze the first stages of a network for good, and prove that they did not move."""

from collections import OrderedDict
from types import MethodType

import torch
from torch import Tensor, nn

from transfer_utils.backbones.stages import StagedModel

State = dict[str, Tensor]


def freeze(model: StagedModel, through: str | None) -> StagedModel:
    """Freeze the stages from the first one through `through`; the rest trains. None unfreezes everything.

    Frozen is three promises: no gradient, not in the optimiser (see parameter_groups), and batch-norm keeps its
    stored statistics, even after model.train(). ValueError for an unknown stage.
    """
    last = -1 if through is None else model.position(through)
    for position, stage in enumerate(model):
        (_hold if position <= last else _release)(stage, model.training)
    return model


def hold_statistics(model: nn.Module) -> nn.Module:
    """Hold the stored statistics of every batch-norm, also after freeze(model, None); its weights may train.

    What fine-tuning on few photos needs: statistics of small batches blur what pretraining stored. Source:
    https://keras.io/guides/transfer_learning/
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            _stay(module)
    return model


def frozen_through(model: StagedModel) -> str | None:
    """The last stage of the frozen prefix, or None when the first stage trains."""
    frozen = None
    for name, stage in model.named_children():
        if not _is_held(stage):
            break
        frozen = name
    return frozen


def _hold(stage: nn.Module, training: bool) -> None:
    stage.requires_grad_(False)
    _stay(stage)


def _stay(module: nn.Module) -> None:
    module.eval()
    # model.train() calls train() on every module; an own answer on the module is what makes the promise last.
    module.train = MethodType(_stay_in_eval, module)  # type: ignore[method-assign]


def _release(stage: nn.Module, training: bool) -> None:
    stage.__dict__.pop("train", None)
    stage.requires_grad_(True)
    stage.train(training)


def _stay_in_eval(stage: nn.Module, mode: bool = True) -> nn.Module:
    return stage


def _is_held(stage: nn.Module) -> bool:
    return "train" in stage.__dict__


def frozen_state(model: StagedModel) -> State:
    """A copy of every tensor and buffer in the frozen stages, to compare with later."""
    held = tuple(f"{name}." for name, stage in model.named_children() if _is_held(stage))
    return OrderedDict((k, v.detach().clone()) for k, v in model.state_dict().items() if held and k.startswith(held))


def drift(before: State, after: State | nn.Module) -> dict[str, float]:
    """What moved: the largest absolute change of each tensor or buffer of `before`; empty when none did.

    ValueError when `after` lacks one of them.
    """
    now = after.state_dict() if isinstance(after, nn.Module) else after
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

    Frozen parameters are in no group (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146).
    """
    head = [p for n, p in model.named_parameters() if p.requires_grad and n.startswith("head.")]
    body = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")]
    groups = [{"params": head, "lr": rate}, {"params": body, "lr": rate / head_ratio}]
    return [group for group in groups if group["params"]]


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """The number of parameters, or of those that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
