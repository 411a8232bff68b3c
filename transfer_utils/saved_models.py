"""A classifier as one folder that can be sent to somebody: checked by checksum at every reading, nothing unpickled."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from transfer_utils import backbones
from transfer_utils.classifiers import Classifier

SETTINGS, NETWORK, MEMORY = "classifier.json", "network.safetensors", "memory.safetensors"
CARD, SUMS = "README.md", "SHA256SUMS"
CHECKED = (SETTINGS, NETWORK, MEMORY, CARD)


def save(path: str | Path, classifier: Classifier, card: str) -> Path:
    """Write the folder in one step: network, known features, classes, preprocessing, card (Markdown), checksums.

    A model that was saved there before is replaced. ValueError when the folder holds anything else.
    """
    target = check_place(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (target.with_name(f".{target.name}.{word}{os.getpid()}") for word in ("new", "old"))
    fresh.mkdir()
    try:
        for name, content in _files(classifier, card).items():
            (fresh / name).write_bytes(content)
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return target


def check_place(path: str | Path) -> Path:
    """The path as a place where a model may be saved. ValueError for a file, or a folder with anything else in it."""
    target = Path(path).expanduser()
    if target.is_file():
        raise ValueError(f"{target} is a file; a model is saved as a folder. Choose another name.")
    others = {path.name for path in target.iterdir()} - {*CHECKED, SUMS} if target.is_dir() else set()
    if others:
        raise ValueError(
            f"{target} also holds {min(others)!r}, which saving would remove. Choose a new or an empty folder."
        )
    return target


def load(path: str | Path) -> Classifier:
    """The classifier in a folder, after comparing every file with its checksum.

    FileNotFoundError for no such folder; ValueError for a file that is missing, damaged or from another model.
    """
    folder = Path(path).expanduser()
    contents = {name: _checked(folder, name) for name in CHECKED}
    try:
        return _classifier(json.loads(contents[SETTINGS]), parse(contents[NETWORK]), parse(contents[MEMORY])["known"])
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder} has whole files, but is not a model that this version of the course can read "
            f"({type(error).__name__}: {error}). Train and save it again."
        ) from error


def _classifier(settings: dict[str, Any], weights: dict[str, Tensor], known: Tensor) -> Classifier:
    classes = tuple(settings["classes"])
    model = backbones.load_backbone(settings["backbone"], pretrained=False, classes=len(classes))
    model.load_state_dict(weights)
    model.requires_grad_(False).eval()
    return Classifier(model, classes, settings["size"], known, tuple(settings["photos"]), settings["limit"])


def _files(classifier: Classifier, card: str) -> dict[str, bytes]:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.model.state_dict().items()}
    files = {
        SETTINGS: (json.dumps(_settings(classifier), indent=2) + "\n").encode(),
        NETWORK: serialise(tensors),
        MEMORY: serialise({"known": classifier.known.contiguous()}),
        CARD: card.encode(),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return {**files, SUMS: sums.encode()}


def _settings(classifier: Classifier) -> dict[str, Any]:
    model = classifier.model
    return {
        "backbone": model.name,
        "classes": list(classifier.classes),
        "size": classifier.size,
        "preprocessing": {
            "crop": "largest square in the middle",
            "mean": model.mean.flatten().tolist(),
            "std": model.std.flatten().tolist(),
        },
        "limit": classifier.limit,
        "photos": list(classifier.names),
        "torch": torch.__version__,
    }


def _checked(folder: Path, name: str) -> bytes:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Give the folder that a model was saved to.")
    again = "Copy the whole folder anew, or train and save again."
    for needed in (SUMS, name):
        if not (folder / needed).is_file():
            raise ValueError(f"{folder} has no {needed}, so it is not a whole saved model. {again}")
    lines = (folder / SUMS).read_text(errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise ValueError(f"{folder / name} is damaged, or belongs to another model: its sha256 differs. {again}")
    return content
