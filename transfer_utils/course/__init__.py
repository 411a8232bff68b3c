"""What one lesson alone needs: its checks, quiz and lab; the grid; settings."""

from transfer_utils.course.exercises import check, self_test
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
from transfer_utils.course.lesson03 import freezing_lab
from transfer_utils.course.lesson04 import (
    advice,
    correlation,
    gain,
    gains_by_task,
    interaction,
    method_explorer,
    photos_needed,
    work_saved,
)
from transfer_utils.course.lesson05 import cover
from transfer_utils.course.lesson07 import sample_photos
from transfer_utils.course.settings import settings

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
    "advice",
    "again",
    "check",
    "chosen",
    "correlation",
    "cover",
    "freezing_lab",
    "gain",
    "gains_by_task",
    "interaction",
    "method_explorer",
    "photos_needed",
    "probe_jobs",
    "probed",
    "sample_photos",
    "self_test",
    "settings",
    "start",
    "trained",
    "training_jobs",
    "work_saved",
]
