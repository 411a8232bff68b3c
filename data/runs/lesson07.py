"""Whether a small folder's own accuracy holds for new photos: the runs behind lesson 7."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from sklearn.metrics import roc_auc_score

from transfer_utils import data, own_photos, stats, training
from transfer_utils.data import ImageSet
from transfer_utils.own_photos import Bank, Classifier, PhotoFolder
from transfer_utils.stats import Row

CLASSES = ("cat", "dog", "horse")
SIZES = (10, 40)  # photos per class
SEEDS = range(20)
PIXELS = 224
STRANGERS = 40  # photos of each class that the classifier does not know


@dataclass(frozen=True)
class Method:
    """What a classifier learns from: the photos, and perhaps augmented views or a copy of each photo."""

    name: str
    views: bool = False
    copies: bool = False
    together: bool = True  # a copy is known to belong to its photo, so that both fall into one fold


METHODS = (
    Method("photos"),
    Method("photos and views", views=True),
    Method("with copies, kept together", copies=True),
    Method("with copies, scattered", copies=True, together=False),
)


def jobs() -> list[Row]:
    """Every folder: two sizes, twenty draws."""
    return [{"per_class": size, "seed": seed} for size in SIZES for seed in SEEDS]


def rows(per_class: int, seed: int) -> list[Row]:
    """One row for each of METHODS: the accuracy that cross-validation promised, and the one on new photos."""
    drawn = data.load("cifar10_photos", "train").only(*CLASSES).take(per_class, seed)
    bank = own_photos.extract(as_folder(drawn), views=True)
    return [{"method": method.name, **_kept(_as(method, bank), seed)} for method in METHODS]


def _as(method: Method, bank: Bank) -> Bank:
    if method.copies:
        return _with_copies(bank, method.together)
    return bank if method.views else replace(bank, views=bank.views[:0])


def _kept(bank: Bank, seed: int) -> Row:
    photos, logits = bank.folder.photos, bank.cross_validate(seed)
    promised = stats.evaluate(logits, photos.labels, photos.classes).accuracy
    row = {"promised": promised.mean, "low": promised.low, "high": promised.high}
    row |= on_new_photos(bank.train(logits))
    return {name: round(float(value), 4) for name, value in row.items()}


def _with_copies(bank: Bank, together: bool) -> Bank:
    """The folder with a shifted, perhaps mirrored copy of every photo, in one group with it or in its own."""
    photos, twice = bank.folder.photos, torch.arange(len(bank.plain)).repeat(2)
    groups = twice if together else torch.arange(len(twice))
    names = bank.folder.names * 2
    folder = PhotoFolder(photos[twice], names, groups, bank.folder.rows)
    return replace(
        bank, folder=folder, plain=torch.cat([bank.plain, bank.views[0]]), views=torch.zeros(0, *bank.plain.shape)
    )


def as_folder(photos: ImageSet) -> PhotoFolder:
    """Photos of the course as if they had been read from a folder, enlarged to the size that lesson 7 uses."""
    names = tuple(f"{photos.classes[label]}/{i}.png" for i, label in enumerate(photos.labels.tolist()))
    return PhotoFolder(_large(photos), names, torch.arange(len(photos)), ())


def on_new_photos(classifier: Classifier) -> Row:
    """Accuracy on valid photos of the classes, and how many of these and of strangers' it calls unlike its own."""
    ours, others = new_photos()
    answers, about_others = (
        classifier.judge(training.extract(classifier.model, photos, PIXELS)) for photos in (ours, others)
    )
    right = answers["class"] == [ours.classes[label] for label in ours.labels]
    scores = [*answers["strangeness"], *about_others["strangeness"]]
    found = {"accuracy": right.mean(), "flagged": answers["unlike"].mean()}
    auroc = roc_auc_score([0] * len(ours) + [1] * len(others), scores)
    return {**found, "flagged_others": about_others["unlike"].mean(), "auroc": auroc}


@lru_cache
def new_photos() -> tuple[ImageSet, ImageSet]:
    """Valid photos of the three classes, and some of the seven classes that the classifier does not know."""
    valid = data.load("cifar10_photos", "valid")
    strangers = [name for name in valid.classes if name not in CLASSES]
    return _large(valid.only(*CLASSES)), _large(valid.only(*strangers).take(STRANGERS))


def _large(photos: ImageSet) -> ImageSet:
    return replace(photos, images=data.resize(photos.images, PIXELS))


RUNS = {rows: jobs()}
