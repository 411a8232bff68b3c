"""What runs a learner's answer and says one verdict; and the self-test."""

import functools
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from IPython.display import HTML


class NotYet(Exception):
    """An answer that is not right yet: what was seen, and a hint."""

    def __init__(self, seen: str, hint: str):
        super().__init__(f"{seen}\nHint: {hint}")


@dataclass(frozen=True)
class Question:
    """A question, its options as (text, feedback), and the position of the right one."""

    text: str
    options: tuple[tuple[str, str], ...]
    right: int


def checked(examine: Callable[[Callable], str]) -> Callable[[Callable], None]:
    """Turn examine(answer) -> praise, which raises NotYet, into a check that prints one verdict and never raises."""

    @functools.wraps(examine)
    def report(answer: Callable) -> None:
        name = getattr(answer, "__name__", repr(answer))
        if not callable(answer):
            print(
                f"Not yet: the check needs the function itself, and got {name}.\nHint: write its name without brackets."
            )
            return
        try:
            with torch.random.fork_rng(devices=[]):
                print(f"Right: {examine(answer)}")
        except NotYet as verdict:
            print(f"Not yet: {verdict}")
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"Not yet: {name}() stopped with {type(error).__name__}: {error}\n"
                f"Hint: it happened at `{line.line}`; print the values in that line just before it."
            )

    return report


def filled(value: object, answer: Callable, hint: str) -> None:
    """Raise NotYet where the learner has left the exercise as it was."""
    if value is None or value is Ellipsis:
        raise NotYet(f"{answer.__name__}() returned {value}.", hint)


def feedback(question: Question, answer: str | None) -> str:
    """What to say to an answer: a letter, None, or something else."""
    letters = "abcdefgh"[: len(question.options)]
    if answer is None:
        return "No answer yet."
    if answer not in letters or len(answer) != 1:
        return f"{answer!r} is not one of the letters {', '.join(letters)}."
    position = letters.index(answer)
    verdict = "Right." if position == question.right else "Not quite."
    return f"{answer}: {verdict} {question.options[position][1]}"


def as_html(quiz: Sequence[Question], answers: Sequence[str | None]) -> HTML:
    """The questions with their options, and feedback on the answers so far; what is not answered may be left out."""
    parts = []
    for number, question in enumerate(quiz, start=1):
        answer = answers[number - 1] if number <= len(answers) else None
        options = "".join(f"<li>{text}</li>" for text, _ in question.options)
        parts.append(
            f"<p><b>Question {number}.</b> {question.text}</p>"
            f'<ol style="list-style-type: lower-alpha">{options}</ol><p><i>{feedback(question, answer)}</i></p>'
        )
    return HTML("".join(parts))
