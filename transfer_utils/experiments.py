"""The runs behind the stored rows: each function makes the rows of one comparison for one seed."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from transfer_utils import augment, backbones, checkpoints, data, embedded, features, probes
from transfer_utils.backbones import StagedModel
from transfer_utils.data import ImageSet
from transfer_utils.freezing import drift, freeze, frozen_state
from transfer_utils.sources import SOURCES, TARGETS
from transfer_utils.sweeps import Row
from transfer_utils.training import Recipe, accuracy, fit, fit_until_flat

SEEDS = range(5)
PROBE_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)  # photos per class
SIZE = 96  # pixels at which the ImageNet network sees the photos


def checkpoint_folder(seed: int) -> Path:
    """Where the checkpoint of a pretraining seed is: seed 0 is shipped, the others are built by `make checkpoints`."""
    if seed == 0:
        return embedded.folder() / "checkpoints"
    return embedded.folder().parent / "build" / "checkpoints" / f"seed{seed}"


# --- lesson 00: the ImageNet network, frozen, against the same network from random weights --------------------------

SCRATCH_RATES = (4e-3, 1e-3)  # the first one was best at 10 per class; longer runs take only that one
BUDGET = 10  # epochs; the probe sees each photo once
LOOK_EVERY, PATIENCE = 5, 3  # epochs between looks at the valid photos, and looks without a rise


def lesson00(method: str, per_class: int, seed: int) -> list[Row]:
    """method: 'probe', 'probe, random weights', 'scratch', or 'scratch until flat': at most 10x the epochs."""
    train, valid, test = splits(data.CIFAR10)
    few = train.take(per_class, seed)
    if method.startswith("probe"):
        torch.manual_seed(seed)
        backbone = backbones.load_backbone("efficientnet_lite0", pretrained=method == "probe")
        return [_probe_row(backbone, few, valid, test, SIZE)]
    rates = SCRATCH_RATES if (method, per_class) == ("scratch", 10) else SCRATCH_RATES[:1]
    recipes = [Recipe(epochs=BUDGET, rate=rate, batch=25, seed=seed) for rate in rates]
    watched = None
    if method == "scratch until flat":
        recipes = [replace(recipes[0], epochs=10 * BUDGET, anneal=False, evaluate_every=LOOK_EVERY)]
        watched = valid.take(50, seed)  # a sixth of them: looking often at all of them would double the time

    def build() -> StagedModel:
        return backbones.load_backbone("efficientnet_lite0", pretrained=False, classes=len(data.CIFAR10))

    return [_best_of(build, recipes, few, valid, test, SIZE, seed, watched)]


# --- lesson 01: the course ResNet, pretrained on five classes, fine-tuned on three new ones -------------------------

TUNED_RATES = [(1e-3, 1), (4e-3, 1), (1.6e-2, 1), (1e-3, 10), (4e-3, 10), (1.6e-2, 10)]  # (head rate, head : backbone)
FROM_SCRATCH_RATES = [(rate, 1) for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)]  # as many choices
EPOCHS = 20


def lesson01(method: str, per_class: int, seed: int) -> list[Row]:
    """method: 'fine-tuned', 'scratch', 'scratch, 10x epochs', 'probe', or 'probe, random weights'."""
    train, valid, test = splits(TARGETS["animals"])
    if method.startswith("probe"):
        torch.manual_seed(seed)
        backbone = pretrained_on_both(seed) if method == "probe" else backbones.course_resnet(len(test.classes))
        return [_probe_row(backbone, train.take(per_class, seed), valid, test, 32)]
    rates = TUNED_RATES if method == "fine-tuned" else FROM_SCRATCH_RATES
    epochs = EPOCHS * (10 if "10x" in method else 1)
    recipes = [Recipe(epochs=epochs, rate=rate, head_ratio=ratio, batch=16, seed=seed) for rate, ratio in rates]

    def build() -> StagedModel:
        if method == "fine-tuned":
            return pretrained_on_both(seed).new_head(len(test.classes))
        return backbones.course_resnet(len(test.classes))

    return [_best_of(build, recipes, train.take(per_class, seed), valid, test, 32, seed)]


def pretrained_on_both(seed: int) -> StagedModel:
    """The course ResNet pretrained on the five source classes with this pretraining seed."""
    return checkpoints.load(checkpoint_folder(seed) / "both", backbones.course_resnet(len(SOURCES["both"][0])))


# --- lesson 02: linear probes on every stage of the frozen ImageNet network, and on raw pixels ----------------------


def lesson02(seed: int) -> list[Row]:
    """A probe for every stage and size of one draw; 'pixels' is the same probe on the 3,072 raw values."""
    train, valid, test = splits(data.CIFAR10)
    drawn = train.take(max(PROBE_SIZES), seed)
    backbone = backbones.load_backbone("efficientnet_lite0")
    banks = [features.by_stage(backbone, photos, SIZE) for photos in (drawn, valid, test)]
    for bank, photos in zip(banks, (drawn, valid, test), strict=True):
        bank["pixels"] = photos.images.flatten(1).float()
    place = torch.arange(len(drawn)) % max(PROBE_SIZES)  # take() returns class after class
    rows = []
    for stage in banks[0]:
        for per_class in PROBE_SIZES:
            few = place < per_class
            fitted = probes.best_probe(banks[0][stage][few], drawn.labels[few], banks[1][stage], valid.labels)
            scores = fitted.accuracy(banks[1][stage], valid.labels), fitted.accuracy(banks[2][stage], test.labels)
            rows.append({"stage": stage, "per_class": per_class, **result_row(*scores, None, penalty=fitted.penalty)})
    return rows


# --- lesson 03: which stages move, and how fast ---------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """Freeze through a stage, then train for a share of the epochs. rate: instead of the rate that is tried."""

    through: str | None = None
    share: float = 1.0
    rate: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # to the recipe


HEAD_RATE = 1e-2  # of the phases that train a new head alone: head only is good with it at every size
METHODS: dict[str, list[Phase]] = {
    "scratch": [Phase()],
    "head only": [Phase("pool")],
    "last stage": [Phase("stage2")],
    "full": [Phase()],
    "full, head 10x": [Phase(changes={"head_ratio": 10.0})],
    "gradual unfreezing": [
        Phase("pool", 1 / 5, HEAD_RATE),
        *(Phase(through, 1 / 5) for through in ("stage2", "stage1", "stem", None)),
    ],
    "head, then full": [Phase("pool", 1 / 2, HEAD_RATE), Phase(None, 1 / 2)],
    "full, no augmentation": [Phase(changes={"augment": False})],
    "full, decay x100": [Phase(changes={"decay": 5.0})],
}
EPOCHS_FOR = {5: 60, 20: 30, 100: 12}  # by photos per class: few photos make few steps an epoch
TRIED_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def lesson03(method: str, per_class: int, seed: int) -> list[Row]:
    """One row for each rate; the one that is best on valid photos also reads the test photos, once.

    drift: how many tensors and buffers moved in the stages that were frozen to the end. The best run's row has the
    accuracy on clean and on corrupted test photos, and that of the backbone under its original head on the source's
    test photos, before and after. All methods see the same few augmented views of the same photos.
    """
    train, valid, test = splits(TARGETS["animals"])
    few = train.take(per_class, seed)
    runs, rows = [], []
    for rate in TRIED_RATES:
        torch.manual_seed(seed)
        model = (
            backbones.course_resnet(len(test.classes))
            if method == "scratch"
            else pretrained_on_both(seed).new_head(len(test.classes))
        )
        before = frozen_state(freeze(model, METHODS[method][0].through))
        started = time.perf_counter()
        for phase, epochs in with_epochs(METHODS[method], EPOCHS_FOR[per_class]):
            freeze(model, phase.through)
            recipe = Recipe(epochs, phase.rate or rate, batch=16, seed=seed, fixed_views=True)
            fit(model, few, None, 32, replace(recipe, **phase.changes), progress=False)
        row = {"rate": rate, "seconds": round(time.perf_counter() - started, 2)}
        row |= {"train": round(accuracy(model, few, 32), 4), "valid": round(accuracy(model, valid, 32), 4)}
        held = frozen_state(model)
        if held:
            row["drift"] = len(drift({name: before[name] for name in held}, model))
        runs.append(model)
        rows.append(row)
    best = max(range(len(rows)), key=lambda i: rows[i]["valid"])
    rows[best] |= _judged(runs[best], test, None if method == "scratch" else seed)
    return rows


def with_epochs(phases: list[Phase], epochs: int) -> list[tuple[Phase, int]]:
    """Each phase with its whole number of epochs; together they are all of the epochs, as in every other method."""
    ends = [round(epochs * sum(phase.share for phase in phases[: i + 1])) for i in range(len(phases))]
    return [(phase, end - start) for phase, start, end in zip(phases, [0, *ends], ends, strict=False)]


def _judged(model: StagedModel, test: ImageSet, pretraining_seed: int | None) -> Row:
    """Accuracy on clean and corrupted test photos, and on the source's, before and after fine-tuning."""
    scores = {"test": accuracy(model, test, 32)}
    for name, corrupt in augment.CORRUPTIONS.items():
        scores[name] = accuracy(model, replace(test, images=corrupt(test.images)), 32)
    if pretraining_seed is not None:
        source_test = data.load("cifar10_photos", "test").only(*SOURCES["both"][0])
        original = pretrained_on_both(pretraining_seed)
        scores["source_before"] = accuracy(original, source_test, 32)
        model.head = original.head
        scores["source_after"] = accuracy(model, source_test, 32)
    return {name: round(score, 4) for name, score in scores.items()}


# --- shared -------------------------------------------------------------------------------------------------------


def splits(classes) -> tuple[ImageSet, ImageSet, ImageSet]:
    train, valid, test = (data.load("cifar10_photos", split).only(*classes) for split in ("train", "valid", "test"))
    return train, valid, test


def _probe_row(backbone: StagedModel, few: ImageSet, valid: ImageSet, test: ImageSet, size: int) -> Row:
    valid_bank, test_bank = (features.extract(backbone, photos, size) for photos in (valid, test))
    started = time.perf_counter()
    bank = features.extract(backbone, few, size, cache=False)
    probe = probes.best_probe(bank, few.labels, valid_bank, valid.labels)
    seconds = time.perf_counter() - started
    scores = probe.accuracy(valid_bank, valid.labels), probe.accuracy(test_bank, test.labels)
    return result_row(*scores, seconds, rate=None, head_ratio=None, epochs=1)


def _best_of(build, recipes: list[Recipe], few, valid, test, size: int, seed: int, watched=None) -> Row:
    """Train with each recipe from the same start; the best on valid photos reads the test photos, once.

    watched: valid photos to train until accuracy on them stops rising; None: train for all epochs.
    """
    tried = []
    for recipe in recipes:
        torch.manual_seed(seed)
        model, started = build(), time.perf_counter()
        if watched is None:
            history = fit(model, few, None, size, recipe, progress=False)
        else:
            history = fit_until_flat(model, few, watched, size, recipe, PATIENCE)
        seconds = time.perf_counter() - started
        tried.append((accuracy(model, valid, size), seconds, model, recipe, int(history["epoch"].max())))
    best_valid, seconds, model, recipe, epochs = max(tried, key=lambda run: run[0])
    chosen = {"rate": recipe.rate, "head_ratio": recipe.head_ratio, "epochs": epochs}
    return result_row(best_valid, accuracy(model, test, size), seconds, **chosen)


def result_row(valid: float, test: float, seconds: float | None, **chosen) -> Row:
    row = {"valid": round(valid, 4), "test": round(test, 4)}
    if seconds is not None:
        row["seconds"] = round(seconds, 2)
    return {**row, **chosen}
