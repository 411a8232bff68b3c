"""The widgets of lesson 03 in JupyterLab and in Notebook 7, in a real Chromium, worked by keyboard and by mouse."""

import io
import json
from pathlib import Path

import browser
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe

SECONDS = browser.PATIENCE * 1000  # of a wait, in milliseconds

# Runs of the lab, counted: how many there are now, how many there were at most, and with which setting they ended.
COUNT = """
import gc, json, os
inner, seen = lab.job, {"now": 0, "most": 0, "ended": []}

def counted(state):
    seen["now"] += 1
    seen["most"] = max(seen["most"], seen["now"])
    try:
        yield from inner(state)
        seen["ended"].append(state)
    finally:
        seen["now"] -= 1

lab.job = counted
"""
REPORT = """
gc.collect()
pages = int(open("/proc/self/statm").read().split()[1]) if os.path.exists("/proc/self/statm") else 0
print("REPORT" + json.dumps({**seen, "state": lab.state, "memory": pages * 4096}))
"""
BREAK = """
def broken(state):
    yield {"epoch": 0, "epochs": 1, "valid": [0.3], "train": [], "through": 0, "seconds": 0.1}
    raise RuntimeError("the photos are gone")

if seen["ended"]:  # not when all cells run
    lab.job = broken
"""

pytestmark = pytest.mark.browser


# Each of the two has a worker of its own, where there are several.
@pytest.fixture(scope="module", params=[pytest.param(a, marks=pytest.mark.xdist_group(a)) for a in ("lab", "notebook")])
def opened(request, tmp_path_factory):
    """Lesson 03, run from start to end in a quick run, with three cells of our own behind it."""
    folder, config = tmp_path_factory.mktemp(request.param), tmp_path_factory.mktemp("config")
    with browser.quick_lesson("03_fine_tuning", folder, config, request.param, (COUNT, BREAK, REPORT)) as page:
        yield page


def control(page, name):
    found = page.locator(".tl-lab").get_by_role("slider", name=name)
    return found if found.count() else page.locator(".tl-lab").get_by_role("combobox", name=name)


def status(page) -> str:
    return page.locator(".tl-lab .tl-status").inner_text()


def rows(page) -> list[str]:
    return page.locator(".tl-lab tbody tr").all_inner_texts()


def points(page) -> int:
    return page.locator(".tl-lab .tl-two svg").first.locator("circle").count()


def wait_until_idle(page) -> None:
    """The run that the last move started has ended, in whichever way."""
    page.wait_for_timeout(500)
    page.wait_for_function("!document.querySelector('.tl-lab .tl-progress').textContent", timeout=SECONDS)


def wait_for_points(page, count) -> None:
    page.wait_for_function(
        f"document.querySelector('.tl-lab .tl-two svg').querySelectorAll('circle').length >= {count}", timeout=SECONDS
    )


def click_at(page, name, share) -> None:
    """Click a slider at a share of its width."""
    slider = control(page, name)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 6 + (box["width"] - 12) * share, box["y"] + box["height"] / 2)


def report(page) -> dict:
    return json.loads(browser.run_cell(page, -1).partition("REPORT")[2])


def picture(page, name) -> None:
    browser.ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.locator(".tl-lab").screenshot(path=browser.ARTEFACTS / f"{name}.png")


def app(page) -> str:
    return "lab" if "/lab/" in page.url else "notebook"


def test_the_lesson_runs_and_shows_its_widgets(opened):
    opened.wait_for_selector(".tl-lab tbody tr", timeout=SECONDS)
    assert opened.locator(".tl-explorer svg[role=img]").count() == 1
    assert opened.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert status(opened).startswith("Finished: ")
    assert len(rows(opened)) == 1
    picture(opened, f"freezing_lab_{app(opened)}")


def test_every_control_has_a_name_and_is_reached_by_tab(opened):
    names = [
        "Pretrained on",
        "Photos per class",
        "Freeze through",
        "Head : backbone rate",
        "Flip and shift photos",
        "Seed",
    ]
    control(opened, names[0]).focus()
    for name in names:
        assert control(opened, name).count() == 1
        assert control(opened, name).evaluate("input => input === document.activeElement"), name
        opened.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert opened.evaluate(focused) == "Keep run 1"
    opened.keyboard.press("Tab")
    assert opened.evaluate(focused) == "Remove run 1"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Export CSV"


def test_a_key_redraws_the_network_at_once_and_trains(opened):
    title = opened.locator(".tl-lab svg[role=img] > title").first
    control(opened, "Photos per class").focus()
    opened.keyboard.press("End")
    control(opened, "Freeze through").focus()
    opened.keyboard.press("Home")
    assert title.text_content() == "The network: nothing frozen; stem, stage1, stage2, stage3, head train."
    assert control(opened, "Freeze through").get_attribute("aria-valuetext") == "nothing"
    wait_for_points(opened, 1)
    assert points(opened) < 7
    wait_for_points(opened, 3)
    assert "of 6. Move a control to start over" in opened.locator(".tl-lab .tl-progress").inner_text()
    picture(opened, f"freezing_lab_training_{app(opened)}")
    wait_until_idle(opened)
    assert points(opened) == 7
    assert rows(opened)[-1].split("\t")[2:4] == ["100", "nothing"]


def test_a_new_move_cancels_the_run_under_way(opened):
    before = report(opened)
    click_at(opened, "Seed", 0.5)
    wait_for_points(opened, 2)
    click_at(opened, "Freeze through", 1.0)
    wait_until_idle(opened)
    after = report(opened)
    assert len(after["ended"]) == len(before["ended"]) + 1
    assert after["ended"][-1] == after["state"]
    assert after["most"] == 1
    assert rows(opened)[-1].split("\t")[2:4] == ["100", "stage3"]


def test_a_choice_starts_a_run_too(opened):
    control(opened, "Pretrained on").select_option(label="from scratch")
    wait_until_idle(opened)
    assert "from scratch" in rows(opened)[-1]


def test_a_hundred_moves_end_in_one_run_the_last(opened):
    click_at(opened, "Photos per class", 0.5)
    wait_until_idle(opened)
    before, errors = report(opened), list(opened.problems)
    for move in range(50):
        control(opened, ["Freeze through", "Seed", "Head : backbone rate"][move % 3]).focus()
        opened.keyboard.press(["ArrowRight", "ArrowLeft", "Home", "End"][move % 4])
        click_at(opened, ["Seed", "Freeze through"][move % 2], (move % 5) / 4)
    click_at(opened, "Freeze through", 1.0)
    wait_until_idle(opened)
    after = report(opened)
    assert after["now"] == 0
    assert after["most"] == 1
    assert after["ended"][-1] == after["state"]
    assert status(opened).startswith("Finished: ")
    assert opened.problems == errors
    assert after["memory"] - before["memory"] < 50e6
    picture(opened, f"freezing_lab_after_100_moves_{app(opened)}")


def test_runs_are_kept_removed_and_exported_by_keyboard(opened):
    count = len(rows(opened))
    opened.get_by_role("button", name="Keep run 1").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_selector('.tl-lab button[aria-label="Keep run 1"][aria-pressed=true]', timeout=SECONDS)
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == "Keep run 1"
    opened.get_by_role("button", name="Remove run 2").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_function(f"document.querySelectorAll('.tl-lab tbody tr').length === {count - 1}", timeout=SECONDS)
    with opened.expect_download(timeout=SECONDS) as download:
        opened.get_by_role("button", name="Export CSV").press("Enter")
    table = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()))
    assert len(table) == count - 1
    assert {"source", "through", "accuracy", "trainable", "seconds"} < set(table.columns)
    assert 2 not in table["number"].tolist()


def test_no_serious_accessibility_violation(opened):
    for widget in (".tl-lab", ".tl-explorer"):
        found = Axe().run(opened, context=widget).response["violations"]
        serious = [f"{v['id']}: {v['help']}" for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], widget


def test_an_error_in_a_run_is_told_in_the_widget(opened):
    browser.run_cell(opened, -2)
    click_at(opened, "Seed", 0.0)
    click_at(opened, "Seed", 1.0)
    wait_until_idle(opened)
    assert status(opened) == "The run stopped with RuntimeError: the photos are gone"


def test_a_page_opened_again_without_a_kernel_shows_the_pictures(opened):
    stills = opened.locator("[data-still]")
    assert stills.count() == 2
    assert not any(still.is_visible() for still in stills.all())
    opened.locator(".jp-MarkdownCell").first.click()  # in a slider, keys are the slider's
    opened.keyboard.press("Control+s")
    for _ in range(browser.PATIENCE):
        if "data-still" in opened.notebook.read_text():
            break
        opened.wait_for_timeout(1000)
    again = opened.context.browser.new_page(viewport={"width": 1280, "height": 1000})
    again.route("**/api/kernels*/**", lambda route: route.abort())
    again.route("**/api/sessions*", lambda route: route.abort())
    again.goto(opened.server.url("lesson.ipynb"), wait_until="domcontentloaded")
    for alt in ("Freezing lab. stem is frozen", "Network explorer. network: pretrained"):
        picture = again.locator(f'img[alt^="{alt}"]')
        picture.wait_for(state="attached", timeout=SECONDS)
        picture.scroll_into_view_if_needed()
        assert picture.is_visible()
        assert picture.evaluate("image => image.naturalWidth") > 300
    assert again.locator(".tl-widget").count() == 0
    again.close()


# --- the explorers


def sentence(page) -> str:
    return page.locator(".tl-explorer p").inner_text()


def test_keys_and_mouse_move_the_explorer(opened):
    network, stage = (opened.locator(".tl-explorer").get_by_role("slider", name=name) for name in ("network", "stage"))
    network.focus()
    opened.keyboard.press("End")
    stage.focus()
    opened.keyboard.press("Home")
    assert sentence(opened).startswith("fine-tuned too fast, stem: ")
    assert stage.get_attribute("aria-valuetext") == "stem"
    box = stage.bounding_box()
    stage.click(position={"x": box["width"] - 4, "y": box["height"] / 2})
    assert sentence(opened).startswith("fine-tuned too fast, stage3: ")


def test_explorer_pictures_have_names_for_screen_readers(opened):
    titles = opened.locator(".tl-explorer svg[role=img] > title").evaluate_all("all => all.map(t => t.textContent)")
    assert len(titles) == 1
    assert "neighbours are the same class" in titles[0]
