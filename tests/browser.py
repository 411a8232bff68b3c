"""A JupyterLab or Notebook 7 on loopback, and a real Chromium looking at it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, sync_playwright

import notebooks

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without these, Chromium looks for updates and hosts of its own on a network that may not be there.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PATIENCE = 120  # seconds
ARTEFACTS = Path(__file__).parents[1] / "build" / "screenshots"
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'


def require_chromium() -> None:
    """Skip the test without a browser; in CI, fail."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("in CI the browser tests must run: install chromium")
        pytest.skip("no Chromium here: install chromium to run the browser tests")


@dataclass(frozen=True)
class Server:
    """Where a running Jupyter answers."""

    address: str
    token: str
    app: str

    def url(self, notebook: str) -> str:
        path = f"lab/tree/{notebook}?reset&" if self.app == "lab" else f"notebooks/{notebook}?"
        return f"{self.address}/{path}token={self.token}"


@contextmanager
def jupyter(folder: Path, config: Path, app: str = "lab", python: str | Path = sys.executable) -> Iterator[Server]:
    """A server for one folder, app 'lab', 'notebook' or 'classic' (Notebook 6); stopped as a process at the end."""
    settings = config / "lab/user-settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True, exist_ok=True)
    # JupyterLab otherwise draws only the cells in view.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    token, port = secrets.token_hex(8), _free_port()
    if app == "classic":
        place = "NotebookApp"
        own = [f"--NotebookApp.token={token}", f"--NotebookApp.notebook_dir={folder}"]
    else:
        place = "ServerApp"
        own = [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    module = ["notebook"] if app == "classic" else ["jupyter", app]
    where = [f"--{place}.ip=127.0.0.1", f"--{place}.port={port}", f"--{place}.port_retries=0"]
    server = subprocess.Popen(
        [python, "-m", *module, "--no-browser", "--allow-root", *where, *own],
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(config)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token={token}")
        yield Server(f"http://127.0.0.1:{port}", token, app)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def page() -> Iterator[Page]:
    """An empty page in a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 1000})
        finally:
            browser.close()


@contextmanager
def quick_lesson(name: str, folder: Path, config: Path, app: str = "lab", cells: Sequence[str] = ()) -> Iterator[Page]:
    """A lesson as shipped, run from start to end in a quick run, with cells of our own behind it.

    The page has `problems` (what went wrong in it), `server` and `notebook`.
    """
    require_chromium()
    lesson = notebooks.shipped(name)
    lesson.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(lesson, folder / "lesson.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_QUICK", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        with jupyter(folder, config, app) as server, page() as opened:
            opened.problems, opened.server, opened.notebook = [], server, folder / "lesson.ipynb"
            opened.on("pageerror", lambda error: opened.problems.append(str(error)))
            run_all(opened, server, "lesson.ipynb")
            yield opened


def run_all(page: Page, server: Server, notebook: str, seconds: float = 600) -> None:
    """Open a notebook, run all its cells from a clean kernel, and wait until the last one is done."""
    page.goto(server.url(notebook), wait_until="domcontentloaded")
    page.click(".jp-NotebookPanel .jp-Notebook", timeout=PATIENCE * 1000)
    page.wait_for_selector(IDLE, timeout=PATIENCE * 1000)
    prompts, deadline = page.locator(".jp-CodeCell .jp-InputPrompt"), time.monotonic() + seconds
    while not prompts.last.inner_text().strip("[]: ").isdigit():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{notebook} did not reach its last cell within {seconds:.0f} s")
        for asked in page.locator("dialog.jp-Dialog").all():
            # On a slow machine JupyterLab may ask something, such as which kernel to take: what it offers will do.
            print("JupyterLab asked:", asked.inner_text())
            asked.locator("button.jp-mod-accept").click()
        begun = any(character.isdigit() for character in "".join(prompts.all_inner_texts()))
        if not begun and page.locator(IDLE).count():
            # A kernel that has just said that it is idle may still lose what it is asked to run: ask again.
            page.click('li.lm-MenuBar-item:has-text("Run")')
            page.click('li.lm-Menu-item:has-text("Run All Cells")')
            page.wait_for_timeout(3000)
        page.wait_for_timeout(500)


def run_cell(page: Page, position: int) -> str:
    """Run one cell of the notebook again, and return what it printed."""
    cell = page.locator(".jp-CodeCell").nth(position)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    for _ in range(2 * PATIENCE):
        page.wait_for_timeout(500)
        if prompt.inner_text() != before and prompt.inner_text().strip("[]: ").isdigit():
            return cell.locator(".jp-OutputArea").inner_text()
    raise TimeoutError(f"cell {position} did not finish")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Jupyter did not start within {PATIENCE} s") from None
            time.sleep(0.5)
