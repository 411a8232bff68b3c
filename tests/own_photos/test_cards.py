"""Model cards: every number of the run, in words that hold without the notebook."""

import datetime
import re

import pandas as pd
import pytest
import torch
from small_classifiers import CLASSES, as_folder, small_classifier, small_folder

from transfer_utils import data, own_photos, stats

FACTS = {"Classes": "cat, dog", "Photos": 120, "Made on": "2026-01-01"}
PER_CLASS = {"cat": stats.share_interval(8, 10), "dog": stats.share_interval(3, 4)}


def table(rows: list[list[int]], *names: str) -> pd.DataFrame:
    return pd.DataFrame(rows, index=list(names), columns=list(names))


# --- model_card ---------------------------------------------------------------------------------------------------


def test_a_card_has_every_fact():
    card = stats.model_card("Cats", FACTS, stats.share_interval(11, 14), "test photos", PER_CLASS, ["Night.", "Snow."])
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
    card = stats.model_card("Cats", FACTS, stats.share_interval(1, 2), "test photos", PER_CLASS, ["Night."])
    blocks = [block.splitlines() for block in card.split("\n\n")]
    (table,) = [block for block in blocks if block[0].startswith("|")]
    assert len(table) == 2 + len(PER_CLASS)
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
    folder, (_, logits) = small_folder(), small_classifier()
    labels, predicted = folder.photos.labels, logits.argmax(1)
    card = own_photos.folder_card(folder, logits, "efficientnet_lite0")
    assert card.startswith("# cat or frog or ship\n")
    assert "- **Classes**: cat, frog, ship\n" in card
    assert "- **Photos**: 48, seen as squares of 64 pixels from their middle\n" in card
    assert "efficientnet_lite0 with ImageNet weights, frozen; a linear probe as its head" in card
    assert f"{datetime.date.today()}, torch {torch.__version__}" in card
    assert (
        f"each judged by a probe that had not seen it (cross-validation): {stats.overall(labels, predicted)}." in card
    )
    for name, share in stats.per_class(labels, predicted, CLASSES).items():
        assert f"| {name} | {share.mean:.0%} | {share.low:.0%} to {share.high:.0%} | 16 |\n" in card
    assert f"- {stats.often_confused(stats.confusion(labels, predicted, CLASSES))}\n" in card
    assert "one of its classes" in card
    assert "Treat it as you would treat the photos" in card
    assert "- 12 of its photos are near-copies of others" in card


def test_without_near_copies_the_card_speaks_of_none():
    folder = as_folder(data.load().only("cat", "ship").take(2), size=32)
    card = own_photos.folder_card(folder, torch.eye(2)[folder.photos.labels], "resnet18")
    assert "near-copies" not in card
    assert "- No photo was mistaken for another class.\n" in card
    assert "| cat | 100% | 34% to 100% | 2 |\n" in card


@pytest.mark.parametrize("name", ["black|white", "two\nlines"])
def test_a_class_with_any_name_is_one_line_of_the_table(name):
    per_class = {name: stats.share_interval(1, 2), "dog": stats.share_interval(2, 2)}
    card = stats.model_card("Cats", FACTS, stats.share_interval(3, 4), "test photos", per_class, ["Night."])
    (table,) = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [5] * 4


# --- often_confused -----------------------------------------------------------------------------------------------


def test_the_most_frequent_mistake_in_words():
    rows = table([[5, 2, 0], [3, 6, 1], [0, 0, 9]], "cat", "dog", "ship")
    assert stats.often_confused(rows) == "Its most frequent mistake: 3 of 10 photos of dog were taken for cat."


def test_of_equal_mistakes_one_is_told():
    told = stats.often_confused(table([[5, 2], [2, 1]], "cat", "dog"))
    assert told in (
        "Its most frequent mistake: 2 of 7 photos of cat were taken for dog.",
        "Its most frequent mistake: 2 of 3 photos of dog were taken for cat.",
    )


@pytest.mark.parametrize("rows", [[[4, 0], [0, 7]], [[0, 0], [0, 3]], [[0, 0], [0, 0]]])
def test_without_mistakes_none_is_told(rows):
    assert stats.often_confused(table(rows, "cat", "dog")) == "No photo was mistaken for another class."


def test_a_class_without_photos_is_not_the_mistaken_one():
    told = stats.often_confused(table([[0, 0], [1, 3]], "cat", "dog"))
    assert told == "Its most frequent mistake: 1 of 4 photos of dog were taken for cat."


def test_right_answers_are_no_mistakes_however_many():
    told = stats.often_confused(table([[100, 1], [0, 100]], "cat", "dog"))
    assert told == "Its most frequent mistake: 1 of 101 photos of cat were taken for dog."
