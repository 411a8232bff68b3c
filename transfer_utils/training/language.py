"""Pretraining on plain text: guess the next token, everywhere in every line."""

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from transfer_utils import machine
from transfer_utils.backbones import (
    END,
    GPT,
    LONGEST,
    guarded,
    keeping_modes,
    refuse_untrainable,
    speaker,
    taking_turns,
    to_tokens,
)
from transfer_utils.machine import autocast, best_device, gradient_scaler, is_whole, send
from transfer_utils.training.recipes import check_numbers

LARGEST_STEP = 1.0  # length to which longer gradients are cut
LOOK_BATCH = 64


@dataclass(frozen=True)
class Reading:
    """How to pretrain on text. rate: peak of one cycle. batch: windows of 64 tokens in a step.

    ValueError for numbers that nobody can train with.
    """

    steps: int = 6000
    rate: float = 2e-3
    batch: int = 64
    decay: float = 0.1
    seed: int = 0
    warm_up: int = 200  # steps in which the rate rises

    def __post_init__(self) -> None:
        """Refuse here what would fail later, or train nothing."""
        check_numbers(self, whole=("steps", "batch", "warm_up"), above=("rate",))


def stream(lines: Iterable[str]) -> Tensor:
    """All tokens of the lines in a row, int64, each line behind the mark that begins one."""
    return torch.tensor([token for tokens in to_tokens(lines) for token in (END, *tokens)], dtype=torch.int64)


def windows(tokens: Tensor, step: int, how: Reading) -> Tensor:
    """What is read in a step, (batch, LONGEST + 1): each begins where some line does.

    It follows from the seed and the step alone, so that a run that was interrupted goes on with the same windows.
    """
    draws = torch.Generator().manual_seed(how.seed * 1_000_003 + step)
    starts = torch.nonzero(tokens[: len(tokens) - LONGEST] == END).flatten()
    begin = starts[torch.randint(len(starts), (how.batch,), generator=draws)]
    return tokens[begin[:, None] + torch.arange(LONGEST + 1)]


def rate_at(step: int, how: Reading) -> float:
    """The rate of a step, counted from 0: up in a line, down in half a wave."""
    if step < how.warm_up:
        return how.rate * (step + 1) / how.warm_up
    share = (step - how.warm_up) / max(1, how.steps - how.warm_up)
    return how.rate * (1 + math.cos(math.pi * share)) / 2


def reader(model: GPT, how: Reading) -> torch.optim.AdamW:
    """The optimiser that read() uses; its state, the model's and the number of steps are all that a run is.

    The model goes to the device first, since the state of an optimiser goes where the weights are.
    """
    weights = model.to(best_device()).parameters()
    return torch.optim.AdamW(weights, how.rate, betas=(0.9, 0.95), weight_decay=how.decay, fused=True)


def read(
    model: nn.Module, tokens: Tensor, how: Reading, optimiser: torch.optim.Optimizer | None = None, done: int = 0
) -> Generator[Tensor]:
    """Train on the tokens of stream(), from step `done` to the last; yields the loss of each step, on the device.

    optimiser: of reader(), to go on with a run. The model is changed in place and keeps what it learned, as in train.
    ValueError for fewer than 65 tokens, an optimiser of other weights, a `done` that is no number of steps, and where
    nothing is left to train; TypeError for what is no GPT, and no Reading. Both come here, before the first step.
    """
    gpt = speaker("read()", model)
    _check_stream("read()", gpt, tokens)
    _check_run(gpt, how, optimiser, done)
    return guarded(gpt, "read()", _steps(gpt, tokens.cpu(), how, optimiser, done))


def _steps(
    model: GPT, tokens: Tensor, how: Reading, optimiser: torch.optim.Optimizer | None, done: int
) -> Generator[Tensor]:
    device = best_device()
    with taking_turns(model):
        optimiser = reader(model, how) if optimiser is None else optimiser
        model.to(device).train().zero_grad()  # of a step that was interrupted, or of a cell
    scaler = gradient_scaler(device)
    for step in range(done, how.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, how)
        with taking_turns(model), torch.inference_mode(False):
            seen = send(windows(tokens, step, how), device)
            with autocast(device, training=model):
                logits = model.next_tokens(seen[:, :-1])
                loss = cross_entropy(logits.flatten(0, 1), seen[:, 1:].flatten())
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_STEP)
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
        yield loss.detach()


def surprise(model: nn.Module, tokens: Tensor) -> float:
    """The mean cross-entropy of the next token in nats, in windows that tile the tokens; lower is better.

    Its exponential, the perplexity, is the number of tokens between which the model as good as guesses. ValueError for
    fewer than 65 tokens, TypeError for what is no GPT.
    """
    gpt = speaker("surprise()", model)
    _check_stream("surprise()", gpt, tokens)
    device = best_device()
    tiles = tokens[: (len(tokens) - 1) // LONGEST * LONGEST].view(-1, LONGEST)
    targets = tokens[1 : 1 + tiles.numel()].view(-1, LONGEST)
    total = torch.zeros((), device=device)
    with machine.on_free_cores(), keeping_modes(gpt), torch.no_grad(), autocast(device):
        gpt.to(device).eval()
        for x, y in zip(tiles.split(LOOK_BATCH), targets.split(LOOK_BATCH), strict=True):
            total += cross_entropy(
                gpt.next_tokens(x.to(device)).flatten(0, 1).float(), y.to(device).flatten(), reduction="sum"
            )
    return total.item() / tiles.numel()


def _check_stream(call: str, model: GPT, tokens: Any) -> None:
    """ValueError unless these are tokens in a row that the model knows, enough for a window, with the mark first."""
    if not isinstance(tokens, Tensor) or tokens.dtype != torch.int64 or tokens.ndim != 1:
        shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"{call} got {shape} as tokens; they are int64 (N,), as stream(lines) makes them.")
    if len(tokens) <= LONGEST or tokens[0] != END:
        raise ValueError(
            f"{call} got {len(tokens)} tokens; it needs at least {LONGEST + 1}, the first of them the mark that begins "
            "a line. Give more lines to stream(lines)."
        )
    (low, high), known = tokens.aminmax(), model.embedding.token.num_embeddings
    if low < END or high >= known:
        raise ValueError(
            f"{call} got tokens from {low} to {high}; {model.name} knows those from {END} to {known - 1}. Let "
            "stream(lines) make them."
        )


def _check_run(model: GPT, how: Any, optimiser: torch.optim.Optimizer | None, done: Any) -> None:
    """Refuse steps that cannot go well. TypeError or ValueError."""
    if not isinstance(how, Reading):
        raise TypeError(f"read() got a recipe of type {type(how).__name__}; give a Reading, for example Reading(100).")
    if not is_whole(done, 0):
        raise ValueError(f"read() got done={done!r}; it is how many steps were done, a whole number of at least 0.")
    refuse_untrainable(model)
    if optimiser and not _trains(optimiser, model):
        raise ValueError(
            f"read() got an optimiser that does not have all weights of {model.name} that train, so these would learn "
            "nothing. Make it of this very model, after freeze() or add_lora(): reader(model, how)."
        )


def _trains(optimiser: torch.optim.Optimizer, model: GPT) -> bool:
    known = {id(weight) for group in optimiser.param_groups for weight in group["params"]}
    return all(id(weight) in known for weight in model.parameters() if weight.requires_grad)
