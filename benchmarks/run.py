"""All timings side by side, on screen and in docs/speed.md (`make bench`).

usage: python benchmarks/run.py [PART ...]

PART: such as "Many photos". The other parts of the page stay, so name some only on the machine that measured the rest.
"""

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import folders
import loops
import passes
import pretraining
import probes
import scaling
import sweeps
import tutorial
from side_by_side import here

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
BEGIN, END = "<!-- begin -->", "<!-- end -->"
MEASURED = {
    "A frozen pass": passes,
    "A training": loops,
    "Pretraining": pretraining,
    "A thousand probes": probes,
    "A folder of 250 photos": folders,
    "A folder, beside the tutorial": tutorial,
    "Many photos": scaling,
    "Two workers": sweeps,
}


def main(chosen: Sequence[str]) -> None:
    if unknown := set(chosen) - set(MEASURED):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}. The parts are: {', '.join(MEASURED)}.")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    kept, _, after = rest.partition(END)
    parts = dict(re.findall(r"^## (.+?)\n\n(.+?)(?=\n\n## |\Z)", kept.strip(), re.M | re.S))
    for title, module in MEASURED.items():
        if title in (chosen or MEASURED):
            about = " ".join((module.__doc__ or "").partition("usage:")[0].split())
            print(f"\n{title}\n{textwrap.fill(about, 100)}\n", flush=True)
            found = module.main()
            print(found, flush=True)
            parts[title] = f"{textwrap.fill(about, 120)}\n\n{found}"
    made = "\n\n".join(
        [f"Measured on {here()}", *(f"## {title}\n\n{parts[title]}" for title in MEASURED if title in parts)]
    )
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
