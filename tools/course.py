"""Run every lesson as shipped, from start to end, and say how it went (`make course`).

usage: python tools/course.py [LESSON ...]
"""

import json
import sys
import time
from pathlib import Path

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from places import settle
from transfer_utils import machine

ROOT = Path(__file__).parent.parent
OUT = ROOT / "build" / "course"
CELL_TIMEOUT = 600  # seconds


def numbers(notebook: nbformat.NotebookNode) -> dict:
    """What the lesson's result cell printed; empty when it has none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text", "")
            if "result" in cell.metadata.get("tags", []) and text.startswith("{"):
                return json.loads(text)["result"]
    return {}


def headline(path: Path) -> str:
    """The first number that the lesson's result cell printed, with its name."""
    for name, value in numbers(nbformat.read(path, as_version=4)).items():
        return f"{name} = {value:.1%}" if isinstance(value, float) else f"{name} = {value}"
    return "no result cell"


def explain(name: str, error: Exception) -> str:
    """Which lesson, which cell, which error."""
    if not isinstance(error, PapermillExecutionError):
        return f"{name} stopped: {type(error).__name__}: {error}"
    first = error.source.strip().splitlines()[0]
    return f"{name} stopped in cell {error.cell_index} (`{first}`): {error.ename}: {error.evalue}"


def place_for_copies() -> Path:
    """build/course/, or a temporary folder where that cannot be written, which is then said."""
    why = machine.trouble(OUT)
    if not why:
        return OUT
    print(f"The notebooks that we run are not kept: nothing can be kept in {OUT}: {why}.", file=sys.stderr)
    place = machine.temporary_folder() / "course"
    place.mkdir(exist_ok=True)
    return place


def run(source: Path, place: Path) -> tuple[float, str]:
    """Execute a copy of one notebook in this folder; returns seconds and headline. The source stays as it is."""
    target = place / source.name
    started = time.perf_counter()
    papermill.execute_notebook(source, target, cwd=ROOT, execution_timeout=CELL_TIMEOUT, kernel_name="python3")
    return time.perf_counter() - started, headline(target)


def main(wanted: list[str]) -> int:
    settle()
    place = place_for_copies()
    sources = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if not wanted or path.stem in wanted]
    table: list[tuple[str, str, str]] = []
    for number, source in enumerate(sources, start=1):
        print(f"[{number}/{len(sources)}] {source.stem}", flush=True)
        try:
            seconds, number_found = run(source, place)
        except Exception as error:
            print(explain(source.stem, error), file=sys.stderr)
            print(f"What it had done so far is in {place / source.name}", file=sys.stderr)
            return 1
        table.append((source.stem, f"{seconds:.0f}", number_found))
    print(f"\n{'lesson':<28}{'seconds':>8}   headline number")
    for lesson, seconds_text, number_found in table:
        print(f"{lesson:<28}{seconds_text:>8}   {number_found}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
