"""The course's labelled photos and lines of text."""

from transfer_utils.data.augment import CORRUPTIONS, VIEWS, flip_and_shift, views
from transfer_utils.data.labelled import LabelledSet
from transfer_utils.data.photos import (
    CIFAR10,
    COLUMNS,
    SIDE,
    SOURCES,
    TARGETS,
    load,
    read_sheet,
    source_photos,
    splits,
)
from transfer_utils.data.sets import ImageSet, resize
from transfer_utils.data.texts import TOPICS, TextSet, load_lines, load_texts

__all__ = [
    "CIFAR10",
    "COLUMNS",
    "CORRUPTIONS",
    "ImageSet",
    "LabelledSet",
    "SIDE",
    "SOURCES",
    "TARGETS",
    "TOPICS",
    "TextSet",
    "VIEWS",
    "flip_and_shift",
    "load",
    "load_lines",
    "load_texts",
    "read_sheet",
    "resize",
    "source_photos",
    "splits",
    "views",
]
