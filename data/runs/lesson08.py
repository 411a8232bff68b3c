"""The runs of lesson 8: what a GPT that has read definitions is worth for new tasks on text.

Draws 0 to 4 choose the rates, by the valid lines; draws 5 to 24 judge, and read the test lines once. The number of
draws was fixed before any of them was run.
"""

import time
from dataclasses import dataclass
from itertools import product

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from runs import shared
from runs.shared import CHOOSING, JUDGING
from transfer_utils import backbones, data, training
from transfer_utils.backbones import StagedModel, freeze
from transfer_utils.stats import Row
from transfer_utils.training import Phase, Recipe, accuracy, fit, linear_probe, with_epochs

GPT, MINILM = "course_gpt/definitions", "minilm"
LENGTH = {"topics": 24, "film_reviews": 48}  # tokens of a line that are read
VALID = 60  # valid lines of each class
SIZES = (5, 20, 100, 500)  # labelled lines of each class
EPOCHS = {"topics": {5: 20, 20: 12, 100: 6, 500: 3}, "film_reviews": {5: 20, 20: 20, 100: 12, 500: 6}}
BATCH = {5: 16, 20: 16, 100: 32, 500: 64}
RANK = 8  # of LoRA
PENALTIES = (*training.PENALTIES, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True)
class Way:
    """A way to learn a new task. tried: rates, or penalties of what is fitted to the end: a probe, or word counts.

    network: None for no network at all, a line being the words in it. longer: times the epochs of the others.
    """

    name: str
    tried: tuple[float, ...]
    network: str | None = GPT
    pretrained: bool = True
    phases: tuple[Phase, ...] = (Phase(),)
    longer: int = 1
    lora: bool = False
    probe: bool = False


_TENTH = {"head_ratio": 10.0}  # the stages below the head move at a tenth of its rate
_FROM_DEFINITIONS = (1e-3, 3e-3, 1e-2)
_UNFREEZING = tuple(Phase(to, 1 / 4, changes=_TENTH) for to in ("pool", "block3", "block1", None))
WAYS = (
    Way("word counts", (1e-6, 1e-5, 1e-4, 1e-3, 1e-2), network=None, probe=True),
    Way("linear probe, random weights", PENALTIES, pretrained=False, probe=True),
    Way("scratch", (1e-4, 3e-4, 1e-3, 3e-3), pretrained=False),
    Way("scratch, longer", (3e-4, 1e-3, 3e-3, 1e-2), pretrained=False, longer=3),
    Way("linear probe", PENALTIES, probe=True),
    Way("gradual unfreezing", _FROM_DEFINITIONS, phases=_UNFREEZING),
    Way("LoRA", _FROM_DEFINITIONS, lora=True),
    Way("full", _FROM_DEFINITIONS, phases=(Phase(changes=_TENTH),)),
    Way("full, longer", _FROM_DEFINITIONS, phases=(Phase(changes=_TENTH),), longer=3),
    Way("MiniLM, linear probe", PENALTIES, network=MINILM, probe=True),
)


def named(name: str) -> Way:
    """The way of this name. ValueError for an unknown one."""
    return shared.named(name, WAYS)


def rows(task: str, method: str, per_class: int, seed: int, rate: float) -> list[Row]:
    """One run: the accuracy on valid lines where the draw chooses, on test lines where it judges."""
    way, few = named(method), data.load_texts(task, "train").take(per_class, seed)
    column = "valid" if seed in CHOOSING else "test"
    judged = data.load_texts(task, column)
    judged = judged.take(VALID) if column == "valid" else judged
    started = time.perf_counter()
    if way.network is None:
        counts = word_counts(few, rate)
        seconds = time.perf_counter() - started
        found = (counts.predict(judged.texts) == judged.labels.numpy()).mean()
    else:
        model = start(way, len(few.classes), seed)
        learn(model, way, few, task, per_class, seed, rate)
        seconds = time.perf_counter() - started
        found = accuracy(model, judged, LENGTH[task])
    return [{column: round(float(found), 4), "seconds": round(seconds, 2)}]


def word_counts(few: data.TextSet, penalty: float) -> Pipeline:
    """Logistic regression on the words of a line, rare ones counting more."""
    counts = TfidfVectorizer(sublinear_tf=True)
    return make_pipeline(counts, LogisticRegression(C=1 / (penalty * len(few)), max_iter=1000)).fit(
        few.texts, few.labels.numpy()
    )


def start(way: Way, classes: int, seed: int) -> StagedModel:
    """The network before it learns the task, with a new head for it."""
    assert way.network is not None
    model = backbones.load_backbone(way.network, way.pretrained, classes, seed)
    return backbones.add_lora(model, RANK, seed) if way.lora else model


def learn(model: StagedModel, way: Way, few: data.TextSet, task: str, per_class: int, seed: int, rate: float) -> None:
    """Train the model in place, as this way does."""
    if way.probe:
        model.head = linear_probe(training.extract(model, few, LENGTH[task]), few.labels, rate).linear()
        return
    for phase, epochs in with_epochs(list(way.phases), way.longer * EPOCHS[task][per_class]):
        if not way.lora:  # which has frozen what it found
            freeze(model, phase.through)
        recipe = Recipe(epochs, rate, batch=BATCH[per_class], augment=False, seed=seed, **phase.changes)
        fit(model, few, None, LENGTH[task], recipe, progress=False)


# Rates are chosen at 20 and at 100 lines of each class: 5 takes that of 20, and 500 that of 100.
CHOSEN_FOR = {5: 20, 20: 20, 100: 100, 500: 100}
COMPARED = {  # what is compared on which task, at which sizes
    ("topics", "scratch"): SIZES,
    ("topics", "full"): SIZES,
    ("topics", "scratch, longer"): (20,),
    ("topics", "full, longer"): (20,),
    ("topics", "gradual unfreezing"): (20,),
    ("topics", "LoRA"): (20,),
    ("film_reviews", "scratch"): SIZES,
    ("film_reviews", "full"): SIZES,
    **{(task, way.name): SIZES for task in EPOCHS for way in WAYS if way.probe},
}
RATES: dict[tuple[str, str], dict[int, float]] = {  # what the choosing draws chose
    ("topics", "scratch"): {20: 1e-3, 100: 1e-3},
    ("topics", "full"): {20: 3e-3, 100: 3e-3},
    ("topics", "scratch, longer"): {20: 3e-3},
    ("topics", "full, longer"): {20: 3e-3},
    ("topics", "gradual unfreezing"): {20: 3e-3},
    ("topics", "LoRA"): {20: 3e-3},
    ("film_reviews", "scratch"): {20: 3e-4, 100: 1e-3},
    ("film_reviews", "full"): {20: 3e-3, 100: 3e-3},
    ("topics", "word counts"): {20: 1e-5, 100: 1e-5},
    ("topics", "linear probe, random weights"): {20: 1e-1, 100: 1e-2},
    ("topics", "linear probe"): {20: 1.0, 100: 1e-1},
    ("topics", "MiniLM, linear probe"): {20: 1.0, 100: 1e-1},
    ("film_reviews", "word counts"): {20: 1e-5, 100: 1e-3},
    ("film_reviews", "linear probe, random weights"): {20: 1e-2, 100: 1e-1},
    ("film_reviews", "linear probe"): {20: 1000.0, 100: 100.0},
    ("film_reviews", "MiniLM, linear probe"): {20: 100.0, 100: 1.0},
}


def choosing() -> list[Row]:
    """The jobs of the draws that choose."""
    jobs = []
    for (task, method), sizes in COMPARED.items():
        for per_class in sorted({CHOSEN_FOR[size] for size in sizes}):
            for rate, seed in product(named(method).tried, CHOOSING):
                jobs.append({"task": task, "method": method, "per_class": per_class, "seed": seed, "rate": rate})
    return jobs


def judging() -> list[Row]:
    """The jobs of the draws that judge, each at the rate that was chosen."""
    return [
        {"task": task, "method": method, "per_class": n, "seed": seed, "rate": RATES[task, method][CHOSEN_FOR[n]]}
        for (task, method), sizes in COMPARED.items()
        for n, seed in product(sizes, JUDGING)
    ]


RUNS = {rows: choosing() + judging()}
