"""Open the course in JupyterLab, on copies that belong to the learner (`make lab`).

A notebook that is already in my-notebooks/ is never overwritten.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from places import settle
from transfer_utils import machine

ROOT = Path(__file__).parent.parent
MINE = ROOT / "my-notebooks"


def copy_missing() -> list[Path]:
    """Copy the lessons that are not in my-notebooks/ yet; returns the new copies. Exits where that cannot be."""
    why = machine.trouble(MINE)
    if why:
        sys.exit(f"Your copies cannot be kept in {MINE}: {why}. Put the course into a folder that you can write to.")
    new = [source for source in sorted((ROOT / "notebooks").glob("*.ipynb")) if not (MINE / source.name).exists()]
    return [Path(shutil.copy(source, MINE / source.name)) for source in new]


if __name__ == "__main__":
    settle()
    for path in copy_missing():
        print(f"copied {path.name} to {MINE.name}/")
    first = min(MINE.glob("*.ipynb"))
    sys.exit(
        subprocess.call(
            [sys.executable, "-m", "jupyter", "lab", str(first), f"--ServerApp.root_dir={ROOT}", *sys.argv[1:]]
        )
    )
