"""Lesson 3: its checks, its quiz, and the freezing lab."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel
from transfer_utils.course.checking import NotYet, Question, checked, filled
from transfer_utils.data import ImageSet
from transfer_utils.show import Frame, Lab

FROM_SCRATCH = "from scratch"
PHOTOS_PER_CLASS = (2, 5, 10, 20, 30, 50, 100)
RATIOS = (1, 3, 10, 30, 100)  # how much faster the head learns than the backbone
DEPTHS = {"nothing": None, "stem": "stem", "stage1": "stage1", "stage2": "stage2", "stage3": "pool"}  # pool: no weights
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
    torch.manual_seed(3)
    model = backbones.load_backbone("course_resnet/both", classes=3)
    photos = data.load("cifar10_photos", "train").only("cat", "deer", "horse").take(5, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = answer(model, photos)
    filled(result, answer, "return the model at the end.")
    moved = list(backbones.drift(before, result.state_dict()))
    weights = {name for name, _ in result.named_parameters()}
    body = [name for name in moved if not name.startswith("head.")]
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
    torch.manual_seed(3)
    model = backbones.freeze(backbones.course_resnet(3), through="stem")
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
    """What the controls of the lab stand at. through: the last frozen stage."""

    source: str
    per_class: int
    through: str | None
    ratio: float
    augment: bool
    seed: int


def freezing_lab(train: ImageSet, valid: ImageSet, epochs: int = EPOCHS) -> Lab:
    """The lab for photos of new classes (32 pixels), with one finished run in it.

    It opens on 30 photos per class, frozen through stage2, 10 : 1. ValueError where a class has too few photos.
    """
    sizes = [n for n in PHOTOS_PER_CLASS if n <= torch.bincount(train.labels).min()]
    if not sizes:
        raise ValueError(
            f"The freezing lab got {len(train)} photos; it needs at least {PHOTOS_PER_CLASS[0]} per class."
        )
    options: dict[tuple[str, str], Sequence[Any]] = {
        ("source", "Pretrained on"): [*backbones.shipped(), FROM_SCRATCH],
        ("per_class", "Photos per class"): sizes,
        ("through", "Freeze through"): list(DEPTHS),
        ("ratio", "Head : backbone rate"): RATIOS,
        ("augment", "Flip and shift photos"): ["no", "yes"],
        ("seed", "Seed"): range(5),
    }
    keys = [key for key, _ in options]

    def setting(state: list[int]) -> Setting:
        values = {key: choice[i] for key, choice, i in zip(keys, options.values(), state, strict=True)}
        through, augment = DEPTHS[values.pop("through")], values.pop("augment") == "yes"
        return Setting(through=through, augment=augment, **values)

    model = _start(Setting(FROM_SCRATCH, sizes[0], None, 1, False, 0), len(train.classes))
    counts = {name: backbones.count_parameters(model.get_submodule(name)) for name in model.stages}
    facts = _facts(model)

    def summary(state: list[int], frame: Frame) -> Frame:
        shown = {control["key"]: control["options"][i] for control, i in zip(lab.controls, state, strict=True)}
        measured = {"accuracy": round(frame["valid"][-1], 4), "seconds": round(frame["seconds"], 2)}
        return {**shown, "trainable": facts[frame["through"]]["trainable"], **measured, "curve": frame["valid"]}

    lab = Lab(
        lambda state: live_run(setting(state), train, valid, epochs),
        summary,
        title="Freezing lab",
        controls=[
            {
                "key": key,
                "label": label,
                "options": [f"{o} : 1" if key == "ratio" else str(o) for o in choice],
                "kind": "choice" if key in ("source", "augment") else "slider",
            }
            for (key, label), choice in options.items()
        ],
        state=[backbones.shipped().index("both"), min(4, len(sizes) - 1), 3, 2, 1, 0],
        stages=[{"name": name, "parameters": count} for name, count in counts.items() if count],
        facts=facts,
        columns=COLUMNS,
        total=sum(counts.values()),
        batch=BATCH,
    )
    lab.start()
    return lab.finish()


def live_run(setting: Setting, train: ImageSet, valid: ImageSet, epochs: int) -> Generator[Frame]:
    """Frames of one training run: accuracy before it, then one after every step, with the curves so far."""
    started, steps, stepping = time.perf_counter(), 0, 0.0
    model = _start(setting, len(train.classes))
    curves: dict[str, list[float]] = {"train": [], "valid": [training.accuracy(model, valid, SIZE)]}
    epoch = 0

    def frame() -> Frame:
        known = {"step_ms": 1000 * stepping / steps} if steps else {}
        now = {"epoch": epoch, "epochs": epochs, "through": list(DEPTHS.values()).index(setting.through)}
        return {**now, **known, "seconds": worked, **{name: list(curve) for name, curve in curves.items()}}

    worked = time.perf_counter() - started
    yield frame()
    few = train.take(setting.per_class, setting.seed)
    recipe = training.Recipe(
        epochs,
        RATE,
        head_ratio=setting.ratio,
        batch=BATCH,
        augment=setting.augment,
        seed=setting.seed,
        fixed_views=True,  # as behind frozen stages, so that freezing changes nothing but what trains
    )
    run = training.train(model, few, valid, SIZE, recipe, cache=False)
    while True:
        started = time.perf_counter()
        record = next(run, None)
        taken = time.perf_counter() - started
        if record is None:
            return
        worked += taken
        if record.metrics:
            epoch = record.epoch
            curves["train"].append(record.metrics["train"])
            curves["valid"].append(record.metrics["valid"])
        elif record.step > 1:  # the first step also waits for the frozen stages' features
            steps, stepping = steps + 1, stepping + taken
        yield frame()


def _start(setting: Setting, classes: int) -> StagedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        if setting.source == FROM_SCRATCH:
            model = backbones.course_resnet(classes)
        else:
            model = backbones.load_backbone(f"course_resnet/{setting.source}", classes=classes)
    return backbones.freeze(model, setting.through)


def _facts(model: StagedModel) -> list[dict[str, float]]:
    """For each depth of freezing: what trains, the memory it takes, and the time that a step should take.

    The time is predicted from two measured steps, with everything frozen but the head and with nothing frozen, and
    the operations of the depths between them.
    """
    known: list[dict[str, float]] = []
    for through in DEPTHS.values():
        backbones.freeze(model, through)
        known.append(
            {
                "trainable": backbones.count_parameters(model, trainable=True),
                "optimiser_bytes": backbones.optimiser_bytes(model),
                "activation_bytes": backbones.activation_bytes(model, SIZE, BATCH),
                "flops": backbones.step_flops(model, SIZE, BATCH),
            }
        )
    head = 1000 * backbones.step_seconds(model, SIZE, BATCH)
    whole = 1000 * backbones.step_seconds(backbones.freeze(model, None), SIZE, BATCH)
    for fact in known:
        share = (fact["flops"] - known[-1]["flops"]) / (known[0]["flops"] - known[-1]["flops"])
        fact["predicted_ms"] = head + share * (whole - head)
    return known


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
