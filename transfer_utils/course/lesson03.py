"""Lesson 3: its checks, its quiz, and the freezing lab."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import torch

from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel
from transfer_utils.course.checking import NotYet, Question, checked, filled
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


@checked
def trains_only_the_head(answer: Callable) -> str:
    """The learner's train_head(model, photos) moves the head, and nothing else."""
    model = backbones.load_backbone("course_resnet/both", classes=3, seed=3)
    photos = data.load("cifar10_photos", "train").only("cat", "deer", "horse").take(5, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = answer(model, photos)
    filled(result, answer, "return the model at the end.")
    moved = list(backbones.drift(before, result))
    backbone, _ = backbones.unwrapped(result).split(after="pool")
    weights = {name for name, _ in backbone.named_parameters()}
    body = [name for name in moved if name in backbone.state_dict()]
    trained = [name for name in body if name in weights]
    if trained:
        raise NotYet(f"{trained[0]} moved.", "only the head's parameters may get a gradient and be in the optimiser.")
    if body:
        raise NotYet(
            f"no weight of the backbone moved, but {len(body)} batch-norm values did (first: {body[0]}).",
            "in which mode is the network while it sees the photos?",
        )
    if not moved:
        raise NotYet("the head did not move either.", "it needs gradients, and an optimiser that steps.")
    return "the head learned, and no weight or statistic of the backbone moved."


@checked
def layer_rates(answer: Callable) -> str:
    """The learner's layer_rates(model, rate, factor) divides the rate once for each stage below the head."""
    model = backbones.freeze(backbones.course_resnet(3, seed=3), through="stem")
    groups = answer(model, 1.0, 2.0)
    filled(groups, answer, "collect one dict for each stage in a list, and return the list.")
    given = [(id(p), group["lr"]) for group in groups for p in group["params"]]
    found = dict(given)
    if len(given) > len(found):
        raise NotYet("some parameters are in two groups.", "each stage makes one group of its own.")
    for stage, expected in {"head": 1.0, "stage3": 0.5, "stage2": 0.25, "stage1": 0.125}.items():
        for name, parameter in model.get_submodule(stage).named_parameters():
            if id(parameter) not in found:
                raise NotYet(f"{stage}.{name} is in no group.", "every parameter that trains needs a rate.")
            if abs(found[id(parameter)] - expected) > 1e-9:
                raise NotYet(
                    f"with rate 1 and factor 2, {stage} got {found[id(parameter)]:g}; we get {expected:g}.",
                    "start at the head, and divide after each stage that has weights to train. pool has none.",
                )
    if any(id(parameter) in found for parameter in model.get_submodule("stem").parameters()):
        raise NotYet("the stem is frozen, and yet in a group.", "keep only parameters with requires_grad.")
    if given[0][1] != 1.0:
        raise NotYet(f"the first group has the rate {given[0][1]:g}.", "begin with the head: its rate is the largest.")
    return "head first, each stage below it slower, and nothing frozen among them."


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


QUIZ = (
    Question(
        "No parameter of the backbone has a gradient. We call model.train() and run a batch. What changes in it?",
        (
            ("Nothing: there is no gradient.", "Batch-norm's statistics need none."),
            ("Batch-norm's running mean and variance.", "They follow every batch in training mode."),
            ("Its weights, through weight decay.", "The optimiser touches only tensors that have a gradient."),
        ),
        1,
    ),
    Question(
        "Over five draws, gradual unfreezing minus full fine-tuning is -1 point [-4, 3]. What may we say?",
        (
            ("Gradual unfreezing is worse.", "The interval holds zero: another five draws may turn it round."),
            ("These rows cannot tell the two apart.", "A narrower interval needs more draws."),
            ("The two are equally good.", "Not being able to tell is not the same as being equal."),
        ),
        1,
    ),
    Question(
        "Which way of reusing a backbone forgets nothing of the old task, for certain?",
        (
            ("Training only a new head on frozen features.", "The backbone is the same, bit for bit."),
            ("Full fine-tuning at a small rate.", "A small rate still moves the backbone."),
            ("Giving the head ten times the backbone's rate.", "The backbone moves more slowly, but it moves."),
        ),
        0,
    ),
)

CHECKS = {"3.1": trains_only_the_head, "3.2": layer_rates}
