"""The explorer in JupyterLab, in a real Chromium: drawn in the page, worked by keyboard and by mouse."""

import os
import shutil
from pathlib import Path

import browser
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
CELLS = (
    "from transfer_utils import data, explorers, features, backbones",
    "photos = data.load(split='valid').take(8, seed=0)",
    "banks = features.by_stage(backbones.load_backbone('efficientnet_lite0'), photos, 96)\n"
    "banks = {'pixels': photos.images.flatten(1).float(), **banks}",
    "shown = explorers.stages(data.results('lesson02'), banks, photos, [0, 30])\nshown",
    "print(shown.state)",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if browser.CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("in CI the browser tests must run: install chromium")
        pytest.skip("no Chromium here: install chromium to run the browser tests")
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / "explorer.ipynb")
    with browser.jupyter(folder, tmp_path_factory.mktemp("config")) as server, browser.page() as opened:
        browser.run_all(opened, server, "explorer.ipynb")
        opened.wait_for_selector(".tl-explorer svg", timeout=browser.PATIENCE * 1000)
        yield opened
        artefacts = ROOT / "build" / "screenshots"
        artefacts.mkdir(parents=True, exist_ok=True)
        opened.locator(".tl-explorer").screenshot(path=artefacts / "explorer.png")


pytestmark = pytest.mark.browser


def sentence(page) -> str:
    return page.locator(".tl-explorer p").inner_text()


def test_keys_move_the_slider_and_redraw(page):
    slider = page.locator(".tl-explorer input[type=range]").first
    slider.focus()
    page.keyboard.press("Home")
    assert sentence(page).startswith("pixels, ")
    page.keyboard.press("ArrowRight")
    assert sentence(page).startswith("stem, ")
    assert slider.get_attribute("aria-valuetext") == "stem"


def test_the_mouse_moves_the_other_slider(page):
    slider = page.locator(".tl-explorer input[type=range]").nth(1)
    assert page.get_by_role("slider", name="photos per class").count() == 1
    slider.scroll_into_view_if_needed()
    width, height = (slider.bounding_box()[side] for side in ("width", "height"))
    slider.click(position={"x": width - 4, "y": height / 2})
    assert ", 200 photos per class:" in sentence(page)


def test_pictures_have_names_for_screen_readers(page):
    titles = page.locator(".tl-explorer svg[role=img] > title").evaluate_all("found => found.map(t => t.textContent)")
    assert len(titles) == 2
    assert "accuracy on test photos against photos per class" in titles[0]
    assert "neighbours are the same class" in titles[1]


def test_python_learns_where_the_sliders_stand(page):
    page.locator(".tl-explorer input[type=range]").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.locator(".jp-CodeCell").last.click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-OutputArea-output')].some(o => o.textContent.includes('[9, 7]'))",
        timeout=60_000,
    )


def test_chromium_is_required_in_ci():
    assert "chromium" in (ROOT / ".ci" / "run").read_text()
    assert shutil.which("chromium") or not os.environ.get("CI")
