"""The freezing lab: what one setting of its controls trains, and what it would cost."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from transfer_utils import backbones, checkpoints, costs, freezing, training
from transfer_utils.backbones import StagedModel
from transfer_utils.data import ImageSet
from transfer_utils.live import Lab
from transfer_utils.widgets import Frame

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
        ("source", "Pretrained on"): [*checkpoints.shipped(), FROM_SCRATCH],
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
    counts = {name: freezing.count_parameters(model.get_submodule(name)) for name in model.stages}
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
        state=[checkpoints.shipped().index("both"), min(4, len(sizes) - 1), 3, 2, 1, 0],
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
    return freezing.freeze(model, setting.through)


def _facts(model: StagedModel) -> list[dict[str, float]]:
    """For each depth of freezing: what trains, the memory it takes, and the time that a step should take.

    The time is predicted from two measured steps, with everything frozen but the head and with nothing frozen, and
    the operations of the depths between them.
    """
    known: list[dict[str, float]] = []
    for through in DEPTHS.values():
        freezing.freeze(model, through)
        known.append(
            {
                "trainable": freezing.count_parameters(model, trainable=True),
                "optimiser_bytes": costs.optimiser_bytes(model),
                "activation_bytes": costs.activation_bytes(model, SIZE, BATCH),
                "flops": costs.step_flops(model, SIZE, BATCH),
            }
        )
    head = 1000 * costs.step_seconds(model, SIZE, BATCH)
    whole = 1000 * costs.step_seconds(freezing.freeze(model, None), SIZE, BATCH)
    for fact in known:
        share = (fact["flops"] - known[-1]["flops"]) / (known[0]["flops"] - known[-1]["flops"])
        fact["predicted_ms"] = head + share * (whole - head)
    return known
