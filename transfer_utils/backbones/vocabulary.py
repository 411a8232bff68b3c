"""The course's own tokens: byte pairs, so that any text becomes tokens and comes back unchanged."""

from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer

from transfer_utils import machine

PAD, END = 0, 1  # no token, and the mark between two lines


@cache
def vocabulary() -> Tokenizer:
    """The shipped vocabulary, after comparing its sha256."""
    return Tokenizer.from_str(machine.read_shipped("texts", "vocabulary.json").decode())


def to_tokens(lines: Sequence[str]) -> list[list[int]]:
    """The tokens of each line, without marks."""
    return [encoding.ids for encoding in vocabulary().encode_batch(list(lines))]


def to_text(tokens: Sequence[int]) -> str:
    """The text that tokens stand for; marks stand for nothing."""
    return vocabulary().decode(list(tokens))
