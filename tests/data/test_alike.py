"""Which lines are left out: those that nearly equal another one, and those that are not for a class."""

import pytest

from transfer_utils.data import in_class, near_duplicates, unalike, word_list, word_pairs

LINES = [
    "a small domesticated animal with soft fur",
    "the act of moving quickly from one place to another",
    "A small, domesticated animal: with SOFT fur!",
    "a small domesticated animal with fur",
    "fur soft with animal domesticated small a",
    "animal",
]


def test_of_lines_that_are_alike_the_first_stays():
    """Capitals and commas do not count, and neither does a word less; the same words in another order do."""
    assert unalike(LINES) == [0, 1, 4, 5]


def test_pairs_that_are_alike_are_found_between_two_sets(monkeypatch):
    pairs = word_pairs(LINES)
    expected = [(0, 0), (0, 2), (0, 3), (1, 1)]
    assert sorted(near_duplicates(pairs[:2], pairs)) == expected
    monkeypatch.setattr("transfer_utils.data.alike.AT_ONCE", 1)
    assert sorted(near_duplicates(pairs[:2], pairs)) == expected


def test_alike_is_half_of_the_word_pairs():
    pairs = word_pairs(["a b c d e", "a b c d f", "a b c g h"])  # four of eight, and three of nine
    assert [pair for pair in near_duplicates(pairs, pairs) if pair[0] < pair[1]] == [(0, 1)]


@pytest.mark.parametrize(
    ("line", "fit"),
    [
        ("a tool for cutting wood", True),
        ("two words", False),
        ("the act of Killing time", False),
        ("a person of great skill", True),  # no word that begins like it
        ("an hour of gore.", False),
        ("a gorey hour indeed", True),  # without * the word is the whole word
    ],
)
def test_lines_with_a_word_that_is_kept_out_are_not_for_a_class(line, fit):
    assert in_class(line, word_list(["kill*", "gore"])) is fit
