"""Labelled lines: what comes in, and what is picked and drawn from them."""

import pytest
import torch

from transfer_utils import data
from transfer_utils.data import TOPICS, TextSet

LINES = ["a small bird", "a kind of bread", "to run fast", "a tall tree"]


@pytest.fixture
def texts() -> TextSet:
    return TextSet(LINES, torch.tensor([0, 1, 0, 1]), ["moves", "stays"])


def test_it_says_what_it_holds(texts):
    assert repr(texts) == "4 lines of text, 2 classes: moves, stays"
    assert len(texts) == 4
    assert texts.texts == tuple(LINES)
    assert texts.classes == ("moves", "stays")


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([2, 0]), slice(2, None, -2)])
def test_lines_are_picked_with_their_labels(texts, index):
    if isinstance(index, slice):
        with pytest.raises(ValueError, match="step must be greater than zero"):
            texts[index]
        return
    picked = texts[index]
    assert picked.texts == ("to run fast", "a small bird")
    assert picked.labels.tolist() == [0, 0]


def test_one_true_or_false_a_line_and_slices_pick_too(texts):
    assert texts[texts.labels == 1].texts == ("a kind of bread", "a tall tree")
    assert texts[1:3].texts == ("a kind of bread", "to run fast")
    assert texts[[True, False, False, True]].labels.tolist() == [0, 1]


@pytest.mark.parametrize("index", ["bread", 9.5, [4], None])
def test_what_picks_no_lines_is_refused_in_words(texts, index):
    with pytest.raises(ValueError, match=r"lines\["):
        texts[index]


def test_a_single_position_is_no_set(texts):
    with pytest.raises(ValueError, match=r"lines\[1\] would be no set of lines"):
        texts[1]


def test_a_class_alone_is_relabelled(texts):
    assert texts.only("stays").labels.tolist() == [0, 0]
    assert texts.only("stays").texts == ("a kind of bread", "a tall tree")
    assert texts.only("stays", "moves").classes == ("stays", "moves")


def test_draws_are_balanced_and_the_same_for_a_seed(texts):
    drawn = texts.take(1, seed=3)
    assert drawn.labels.tolist() == [0, 1]
    assert drawn.texts == texts.take(1, seed=3).texts
    with pytest.raises(ValueError, match=r"'moves' has only 2 lines\. Ask for at most 2"):
        texts.take(3)
    with pytest.raises(ValueError, match="at least 1 line per class"):
        texts.take(0)


def test_parts_are_disjoint(texts):
    first, rest = texts.split(0.5)
    assert sorted(first.texts + rest.texts) == sorted(LINES)
    assert not set(first.texts) & set(rest.texts)


@pytest.mark.parametrize(
    ("lines", "labels", "classes", "error", "words"),
    [
        ("a bird", [0], ("a",), TypeError, "got texts of type str; they are a list of strings"),
        ([b"a bird"], [0], ("a",), TypeError, r"got b'a bird' among its texts; each of them is a string"),
        (["a bird", 3], [0, 0], ("a",), TypeError, r"got 3 among its texts"),
        ({"a bird"}, [0], ("a",), TypeError, "type set"),
        (["a bird"], [0, 0], ("a",), ValueError, r"got 1 lines and 2 labels; it needs a label for each line"),
        (["a bird"], [1], ("a",), ValueError, "give lines of these classes only"),
        (["a bird"], [-1], ("a",), ValueError, "Leave lines without a class out"),
        (["a bird"], [0], "a", TypeError, r"TextSet\(\) got classes='a'"),
        (["a bird"], [0], ("a", "a"), ValueError, "each of them once"),
    ],
)
def test_what_is_no_set_of_lines_is_refused_at_the_door(lines, labels, classes, error, words):
    with pytest.raises(error, match=words):
        TextSet(lines, torch.tensor(labels), classes)


def test_an_empty_set_is_one():
    assert len(TextSet([], torch.tensor([], dtype=torch.int64), ("a",))) == 0


@pytest.mark.parametrize(("split", "each"), [("train", 750), ("valid", 150), ("test", 300)])
def test_the_topics_are_balanced(split, each):
    texts = data.load_texts("topics", split)
    assert texts.classes == TOPICS
    assert torch.bincount(texts.labels).tolist() == [each] * 10


def test_what_is_loaded_is_the_callers_own():
    data.load_texts("topics", "valid").labels.zero_()
    assert data.load_texts("topics", "valid").labels.max() == 9


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match="topics"):
        data.load_texts("topic")
    with pytest.raises(ValueError, match=r"There is no text \['topics'\]"):
        data.load_texts(["topics"])
    with pytest.raises(ValueError, match="valid"):
        data.load_texts("topics", "vaild")
    with pytest.raises(ValueError, match="train"):
        data.load_lines("test")
