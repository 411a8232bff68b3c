"""The training loop: a generator, so that progress bars, live plots, early stop and cancelling are a for loop."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from transfer_utils import machine
from transfer_utils.backbones import StagedModel, frozen_through, parameter_groups
from transfer_utils.data import ImageSet
from transfer_utils.machine import autocast, best_device, gradient_scaler, has_own_memory, send
from transfer_utils.training import features
from transfer_utils.training.batches import feature_batches, photo_batches
from transfer_utils.training.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Record:
    """One step (loss: a tensor that stays on the device), or the end of an epoch (metrics: plain numbers)."""

    epoch: int
    step: int
    steps: int
    loss: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


def train(
    model: StagedModel, photos: ImageSet, valid: ImageSet | None, size: int, recipe: Recipe, cache: bool = True
) -> Iterator[Record]:
    """Train the stages that are not frozen; yields a Record after every step, and one with metrics per epoch.

    Behind a frozen prefix only the rest runs, on the prefix's outputs, computed once; cache: keep them on disk too.
    The model is changed in place, so stopping early, by break or by interrupt, keeps what was learned. size: pixels
    at which photos are seen.
    ValueError for photos with other classes than the head has outputs, or when nothing is left to train.
    """
    _check(model, photos, recipe)
    with machine.nothing_kept():
        yield from _records(model, photos, valid, size, recipe, cache)


def _records(
    model: StagedModel, photos: ImageSet, valid: ImageSet | None, size: int, recipe: Recipe, cache: bool
) -> Iterator[Record]:
    device = best_device()
    model.to(device)
    through = frozen_through(model)
    network: nn.Module
    if through is None:
        network, batch = model, photo_batches(model, photos, size, recipe)
    else:
        network, batch = model.split(after=through)[1], feature_batches(model, photos, size, recipe, cache)
    evaluate = _evaluator(model, network, valid, size, cache)
    labels = photos.labels.to(device)
    batches = max(1, len(labels) // recipe.batch)
    steps = batches * recipe.epochs
    groups = parameter_groups(model, recipe.rate, recipe.head_ratio)
    # fused: on a graphics card it also takes the scaler's answer there; the other kinds would fetch it in every step
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay, fused=has_own_memory(device) or None)
    schedule, scaler = _schedule(optimiser, recipe, steps), gradient_scaler(device)
    mixed = autocast(device, training=network)

    def learn(rows: Tensor, share: float) -> tuple[Tensor, Tensor]:
        x, y = batch(rows, generator), labels[send(rows, device)]
        with mixed:
            logits = network(x)
            loss = cross_entropy(logits, y) * share
        scaler.scale(loss).backward()
        return loss.detach(), (logits.argmax(1) == y).sum()

    work, step = machine.in_parts(learn, optimiser.zero_grad), 0
    for epoch in range(1, recipe.epochs + 1):
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        network.train()
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        for rows in torch.randperm(len(labels), generator=generator).tensor_split(batches):
            losses, hits = zip(*work(rows), strict=True)
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
            schedule.step()
            step += 1
            # Sums stay on the device: reading a number here would make every step wait for the accelerator.
            loss = sum(losses[1:], losses[0])
            total += loss * len(rows)
            right += sum(hits)
            yield Record(epoch, step, steps, loss)
        metrics = {"loss": (total / len(labels)).item(), "train": (right / len(labels)).item()}
        if valid is not None and (epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs):
            metrics["valid"] = evaluate()
        yield Record(epoch, step, steps, loss, metrics)


def fit(
    model: StagedModel,
    photos: ImageSet,
    valid: ImageSet | None = None,
    size: int = 32,
    recipe: Recipe | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train to the end, or until the cell is interrupted; returns one row per finished epoch.

    An interrupt keeps the model and the rows so far.
    """
    history: list[dict[str, float]] = []
    recipe = recipe or Recipe()
    bar = tqdm(total=recipe.epochs, unit="epoch", disable=not progress, leave=False)
    try:
        for record in train(model, photos, valid, size, recipe):
            if record.metrics:
                history.append({"epoch": record.epoch, **record.metrics})
                bar.set_postfix({name: f"{value:.2f}" for name, value in record.metrics.items()}, refresh=False)
                bar.update()
    except KeyboardInterrupt:
        print(f"Interrupted after {len(history)} of {recipe.epochs} epochs; the model keeps what it learned.")
    finally:
        bar.close()
    return pd.DataFrame(history)


def fit_until_flat(
    model: StagedModel, photos: ImageSet, valid: ImageSet, size: int, recipe: Recipe, patience: int
) -> pd.DataFrame:
    """Train until accuracy on the valid photos has not risen for `patience` looks; keep the best epoch's weights.

    recipe.epochs is the longest that it may take; anneal=False suits it, as nobody knows the end beforehand.
    """
    history: list[dict[str, float]] = []
    best, best_state = -1.0, {}
    for record in train(model, photos, valid, size, recipe):
        if "valid" not in record.metrics:
            continue
        history.append({"epoch": record.epoch, **record.metrics})
        if record.metrics["valid"] > best:
            best, best_state, since = record.metrics["valid"], copy.deepcopy(model.state_dict()), 0
        else:
            since += 1
        if since >= patience:
            break
    model.load_state_dict(best_state)
    return pd.DataFrame(history)


def predict(model: StagedModel, photos: ImageSet, size: int) -> Tensor:
    """Logits (N, classes) on the CPU, in eval mode; the model's own mode comes back afterwards."""
    return features.run_network(model, model, photos.images, size)


def accuracy(model: StagedModel, photos: ImageSet, size: int) -> float:
    """The share of photos whose largest logit is at their label."""
    return (predict(model, photos, size).argmax(1) == photos.labels).float().mean().item()


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if not recipe.anneal:
        return torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.1, total_iters=20)
    # The cycle needs a few steps for its warm-up, even when a quick run takes fewer.
    peaks = [group["lr"] for group in optimiser.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=max(8, steps), pct_start=0.25)


def _check(model: StagedModel, photos: ImageSet, recipe: Recipe) -> None:
    outputs = model.head.out_features
    if outputs != len(photos.classes):
        raise ValueError(
            f"The head has {outputs} outputs and the photos have {len(photos.classes)} classes. "
            f"Replace the head: model.new_head({len(photos.classes)})."
        )
    if recipe.epochs < 1 or len(photos) < 2:
        raise ValueError(f"train() got {recipe.epochs} epochs and {len(photos)} photos; it needs at least 1 and 2.")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("Every stage is frozen, so nothing can train. Freeze through an earlier stage.")


def _evaluator(
    model: StagedModel, network: nn.Module, valid: ImageSet | None, size: int, cache: bool
) -> Callable[[], float]:
    """A function that measures accuracy on the valid photos, with the frozen stages' share computed only once."""
    if valid is None:
        return lambda: math.nan
    if network is model:
        return lambda: accuracy(model, valid, size)
    device = best_device()
    take = machine.on_device(features.extract(model, valid, size, frozen_through(model), cache), device)
    work = machine.in_parts(lambda rows, _: network(take(rows)).argmax(1).cpu())

    def evaluate() -> float:
        network.eval()
        with torch.no_grad(), autocast(device):
            answers = [part for rows in torch.arange(len(valid)).split(features.FEATURE_BATCH) for part in work(rows)]
        return (torch.cat(answers) == valid.labels).float().mean().item()

    return evaluate
