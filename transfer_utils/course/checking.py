"""What runs a learner's answer and says one verdict; and the self-test."""

import functools
import reprlib
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from IPython.display import HTML

OURS, STANDARD = Path(__file__).parents[1], Path(sysconfig.get_paths()["stdlib"])


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
        if not callable(answer):
            got = described(answer)
            print(
                f"Not yet: the check needs the function itself, and got {got}.\nHint: write its name without brackets."
            )
            return
        watched = _Watched(answer)
        try:
            with torch.random.fork_rng(devices=[]):
                print(f"Right: {examine(watched)}")
        except NotYet as verdict:
            print(f"Not yet: {verdict}")
        except Exception as error:
            print(f"Not yet: {watched.explain(error)}")

    return report


class _Watched:
    """The learner's function as a check calls it. It remembers its last call, and what came back."""

    def __init__(self, answer: Callable):
        self.answer, self.__name__ = answer, getattr(answer, "__name__", type(answer).__name__)
        self.call, self.came_back, self.value = "", False, None

    def __call__(self, *values: object) -> object:
        self.call, self.came_back = f"{self.__name__}({', '.join(map(described, values))})", False
        self.value = self.answer(*values)
        self.came_back = True
        return self.value

    def explain(self, error: Exception) -> str:
        """What stopped the check: with the learner's own line, or else with how the check called the function."""
        stopped = f"stopped with {type(error).__name__}: {error}\nHint:"
        own = [frame.line for frame in traceback.extract_tb(error.__traceback__) if _by_the_learner(frame)]
        if own:
            return (
                f"{self.__name__}() {stopped} it happened at `{own[-1]}`; print the values in that line just before it."
            )
        if not self.call:
            return f"the check {stopped} it has not come to {self.__name__} yet, so this is not about your lines."
        if self.came_back:
            return f"the check {stopped} it called {self.call}, and cannot use what came back: {described(self.value)}."
        return f"{self.__name__}() {stopped} the check called {self.call}."


def _by_the_learner(frame: traceback.FrameSummary) -> bool:
    """Whether these are the learner's own lines, and neither ours, nor Python's, nor an installed package's."""
    path = Path(frame.filename)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(frame.line) and not installed and not any(path.is_relative_to(folder) for folder in (OURS, STANDARD))


def described(value: object) -> str:
    """A value in few words: itself where it is small, such as 'warm', else its type and size, such as Tensor (2, 5)."""
    kind = type(value).__name__
    if isinstance(value, torch.Tensor):
        return f"{kind} {tuple(value.shape)}"
    if isinstance(value, list | tuple | dict | set):
        return f"{kind} of {len(value)}"
    return reprlib.repr(value) if value is None or isinstance(value, str | int | float) else kind


def filled(value: object, answer: Callable, hint: str) -> None:
    """Raise NotYet where the learner has left the exercise as it was."""
    if value is None or value is Ellipsis:
        raise NotYet(f"{answer.__name__}() returned {value}.", hint)


def feedback(question: Question, answer: str | None) -> str:
    """What to say to an answer: a letter, None, or something else."""
    letters = "abcdefgh"[: len(question.options)]
    if answer is None:
        return "No answer yet."
    letter = str(answer).strip().lower()
    if len(letter) != 1 or letter not in letters:
        return f"{answer!r} is not one of the letters {', '.join(letters)}."
    position = letters.index(letter)
    verdict = "Right." if position == question.right else "Not quite."
    return f"{letter}: {verdict} {question.options[position][1]}"


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
