"""Figures about text: each says its numbers, shows text as it stands, and never runs it as HTML."""

import html
import re

import matplotlib.pyplot as plt
import pytest

from transfer_utils import backbones, show
from transfer_utils.show import texts

CHANCES = {" tree": 0.31, "s": 0.12, ";": 0.05, "end of line": 0.04, "part of a character (130)": 0.02, " ": 0.004}
LINE = "a small"
ATTACK = '<script>alert("$5_or_$10 & more")</script>'  # between its dollars matplotlib would look for a formula


def alt(picture) -> str:
    assert plt.get_fignums() == [], "a figure is in the list that all threads share"
    return html.unescape(re.search(r'<img alt="([^"]*)" src="data:image/png;base64,', picture.data).group(1))


@pytest.fixture
def drawn(monkeypatch):
    """Axes of each figure, once it has been drawn."""
    every, picture = [], texts.picture
    monkeypatch.setattr(texts, "picture", lambda figure, words: every.append(figure.axes[0]) or picture(figure, words))
    return every


# --- what comes next ------------------------------------------------------------------------------------------------


def test_next_words_say_every_token_and_how_it_is_joined():
    expected = (
        "The likeliest next words after “a small”: tree 31.0%, …s 12.0%, …; 5.0%, end of line 4.0%, "
        "part of a character (130) 2.0%, space 0.4%."
    )
    assert alt(show.next_words(CHANCES, LINE)) == expected


def test_next_words_draws_what_it_says(drawn):
    show.next_words(CHANCES, LINE)
    (axes,) = drawn
    assert axes.get_title(loc="left") == "“a small …”"
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["tree", "…s", "…;", "end of line", "part of a character (130)", "space"]
    assert [bar.get_width() for bar in axes.patches] == list(CHANCES.values())
    low, high = axes.get_ylim()
    assert low > high  # the likeliest is on top


@pytest.mark.parametrize(
    ("token", "line", "shown"),
    [
        (" tree", LINE, "tree"),
        ("s", LINE, "…s"),
        ("s", "a small ", "s"),  # the line ends with the space itself
        ("a", "", "a"),
        (" a", "", "a"),
        (" -", LINE, "-"),
        ("\n", LINE, "line break"),
        (" ", LINE, "space"),
        ("   ", LINE, "space"),
        ("\x07", LINE, "…'\\x07'"),
        ("é", LINE, "…é"),
        ("end of line", LINE, "end of line"),
        ("part of a character (7)", "", "part of a character (7)"),
    ],
)
def test_a_token_in_print(token, line, shown):
    assert texts._joined(token, line) == shown


def test_next_words_at_the_beginning_of_a_line(drawn):
    assert alt(show.next_words({"a": 0.6, "the": 0.1}, "")).startswith(
        "The likeliest next words at the beginning of a line: a 60.0%"
    )
    assert drawn[0].get_title(loc="left") == "at the beginning of a line"


def test_a_long_line_is_wrapped(drawn):
    show.next_words(CHANCES, "the act of writing a letter " * 5)
    title = drawn[0].get_title(loc="left")
    assert title.count("\n") >= 2
    assert max(map(len, title.splitlines())) <= 60


def test_next_words_of_a_network_and_of_odd_lines():
    model = backbones.course_gpt(0)
    for line in (LINE, "", ATTACK, "un café"):
        assert line in alt(show.next_words(backbones.next_words(model, line, 20), line))
    assert ATTACK not in show.next_words({ATTACK: 0.5}, ATTACK).data


# --- how it learned to write ----------------------------------------------------------------------------------------

LOOKS = [
    {"step": step, "seconds": step / 3, "valid_loss": loss, "written": [f"{words} {i}" for i in range(4)]}
    for step, loss, words in ((0, 7.626, "a zq"), (10, 6.5, "a  the\nof"), (1000, 4.0, ATTACK))
]


def test_a_pretraining_run_says_its_losses():
    words = alt(show.pretraining_run(LOOKS))
    assert words.startswith("Loss on held-out lines by step: 7.63 after 0, 6.50 after 10, 4.00 after 1,000.")
    assert words.endswith("in the table below.")


@pytest.mark.parametrize("beginning", range(4))
def test_the_table_has_a_row_for_each_look_as_text(beginning):
    table = show.pretraining_run(LOOKS, beginning).data.partition("<table>")[2]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr>")[2:]]
    assert [row[:2] for row in rows] == [["0", "7.63"], ["10", "6.50"], ["1,000", "4.00"]]
    assert [html.unescape(row[2]) for row in rows] == [look["written"][beginning] for look in LOOKS]
    assert "<script>" not in table
    assert re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table) == ["step", "loss", "it writes"]


def test_step_0_stands_at_the_left_of_a_log_axis(drawn):
    show.pretraining_run(LOOKS)
    (axes,) = drawn
    (line,) = axes.lines
    places = list(line.get_xdata())
    assert axes.get_xscale() == "log"
    assert 0 < places[0] < places[1] == 10
    assert list(axes.get_xticks()) == places
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "10", "1,000"]


@pytest.mark.parametrize("looks", [LOOKS[:1], LOOKS[1:]])
def test_a_run_that_has_only_begun_or_has_no_first_look(looks):
    assert alt(show.pretraining_run(looks)).startswith("Loss on held-out lines by step: ")


@pytest.mark.parametrize(
    ("looks", "beginning", "said"),
    [
        (LOOKS, 4, "got beginning=4 and 3 looks with 4 lines each"),
        (LOOKS, -1, "got beginning=-1 and 3 looks"),
        (LOOKS, 0.0, "got beginning=0.0 and 3 looks"),
        (LOOKS, True, "got beginning=True and 3 looks"),
        (LOOKS, "a small", "got beginning='a small' and 3 looks"),
        ([], 0, "got beginning=0 and 0 looks with 0 lines each"),
    ],
)
def test_a_beginning_that_there_is_not(looks, beginning, said):
    with pytest.raises(ValueError, match=rf"{said}.* whole number from 0 .*card\[\"looks\"\]"):
        show.pretraining_run(looks, beginning)
