"""The course's own tokens: byte pairs, so that any text becomes tokens and comes back unchanged."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from transfer_utils import machine
from transfer_utils.machine import is_whole

PAD, END = 0, 1  # no token, and the mark between two lines


@cache
def vocabulary() -> Tokenizer:
    """The shipped vocabulary, after comparing its sha256."""
    read = Tokenizer.from_str(machine.read_shipped("texts", "vocabulary.json").decode())
    read.encode_special_tokens = True  # or "<end>" in a text would become the mark
    return read


def to_tokens(lines: Iterable[str]) -> list[list[int]]:
    """The tokens of each line, without marks. TypeError for what are no lines of text."""
    return [encoding.ids for encoding in vocabulary().encode_batch(checked(lines))]


def to_text(tokens: Iterable[int] | Tensor) -> str:
    """The text that the tokens of one line stand for; marks stand for nothing. ValueError for what are no tokens."""
    every: Any = tokens.tolist() if isinstance(tokens, Tensor) else tokens
    every, known = list(every) if isinstance(every, Iterable) else every, vocabulary().get_vocab_size()
    odd = [token for token in every if not is_whole(token, 0) or token >= known] if isinstance(every, list) else [every]
    if odd:
        raise ValueError(
            f"to_text() got {odd[0]!r} as a token; it needs those of one line, whole numbers from 0 to {known - 1}. Of "
            "a batch: to_text(tokens[0])."
        )
    return vocabulary().decode(every)


def checked(lines: Any) -> list[str]:
    """The lines as a list. TypeError for what are no lines of text."""
    if isinstance(lines, str) or not isinstance(lines, Iterable):
        raise TypeError(f"Lines of text were {lines!r}; give a list of them, for a single line a list of one: [line].")
    every = list(lines)
    for line in every:
        if not isinstance(line, str):
            raise TypeError(f"A line of text was {line!r}, a {type(line).__name__}; it must be a str: str(line).")
        if not line.isascii():
            _check_letters(line)
    return every


def _check_letters(line: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise TypeError(
            f"The line {line!r} holds half of a character, which is no text. Read its file as UTF-8, or take what is "
            "text: line.encode(errors='ignore').decode()."
        ) from error
