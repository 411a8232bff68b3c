"""The course in something like a fresh Colab runtime: Colab's notebook packages, and no course."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import browser
import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook
from test_notebooks import printed

import colab
import course
import notebooks

pytestmark = pytest.mark.colab
WIDGETS = ("show/test_widgets", "show/test_lab", "course/test_lesson03_lab", "show/test_uploads", "show/test_explorers")
WITNESS = """
import google.colab.output, ipywidgets, IPython, transfer_utils
print(ipywidgets.__version__)
print(IPython.__version__)
print(google.colab.output._widgets._installed_url)
print(transfer_utils.__file__)
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """Colab's notebook packages on the Python in use, with its torch; kept in build/ for the next time.

    Locked, since the tests take the course out of it and put it back: another run of them has to wait.
    """
    build = colab.ROOT / "build"
    build.mkdir(exist_ok=True)
    with FileLock(build / "colab.lock"):
        try:
            made = colab.environment(build / "colab", sys.executable, colab.PAGE, colab.share(build / "colab_shared"))
        except subprocess.CalledProcessError as error:
            if os.environ.get("CI"):
                pytest.fail(f"in CI this test must run: {error}")
            pytest.skip(f"no network: could not install Colab's packages ({error})")
        yield made


@pytest.fixture(scope="module")
def runtime(python, tmp_path_factory) -> Path:
    """An empty folder to run notebooks in, and a runtime that does not have the course yet."""
    folder, source = tmp_path_factory.mktemp("runtime"), tmp_path_factory.mktemp("source")
    variables = {**colab.repository(source), "TRANSFER_UTILS_HOME": str(folder / "home"), "PYTHONPATH": ""}
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *colab.OURS], check=True)
    colab.offer_kernel(python, folder, variables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        for name, value in variables.items():
            patch.setenv(name, value)
        yield folder


# An explorer over stored rows, and the lab that trains: the two kinds of widget.
CELLS = (
    "from transfer_utils import course, data, show, stats",
    "show.label_explorer(stats.results('lesson02'), 'stage', title='Stages')",
    "few = data.load().only('cat', 'deer', 'horse')\ncourse.freezing_lab(few, few.take(12), epochs=2)",
)


def test_the_first_cell_would_change_nothing_that_colab_has(python, runtime, tmp_path):
    """pip is made to believe that all of Colab's versions are installed."""
    for name, version in colab.versions().items():
        described = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    assert colab.planned(python, {}, metadata=tmp_path) == colab.OURS


@pytest.fixture(scope="module")
def first_lesson(runtime):
    """Lesson 0 in a quick run: from here on, its first cell has installed the course."""
    return colab.run("00_first_transfer", runtime, quick=True, last=WITNESS)


def test_the_first_cell_of_a_lesson_installs_the_course(python, first_lesson):
    assert course.numbers(first_lesson)["quick"]
    widgets, ipython, manager, place = printed(first_lesson).splitlines()[-4:]
    assert (widgets, ipython, manager) == ("7.7.1", "7.34.0", "asked for")
    assert place.startswith(str(python.parent.parent))


def test_another_lesson_finds_it_installed_and_keeps_its_features_on_the_drive(runtime, first_lesson, tmp_path):
    drive = tmp_path / "MyDrive" / "transfer_course"
    drive.parent.mkdir()
    notebook = colab.run("03_fine_tuning", runtime, quick=True, home=str(drive))
    assert course.numbers(notebook)["quick"]
    assert notebook.cells[1].outputs == []
    assert list(drive.glob("features/*.safetensors"))


def test_every_widget_works_without_a_page(python, first_lesson):
    tests = [f"tests/{name}.py" for name in WIDGETS]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    # Both platformdirs are in sight here, and only one of them brings the plugin that it announces.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(command, env=env, cwd=notebooks.ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]


@pytest.mark.browser
def test_widgets_work_in_the_page_of_notebook_6(python, first_lesson, tmp_path):
    """Not Colab's page, but its versions in one: an explorer answers, and the lab trains and shows a second run."""
    browser.require_chromium()
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    nbformat.write(notebook, tmp_path / "widgets.ipynb")
    patience = browser.PATIENCE * 1000
    with browser.jupyter(tmp_path, tmp_path / "config", "classic", python) as server, browser.page() as page:
        page.goto(server.url("widgets.ipynb"), wait_until="domcontentloaded")
        page.wait_for_function("window.Jupyter?.notebook?.kernel?.widget_manager", timeout=patience)
        # The manager asks the kernel for widgets of before; views that come in between stay empty.
        page.evaluate("Jupyter.notebook.kernel.widget_manager._loadFromKernel().then(() => null)")
        page.evaluate("Jupyter.notebook.execute_all_cells()")
        said = page.locator(".tl-explorer p").first
        said.wait_for(timeout=patience)
        before = said.inner_text()
        page.locator(".tl-explorer input[type=range]").last.press("ArrowRight")
        assert said.inner_text() != before
        finished = page.locator(".tl-lab tbody tr")
        finished.first.wait_for(timeout=patience)
        page.locator(".tl-lab").get_by_role("slider", name="Seed").press("ArrowRight")
        finished.nth(1).wait_for(timeout=patience)
        page.locator(".tl-lab").screenshot(path=colab.ROOT / "build" / "classic.png")
