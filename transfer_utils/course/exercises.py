"""What the lessons ask and check, found by the number of the exercise or of the lesson."""

from collections.abc import Callable

from IPython.display import HTML

from transfer_utils.course import lesson00, lesson01, lesson02, lesson03, lesson04, lesson05, lesson07, lesson08
from transfer_utils.course.checking import Question, as_html
from transfer_utils.machine import unknown

LESSONS = {
    "00": lesson00,
    "01": lesson01,
    "02": lesson02,
    "03": lesson03,
    "04": lesson04,
    "05": lesson05,
    "07": lesson07,
    "08": lesson08,
}
CHECKS: dict[str, Callable[[Callable], None]] = {
    number: check for lesson in LESSONS.values() for number, check in lesson.CHECKS.items()
}
QUIZZES: dict[str, tuple[Question, ...]] = {number: lesson.QUIZ for number, lesson in LESSONS.items()}


def check(exercise: str, answer: Callable) -> None:
    """Run the learner's function and print one verdict. ValueError for an exercise that there is not, such as '0.9'."""
    if exercise not in CHECKS:
        raise unknown("exercise", exercise, CHECKS)
    CHECKS[exercise](answer)


def self_test(lesson: str, *answers: str | None) -> HTML:
    """The questions of a lesson's self-test with feedback on the answers given so far, for example 'b', None, 'a'.

    ValueError for a lesson that there is not.
    """
    if lesson not in QUIZZES:
        raise unknown("lesson", lesson, QUIZZES)
    return as_html(QUIZZES[lesson], answers)
