"""A JupyterLab and a Chromium for tests that bring cells of their own."""

from collections.abc import Callable, Iterator, Sequence

import browser
import nbformat
import pytest
from playwright.sync_api import Page

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}  # else JupyterLab asks for one


@pytest.fixture(scope="module")
def open_cells(tmp_path_factory) -> Iterator[Callable[[Sequence[str]], Page]]:
    """Write cells as a notebook, run them all, and return the page. It has `problems`, what went wrong in it."""
    browser.require_chromium()
    folder = tmp_path_factory.mktemp("cells")
    with browser.jupyter(folder, tmp_path_factory.mktemp("config")) as server, browser.page() as page:

        def opened(cells: Sequence[str]) -> Page:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in cells], metadata={"kernelspec": KERNEL}
            )
            nbformat.write(notebook, folder / "cells.ipynb")
            page.set_viewport_size({"width": 1100, "height": 1000})
            page.problems = []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            browser.run_all(page, server, "cells.ipynb")
            return page

        yield opened
