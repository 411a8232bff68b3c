"""Widgets that answer and train nothing, in one JupyterLab in a real Chromium.

A line reader, whose answers come back in the order of the typed lines, and lesson 04's explorer, which draws intervals.
"""

import json

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser
SECONDS = browser.PATIENCE * 1000  # of a wait, in milliseconds

METHODS = """
from transfer_utils import course, stats
course.method_explorer(stats.results("lesson04").dropna(subset=["test"]))
"""
SET_UP = """
import json, time
from transfer_utils import backbones, course, data, show, training

course.settings("cpu")
model, lines = backbones.course_gpt(0), data.load_texts("topics")
banks = {labels: lines.take(labels) for labels in (5, 20)}
heads = {n: training.linear_probe(training.extract(model, part, 24), part.labels, 0.01) for n, part in banks.items()}
reader = show.LineReader(model, banks[20], heads, 24, ["a small bird with a short tail", "bread baked in a pan"])
read, asked, live = reader.read, [], False

def slow(line):
    asked.append(line)
    if line.startswith("slow"):
        time.sleep(1)
    if line == "break":
        raise RuntimeError("the network is gone")
    return read(line)

reader.read = slow
reader
"""
REPORT = """
print("REPORT" + json.dumps({"asked": asked, "state": reader.state}))
"""


@pytest.fixture(scope="module")
def opened(open_cells):
    page = open_cells((METHODS, SET_UP, REPORT))
    for drawn in (".tl-explorer svg circle", ".tl-lines svg"):
        page.wait_for_selector(drawn, timeout=SECONDS)
    return page


def report(page) -> dict:
    return json.loads(browser.run_cell(page, -1).partition("REPORT")[2])


def field(page):
    return page.locator(".tl-lines").get_by_role("textbox", name="A line of English")


def words(page) -> str:
    """What the bars show, in words: the line, and its topic."""
    return page.locator(".tl-lines svg[role=img] > title").text_content()


def bars(page) -> list[str]:
    return page.locator(".tl-lines svg rect").evaluate_all("all => all.map(bar => bar.getAttribute('width'))")


def said(page) -> str:
    return page.locator(".tl-lines").get_by_role("status").inner_text()


def wait_for_answer(page, line: str) -> None:
    shown = "line => document.querySelector('.tl-lines svg title').textContent.startsWith(line + '. With ')"
    page.wait_for_function(shown, arg=line, timeout=SECONDS)


def wait_for_words(page, text: str) -> None:
    shown = "text => document.querySelector('.tl-lines [role=status]').textContent.includes(text)"
    page.wait_for_function(shown, arg=text, timeout=SECONDS)


def top(page) -> float:
    """Where the answer begins, and how high it is."""
    box = page.locator(".tl-lines .tl-answer").bounding_box()
    return box["y"] - page.locator(".tl-lines").bounding_box()["y"], box["height"]


# --- the line reader ------------------------------------------------------------------------------------------------


def test_the_first_example_stands_there(opened):
    assert field(opened).input_value() == "a small bird with a short tail"
    assert words(opened).startswith("a small bird with a short tail. With 20 labels per topic: ")
    assert len(bars(opened)) == 10
    assert opened.locator(".tl-lines li").count() == 5
    assert opened.locator("[data-still]:visible").count() == 0


def test_a_typed_line_is_answered_and_nothing_jumps(opened):
    before, place = bars(opened), top(opened)
    field(opened).fill("a drink made of milk")
    wait_for_answer(opened, "a drink made of milk")
    assert bars(opened) != before
    assert top(opened) == place
    browser.ARTEFACTS.mkdir(parents=True, exist_ok=True)
    opened.locator(".tl-lines").screenshot(path=browser.ARTEFACTS / "line_reader.png")


def test_other_labels_answer_at_once_without_python(opened):
    before, asked, sentence = bars(opened), report(opened)["asked"], said(opened)
    opened.locator(".tl-lines").get_by_role("slider", name="labels per topic").focus()
    opened.keyboard.press("Home")
    assert words(opened).startswith("a drink made of milk. With 5 labels per topic: ")
    assert bars(opened) != before
    assert said(opened) != sentence
    assert sentence.splitlines()[-1] == said(opened).splitlines()[-1]
    after = report(opened)
    assert after["asked"] == asked
    assert after["state"] == [0]


def test_of_fast_letters_only_the_last_answer_is_shown(opened):
    line, before = "bread, soup and rice", len(report(opened)["asked"])
    opened.evaluate(
        """() => {
          window.titles = [];
          const note = () => titles.push(document.querySelector(".tl-lines svg title")?.textContent);
          new MutationObserver(note).observe(document.querySelector(".tl-answer"), {childList: true, subtree: true});
        }"""
    )
    field(opened).fill("")
    field(opened).press_sequentially(line, delay=20)
    wait_for_answer(opened, line)
    assert report(opened)["asked"][before:] == [line]
    assert all(title is None or title.startswith(f"{line}. ") for title in opened.evaluate("titles"))


def test_a_late_answer_does_not_overwrite_a_newer_one(opened):
    opened.evaluate("titles.length = 0")
    field(opened).fill("slow and old")
    opened.wait_for_timeout(500)  # longer than the page's pause: the question is under way
    field(opened).fill("fast and new")
    wait_for_answer(opened, "fast and new")
    opened.wait_for_timeout(500)
    assert report(opened)["asked"][-2:] == ["slow and old", "fast and new"]
    assert words(opened).startswith("fast and new. ")
    assert not any(title and title.startswith("slow") for title in opened.evaluate("titles"))


def test_typed_letters_are_no_shortcuts(opened):
    """In a cell, d d deletes it, a adds one above, and x cuts it."""
    cells, before = opened.locator(".jp-Cell").count(), field(opened)
    before.fill("")
    before.press_sequentially("d d dd a b x z m y", delay=30)
    wait_for_answer(opened, "d d dd a b x z m y")
    opened.locator(".tl-lines button").first.focus()
    for key in "dd":
        opened.keyboard.press(key)
    assert opened.locator(".jp-Cell").count() == cells


def test_an_example_is_a_button(opened):
    opened.locator(".tl-lines").get_by_role("button", name="bread baked in a pan").press("Enter")
    wait_for_answer(opened, "bread baked in a pan")
    assert field(opened).input_value() == "bread baked in a pan"


def test_an_empty_line_and_a_failure_are_told_and_nothing_jumps(opened):
    place = top(opened)
    for line, told in (("", "Type a line of English"), ("break", "No answer: the network is gone")):
        field(opened).fill(line)
        wait_for_words(opened, told)
        assert not opened.locator(".tl-lines svg").is_visible()
        assert top(opened) == place
    field(opened).fill("a bird")
    wait_for_answer(opened, "a bird")
    assert opened.locator(".tl-lines svg").is_visible()


def test_a_long_line_is_cut_with_a_word_on_it(opened):
    place = top(opened)
    field(opened).fill("a bird of prey " * 40)
    wait_for_answer(opened, ("a bird of prey " * 20).strip())
    note = opened.locator(".tl-lines .tl-note").inner_text()
    assert note == "Cut at 300 characters. The network reads 24 tokens; what follows changes nothing."
    assert len(report(opened)["asked"][-1]) == 300
    assert top(opened) == place


def test_markup_stays_words(opened):
    line = "<img src=x onerror=alert(1)> <script>alert(1)</script>"
    field(opened).fill(line)
    wait_for_answer(opened, line)
    assert opened.locator(".tl-lines img, .tl-lines script").count() == 0


def test_no_serious_accessibility_violation(opened):
    found = Axe().run(opened, context=".tl-lines").response["violations"]
    assert [v["help"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert opened.problems == []


# --- lesson 04's explorer -------------------------------------------------------------------------------------------


def sentence(page) -> str:
    return page.locator(".tl-explorer p").inner_text()


def test_keys_choose_a_setting_and_the_pick_is_marked(opened):
    sliders = [opened.get_by_role("slider", name=n) for n in ("pretrained on", "new task", "photos per class")]
    for slider, key in zip(sliders, ("Home", "Home", "Home"), strict=True):
        slider.focus()
        opened.keyboard.press(key)
    first = sentence(opened)
    assert ", 5 photos per class. Best on valid photos: " in first
    sliders[2].focus()
    opened.keyboard.press("ArrowRight")
    assert ", 20 photos per class. Best on valid photos: " in sentence(opened)
    names = opened.locator(".tl-explorer svg text[font-weight='700']").all_text_contents()
    assert names[1:] == ["best on valid photos"]
    assert f"Best on valid photos: {names[0]}." in sentence(opened)


def test_nothing_jumps_where_a_method_was_not_run(opened):
    heights = set()
    slider = opened.get_by_role("slider", name="photos per class")
    slider.focus()
    opened.keyboard.press("Home")
    for _ in range(4):
        heights.add(opened.locator(".tl-explorer svg").bounding_box()["height"])
        opened.keyboard.press("ArrowRight")
    assert len(heights) == 1
    opened.keyboard.press("Home")
    assert opened.locator(".tl-explorer svg text", has_text="not run here").count() == 2


def test_every_interval_lies_inside_the_chart(opened):
    inside = """() => {
      const svg = document.querySelector(".tl-explorer svg"), box = svg.getBoundingClientRect();
      const parts = [...svg.querySelectorAll("circle, path, text")].map((part) => part.getBoundingClientRect());
      const within = (part) => part.left >= box.left - 1 && part.right <= box.right + 1;
      return parts.every(within);
    }"""
    slider = opened.get_by_role("slider", name="pretrained on")
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        opened.keyboard.press(key)
        assert opened.evaluate(inside)
    found = Axe().run(opened, context=".tl-explorer").response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
