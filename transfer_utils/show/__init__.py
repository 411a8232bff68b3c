"""All that is drawn: figures, explorers, labs, uploads, in one palette."""

from transfer_utils.show.differences import forest, lead_curve
from transfer_utils.show.explorers import (
    heat_explorer,
    label_explorer,
    mistake_explorer,
    network_explorer,
    response_explorer,
    stage_explorer,
)
from transfer_utils.show.figures import (
    embeddings,
    grid,
    history,
    intervals,
    label_curve,
    loss_by_rate,
    network,
    tradeoff,
)
from transfer_utils.show.lab import Lab
from transfer_utils.show.lines import LineReader
from transfer_utils.show.pictures import heat_rows, photo_rows, photos
from transfer_utils.show.predictions import confusion, reliability, spread
from transfer_utils.show.texts import next_words, pretraining_run
from transfer_utils.show.uploads import Predictor, Uploader
from transfer_utils.show.widgets import Explorer, Frame, explore

__all__ = [
    "Explorer",
    "Frame",
    "Lab",
    "LineReader",
    "Predictor",
    "Uploader",
    "confusion",
    "embeddings",
    "explore",
    "forest",
    "grid",
    "heat_explorer",
    "heat_rows",
    "history",
    "intervals",
    "label_curve",
    "label_explorer",
    "lead_curve",
    "loss_by_rate",
    "mistake_explorer",
    "network",
    "network_explorer",
    "next_words",
    "photo_rows",
    "photos",
    "pretraining_run",
    "reliability",
    "response_explorer",
    "spread",
    "stage_explorer",
    "tradeoff",
]
