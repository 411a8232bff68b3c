"""The notebooks: in step with the lessons, run solved in full, and run as shipped on the path of a graphics card."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pretend
import pytest

import notebooks

ROOT = Path(__file__).parent.parent
LESSONS = notebooks.names()
# What the live run of a solved lesson must satisfy: bands wide enough for another processor, and orderings.
CLAIMS = {
    "00_first_transfer": lambda r: r["pretrained_10"] > 0.55 and r["scratch_10"] < 0.35 and r["gain_10"]["low"] > 0.2,
    "01_pretraining": lambda r: r["fine_tuned_20"] > r["scratch_20"] and r["gain_20"]["low"] > 0,
    "02_feature_extraction": lambda r: r["probe_10"] > r["pixels_10"] + 0.2 and r["drift"] == 0,
    "04_practical_tradeoffs": lambda r: r["gain_20"]["low"] > 0 and r["regret"] < 0.005 and r["deviation"] < 0.1,
    "05_resnet50_demo": lambda r: (
        r["tuned"] > r["frozen"] > 0.55
        and r["glows"] < r["not_glows"]
        and r["statistics"]["low"] > 0
        and r["shift"] < 1e-4
    ),
    "07_your_own_photos": lambda r: r["accuracy"] > r["largest"] + 0.2 and r["held"] > 0.8 and r["leak"]["low"] > 0.05,
    "08_text": lambda r: (
        r["full_20"] > r["scratch_20"] + 0.1 and r["gain_20"]["low"] > 0.05 and r["loss_after"] < r["loss_before"] - 1
    ),
    "03_fine_tuning": lambda r: r["full_20"] > 0.5 and r["gain_20"]["low"] > 0 and r["frozen_loss"] == r["drift"] == 0,
}


def committed(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook) -> str:
    return "".join(o.get("text", "") for cell in code_cells(notebook) for o in cell.outputs)


def html(notebook) -> str:
    outputs = [o for cell in code_cells(notebook) for o in cell.outputs]
    return "".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs)


def test_every_lesson_has_a_notebook_and_the_other_way_round():
    assert [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))] == LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_and_notebook_are_in_step(name):
    built, kept = notebooks.shipped(name), committed(name)
    assert [(c.cell_type, c.source, c.metadata.get("tags")) for c in kept.cells] == [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in built.cells
    ], f"edit lessons/{name}.py and run `make notebooks`"


@pytest.mark.parametrize("name", LESSONS)
def test_committed_outputs(name):
    notebook, path = committed(name), ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 1_000_000
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "not run in order from a fresh kernel"
    assert "quick run" not in printed(notebook)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert not {notebooks.WIDGET, "image/png"} & set(output.get("data", {})), cell.source
    images = re.findall(r"<img [^>]*>", html(notebook))
    assert len(images) >= 3
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert (
        sum(
            cell.source.startswith("# ") or "\n# " in cell.source
            for cell in notebook.cells
            if cell.cell_type == "markdown"
        )
        == 1
    )


@pytest.mark.parametrize("name", ["03_fine_tuning", "04_practical_tradeoffs", "05_resnet50_demo", "08_text"])
def test_figures_speak_and_at_most_eight_intervals_are_printed(name):
    assert len(re.findall(r"\[[-+]?[\d.]+%?, [-+]?[\d.]+%?\]", printed(committed(name)))) <= 8


def test_lesson_4_is_short_enough_to_be_read():
    """Words of text, without solutions and names of tests."""
    cells = notebooks.shipped("04_practical_tradeoffs").cells
    texts = [c.source for c in cells if c.cell_type == "markdown" and "<summary>Solution" not in c.source]
    assert sum(len(re.sub(r"<!--.*?-->", "", text).split()) for text in texts) <= 3300


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_form(name):
    """What every lesson has: two exercises with a check and a collapsed solution, a self-test, recap, references."""
    notebook = notebooks.shipped(name)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    tags = [cell.metadata.get("tags", [None])[0] for cell in notebook.cells]
    assert tags.count("parameters") == tags.count("setup") == tags.count("result") == 1
    assert len(re.findall(r"^### Exercise", text, re.M)) >= 2
    assert text.count("Hint") >= 2
    assert tags.count("exercise") == tags.count("solution") == text.count("<details><summary>Solution") >= 3
    for heading in ("## Self-test", "## Recap", "## References", "**Takeaway.**"):
        assert heading in text
    assert re.search(r"[Gg]uess|[Pp]redict", text)
    assert re.search(r"_explorer\(|LineReader\(", "".join(cell.source for cell in code_cells(notebook)))
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 12, cell.source


@pytest.fixture
def shared_home(tmp_path_factory, monkeypatch) -> None:
    """One cache folder for all lessons, whichever worker runs them: what one has extracted the next one finds."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    monkeypatch.setenv("TRANSFER_UTILS_HOME", str(folder / "lessons"))


def run_solved(name, folder, **parameters):
    """The solved notebook with its outputs, run with these parameters."""
    source, target = folder / "source.ipynb", folder / f"{name}.ipynb"
    nbformat.write(notebooks.solved(name), source)
    papermill.execute_notebook(source, target, parameters, cwd=ROOT, execution_timeout=900, progress_bar=False)
    return nbformat.read(target, as_version=4)


def same_everywhere(notebook) -> list[str]:
    """What the cells print that are marked for nbval, and so print the same in every run."""
    marked = [cell for cell in code_cells(notebook) if "# NBVAL_CHECK_OUTPUT" in cell.source]
    return ["".join(o.text for o in cell.outputs if o.get("name") == "stdout") for cell in marked]


@pytest.mark.notebook
@pytest.mark.parametrize("name", LESSONS)
def test_solved_in_full(name, tmp_path, shared_home):
    """Every check passes, the lesson's numbers satisfy its claims, and marked cells print what is committed."""
    notebook = run_solved(name, tmp_path, profile="cpu", quick=False)
    said = printed(notebook)
    assert "Not yet" not in said
    assert said.count("Right: ") >= 2
    assert html(notebook).count("Right.") == 3
    (line,) = [line for line in said.splitlines() if line.startswith('{"result"')]
    numbers = json.loads(line)["result"]
    assert not numbers["quick"]
    assert CLAIMS[name](numbers), numbers
    assert same_everywhere(notebook) == same_everywhere(committed(name))


ON_THE_CARD = f"""
said = str(run)
assert said.startswith("gpu profile on "), said
assert ("on CARD" in said) is {pretend.POSSIBLE}, said
assert "claims nothing" in said, said
"""


@pytest.mark.notebook
@pytest.mark.parametrize("name", LESSONS)
def test_as_shipped_on_a_card_in_a_quick_run(name, tmp_path, shared_home):
    """The GPU path's code, on a pretend card if there is no real one: embedded photos, untrained ResNet50, no claim.

    Exercises are open, as learners find them: on_the_card.py solves them there. nbval compares the outputs that are
    the same everywhere.
    """
    notebook = committed(name)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert parameters.source.count('profile = "auto"') == 1
    parameters.source = parameters.source.replace('profile = "auto"', 'profile = "gpu"')
    first = "import pretend; pretend.install()" if pretend.POSSIBLE else ""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    notebook.cells.append(nbformat.v4.new_code_cell(ON_THE_CARD))
    nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    options = ["-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-cell-timeout=600"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=tmp_path, env={**os.environ, "COURSE_QUICK": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:]
