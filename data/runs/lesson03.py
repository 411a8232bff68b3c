"""The runs of lesson 3: which stages move, and how fast.

All ways start from the same pretrained network, or from random weights. Draws 0 to 4 choose the rate of each, by the
valid photos; draws 5 to 24 judge it, and read the test photos once. Twenty were fixed before any of them was run: on
five earlier ones, differences to full fine-tuning varied by at most 4 points, so half an interval has at most two.
"""

import time
from dataclasses import replace
from itertools import product

from runs.shared import CHOOSING, JUDGING
from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel, drift, freeze, hold_statistics
from transfer_utils.course import methods
from transfer_utils.data import SOURCES, TARGETS, ImageSet, splits
from transfer_utils.stats import Row
from transfer_utils.training import Recipe, accuracy, fit

NETWORK = "course_resnet/both"
RANGE = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # rates
SIZES = (20, 5, 100)  # photos of each class
TRIED = {  # of the range, what each way tries; its best is never the first nor the last of them
    "scratch": RANGE[2:6],
    "scratch, longer": RANGE[:6],
    "head only": RANGE[3:],
    "last stage": RANGE[2:7],
    "full": RANGE[1:5],
    "full, statistics held": RANGE[1:5],
    "full, longer": RANGE[:5],
    "full, head 10x": RANGE[2:7],
    "gradual unfreezing": RANGE[1:5],
    "head, then full": RANGE[1:5],
    "full, no augmentation": RANGE[:4],
    "full, decay x100": RANGE[:4],
}
DRAWN = ("scratch", "head only", "full", "full, head 10x")  # with 20 photos of each class they try the whole range
WAYS = (
    "scratch",
    "head only",
    "last stage",
    "full",
    "full, statistics held",
    "full, head 10x",
    "gradual unfreezing",
    "head, then full",
)
COMPARED = {  # which ways are compared at which sizes
    **dict.fromkeys(WAYS, SIZES),
    **dict.fromkeys(("full, no augmentation", "full, decay x100"), (5,)),
    **dict.fromkeys(("scratch, longer", "full, longer"), (20,)),
}
RATES: dict[str, dict[int, float]] = {  # what the draws that choose chose
    "scratch": {5: 1e-3, 20: 3e-3, 100: 3e-3},
    "head only": {5: 3e-3, 20: 1e-2, 100: 3e-2},
    "last stage": {5: 1e-3, 20: 1e-3, 100: 1e-2},
    "full": {5: 3e-4, 20: 1e-3, 100: 1e-3},
    "full, statistics held": {5: 3e-4, 20: 1e-3, 100: 1e-3},
    "full, head 10x": {5: 3e-3, 20: 3e-3, 100: 1e-2},
    "gradual unfreezing": {5: 3e-4, 20: 1e-3, 100: 3e-4},
    "head, then full": {5: 1e-3, 20: 1e-3, 100: 1e-3},
    "full, no augmentation": {5: 3e-4},
    "full, decay x100": {5: 3e-4},
    "scratch, longer": {20: 3e-4},
    "full, longer": {20: 1e-3},
}
UNCHOSEN = {"full at 0.1": 0.1, "scratch at 0.1": 0.1, "full, rate found": None}  # judged with 20 photos of each class


def rows(method: str, per_class: int, seed: int, rate: float | None) -> list[Row]:
    """One run: accuracy on valid photos where the draw chooses, on clean and corrupted test photos where it judges.

    rate: None to find one on the draw's own photos, as `found`. source_before, source_after: what the backbone knows of
    the source's test photos under its original head. drift: how many tensors and buffers moved in the stages that were
    frozen to the end. All see the same few augmented views.
    """
    way, (train, valid, test) = methods.named(method), splits(TARGETS["animals"])
    few, classes = train.take(per_class, seed), len(test.classes)
    model = backbones.load_backbone(NETWORK, classes=classes, seed=seed)
    if way.from_scratch:
        model = backbones.course_resnet(classes, seed)
    found = {} if rate else {"found": rate_for(model, few, seed)}
    if way.holds:
        hold_statistics(model)
    before = freeze(model, way.phases[0].through).frozen_state()
    started = time.perf_counter()
    for phase, epochs in way.plan(methods.EPOCHS[per_class]):
        freeze(model, phase.through)
        recipe = Recipe(epochs, phase.rate or rate or found["found"], batch=16, seed=seed, fixed_views=True)
        fit(model, few, None, 32, replace(recipe, **phase.changes), progress=False)
    row = {"seconds": round(time.perf_counter() - started, 2), **found}
    if held := model.frozen_state():
        row["drift"] = len(drift({name: before[name] for name in held}, model))
    if seed in CHOOSING:
        return [row | {"valid": round(accuracy(model, valid, 32), 4)}]
    return [row | _judged(model, test, not way.from_scratch)]


def rate_for(model: StagedModel, few: ImageSet, seed: int) -> float:
    """A tenth of the rate at which the loss is lowest: lesson 3's exercise.

    On the draws that choose this did better than the rate at which the loss falls fastest, which noise picks.
    """
    tried = training.try_rates(model, few, 32, Recipe(batch=16, seed=seed))
    return float(tried["rate"][tried["loss"].idxmin()]) / 10


def _judged(model: StagedModel, test: ImageSet, pretrained: bool) -> Row:
    """Accuracy on clean and corrupted test photos, and on the source's, before and after fine-tuning."""
    scores = {"test": accuracy(model, test, 32)}
    for name, corrupt in data.CORRUPTIONS.items():
        scores[name] = accuracy(model, replace(test, images=corrupt(test.images)), 32)
    if pretrained:
        source_test = data.load("cifar10_photos", "test").only(*SOURCES["both"][0])
        original = backbones.load_backbone(NETWORK)
        scores["source_before"] = accuracy(original, source_test, 32)
        model.head = original.head
        scores["source_after"] = accuracy(model, source_test, 32)
    return {name: round(score, 4) for name, score in scores.items()}


def choosing() -> list[Row]:
    """The jobs of the draws that choose."""
    return [
        {"method": method, "per_class": n, "seed": seed, "rate": rate}
        for method, sizes in COMPARED.items()
        for n in sizes
        for rate, seed in product(RANGE if n == 20 and method in DRAWN else TRIED[method], CHOOSING)
    ]


def judging() -> list[Row]:
    """The jobs of the draws that judge, each at the rate that was chosen, or at one that nobody chose."""
    settings: list[tuple[str, int, float | None]] = [(way, n, RATES[way][n]) for way in RATES for n in COMPARED[way]]
    settings += [(method, 20, rate) for method, rate in UNCHOSEN.items()]
    return [
        {"method": method, "per_class": n, "seed": seed, "rate": rate}
        for (method, n, rate), seed in product(settings, JUDGING)
    ]


RUNS = {rows: choosing() + judging()}
