"""Model cards: every number of the run, in words that hold without the notebook."""

import datetime
import re

import pytest
import torch
from small_classifiers import CLASSES, as_folder, small_classifier, small_folder

from transfer_utils import data, stats
from transfer_utils.own_photos.cards import folder_card

FACTS = {"Classes": "cat, dog", "Photos": 120, "Made on": "2026-01-01"}


def told(rows: list[list[int]], *classes: str) -> stats.Evaluation:
    """Answers with this confusion matrix: rows are the true classes."""
    pairs = [(i, j) for i, row in enumerate(rows) for j, count in enumerate(row) for _ in range(count)]
    labels, predicted = torch.tensor(pairs).T
    return stats.evaluate(torch.eye(len(classes))[predicted], labels, classes)


PETS = told([[8, 2], [1, 3]], "cat", "dog")


# --- card ---------------------------------------------------------------------------------------------------------


def test_a_card_has_every_fact():
    card = PETS.card("Cats", FACTS, "test photos", ["Night.", "Snow."])
    lines = card.splitlines()
    assert lines[0] == "# Cats"
    assert "- **Classes**: cat, dog" in lines
    assert "- **Photos**: 120" in lines
    assert "- **Made on**: 2026-01-01" in lines
    assert "Accuracy on test photos: 78.6% [52.4%, 92.4%] of 14 photos." in lines
    assert "| cat | 80% | 49% to 94% | 10 |" in lines
    assert "| dog | 75% | 30% to 95% | 4 |" in lines
    assert lines[-2:] == ["- Night.", "- Snow."]
    assert card.endswith("\n")


def test_a_card_is_markdown_with_a_table_and_two_lists():
    card = PETS.card("Cats", FACTS, "test photos", ["Night."])
    blocks = [block.splitlines() for block in card.split("\n\n")]
    (table,) = [block for block in blocks if block[0].startswith("|")]
    assert len(table) == 2 + len(PETS.classes)
    assert {line.count("|") for line in table} == {5}
    lists = [block for block in blocks if block[0].startswith("- ")]
    assert [len(items) for items in lists] == [len(FACTS), 1]
    assert [block[0] for block in blocks if block[0].startswith("#")] == [
        "# Cats",
        "## How good it is",
        "## What it does not know",
    ]


# --- folder_card --------------------------------------------------------------------------------------------------


def test_the_card_of_a_folder_says_what_was_measured():
    classifier, logits = small_classifier()
    judged, card = stats.evaluate(logits, small_folder().photos.labels, CLASSES), classifier.card
    assert card.startswith("# cat or frog or ship\n")
    assert "- **Classes**: cat, frog, ship\n" in card
    assert "- **Photos**: 48, seen as squares of 64 pixels from their middle\n" in card
    assert "- **Resized**: with Lanczos" in card
    assert "efficientnet_lite0 with ImageNet weights, frozen; a linear probe as its head" in card
    assert f"{datetime.date.today()}, torch {torch.__version__}" in card
    assert f"each judged by a probe that had not seen it (cross-validation): {judged.accuracy}." in card
    for name, share in judged.per_class.items():
        assert f"| {name} | {share.mean:.0%} | {share.low:.0%} to {share.high:.0%} | 16 |\n" in card
    assert f"- {judged.often_confused}\n" in card
    assert "one of its classes" in card
    assert "Treat it as you would treat the photos" in card
    assert "- 12 of its photos are near-copies of others" in card


def test_without_near_copies_the_card_speaks_of_none():
    folder = as_folder(data.load().only("cat", "ship").take(2), size=32)
    judged = stats.evaluate(torch.eye(2)[folder.photos.labels], folder.photos.labels, folder.photos.classes)
    card = folder_card(folder, judged, "resnet18")
    assert "near-copies" not in card
    assert "- No photo was mistaken for another class.\n" in card
    assert "| cat | 100% | 34% to 100% | 2 |\n" in card


@pytest.mark.parametrize("name", ["black|white", "two\nlines"])
def test_a_class_with_any_name_is_one_line_of_the_table(name):
    card = told([[1, 1], [0, 2]], name, "dog").card("Cats", FACTS, "test photos", ["Night."])
    (table,) = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [5] * 4


# --- often_confused -----------------------------------------------------------------------------------------------


def test_the_most_frequent_mistake_in_words():
    rows = [[5, 2, 0], [3, 6, 1], [0, 0, 9]]
    assert (
        told(rows, "cat", "dog", "ship").often_confused
        == "Its most frequent mistake: 3 of 10 photos of dog were taken for cat."
    )


def test_of_equal_mistakes_one_is_told():
    said = told([[5, 2], [2, 1]], "cat", "dog").often_confused
    assert said in (
        "Its most frequent mistake: 2 of 7 photos of cat were taken for dog.",
        "Its most frequent mistake: 2 of 3 photos of dog were taken for cat.",
    )


@pytest.mark.parametrize("rows", [[[4, 0], [0, 7]], [[0, 0], [0, 3]]])
def test_without_mistakes_none_is_told(rows):
    assert told(rows, "cat", "dog").often_confused == "No photo was mistaken for another class."


def test_a_class_without_photos_is_not_the_mistaken_one():
    said = told([[0, 0], [1, 3]], "cat", "dog").often_confused
    assert said == "Its most frequent mistake: 1 of 4 photos of dog were taken for cat."


def test_right_answers_are_no_mistakes_however_many():
    said = told([[100, 1], [0, 100]], "cat", "dog").often_confused
    assert said == "Its most frequent mistake: 1 of 101 photos of cat were taken for dog."
