"""All timings side by side, on screen and in docs/speed.md (`make bench`).

usage: python benchmarks/run.py
"""

import textwrap
from pathlib import Path

import folders
import loops
import passes
import probes
import scaling
import sweeps
from side_by_side import here

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
BEGIN, END = "<!-- begin -->", "<!-- end -->"
MEASURED = {
    "A frozen pass": passes,
    "A training": loops,
    "A thousand probes": probes,
    "A folder of 250 photos": folders,
    "Many photos": scaling,
    "Two workers": sweeps,
}


def main() -> None:
    parts = [f"Measured on {here()}"]
    for title, module in MEASURED.items():
        about = " ".join((module.__doc__ or "").split())
        print(f"\n{title}\n{textwrap.fill(about, 100)}\n", flush=True)
        found = module.main()
        print(found, flush=True)
        parts.append(f"## {title}\n\n{textwrap.fill(about, 120)}\n\n{found}")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    made = "\n\n".join(parts)
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
