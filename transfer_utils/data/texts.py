"""The course's lines of text: to pretrain on, and labelled."""

import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from transfer_utils import machine
from transfer_utils.data.labelled import LabelledSet, checked_names
from transfer_utils.data.photos import SPLITS
from transfer_utils.data.reviews import load_reviews
from transfer_utils.machine import check_labels, unknown

TOPICS = (
    "animal",
    "plant",
    "food",
    "body",
    "artifact",
    "person",
    "location",
    "substance",
    "act",
    "communication",
)


@dataclass(frozen=True, eq=False)
class TextSet(LabelledSet):
    """Labelled lines of text in memory.

    texts: N strings. labels: int64 (N,), an index into classes. classes: names, no two the same.
    TypeError or ValueError for anything else, with the way to get there.
    """

    texts: Sequence[str]
    labels: Tensor
    classes: tuple[str, ...]
    one: ClassVar[str] = "line"
    many: ClassVar[str] = "lines"

    def __post_init__(self) -> None:
        """Refuse what would train into nonsense later."""
        self.__dict__["texts"] = _lines(self.texts)
        self.__dict__["classes"] = checked_names("TextSet()", self.classes)
        check_labels("TextSet()", self.labels, len(self.texts), len(self.classes), self.one)

    def __repr__(self) -> str:
        return f"{len(self):,} lines of text, {len(self.classes)} classes: {', '.join(self.classes)}"

    def _items_at(self, index: Any) -> dict[str, Any]:
        return {"texts": tuple(self.texts[row] for row in torch.arange(len(self))[index].tolist())}


def _lines(texts: Any) -> tuple[str, ...]:
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise TypeError(
            f"TextSet() got texts of type {type(texts).__name__}; they are a list of strings, one a line, for example "
            "['a small bird', 'a kind of bread']."
        )
    odd = next((text for text in texts if not isinstance(text, str)), None)
    if odd is not None:
        raise TypeError(f"TextSet() got {odd!r} among its texts; each of them is a string: str(text).")
    return tuple(texts)


def load_texts(name: str = "topics", split: str = "train") -> TextSet:
    """The labelled lines of one split: train, valid or test.

    topics: definitions of nouns in ten topics, 750 train, 150 valid and 300 test lines each, shipped with the course.
    No line that course_gpt was pretrained on is or nearly equals one of them. Source: WordNet 3.0, Princeton
    University, https://wordnet.princeton.edu
    film_reviews, product_reviews: rated sentences, bad and good; fetched once, see load_reviews, which may fail with
    RuntimeError.
    """
    if name not in list(_LOADERS):  # a dict would not look for what it cannot hold
        raise unknown("text", name, _LOADERS)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    lines = _LOADERS[name](split)
    return lines._part(labels=lines.labels.clone())


def load_lines(split: str = "train") -> list[str]:
    """Lines to pretrain on, definitions and example sentences of WordNet 3.0. split: train, or valid, which are 2,000.

    ValueError for another split; errors as in machine.read_shipped.
    """
    if split not in SPLITS[:2]:
        raise unknown("split", split, SPLITS[:2])
    return _read(f"{split}.txt.xz")


@lru_cache
def _topics(split: str) -> TextSet:
    rows = [line.split("\t") for line in _read("topics.tsv.xz")]
    topics, lines = zip(*[(topic, line) for part, topic, line in rows if part == split], strict=True)
    return TextSet(lines, torch.tensor([TOPICS.index(topic) for topic in topics]), TOPICS)


def _read(name: str) -> list[str]:
    return lzma.decompress(machine.read_shipped("texts", name)).decode().splitlines()


def _reviews(name: str) -> Callable[[str], TextSet]:
    return lambda split: TextSet(*load_reviews(name, split))


_LOADERS: dict[str, Callable[[str], TextSet]] = {
    "topics": _topics,
    "film_reviews": _reviews("film_reviews"),
    "product_reviews": _reviews("product_reviews"),
}
