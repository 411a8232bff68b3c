"""What one lesson alone needs: its checks, quiz and lab; the grid; settings."""

from transfer_utils.course.exercises import check, self_test
from transfer_utils.course.grid import chosen, trained
from transfer_utils.course.lesson03_lab import freezing_lab
from transfer_utils.course.lesson04 import method_explorer
from transfer_utils.course.lesson04_rows import advice, correlation, gains_by_task, photos_needed, work_saved
from transfer_utils.course.lesson05 import cover
from transfer_utils.course.lesson07 import sample_photos
from transfer_utils.course.settings import settings

__all__ = [
    "advice",
    "check",
    "chosen",
    "correlation",
    "cover",
    "freezing_lab",
    "gains_by_task",
    "method_explorer",
    "photos_needed",
    "sample_photos",
    "self_test",
    "settings",
    "trained",
    "work_saved",
]
