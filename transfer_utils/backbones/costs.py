"""What a training step costs: multiplications, memory, time. Behind a frozen prefix only the rest counts."""

import copy
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from transfer_utils.backbones.freezing import count_parameters, freeze, refuse_untrainable
from transfer_utils.backbones.stages import StagedModel, unwrapped
from transfer_utils.machine import autocast, best_device, channels_last, is_whole

with_gradients = torch.inference_mode(False)  # also where the caller switched them off, by no_grad for example


def optimiser_bytes(model: nn.Module) -> int:
    """Bytes that AdamW keeps beside the weights: two float32 averages for each trainable parameter.

    Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101
    """
    return 8 * count_parameters(model, trainable=True)


@with_gradients
def activation_bytes(model: nn.Module, size: int, batch: int) -> int:
    """Bytes that the forward pass of one batch keeps for the backward pass, weights left out.

    size: pixels, or tokens of a line. The frozen prefix runs beforehand and keeps nothing.
    """
    network, x, _ = _step_parts(model, size, batch)
    # By shape, since autocast keeps copies of the weights, and linear layers transpose them.
    weights = {tuple(sorted(tensor.shape)) for tensor in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(sorted(tensor.shape)) not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast(best_device(), network):
        logits = network(x)
    del logits
    return sum(kept.values())


@with_gradients
def step_flops(model: nn.Module, size: int, batch: int) -> int:
    """Floating-point operations of one training step, forward and backward, as torch counts them."""
    network, x, y = _step_parts(model, size, batch)
    with _counter() as counter:
        cross_entropy(network(x), y).backward()
    return counter.get_total_flops()


def prefix_flops(model: nn.Module, size: int) -> int:
    """Floating-point operations of the frozen stages for one photo: 0 where nothing is frozen."""
    staged = unwrapped(model)
    staged.check_size("prefix_flops()", size)
    copied = copy.deepcopy(staged).to(best_device()).eval()
    prefix, _ = copied.parts()
    with _counter() as counter, torch.no_grad():
        prefix(_input(copied, size, 1))
    return counter.get_total_flops()


def _counter() -> Any:
    from torch.utils.flop_counter import FlopCounterMode  # imports triton

    return FlopCounterMode(display=False)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the parameters in float32."""
    return 4 * count_parameters(model)


def training_bytes(model: nn.Module, size: int, batch: int) -> int:
    """Bytes of weights, gradients, optimiser and what a batch keeps for the backward pass."""
    gradients = 4 * count_parameters(model, trainable=True)
    return weight_bytes(model) + gradients + optimiser_bytes(model) + activation_bytes(model, size, batch)


@with_gradients
def step_seconds(model: nn.Module, size: int, batch: int, repeats: int = 5) -> float:
    """Seconds of one training step, measured: the median of a few, after one to warm up."""
    network, x, y = _step_parts(model, size, batch)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        with autocast(best_device(), network):
            loss = cross_entropy(network(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()  # waits for an accelerator to finish
        taken.append(time.perf_counter() - started)
    return sorted(taken[1:])[repeats // 2]


def by_depth(model: StagedModel, depths: Iterable[str | None], size: int, batch: int) -> list[dict[str, float]]:
    """For each last frozen stage: parameters that train, bytes, FLOPs of a step, and the milliseconds it should take.

    The time is predicted from two measured steps, with the most and with the least frozen, and the operations of the
    depths between them. depths: from nothing frozen (None) to the most. The model itself stays as it is.
    """
    known: list[dict[str, float]] = []
    model = copy.deepcopy(model)
    for through in depths:
        freeze(model, through)
        known.append(
            {
                "trainable": count_parameters(model, trainable=True),
                "optimiser_bytes": optimiser_bytes(model),
                "activation_bytes": activation_bytes(model, size, batch),
                "flops": step_flops(model, size, batch),
            }
        )
    least = 1000 * step_seconds(model, size, batch)
    most = 1000 * step_seconds(freeze(model, None), size, batch)
    for fact in known:
        # Of a single depth, or of depths that differ in nothing, none lies between.
        share = (fact["flops"] - known[-1]["flops"]) / ((known[0]["flops"] - known[-1]["flops"]) or 1)
        fact["predicted_ms"] = least + share * (most - least)
    return known


def _step_parts(model: nn.Module, size: int, batch: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A copy of what trains, and a made-up batch as it arrives there: the model itself stays as it is.

    ValueError for a size that the network cannot take, for a batch that is no whole number of at least 1, and where
    nothing trains.
    """
    staged = unwrapped(model)
    staged.check_size("A training step", size)
    if not is_whole(batch, 1):
        raise ValueError(
            f"A training step got batch={batch!r}; it is how many photos or lines, a whole number of at least 1."
        )
    refuse_untrainable(staged)
    device = best_device()
    copied = copy.deepcopy(staged).to(device).train()
    prefix, rest = copied.parts()
    with torch.no_grad():
        x = prefix(_input(copied, size, batch))
    return rest, x, torch.zeros(batch, dtype=torch.long, device=device)


def _input(model: StagedModel, size: int, count: int) -> torch.Tensor:
    """Made-up photos or lines, as the first stage gets them."""
    return channels_last(model.preprocess(model.example(count, size).to(best_device())))
