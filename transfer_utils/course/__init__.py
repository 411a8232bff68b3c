"""What one lesson alone needs: its checks, quiz and lab; the methods; settings."""

from transfer_utils.course.exercises import check, self_test
from transfer_utils.course.lesson03_lab import freezing_lab
from transfer_utils.course.lesson04 import method_explorer
from transfer_utils.course.lesson04_map import trained
from transfer_utils.course.lesson04_rows import advised, regret, work_saved
from transfer_utils.course.lesson05 import cover
from transfer_utils.course.lesson07 import sample_photos
from transfer_utils.course.settings import settings

__all__ = [
    "advised",
    "check",
    "cover",
    "freezing_lab",
    "method_explorer",
    "regret",
    "sample_photos",
    "self_test",
    "settings",
    "trained",
    "work_saved",
]
