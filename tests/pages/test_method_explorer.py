"""Lesson 04's explorer, which draws intervals, in JupyterLab in a real Chromium."""

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe

SECONDS = browser.PATIENCE * 1000  # of a wait, in milliseconds
METHODS = """
from transfer_utils import course, stats
course.method_explorer(stats.select(course.chosen(stats.results("sweep")), network="course_resnet"))
"""


pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def methods(open_cells):
    """A page with nothing but the explorer."""
    page = open_cells((METHODS,))
    page.wait_for_selector(".tl-explorer svg circle", timeout=SECONDS)
    return page


def sentence(page) -> str:
    return page.locator(".tl-explorer p").inner_text()


def test_keys_choose_a_setting_and_the_pick_is_marked(methods):
    sliders = [methods.get_by_role("slider", name=n) for n in ("pretrained on", "new task", "photos per class")]
    for slider, key in zip(sliders, ("Home", "Home", "Home"), strict=True):
        slider.focus()
        methods.keyboard.press(key)
    first = sentence(methods)
    assert ", 5 photos per class. Best on valid photos: " in first
    sliders[2].focus()
    methods.keyboard.press("ArrowRight")
    assert ", 20 photos per class. Best on valid photos: " in sentence(methods)
    names = methods.locator(".tl-explorer svg text[font-weight='700']").all_text_contents()
    assert len(names) == 2  # its name, and what it costs
    assert f"We would take {names[0]}" in sentence(methods)


def test_every_interval_lies_inside_the_chart(methods):
    inside = """() => {
      const svg = document.querySelector(".tl-explorer svg"), box = svg.getBoundingClientRect();
      const parts = [...svg.querySelectorAll("circle, path, text")].map((part) => part.getBoundingClientRect());
      const within = (part) => part.left >= box.left - 1 && part.right <= box.right + 1;
      return parts.every(within);
    }"""
    slider = methods.get_by_role("slider", name="pretrained on")
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        methods.keyboard.press(key)
        assert methods.evaluate(inside)
    found = Axe().run(methods, context=".tl-explorer").response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
