"""Lesson 07 in JupyterLab in a real Chromium: photos travel from the page into a folder, and to the classifier."""

import io
import zipfile

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from transfer_utils import data

pytestmark = pytest.mark.browser
SECONDS = browser.PATIENCE * 1000  # of a wait, in milliseconds


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    folders = tmp_path_factory.mktemp("lesson07"), tmp_path_factory.mktemp("config")
    with browser.quick_lesson("07_your_own_photos", *folders) as page:
        yield page


def photo(class_name: str, side: int = 64) -> bytes:
    pixels = data.load(split="valid").only(class_name).images[3].permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def choose(page, button: str, files: dict[str, bytes]) -> None:
    """Choose files in a widget, as a learner does, and wait until the page has sent them."""
    box = page.get_by_label(button)
    box.set_input_files([{"name": n, "mimeType": "image/png", "buffer": content} for n, content in files.items()])
    page.wait_for_function("all => all.every(input => !input.disabled)", arg=box.element_handles(), timeout=SECONDS)


def said(page, widget: int) -> str:
    return page.locator(".tl-uploads").nth(widget).get_by_role("status").inner_text()


def test_the_lesson_runs_to_its_end(lesson):
    assert lesson.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert lesson.problems == []
    assert lesson.locator(".tl-explorer svg image").count() == 7


def test_photos_land_in_the_folder_of_their_class(lesson):
    lesson.get_by_label("Class of these photos").fill("my cat")
    files = {"one.png": photo("cat"), "two.png": photo("dog")}
    choose(lesson, "Choose photos, or a zip", files)
    folder = lesson.notebook.parent / "my-photos" / "my cat"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert said(lesson, 0) == "2 of 2 arrived."
    assert "my cat: 2" in lesson.locator(".tl-uploads").first.inner_text()


def test_a_large_photo_travels_in_parts(lesson):
    large = io.BytesIO()
    Image.effect_noise((1200, 1200), 90).save(large, "PNG")
    assert len(large.getvalue()) > 1_200_000  # three parts
    lesson.get_by_label("Class of these photos").fill("noise")
    choose(lesson, "Choose photos, or a zip", {"large.png": large.getvalue()})
    assert (lesson.notebook.parent / "my-photos" / "noise" / "large.png").read_bytes() == large.getvalue()


def test_a_zip_brings_its_classes(lesson):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pets/frog/a.png", photo("frog"))
        archive.writestr("pets/bird/b.png", photo("bird"))
    lesson.get_by_label("Class of these photos").fill("")
    choose(lesson, "Choose photos, or a zip", {"pets.zip": content.getvalue()})
    folder = lesson.notebook.parent / "my-photos"
    assert (folder / "frog" / "a.png").read_bytes() == photo("frog")
    assert (folder / "bird" / "b.png").read_bytes() == photo("bird")


def test_photos_without_a_class_are_asked_for_one(lesson):
    lesson.get_by_label("Class of these photos").fill("")
    choose(lesson, "Choose photos, or a zip", {"three.png": photo("cat")})
    assert said(lesson, 0) == "Write the name of the class first, then choose its photos."


def test_the_classifier_answers_a_photo_of_ours_and_says_what_it_cannot_read(lesson):
    choose(lesson, "Ask about photos of your own", {"lunch.png": photo("horse", 300)})
    answer = lesson.locator(".tl-uploads").nth(1)
    assert answer.get_by_role("combobox").evaluate("list => list.selectedOptions[0].text") == "lunch.png"
    assert said(lesson, 1).startswith("lunch.png: ")
    assert answer.locator("figure").count() == 5
    choose(lesson, "Ask about photos of your own", {"list.png": b"apples, bread, milk"})
    assert said(lesson, 1).startswith("list.png: ")
    assert "text" in said(lesson, 1)
    assert answer.locator("p.tl-problem").count() >= 1


def test_no_serious_accessibility_violation(lesson):
    for widget in (".tl-uploads", ".tl-explorer"):
        found = Axe().run(lesson, context=widget).response["violations"]
        assert [v["help"] for v in found if v["impact"] in ("serious", "critical")] == [], widget
