"""Run the course under Colab's versions, and write what came out into docs/colab.md (`make colab-test-full`).

usage: python tools/colab_full.py PYTHON      an interpreter of Colab's version
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import scipy.stats

import colab
import course
import notebooks
from transfer_utils import stats

PAGE = notebooks.ROOT / "docs" / "colab.md"
# The live numbers of the first lessons, and the stored rows that say how far two runs with different seeds may differ.
HEADLINES = {
    "00_first_transfer": {
        "pretrained_10": ("lesson00", {"method": "probe", "per_class": 10}),
        "scratch_10": ("lesson00", {"method": "scratch", "per_class": 10}),
    },
    "01_pretraining": {
        "fine_tuned_20": ("lesson01", {"method": "fine-tuned", "per_class": 20}),
        "scratch_20": ("lesson01", {"method": "scratch", "per_class": 20}),
    },
    "02_feature_extraction": {
        "probe_10": ("lesson02", {"stage": "neck", "per_class": 10}),
        "pixels_10": ("lesson02", {"stage": "pixels", "per_class": 10}),
    },
}


def allowed(table: str, where: dict[str, object]) -> float:
    """What two runs that differ in their seed alone stay within, 95 times in 100: from the stored valid accuracies."""
    values = stats.select(stats.results(table), **where)["valid"]
    return scipy.stats.t.ppf(0.975, len(values) - 1) * values.std() * 2**0.5


def quickly(name: str, folder: Path) -> str:
    """A table row: how long a lesson takes in a quick run. PapermillExecutionError when a cell fails."""
    started = time.perf_counter()
    colab.run(name, folder, quick=True)
    return f"| {name} | {time.perf_counter() - started:.0f} s |"


def fully(name: str, folder: Path) -> list[str]:
    """Table rows: a lesson's numbers in the committed notebook and here, and whether another seed would do as much."""
    ours = course.numbers(nbformat.read(notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4))
    theirs = course.numbers(colab.run(name, folder, quick=False))
    rows = []
    for key, (table, where) in HEADLINES[name].items():
        limit, off = allowed(table, where), abs(ours[key] - theirs[key])
        verdict = "yes" if off <= limit else "**no**"
        rows.append(f"| {name} | {key} | {ours[key]:.1%} | {theirs[key]:.1%} | {100 * limit:.1f} points | {verdict} |")
    return rows


def write(tables: str) -> None:
    """Put the tables between the two marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub("(?<=<!-- begin -->\n).*(?=<!-- end -->)", lambda _: tables, page, flags=re.S)
    PAGE.write_text(page, encoding="utf-8")


def runs(interpreter: str) -> bool:
    """Whether there is such a Python."""
    try:
        return subprocess.run([interpreter, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def main(interpreter: str) -> int:
    if not runs(interpreter):
        print(f"{interpreter} does not run here. Name a Python: make colab-test-full COLAB_PYTHON=/path/to/python3.13")
        return 1
    python = colab.environment(colab.ROOT / "build" / "colab_full", interpreter, colab.versions())
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *colab.OURS], check=True)
    with tempfile.TemporaryDirectory() as place:
        runtime, source = Path(place) / "runtime", Path(place) / "source"
        runtime.mkdir()
        source.mkdir()
        variables = colab.repository(source)
        new = colab.planned(python, variables)
        print("the first cell would install:", *sorted(new), flush=True)
        colab.offer_kernel(python, runtime, {**variables, "TRANSFER_UTILS_HOME": str(runtime / "home")})
        os.environ["JUPYTER_PATH"] = str(runtime)
        quick, full = [], []
        for name in notebooks.names():
            quick.append(quickly(name, runtime))
            print(quick[-1], flush=True)
        for name in HEADLINES:
            full += fully(name, runtime)
            print(*full[-2:], sep="\n", flush=True)
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    shown = ", ".join([version, *(f"{name} {number}" for name, number in colab.versions().items())])
    write(
        f"{shown}.\n\nThe first cell installed: {', '.join(sorted(new))}.\n\n"
        "| lesson | quick run |\n|---|---|\n" + "\n".join(quick) + "\n\n"
        "| lesson | number | committed notebook | Colab's versions | two seeds differ by up to | agree |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(full) + "\n"
    )
    return 0 if new == colab.OURS and "**no**" not in "".join(full) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
