"""Build notebooks/ from lessons/: the only place that knows how a lesson becomes a notebook.

usage: python tools/notebooks.py [LESSON ...]      build and execute, for example: 02_feature_extraction
"""

import re
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).parent.parent
LESSONS, NOTEBOOKS, README = ROOT / "lessons", ROOT / "notebooks", ROOT / "README.md"
TIMEOUT = 600  # seconds for one cell; machines differ a lot
BINDER = "https://mybinder.org"
WIDGET = "application/vnd.jupyter.widget-view+json"

Notebook = nbformat.NotebookNode


def names() -> list[str]:
    """The lessons in their order: file names without ending."""
    return [path.stem for path in sorted(LESSONS.glob("[0-9]*.py"))]


def home() -> dict[str, str]:
    """The repository and branch of the course, from pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]


def source() -> str:
    """What pip installs the course from."""
    return f"git+https://github.com/{home()['repository']}@{home()['branch']}"


def badge(name: str) -> str:
    """The Markdown of a lesson's Open-in-Colab badge."""
    where = f"{home()['repository']}/blob/{home()['branch']}/notebooks/{name}.ipynb"
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({picture})](https://colab.research.google.com/github/{where})"


def binder_badge() -> str:
    """The Markdown of the badge that opens the course in Binder."""
    where = f"v2/gh/{home()['repository']}/{home()['branch']}?labpath=notebooks"
    return f"[![Open in Binder]({BINDER}/badge_logo.svg)]({BINDER}/{where})"


def with_badges(page: str) -> str:
    """The text of a page, such as the README, with every badge for the course's present address."""
    link = r"\]\([^)]*\)\]\([^)]*"
    for name in names():
        page = re.sub(rf"\[!\[Open in Colab{link}/{name}\.ipynb\)", badge(name), page)
    return re.sub(rf"\[!\[Open in Binder{link}\)", binder_badge(), page)


def shipped(name: str) -> Notebook:
    """The notebook as learners get it, without outputs: exercises open, solutions collapsed below them."""
    cells = _lesson_cells(name)
    return _notebook([_collapsed(cell) if "solution" in _tags(cell) else cell for cell in cells], name)


def solved(name: str) -> Notebook:
    """The notebook with every exercise replaced by its solution, for the tests."""
    return _notebook([cell for cell in _lesson_cells(name) if "exercise" not in _tags(cell)], name)


def executed(notebook: Notebook) -> Notebook:
    """Run all cells in order, and keep of the outputs what a page without a kernel can show."""
    NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": ROOT}}).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
            cell.outputs = [output for output in cell.outputs if list(output.get("data", {})) != [WIDGET]]
    return notebook


def _lesson_cells(name: str) -> list[Notebook]:
    cells = jupytext.read(LESSONS / f"{name}.py").cells
    cells[0].source = f"{badge(name)}\n\n{cells[0].source}"
    parameters = next(i for i, cell in enumerate(cells) if "parameters" in _tags(cell))
    cells.insert(parameters, new_code_cell(_colab_cell(), metadata={"tags": ["setup"]}))
    return cells


def _colab_cell() -> str:
    return (
        "# Installs the course where it is missing, as in a new Colab runtime. That can take a minute or two.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("transfer_utils") is None:\n'
        f'    get_ipython().run_line_magic("pip", "install -q {source()}")'
    )


def _notebook(cells: list[Notebook], name: str) -> Notebook:
    # Cell ids come from the position, so that building twice gives the same file.
    for i, cell in enumerate(cells):
        cell.id = f"{name[:2]}-{i:03d}"
        cell.metadata = {"tags": _tags(cell)} if _tags(cell) else {}
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec, "language_info": {"name": "python"}})


def _collapsed(cell: Notebook) -> Notebook:
    text = f"<details><summary>Solution</summary>\n\n```python\n{cell.source}\n```\n\n</details>"
    return new_markdown_cell(text, metadata={"tags": ["solution"]})


def _tags(cell: Notebook) -> list[str]:
    return cell.metadata.get("tags", [])


def _is_progress(output: Notebook) -> bool:
    # A finished progress bar leaves blanks behind, one that was cut off stays at its last percentage.
    text = output.get("text", "")
    return output.get("name") == "stderr" and (not text.strip() or bool(re.search(r"\d+%\|", text)))


def _write(name: str) -> None:
    notebook = executed(shipped(name))
    path = NOTEBOOKS / f"{name}.ipynb"
    nbformat.write(notebook, path)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    NOTEBOOKS.mkdir(exist_ok=True)
    README.write_text(with_badges(README.read_text(encoding="utf-8")), encoding="utf-8")
    for lesson in sys.argv[1:] or names():
        _write(lesson)
