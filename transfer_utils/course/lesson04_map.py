"""One run of lesson 4's map: source x target x method x photos x draw, all on the course's own network."""

import hashlib
import time
from dataclasses import replace
from functools import lru_cache

from transfer_utils import backbones, training
from transfer_utils.backbones import StagedModel, checkpoint_folder, freeze, hold_statistics
from transfer_utils.course.methods import EPOCHS, named
from transfer_utils.data import SOURCES, TARGETS, VIEWS, ImageSet, splits
from transfer_utils.stats import Row
from transfer_utils.training import Epoch, Recipe, accuracy, train

SIZE = 32  # pixels
PROBE_SIZES = (2, 5, 10, 20, 50, 100, 200, 500)  # photos per class
CHOOSING, JUDGING = range(5), range(5, 13)  # draws; behind those that judge are eight pretraining runs
PENALTIES = (1e-4, *training.PENALTIES, 1e2, 1e3)  # of probes, tried by the draws that choose
LOOKS = 6  # times that a run looks at some valid photos on its way
WATCHED = 50  # of these photos per class
PENALTY: dict[str, dict[int, float]] = {  # by photos per class: what the draws that choose chose
    "linear probe": {2: 0.1, 5: 100, 10: 10, 20: 0.1, 50: 0.1, 100: 0.1, 200: 0.01, 500: 0.01},
    "linear probe, random weights": {2: 0.001, 5: 0.001, 10: 0.01, 20: 0.1, 50: 0.1, 100: 0.01, 200: 0.01, 500: 0.001},
}


def trained(source: str, target: str, method: str, per_class: int, seed: int, rate: float) -> list[Row]:
    """One training run: accuracy on valid photos; where the draw judges, on test photos too, and what the run costs.

    look_1, look_2, ...: accuracy on some valid photos along the way. flops, memory_mb: computed, not measured.
    ValueError for an unknown method; FileNotFoundError for a pretraining seed whose checkpoint is not built: run
    `make checkpoints`.
    """
    train_photos, valid, test = splits(TARGETS[target])
    few, watched = train_photos.take(per_class, seed), valid.take(WATCHED)
    way, model = named(method), start(source, seed, len(test.classes))
    if way.holds:
        hold_statistics(model)
    plan = way.plan(EPOCHS[per_class])
    epochs = sum(share for _, share in plan)
    looks, epoch, started = [], 0, time.perf_counter()
    for phase, share in plan:
        freeze(model, phase.through)
        recipe = Recipe(share, phase.rate or rate, batch=_batch(per_class), seed=seed, fixed_views=True)
        for record in train(model, few, None, SIZE, replace(recipe, **phase.changes), cache=False):
            if isinstance(record, Epoch):
                epoch += 1
                if seed in JUDGING and epoch * LOOKS // epochs > (epoch - 1) * LOOKS // epochs:
                    looks.append(accuracy(model, watched, SIZE))
    row = {"seconds": round(time.perf_counter() - started, 2), "valid": round(accuracy(model, valid, SIZE), 4)}
    if seed in JUDGING:
        row |= {f"look_{i}": round(seen, 3) for i, seen in enumerate(looks, start=1)}
        row |= {"test": round(accuracy(model, test, SIZE), 4), **_costs(method, len(test.classes), per_class)}
    return [{**row, "photos": _digest(few)}]


def probed(source: str, target: str, method: str, seed: int) -> list[Row]:
    """Linear probes on one frozen network, at every size: accuracy on valid photos, and on test photos and costs.

    The draws that choose fit one for every penalty, and read no test photos; those that judge fit the chosen one.
    """
    train_photos, valid, test = splits(TARGETS[target])
    model = freeze(start(source, seed, len(test.classes)), "pool")
    valid_bank = training.extract(model, valid, SIZE, cache=False)
    test_bank = training.extract(model, test, SIZE, cache=False) if seed in JUDGING else None
    rows = []
    for per_class in PROBE_SIZES:
        few = train_photos.take(per_class, seed)
        bank = training.extract_views(model, few, SIZE, seed, cache=False).flatten(0, 1)
        for penalty in [PENALTY[method][per_class]] if seed in JUDGING else PENALTIES:
            probe = training.linear_probe(bank, few.labels.repeat(VIEWS), penalty)
            row = {"per_class": per_class, "penalty": penalty, "photos": _digest(few)}
            row["valid"] = round(probe.accuracy(valid_bank, valid.labels), 4)
            if test_bank is not None:
                row["test"] = round(probe.accuracy(test_bank, test.labels), 4)
                row |= _costs(method, len(test.classes), per_class)
            rows.append(row)
    return rows


def start(source: str, seed: int, classes: int) -> StagedModel:
    """The network before it sees the new task, with a new head that depends on the draw alone.

    source: one of SOURCES, or 'scratch' for random weights. Draws 0 to 4 start from pretraining seeds 0 to 4, and draws
    5 to 12 from pretraining seeds 0 to 7.
    """
    if source not in SOURCES:
        return backbones.course_resnet(classes, seed).new_head(classes, seed)
    original = backbones.course_resnet(len(SOURCES[source][0]))
    folder = checkpoint_folder(seed if seed in CHOOSING else seed - JUDGING[0])
    return backbones.load_checkpoint(folder / source, original).new_head(classes, seed)


def _batch(per_class: int) -> int:
    return 16 if per_class < 100 else 32


@lru_cache
def _costs(method: str, classes: int, per_class: int) -> Row:
    """FLOPs of a whole run, and the megabytes that its hungriest step holds. The same for every draw and rate."""
    photos = classes * per_class
    model = start("scratch", 0, classes)
    if named(method).probe:
        freeze(model, "pool")
        bank = 4 * VIEWS * photos * model.head.in_features
        memory = backbones.weight_bytes(model) + bank
        return {"flops": backbones.prefix_flops(model, SIZE) * VIEWS * photos, "memory_mb": round(memory / 1e6)}
    flops, memory = 0, 0
    for phase, share in named(method).plan(EPOCHS[per_class]):
        freeze(model, phase.through)
        steps = share * backbones.step_flops(model, SIZE, 2) // 2
        flops += photos * (steps + VIEWS * backbones.prefix_flops(model, SIZE))
        memory = max(memory, backbones.training_bytes(model, SIZE, _batch(per_class)))
    return {"flops": flops, "memory_mb": round(memory / 1e6)}


def _digest(photos: ImageSet) -> str:
    return hashlib.sha256(photos.images.numpy().tobytes() + photos.labels.numpy().tobytes()).hexdigest()[:12]
