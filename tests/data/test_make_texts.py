"""What the shipped lines promise, and the rules that they were made by."""

import lzma
from collections import Counter

import pytest

import make_texts
from transfer_utils import data, machine
from transfer_utils.data import TOPICS

MOST_BYTES = 4 * 10**6


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    content = lzma.decompress(machine.read_shipped("texts", "topics.tsv.xz")).decode()
    return [row.split("\t") for row in content.splitlines()]


@pytest.fixture(scope="module")
def topics(rows) -> list[str]:
    return [line for *_, line in rows]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return [*data.load_lines("train"), *data.load_lines("valid")]


def test_every_topic_has_its_share_of_every_part(rows):
    assert all(len(row) == 3 for row in rows)
    wanted = {(part, topic): n for part, n in (("train", 750), ("valid", 150), ("test", 300)) for topic in TOPICS}
    assert Counter((part, topic) for part, topic, _ in rows) == wanted


def test_there_are_lines_to_pretrain_on_and_some_to_judge_by():
    assert len(data.load_lines("valid")) == 2000
    assert len(data.load_lines("train")) > 100_000


def test_no_line_is_there_twice(topics, lines):
    every = [*topics, *lines]
    assert [line for line, count in Counter(every).items() if count > 1] == []


@pytest.mark.slow
def test_no_line_is_nearly_one_of_a_topic(topics, lines):
    """Neither of two parts, nor between what a topic has and what pretraining reads."""
    pairs = data.word_pairs([*topics, *lines])
    assert [pair for pair in data.near_duplicates(pairs[: len(topics)], pairs) if pair[0] != pair[1]] == []


def test_no_line_has_a_word_that_is_kept_out(topics, lines):
    words = machine.read_shipped("texts", "kept_out.txt").decode().splitlines()
    pattern = data.word_list(words)
    assert pattern.findall("\n".join([*topics, *lines])) == []
    assert all(pattern.search(f"the {word.replace('*', 'x')} of it") for word in words)


def test_every_line_is_a_line_of_some_words(topics, lines):
    for line in [*topics, *lines]:
        assert len(line.split()) >= 3
        assert line == " ".join(line.split())


def test_together_they_are_small():
    folder = machine.shipped_folder() / "texts"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES


# --- the rules ------------------------------------------------------------------------------------------------------


def test_a_gloss_is_a_definition_and_examples():
    gloss = ' a small  cat; not a dog; "the cat\n sat"; "cats eat"  '
    assert make_texts.parted(gloss) == ("a small cat; not a dog", ["the cat sat", "cats eat"])
    assert make_texts.parted(" a cat") == ("a cat", [])
