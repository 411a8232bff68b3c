"""Lesson 05 in JupyterLab in a real Chromium."""

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    folders = tmp_path_factory.mktemp("lesson05"), tmp_path_factory.mktemp("config")
    with browser.quick_lesson("05_resnet50_demo", *folders) as page:
        yield page


def test_the_lesson_runs_to_its_end(lesson):
    assert lesson.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert lesson.problems == []


def test_the_explorer_answers_another_photo_and_class(lesson):
    explorer = lesson.locator(".tl-explorer")
    for name, key in (("photo", "End"), ("class asked about", "Home")):
        explorer.get_by_role("slider", name=name).focus()
        lesson.keyboard.press(key)
    sentence = explorer.locator("p").inner_text()
    assert sentence.startswith("Photo 10 is of class truck; the network says ")
    assert "what speaks for airplane, " in sentence
    assert explorer.locator("svg image").count() == 2


def test_no_serious_accessibility_violation(lesson):
    found = Axe().run(lesson, context=".tl-explorer").response["violations"]
    assert [v["help"] for v in found if v["impact"] in ("serious", "critical")] == []
