"""One JupyterLab and one Chromium for all tests that bring cells of their own."""

from collections.abc import Callable, Iterator, Sequence

import browser
import nbformat
import pytest
from playwright.sync_api import Page

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}  # else JupyterLab asks for one


@pytest.fixture(scope="session")
def open_cells(tmp_path_factory) -> Iterator[Callable[[Sequence[str]], Page]]:
    """Write cells as a notebook, run them all, and return the page. It has `problems`, what went wrong in it."""
    browser.require_chromium()
    folder = tmp_path_factory.mktemp("cells")
    with browser.jupyter(folder, tmp_path_factory.mktemp("config")) as server, browser.page() as first:

        def opened(cells: Sequence[str]) -> Page:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in cells], metadata={"kernelspec": KERNEL}
            )
            name = f"cells{len(list(folder.glob('*.ipynb')))}.ipynb"
            nbformat.write(notebook, folder / name)
            page = first.context.browser.new_page(viewport={"width": 1100, "height": 1000})
            page.problems = []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            browser.run_all(page, server, name)
            return page

        yield opened
