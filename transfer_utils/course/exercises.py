"""The questions of every lesson, found by the number of the lesson."""

from IPython.display import HTML

from transfer_utils.course import lesson00, lesson01, lesson02, lesson03, lesson04, lesson05, lesson07
from transfer_utils.course.checking import feedback

QUIZZES = {
    "00": lesson00.QUIZ,
    "01": lesson01.QUIZ,
    "02": lesson02.QUIZ,
    "03": lesson03.QUIZ,
    "04": lesson04.QUIZ,
    "05": lesson05.QUIZ,
    "07": lesson07.QUIZ,
}


def self_test(lesson: str, *answers: str | None) -> HTML:
    """The questions of a lesson's self-test with feedback on the answers given so far, for example 'b', None, 'a'."""
    parts = []
    for number, question in enumerate(QUIZZES[lesson], start=1):
        answer = answers[number - 1] if number <= len(answers) else None
        options = "".join(f"<li>{text}</li>" for text, _ in question.options)
        parts.append(
            f"<p><b>Question {number}.</b> {question.text}</p>"
            f'<ol style="list-style-type: lower-alpha">{options}</ol><p><i>{feedback(question, answer)}</i></p>'
        )
    return HTML("".join(parts))
