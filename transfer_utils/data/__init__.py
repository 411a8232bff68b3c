"""The course's labelled photos and lines of text."""

from transfer_utils.data.alike import near_duplicates, unalike, word_pairs
from transfer_utils.data.augment import CORRUPTIONS, VIEWS, flip_and_shift, views
from transfer_utils.data.kept_out import in_class, word_list
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
    "in_class",
    "load",
    "load_lines",
    "load_texts",
    "near_duplicates",
    "read_sheet",
    "resize",
    "source_photos",
    "splits",
    "unalike",
    "views",
    "word_list",
    "word_pairs",
]
