"""The course's labelled photos as tensors."""

from transfer_utils.data.augment import CORRUPTIONS, VIEWS, flip_and_shift, views
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
from transfer_utils.data.texts import TOPICS, load_lines

__all__ = [
    "CIFAR10",
    "COLUMNS",
    "CORRUPTIONS",
    "ImageSet",
    "SIDE",
    "SOURCES",
    "TARGETS",
    "TOPICS",
    "VIEWS",
    "flip_and_shift",
    "load",
    "load_lines",
    "read_sheet",
    "resize",
    "source_photos",
    "splits",
    "views",
]
