"""How fast the widgets answer, measured inside a real Chromium in JupyterLab (`make bench-widgets`).

Prints a median and the worst of each: key press to new picture in an explorer; release of a control of the freezing
lab to the first point of the curve; and whole runs of 30 photos per class. Quiet machines give trustworthy numbers.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import browser

CELLS = (
    "from transfer_utils import backbones, course, data, show, stats, training\n"
    "from transfer_utils.data import TARGETS",
    "photos = data.load(split='valid').take(30, seed=0)\n"
    "banks = training.by_stage(backbones.load_backbone('efficientnet_lite0'), photos, 96)\n"
    "banks = {'pixels': photos.images.flatten(1).float(), **banks}\n"
    "show.stage_explorer(stats.results('lesson02'), banks, photos, [0, 100, 130, 220, 250, 280])",
    "course.method_explorer(stats.results('lesson04').dropna(subset=['test']))",
    "train, valid = (data.load('cifar10_photos', s).only(*TARGETS['animals']) for s in ('train', 'valid'))\n"
    "course.freezing_lab(train, valid.take(100, seed=0))",
    "print('ready')",
)
# From the key's own time stamp to the first moment after the new picture has been painted.
WATCH_EXPLORER = """(which) => {
  window.times = [];
  const box = document.querySelectorAll(".tl-explorer")[which];
  let pressed = null;
  box.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    const start = pressed;
    pressed = null;
    if (start !== null) requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - start)));
  }).observe(box.querySelector("p"), { childList: true, characterData: true, subtree: true });
}"""
WATCH_LAB = """() => {
  window.times = [];
  const box = document.querySelector(".tl-lab"), curves = box.querySelector(".tl-two");
  let released = null, cleared = false;
  box.addEventListener("change", (event) => { released = event.timeStamp; cleared = false; }, true);
  new MutationObserver(() => {
    const points = curves.querySelector("svg")?.querySelectorAll("circle").length;
    if (released === null) return;
    if (!points) { cleared = true; return; }
    if (!cleared) return;
    const start = released;
    released = null;
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - start)));
  }).observe(curves, { childList: true, subtree: true });
}"""


def say(what: str, milliseconds: list[float]) -> None:
    """One line: how many, the median, the worst."""
    median, worst = statistics.median(milliseconds), max(milliseconds)
    print(f"{what:<58} n={len(milliseconds):<3} median {median:7.0f} ms   worst {worst:7.0f} ms", flush=True)


def explorer(page, which: int, name: str) -> None:
    """Fifty key presses on the first two sliders of an explorer."""
    sliders = page.locator(".tl-explorer").nth(which).locator("input[type=range]")
    for i in range(2):
        sliders.nth(i).focus()
        page.keyboard.press("Home")  # from here every press changes something
    page.wait_for_timeout(500)
    page.evaluate(WATCH_EXPLORER, which)
    for press in range(50):
        sliders.nth(press % 2).focus()
        page.keyboard.press("ArrowLeft" if press // 2 % 2 else "ArrowRight")
        page.wait_for_function(f"window.times.length > {press}", timeout=10_000)
    say(f"{name} explorer: key press to new picture", page.evaluate("window.times"))


def lab(page) -> None:
    """Every depth of freezing three times, 30 photos per class: first points, and whole runs."""
    page.evaluate(WATCH_LAB)
    depth = page.locator(".tl-lab").get_by_role("slider", name="Freeze through")
    runs: dict[str, list[float]] = {}
    for _ in range(3):
        depth.focus()
        for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"):
            before = page.evaluate("performance.now()")
            page.keyboard.press(key)
            page.wait_for_timeout(200)
            page.wait_for_function(
                "document.querySelector('.tl-status').textContent.startsWith('Finished')", polling=20
            )
            runs.setdefault(depth.get_attribute("aria-valuetext"), []).append(
                page.evaluate("performance.now()") - before
            )
    say("lab: release of a control to the first point", page.evaluate("window.times"))
    for name, times in runs.items():
        say(f"lab: a run, 30 photos per class, frozen through {name}", times)


def main() -> None:
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS], metadata=spec)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as config:
        nbformat.write(notebook, Path(folder) / "bench.ipynb")
        with browser.jupyter(Path(folder), Path(config)) as server, browser.page() as page:
            browser.run_all(page, server, "bench.ipynb")
            page.wait_for_selector(".tl-lab tbody tr", timeout=browser.PATIENCE * 1000)
            explorer(page, 0, "stage")
            explorer(page, 1, "method")
            lab(page)


if __name__ == "__main__":
    main()
