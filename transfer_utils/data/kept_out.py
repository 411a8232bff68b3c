"""Which lines are fit for a classroom: those that say something, and have no word of data/texts/kept_out.txt."""

import re

FEWEST_WORDS = 3


def word_list(words: list[str]) -> re.Pattern:
    """A pattern that finds any of the words; one that ends in * stands for all that begin like it."""
    return re.compile(rf"\b(?:{'|'.join(re.escape(word).replace(re.escape('*'), '[a-z]*') for word in words)})\b", re.I)


def in_class(line: str, kept_out: re.Pattern) -> bool:
    """Whether a line is long enough to say something, and has no word that is kept out."""
    return len(line.split()) >= FEWEST_WORDS and not kept_out.search(line)
