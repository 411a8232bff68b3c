"""Lines that nearly equal each other: they share most pairs of neighbouring words."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ALIKE = 0.5  # lines are near-duplicates from this share of common word pairs on (Jaccard)
AT_ONCE = 500  # lines that are compared with all others in one product


def word_pairs(lines: Iterable[str]) -> "csr_matrix":
    """Which neighbouring words each line has, its start and end among them: 0 or 1, (lines, pairs)."""
    from sklearn.feature_extraction.text import CountVectorizer  # slow to import, and photos need none of it

    framed = [f"^ {' '.join(re.findall(r'[a-z0-9]+', line.lower()))} $" for line in lines]
    return CountVectorizer(ngram_range=(2, 2), binary=True, token_pattern=r"\S+").fit_transform(framed).tocsr()


def near_duplicates(pairs: "csr_matrix", of: "csr_matrix") -> Iterator[tuple[int, int]]:
    """Rows of the first and of the second matrix whose lines are alike."""
    sizes, others = (np.asarray(matrix.sum(1)).ravel() for matrix in (pairs, of))
    by_pair = of.T.tocsr()
    for start in range(0, pairs.shape[0], AT_ONCE):
        common = (pairs[start : start + AT_ONCE] @ by_pair).tocoo()
        # Most share one pair, such as the start: fewer than the shortest would need. The rest is looked at closely.
        enough = common.data >= ALIKE * sizes[start : start + AT_ONCE].min()
        shared, rows, columns = common.data[enough], common.row[enough] + start, common.col[enough]
        alike = shared >= ALIKE * (sizes[rows] + others[columns] - shared)
        yield from zip(rows[alike].tolist(), columns[alike].tolist(), strict=True)


def unalike(lines: list[str]) -> list[int]:
    """Positions of the lines that nearly equal no earlier one."""
    pairs = word_pairs(lines)
    later = {max(pair) for pair in near_duplicates(pairs, pairs) if pair[0] != pair[1]}
    return [position for position in range(len(lines)) if position not in later]
