"""The runs of lesson 3: which stages move, and how fast."""

import time
from dataclasses import replace

from runs.shared import every, pretrained_on_both
from transfer_utils import backbones, data
from transfer_utils.backbones import StagedModel, drift, freeze
from transfer_utils.course import grid
from transfer_utils.data import SOURCES, TARGETS, ImageSet, splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe, accuracy, fit

TRIED_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
WAYS = ("scratch", "head only", "last stage", "full", "full, head 10x", "gradual unfreezing", "head, then full")
AGAINST_OVERFITTING = ("full, no augmentation", "full, decay x100")


def rows(method: str, per_class: int, seed: int) -> list[Row]:
    """One row for each rate; the one that is best on valid photos also reads the test photos, once.

    drift: how many tensors and buffers moved in the stages that were frozen to the end. The best run's row has the
    accuracy on clean and on corrupted test photos, and that of the backbone under its original head on the source's
    test photos, before and after. All methods see the same few augmented views of the same photos.
    """
    way = grid.named(method)
    train, valid, test = splits(TARGETS["animals"])
    few = train.take(per_class, seed)
    runs, rows = [], []
    for rate in TRIED_RATES:
        classes = len(test.classes)
        model = backbones.course_resnet(classes, seed) if way.from_scratch else pretrained_on_both(seed, classes)
        before = freeze(model, way.phases[0].through).frozen_state()
        started = time.perf_counter()
        for phase, epochs in way.plan(grid.EPOCHS_FOR[per_class]):
            freeze(model, phase.through)
            recipe = Recipe(epochs, phase.rate or rate, batch=16, seed=seed, fixed_views=True)
            fit(model, few, None, 32, replace(recipe, **phase.changes), progress=False)
        row = {"rate": rate, "seconds": round(time.perf_counter() - started, 2)}
        row |= {"train": round(accuracy(model, few, 32), 4), "valid": round(accuracy(model, valid, 32), 4)}
        held = model.frozen_state()
        if held:
            row["drift"] = len(drift({name: before[name] for name in held}, model))
        runs.append(model)
        rows.append(row)
    best = max(range(len(rows)), key=lambda i: rows[i]["valid"])
    rows[best] |= _judged(runs[best], test, None if way.from_scratch else seed)
    return rows


def _judged(model: StagedModel, test: ImageSet, pretraining_seed: int | None) -> Row:
    """Accuracy on clean and corrupted test photos, and on the source's, before and after fine-tuning."""
    scores = {"test": accuracy(model, test, 32)}
    for name, corrupt in data.CORRUPTIONS.items():
        scores[name] = accuracy(model, replace(test, images=corrupt(test.images)), 32)
    if pretraining_seed is not None:
        source_test = data.load("cifar10_photos", "test").only(*SOURCES["both"][0])
        original = pretrained_on_both(pretraining_seed)
        scores["source_before"] = accuracy(original, source_test, 32)
        model.head = original.head
        scores["source_after"] = accuracy(model, source_test, 32)
    return {name: round(score, 4) for name, score in scores.items()}


RUNS = {rows: every(WAYS, (20, 5)) + every(AGAINST_OVERFITTING, (5,)) + every(WAYS, (100,))}
