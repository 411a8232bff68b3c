"""The freezing lab of lesson 3: a move of a control starts a training run."""

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import torch

from transfer_utils import backbones, training
from transfer_utils.backbones import StagedModel
from transfer_utils.data import ImageSet
from transfer_utils.show import Frame, Lab
from transfer_utils.training import Epoch, Recipe, Step

PHOTOS_PER_CLASS = (2, 5, 10, 20, 30, 50, 100)
RATIOS = (1, 3, 10, 30, 100)  # how much faster the head learns than the backbone
DEPTHS: dict[str, str | None] = {
    "nothing": None,
    "stem": "stem",
    "stage1": "stage1",
    "stage2": "stage2",
    "stage3": "pool",
}  # pool: no weights
RATE = 1e-2  # of the head
EPOCHS, BATCH, SIZE = 12, 16, 32
COLUMNS = [  # of the table of finished runs: key, heading, kind
    ["number", "run", "count"],
    ["source", "pretrained on", "words"],
    ["per_class", "photos", "number"],
    ["through", "frozen through", "words"],
    ["ratio", "ratio", "words"],
    ["augment", "flip", "words"],
    ["seed", "seed", "number"],
    ["accuracy", "accuracy", "share"],
    ["trainable", "trainable", "count"],
    ["seconds", "seconds", "number"],
]


@dataclass(frozen=True)
class Setting:
    """What the controls of the lab stand at. source: a checkpoint, None for random weights; through: as in freeze."""

    source: str | None
    per_class: int
    through: str | None
    ratio: float
    augment: bool
    seed: int


@dataclass(frozen=True)
class Control:
    """One control of the lab. options: what the page shows, and what it stands for."""

    key: str
    label: str
    options: dict[str, Any]
    kind: str = "slider"


def freezing_lab(train: ImageSet, valid: ImageSet, epochs: int = EPOCHS) -> Lab:
    """The lab for photos of new classes (32 pixels), with one finished run in it.

    It opens on 30 photos per class, frozen through stage2, 10 : 1. ValueError where a class has too few photos, and
    where the valid photos are none or have other classes, as in train.
    """
    controls = _controls(train)
    model = _start(Setting(None, PHOTOS_PER_CLASS[0], None, 1, False, 0), len(train.classes))
    training.train(model, train, valid, SIZE, Recipe(epochs))  # never run: it refuses now what the page could not show
    counts = {name: backbones.count_parameters(model.get_submodule(name)) for name in model.stages}
    facts = backbones.by_depth(model, DEPTHS.values(), SIZE, BATCH)

    def job(state: list[int]) -> Generator[Frame]:
        values = {c.key: list(c.options.values())[i] for c, i in zip(controls, state, strict=True)}
        return live_run(Setting(**values), train, valid, epochs)

    def summary(state: list[int], frame: Frame) -> Frame:
        shown = {c.key: list(c.options)[i] for c, i in zip(controls, state, strict=True)}
        measured = {"accuracy": round(frame["valid"][-1], 4), "seconds": round(frame["seconds"], 2)}
        return {**shown, "trainable": facts[frame["through"]]["trainable"], **measured, "curve": frame["valid"]}

    lab = Lab(
        job,
        summary,
        title="Freezing lab",
        controls=[vars(control) | {"options": list(control.options)} for control in controls],
        state=[backbones.shipped().index("both"), min(4, len(controls[1].options) - 1), 3, 2, 1, 0],
        stages=[{"name": name, "parameters": count} for name, count in counts.items() if count],
        facts=facts,
        columns=COLUMNS,
        total=sum(counts.values()),
        batch=BATCH,
    )
    lab.start()
    return lab.finish()


def _controls(train: ImageSet) -> list[Control]:
    sizes = [n for n in PHOTOS_PER_CLASS if n <= torch.bincount(train.labels).min()]
    if not sizes:
        raise ValueError(
            f"The freezing lab got {len(train)} photos; it needs at least {PHOTOS_PER_CLASS[0]} per class."
        )
    sources = {**{name: name for name in backbones.shipped()}, "from scratch": None}
    return [
        Control("source", "Pretrained on", sources, "choice"),
        Control("per_class", "Photos per class", {str(n): n for n in sizes}),
        Control("through", "Freeze through", DEPTHS),
        Control("ratio", "Head : backbone rate", {f"{ratio} : 1": ratio for ratio in RATIOS}),
        Control("augment", "Flip and shift photos", {"no": False, "yes": True}, "choice"),
        Control("seed", "Seed", {str(seed): seed for seed in range(5)}),
    ]


@dataclass
class Progress:
    """How far a run of the lab has come, in what the page shows of it. seconds: of work, waiting left out."""

    through: int
    epochs: int
    epoch: int = 0
    seconds: float = 0.0
    timed_steps: int = 0
    step_seconds: float = 0.0
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)

    def note(self, record: Step | Epoch, seconds: float) -> None:
        """Count in a step, or the end of an epoch, that took this long."""
        self.seconds += seconds
        if isinstance(record, Epoch):
            self.epoch = record.epoch
            self.train.append(record.train)
            self.valid.append(record.valid or 0.0)
        elif record.step > 1:  # the first step also waits for the frozen stages' features
            self.timed_steps, self.step_seconds = self.timed_steps + 1, self.step_seconds + seconds

    def frame(self) -> Frame:
        """What the page draws: a copy, since the run goes on."""
        known = {"step_ms": 1000 * self.step_seconds / self.timed_steps} if self.timed_steps else {}
        now = {"epoch": self.epoch, "epochs": self.epochs, "through": self.through, "seconds": self.seconds}
        return {**now, **known, "train": list(self.train), "valid": list(self.valid)}


def live_run(setting: Setting, train: ImageSet, valid: ImageSet, epochs: int) -> Generator[Frame]:
    """Frames of one training run: accuracy before it, then one after every step, with the curves so far."""
    progress, started = Progress(list(DEPTHS.values()).index(setting.through), epochs), time.perf_counter()
    model = _start(setting, len(train.classes))
    progress.valid.append(training.accuracy(model, valid, SIZE))
    progress.seconds = time.perf_counter() - started
    yield progress.frame()
    few = train.take(setting.per_class, setting.seed)
    # fixed_views: as behind frozen stages, so that freezing changes nothing but what trains
    recipe = Recipe(epochs, RATE, setting.ratio, BATCH, augment=setting.augment, seed=setting.seed, fixed_views=True)
    started = time.perf_counter()
    for record in training.train(model, few, valid, SIZE, recipe, cache=False):
        progress.note(record, time.perf_counter() - started)
        yield progress.frame()
        started = time.perf_counter()


def _start(setting: Setting, classes: int) -> StagedModel:
    if setting.source is None:
        model = backbones.course_resnet(classes, setting.seed)
    else:
        model = backbones.load_backbone(f"course_resnet/{setting.source}", classes=classes, seed=setting.seed)
    return backbones.freeze(model, setting.through)
