"""The course's labelled photos as tensors."""

from transfer_utils.data.augment import CORRUPTIONS, VIEWS, flip_and_shift, views
from transfer_utils.data.photos import (
    CIFAR10,
    COLUMNS,
    SIDE,
    SOURCES,
    TARGETS,
    ImageSet,
    load,
    read_sheet,
    resize,
    source_photos,
    splits,
)

__all__ = [
    "CIFAR10",
    "COLUMNS",
    "CORRUPTIONS",
    "ImageSet",
    "SIDE",
    "SOURCES",
    "TARGETS",
    "VIEWS",
    "flip_and_shift",
    "load",
    "read_sheet",
    "resize",
    "source_photos",
    "splits",
    "views",
]
