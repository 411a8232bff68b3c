import numpy as np
import pytest
import torch

from transfer_utils.backbones import END, PAD, to_text, to_tokens, vocabulary

TEXTS = {
    "empty": "",
    "plain": "a small insect",
    "spaces": "  two  spaces, and one behind ",
    "tabs and ends of lines": "a\tb\n\r\nc\x00",
    "accents": "café, naïve, Straße, e\u0301",
    "other scripts": "生物 животное حيوان 🐈‍⬛ 👩🏽‍🔬",
    "line separators": "a\u2028b\u0085c\ufeff",
    "marks as text": "<end> and <pad> and <|end|>",
    "long": "pneumonoultramicroscopicsilicovolcanoconiosis " * 50,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_comes_back(text):
    (tokens,) = to_tokens([text])
    assert to_text(tokens) == text
    assert not {PAD, END} & set(tokens)


def test_every_character_of_two_bytes_comes_back():
    text = "".join(map(chr, range(0x800)))
    assert to_text(to_tokens([text])[0]) == text


def test_lines_are_encoded_each_for_itself():
    assert to_tokens(["a cat", "", "a dog"]) == [*to_tokens(["a cat"]), [], *to_tokens(["a dog"])]
    assert to_tokens([]) == []
    assert to_tokens(line for line in ("a cat",)) == to_tokens(["a cat"])


def test_marks_stand_for_nothing():
    (tokens,) = to_tokens(["a cat"])
    assert to_text([END, *tokens, END, PAD, PAD]) == "a cat"
    assert to_text([]) == to_text([PAD, END]) == ""


def test_half_a_character_is_shown_as_one_that_is_unknown():
    (tokens,) = to_tokens(["é😀"])
    assert "\ufffd" in to_text(tokens[:-1])


def test_the_vocabulary_is_of_a_size_that_the_network_has():
    assert vocabulary.vocabulary().get_vocab_size() == 2048
    assert [vocabulary.vocabulary().id_to_token(mark) for mark in (PAD, END)] == ["<pad>", "<end>"]


@pytest.mark.parametrize("lines", ["a cat", 3, None])
def test_what_are_no_lines_is_refused(lines):
    with pytest.raises(TypeError, match=r"give a list of them, for a single line a list of one: \[line\]"):
        to_tokens(lines)


@pytest.mark.parametrize("line", [None, 3, b"a cat", ("a", "cat")])
def test_what_is_no_line_is_refused(line):
    with pytest.raises(TypeError, match=r"A line of text was .*; it must be a str: str\(line\)"):
        to_tokens(["a cat", line])


def test_half_a_character_is_no_text():
    with pytest.raises(TypeError, match="holds half of a character, which is no text. Read its file as UTF-8"):
        to_tokens(["a \ud83d cat"])


def test_tokens_may_come_as_a_tensor_or_an_array():
    (tokens,) = to_tokens(["a cat"])
    assert to_text(torch.tensor(tokens)) == to_text(np.array(tokens)) == to_text(iter(tokens)) == "a cat"


@pytest.mark.parametrize(
    "tokens", [5, None, "a cat", [2048], [-1], [5.0], [[5, 6]], torch.ones(1, 2, dtype=torch.int64), torch.tensor(5)]
)
def test_what_are_no_tokens_of_a_line_is_refused(tokens):
    with pytest.raises(
        ValueError, match=r"(?s)to_text\(\) got .*whole numbers from 0 to 2047\. Of a batch: to_text\(tok"
    ):
        to_text(tokens)
