"""The training loop: a generator, so that progress bars, live plots, early stop and cancelling are a for loop."""

import contextlib
import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from transfer_utils import machine
from transfer_utils.backbones import (
    StagedModel,
    guarded,
    keeping_modes,
    parameter_groups,
    taking_turns,
    unwrapped,
)
from transfer_utils.data import LabelledSet
from transfer_utils.machine import autocast, best_device, gradient_scaler, is_whole, send
from transfer_utils.training import features
from transfer_utils.training.answers import accuracy
from transfer_utils.training.batches import inputs, mixed_up
from transfer_utils.training.checks import check_training
from transfer_utils.training.items import check_input
from transfer_utils.training.recipes import Recipe

Schedule = Callable[[torch.optim.Optimizer, Recipe, int], LRScheduler]  # the int: steps in all


@dataclass(frozen=True, eq=False)
class Step:
    """One step of `steps`. loss: of its batch, a tensor that stays on the device, since reading it would wait."""

    epoch: int
    step: int
    steps: int
    loss: Tensor


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch. loss, train: mean loss and accuracy over its steps. valid: accuracy, None without a look.

    With mixup, train counts the first of the two labels of a mixture alone, and reads low.
    """

    epoch: int
    loss: float
    train: float
    valid: float | None


def train(
    model: nn.Module, photos: LabelledSet, valid: LabelledSet | None, size: int, recipe: Recipe, cache: bool = True
) -> Generator[Step | Epoch]:
    """Train the stages that are not frozen; yields a Step after every step, and an Epoch at the end of each epoch.

    Behind a frozen prefix only the rest runs, on the prefix's outputs, computed once; cache: keep them on disk too.
    The model is changed in place, so stopping early, by break or by interrupt, keeps what was learned. When the loop
    ends, every module's training flag is what it was. size: pixels at which photos are seen, or
    tokens of a line that are read.
    ValueError for photos with other classes than the head has outputs, for valid photos without any, or with other
    classes than the photos, or when nothing is left to train; TypeError for a network without named stages, and for
    what is no ImageSet, or no TextSet where the model reads lines. Both come here, before the first step.
    """
    staged = unwrapped(model)
    check_training(staged, photos, valid, size, recipe)
    return guarded(staged, "A second training", steps_of(staged, photos, valid, size, recipe, cache, _schedule))


def steps_of(
    model: StagedModel,
    photos: LabelledSet,
    valid: LabelledSet | None,
    size: int,
    recipe: Recipe,
    cache: bool,
    rates: Schedule,
) -> Generator[Step | Epoch]:
    """The loop of train, at rates that somebody else may choose, and for its caller to guard."""
    device = best_device()
    model.to(device)
    _, network = model.parts()
    batch, look = inputs(model, photos, size, recipe, cache), _looker(model, valid, size, cache)
    labels, generator = photos.labels.to(device), torch.Generator()
    batches = steps_an_epoch(photos, recipe)
    steps = batches * recipe.epochs
    groups = parameter_groups(model, recipe.rate, recipe.head_ratio)
    # fused: one pass over the weights, and on a graphics card it takes the scaler's answer there, with no step waiting
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay, fused=True)
    schedule, scaler = rates(optimiser, recipe, steps), gradient_scaler(device)
    mixed, drawing = autocast(device, training=network), machine.draws_from(generator)

    def learn(rows: Tensor, share: float) -> tuple[Tensor, Tensor]:
        x, y = batch(rows, generator), labels[send(rows, device)]
        # Dropout takes no generator. A network that drew nothing in its first step is spared the detour.
        first, nothing = not optimiser.state, contextlib.nullcontext()
        own_draws = drawing if drawing.drawn or first else nothing
        with mixed, own_draws:
            seen, targets = mixed_up(x, y, recipe.mixup)
            logits = network(seen)
            loss = _loss(logits, targets, recipe.smoothing) * share
        with machine.no_second_draws() if first else nothing:
            scaler.scale(loss).backward()
        return loss.detach(), (logits.argmax(1) == y).sum()

    work = machine.in_parts(learn, optimiser.zero_grad)
    for epoch in range(1, recipe.epochs + 1):
        generator.manual_seed(int(recipe.seed) * 100_003 + epoch)
        with taking_turns(model):
            model.train()
            optimiser.zero_grad()  # of a step that was interrupted, or of a cell
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        order = torch.randperm(len(labels), generator=generator).tensor_split(batches)
        for step, rows in enumerate(order, start=1 + (epoch - 1) * batches):
            with taking_turns(model), torch.inference_mode(False):  # gradients, also where the caller has no_grad
                losses, hits = zip(*work(rows), strict=True)
                scaler.step(optimiser)
                scaler.update()
                optimiser.zero_grad()
                schedule.step()
            # Sums stay on the device: reading a number here would make every step wait for the accelerator.
            loss = sum(losses[1:], losses[0])
            total += loss * len(rows)
            right += sum(hits)
            yield Step(epoch, step, steps, loss)
        due = epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs
        measured = (total / len(labels)).item(), (right / len(labels)).item()
        yield Epoch(epoch, *measured, look() if look and due else None)


def _loss(logits: Tensor, targets: list[tuple[float, Tensor]], smoothing: float) -> Tensor:
    """The mean cross-entropy of a batch, by the share of each target."""
    losses = [part * cross_entropy(logits, labels, label_smoothing=smoothing) for part, labels in targets]
    return sum(losses[1:], losses[0])


def steps_an_epoch(photos: LabelledSet, recipe: Recipe) -> int:
    """Each photo goes into one step; the steps of an epoch differ by one photo at most."""
    return max(1, len(photos) // recipe.batch)


def fit(
    model: nn.Module,
    photos: LabelledSet,
    valid: LabelledSet | None = None,
    size: int = 32,
    recipe: Recipe | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train to the end, or until the cell is interrupted; returns one row per finished epoch.

    An interrupt keeps the model and the rows so far.
    """
    history: list[dict[str, float]] = []
    recipe = Recipe() if recipe is None else recipe
    loop = train(model, photos, valid, size, recipe)
    bar = tqdm(total=recipe.epochs, unit="epoch", disable=not progress, leave=False)
    with bar, _interruptible(history, recipe):
        for end in _epochs(loop):
            history.append(_row(end))
            bar.set_postfix({name: f"{value:.2f}" for name, value in list(_row(end).items())[1:]}, refresh=False)
            bar.update()
    return pd.DataFrame(history)


def fit_until_flat(
    model: nn.Module, photos: LabelledSet, valid: LabelledSet, size: int, recipe: Recipe, patience: int
) -> pd.DataFrame:
    """Train until accuracy on the valid photos has not risen for `patience` looks; keep the best epoch's weights.

    recipe.epochs is the longest that it may take; anneal=False suits it, as nobody knows the end beforehand. Errors as
    in train, TypeError without valid photos, and ValueError for a patience that is no whole number of at least 1. An
    interrupt keeps the best epoch so far.
    """
    check_input("fit_until_flat()", unwrapped(model), valid, size)
    if not is_whole(patience, 1):
        raise ValueError(f"fit_until_flat() got patience={patience!r}; it must be a whole number of looks, at least 1.")
    history: list[dict[str, float]] = []
    best, best_state = -1.0, {}
    with _interruptible(history, recipe):
        for end in _epochs(train(model, photos, valid, size, recipe)):
            if end.valid is None:
                continue
            history.append(_row(end))
            if end.valid > best:
                best, best_state, since = end.valid, copy.deepcopy(model.state_dict()), 0
            else:
                since += 1
            if since >= patience:
                break
    if best_state:
        model.load_state_dict(best_state)
    return pd.DataFrame(history)


@contextlib.contextmanager
def _interruptible(history: list[dict[str, float]], recipe: Recipe) -> Iterator[None]:
    """Let an interrupt end the training, and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"Interrupted after {len(history)} of {recipe.epochs} epochs; the model keeps what it learned.")


def _epochs(loop: Iterable[Step | Epoch]) -> Iterator[Epoch]:
    return (record for record in loop if isinstance(record, Epoch))


def _row(end: Epoch) -> dict[str, float]:
    """An epoch as a row of a table, without the look that it did not take."""
    return {name: value for name, value in asdict(end).items() if value is not None}


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    if not recipe.anneal:
        return torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.1, total_iters=20)
    # The cycle needs a few steps for its warm-up, even when a quick run takes fewer.
    peaks = [group["lr"] for group in optimiser.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=max(8, steps), pct_start=0.25)


def _looker(model: StagedModel, valid: LabelledSet | None, size: int, cache: bool) -> Callable[[], float] | None:
    """A function that measures accuracy on the valid photos, with the frozen stages' share computed only once."""
    if valid is None:
        return None
    if not model.frozen:
        return lambda: accuracy(model, valid, size)
    device, (_, rest) = best_device(), model.parts()
    take = machine.on_device(features.extract(model, valid, size, model.frozen[-1], cache), device)
    work = machine.in_parts(lambda rows, _: rest(take(rows)).argmax(1).cpu())

    def look() -> float:
        with keeping_modes(model), torch.no_grad(), autocast(device):
            model.eval()
            answers = [part for rows in torch.arange(len(valid)).split(features.FEATURE_BATCH) for part in work(rows)]
        return (torch.cat(answers) == valid.labels).float().mean().item()

    return look
