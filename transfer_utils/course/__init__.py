"""What one lesson alone needs: its checks, quiz and lab; the grid; settings."""

from transfer_utils.course.exercises import self_test
from transfer_utils.course.grid import (
    COURSE,
    EPOCHS,
    EPOCHS_FOR,
    IMAGENET,
    KEYS,
    METHODS,
    METHODS_IN_ORDER,
    PIXELS,
    PROBE_SIZES,
    again,
    chosen,
    probe_jobs,
    probed,
    start,
    trained,
    training_jobs,
)
from transfer_utils.course.lesson00 import accuracy_with, ten_classes
from transfer_utils.course.lesson01 import neighbour_agreement, transplanted
from transfer_utils.course.lesson02 import best_stage, frozen
from transfer_utils.course.lesson03 import freezing_lab, layer_rates, trains_only_the_head
from transfer_utils.course.lesson04 import (
    advice,
    correlation,
    gain,
    gains_by_task,
    interaction,
    method_explorer,
    paired_gain,
    pareto_front,
    photos_needed,
    work_saved,
)
from transfer_utils.course.lesson05 import best_temperature, cover, heat_map
from transfer_utils.course.lesson07 import balanced_accuracy, parts_without_leaks, sample_photos
from transfer_utils.course.settings import result, settings

__all__ = [
    "COURSE",
    "EPOCHS",
    "EPOCHS_FOR",
    "IMAGENET",
    "KEYS",
    "METHODS",
    "METHODS_IN_ORDER",
    "PIXELS",
    "PROBE_SIZES",
    "accuracy_with",
    "advice",
    "again",
    "balanced_accuracy",
    "best_stage",
    "best_temperature",
    "chosen",
    "correlation",
    "cover",
    "freezing_lab",
    "frozen",
    "gain",
    "gains_by_task",
    "heat_map",
    "interaction",
    "layer_rates",
    "method_explorer",
    "neighbour_agreement",
    "paired_gain",
    "pareto_front",
    "parts_without_leaks",
    "photos_needed",
    "probe_jobs",
    "probed",
    "result",
    "sample_photos",
    "self_test",
    "settings",
    "start",
    "ten_classes",
    "trained",
    "training_jobs",
    "trains_only_the_head",
    "transplanted",
    "work_saved",
]
