"""The ways to fine-tune, and one run of source x target x photos x way x seed."""

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from transfer_utils import backbones, training
from transfer_utils.backbones import StagedModel, checkpoint_folder, freeze
from transfer_utils.data import SOURCES, TARGETS, VIEWS, ImageSet, splits
from transfer_utils.machine import unknown
from transfer_utils.stats import Row, result_row
from transfer_utils.training import Epoch, Phase, Recipe, accuracy, train, with_epochs

COURSE, IMAGENET = "course_resnet", "efficientnet_lite0"
PIXELS = {COURSE: 32, IMAGENET: 96}
PROBE_SIZES = {COURSE: (2, 5, 10, 20, 50, 100, 200, 500), IMAGENET: (5, 20, 100)}  # photos per class
LOOKS = {COURSE: 6, IMAGENET: 1}  # times that a run looks at some valid photos on its way, off the clock
WATCHED = 50  # of these photos per class
KEYS = ["network", "source", "target", "method", "per_class", "seed"]
HEAD_RATE = 1e-2  # of the phases that train a new head alone: head only is good with it at every size
EPOCHS_FOR = {5: 60, 20: 30, 100: 12}  # by photos per class: few photos make few steps an epoch
EPOCHS = {COURSE: {**EPOCHS_FOR, 500: 5}, IMAGENET: {5: 40, 20: 12, 100: 4}}


@dataclass(frozen=True)
class Method:
    """A way to learn a new task. longer: times the epochs of the others; a probe is fitted to the end instead.

    holds: batch-norm's statistics, also where its weights train.
    """

    name: str
    phases: tuple[Phase, ...] = (Phase(),)
    from_scratch: bool = False
    longer: int = 1
    probe: bool = False
    holds: bool = False

    def plan(self, epochs: int) -> list[tuple[Phase, int]]:
        """The phases, each with its share of the epochs."""
        return with_epochs(list(self.phases), self.longer * epochs)


_UNFREEZING = (Phase("pool", 1 / 5, HEAD_RATE), *(Phase(to, 1 / 5) for to in ("stage2", "stage1", "stem", None)))
METHODS = {  # by name, in the order in which they are shown: the more of the network trains, the further down
    method.name: method
    for method in (
        Method("scratch", from_scratch=True),
        Method("scratch, longer", from_scratch=True, longer=5),
        Method("linear probe", (), probe=True),
        Method("head only", (Phase("pool"),)),
        Method("last stage", (Phase("stage2"),)),
        Method("gradual unfreezing", _UNFREEZING),
        Method("head, then full", (Phase("pool", 1 / 2, HEAD_RATE), Phase(None, 1 / 2))),
        Method("full"),
        Method("full, statistics held", holds=True),
        Method("full, longer", longer=5),
        Method("full, rate found"),
        Method("full at 0.1"),
        Method("scratch at 0.1", from_scratch=True),
        Method("full, head 10x", (Phase(changes={"head_ratio": 10.0}),)),
        Method("full, no augmentation", (Phase(changes={"augment": False}),)),
        Method("full, decay x100", (Phase(changes={"decay": 5.0}),)),
    )
}


def named(name: str) -> Method:
    """The method of this name. ValueError for an unknown one."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def trained(network: str, source: str, target: str, method: str, per_class: int, seed: int, rate: float) -> list[Row]:
    """One training run: accuracy on valid and on test photos, seconds, FLOPs and megabytes.

    look_1, look_2, ...: accuracy on some valid photos along the way, after seconds_1, seconds_2, ... of training.
    flops, memory_mb: computed, not measured. ValueError for an unknown method; FileNotFoundError for a pretraining seed
    whose checkpoint is not built: run `make checkpoints`.
    """
    train_photos, valid, test = splits(TARGETS[target])
    few, watched = train_photos.take(per_class, seed), valid.take(WATCHED)
    plan, batch, size = named(method).plan(EPOCHS[network][per_class]), _batch(per_class), PIXELS[network]
    epochs = sum(share for _, share in plan)
    model = start(network, source, seed, len(test.classes))
    looks: list[tuple[float, float]] = []
    looks_in_all, seconds, epoch = LOOKS[network], 0.0, 0
    for phase, share in plan:
        freeze(model, phase.through)
        recipe = Recipe(share, phase.rate or rate, batch=batch, seed=seed, fixed_views=True, **phase.changes)
        started = time.perf_counter()
        for record in train(model, few, None, size, recipe, cache=False):
            if not isinstance(record, Epoch):
                continue
            epoch += 1
            if epoch * looks_in_all // epochs > (epoch - 1) * looks_in_all // epochs:
                seconds += time.perf_counter() - started
                looks.append((seconds, accuracy(model, watched, size)))
                started = time.perf_counter()
        seconds += time.perf_counter() - started
    flops, memory = _costs(network, method, len(test.classes), per_class)
    row = result_row(accuracy(model, valid, size), accuracy(model, test, size), seconds, **_columns(looks))
    return [{**row, "flops": flops, "memory_mb": memory, "photos": _digest(few)}]


def probed(network: str, source: str, target: str, method: str, seed: int) -> list[Row]:
    """Linear probes on one frozen network at every size; the penalty of each is chosen on valid photos."""
    train_photos, valid, test = splits(TARGETS[target])
    size, model = PIXELS[network], start(network, source, seed, len(test.classes))
    freeze(model, model.stages[-2])
    valid_bank, test_bank = (training.extract(model, photos, size, cache=False) for photos in (valid, test))
    rows = []
    for per_class in PROBE_SIZES[network]:
        few = train_photos.take(per_class, seed)
        started = time.perf_counter()
        bank = training.extract_views(model, few, size, seed, cache=False).flatten(0, 1)
        probe = training.best_probe(bank, few.labels.repeat(VIEWS), valid_bank, valid.labels)
        seconds = time.perf_counter() - started
        flops, memory = _costs(network, method, len(test.classes), per_class)
        scores = probe.accuracy(valid_bank, valid.labels), probe.accuracy(test_bank, test.labels)
        row = {"per_class": per_class, "penalty": probe.penalty, **result_row(*scores, seconds)}
        rows.append({**row, "flops": flops, "memory_mb": memory, "photos": _digest(few)})
    return rows


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the runs that differ only in their rate, the one that is best on valid photos."""
    rows = rows.reset_index(drop=True)
    return rows.loc[rows.groupby(KEYS, sort=False)["valid"].idxmax()].reset_index(drop=True)


def again(row: Row) -> Row:
    """Run a stored row once more."""
    job = {name: row[name] for name in KEYS}
    if not named(row["method"]).probe:
        return trained(**job, rate=row["rate"])[0]
    size = job.pop("per_class")
    return next(found for found in probed(**job) if found["per_class"] == size)


def start(network: str, source: str, seed: int, classes: int) -> StagedModel:
    """The network before it sees the new task, with a new head that depends on the seed alone.

    source: one of SOURCES, 'imagenet', or 'scratch' for random weights.
    """
    if source in SOURCES:
        original = backbones.course_resnet(len(SOURCES[source][0]))
        model = backbones.load_checkpoint(checkpoint_folder(seed) / source, original)
    elif network == COURSE:
        model = backbones.course_resnet(classes, seed)
    else:
        model = backbones.load_backbone(network, pretrained=source == "imagenet", seed=seed)
    return model.new_head(classes, seed)


def _columns(looks: list[tuple[float, float]]) -> Row:
    accuracies = {f"look_{i}": round(seen, 3) for i, (_, seen) in enumerate(looks, start=1)}
    return accuracies | {f"seconds_{i}": round(seconds, 2) for i, (seconds, _) in enumerate(looks, start=1)}


def _batch(per_class: int) -> int:
    return 16 if per_class < 100 else 32


@lru_cache
def _costs(network: str, method: str, classes: int, per_class: int) -> tuple[int, int]:
    """FLOPs of a whole run, and the megabytes that its hungriest step holds. The same for every seed and rate."""
    size, photos = PIXELS[network], classes * per_class
    model = start(network, "scratch", 0, classes)
    if named(method).probe:
        freeze(model, model.stages[-2])
        bank = 4 * VIEWS * photos * model.head.in_features
        return backbones.prefix_flops(model, size) * VIEWS * photos, round((backbones.weight_bytes(model) + bank) / 1e6)
    flops, memory = 0, 0
    for phase, share in named(method).plan(EPOCHS[network][per_class]):
        freeze(model, phase.through)
        flops += photos * (
            share * backbones.step_flops(model, size, 2) // 2 + VIEWS * backbones.prefix_flops(model, size)
        )
        memory = max(memory, backbones.training_bytes(model, size, _batch(per_class)))
    return flops, round(memory / 1e6)


def _digest(photos: ImageSet) -> str:
    return hashlib.sha256(photos.images.numpy().tobytes() + photos.labels.numpy().tobytes()).hexdigest()[:12]
