"""A classifier as a folder that can be sent: plain files with checksums, and none that can run."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from transfer_utils import backbones, machine
from transfer_utils.backbones import StagedModel
from transfer_utils.own_photos.classifiers import Classifier
from transfer_utils.own_photos.folders import SIZES

SETTINGS, NETWORK, MEMORY = "classifier.json", "network.safetensors", "memory.safetensors"
CARD, SUMS = "README.md", "SHA256SUMS"
CHECKED = (SETTINGS, NETWORK, MEMORY, CARD)
AGAIN = "Copy the whole folder anew, or train and save again."


def save(path: str | Path, classifier: Classifier) -> Path:
    """Write the folder in one step: network, known features, classes, preprocessing, card, checksums.

    A model that was saved there before is replaced. Of several threads or processes that save there at once, the last
    one stays. ValueError for a place where that cannot be done.
    """
    with machine.alone(machine.expanded(path)):
        return _replace(check_place(path), classifier)


def _replace(target: Path, classifier: Classifier) -> Path:
    """Write the folder beside its place, and exchange the two. A failure leaves what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    old = fresh.with_name(f"{fresh.name}.old")
    try:
        fresh.chmod(0o755)  # a temporary folder is for its owner alone
        for name, content in _files(classifier).items():
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
    """The whole path of a place for a model: a new or empty folder, or one with nothing but a saved model.

    ValueError for any other place.
    """
    target = machine.expanded(path).resolve()
    existing = next(place for place in (target, *target.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK) or target == Path.cwd():
        raise ValueError(f"A model cannot be saved as the folder {target}. Give a new folder at a place of your own.")
    found = {place.name for place in target.iterdir()} if target == existing else set()
    if found and found != {*CHECKED, SUMS}:
        raise ValueError(
            f"{target} holds {min(found)!r} and is no saved model, so saving would remove something of yours. Choose "
            "a new or an empty folder."
        )
    return target


def load(path: str | Path) -> Classifier:
    """The classifier in a folder, after comparing every file with its checksum.

    FileNotFoundError for no such folder; ValueError for a file that is missing, damaged or from another model.
    """
    folder = machine.expanded(path)
    with machine.alone(folder):  # not while it is exchanged for another model
        sums = _sums(folder)
        contents = {name: _checked(folder, name, sums) for name in CHECKED}
    try:
        weights, known = parse(contents[NETWORK]), parse(contents[MEMORY])["known"]
        return _classifier(json.loads(contents[SETTINGS]), weights, known, contents[CARD].decode())
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder} has whole files, but is not a model that this version of the course can read "
            f"({type(error).__name__}: {error}). Train and save it again."
        ) from error


def _classifier(settings: dict[str, Any], weights: dict[str, Tensor], known: Tensor, card: str) -> Classifier:
    classes, size, limit = tuple(settings["classes"]), settings["size"], float(settings["limit"])
    if not isinstance(settings["classes"], list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("its classes are no list of names")
    if not isinstance(size, int) or not SIZES[0] <= size <= SIZES[1] or not math.isfinite(limit):
        raise ValueError(f"its size is {size} and its limit {limit}")
    model = backbones.load_backbone(str(settings["backbone"]), pretrained=False, classes=len(classes))
    if settings["preprocessing"] != _preprocessing(model):
        raise ValueError("it prepares photos in another way")
    model.load_state_dict(weights)
    if known.shape != (len(known) or 1, model.head.in_features) or not known.dtype.is_floating_point:
        raise ValueError(f"it remembers features of shape {tuple(known.shape)}")
    if not known.isfinite().all():
        raise ValueError("it remembers features that are no numbers")
    return Classifier(model.requires_grad_(False).eval(), classes, size, known, limit, card)


def _files(classifier: Classifier) -> dict[str, bytes]:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.model.state_dict().items()}
    files = {
        SETTINGS: (json.dumps(_settings(classifier), indent=2) + "\n").encode(),
        NETWORK: serialise(tensors),
        MEMORY: serialise({"known": classifier.known.contiguous()}),
        CARD: classifier.card.encode(),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return {**files, SUMS: sums.encode()}


def _settings(classifier: Classifier) -> dict[str, Any]:
    model = classifier.model
    return {
        "backbone": model.name,
        "classes": list(classifier.classes),
        "size": classifier.size,
        "preprocessing": _preprocessing(model),
        "limit": classifier.limit,
        "torch": torch.__version__,
    }


def _preprocessing(model: StagedModel) -> dict[str, Any]:
    """What happens to a photo before the network sees it."""
    mean, std = model.mean.flatten().tolist(), model.std.flatten().tolist()
    return {"crop": "largest square in the middle", "mean": mean, "std": std}


def _sums(folder: Path) -> dict[str, str]:
    """The checksum of each file, from the list of a saved model."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Give the folder that a model was saved to.")
    lines = _content(folder, SUMS).decode(errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _checked(folder: Path, name: str, sums: dict[str, str]) -> bytes:
    content = _content(folder, name)
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise ValueError(f"{folder / name} is damaged, or belongs to another model: its sha256 differs. {AGAIN}")
    return content


def _content(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise ValueError(f"{folder} has no {name}, so it is not a whole saved model. {AGAIN}")
    return (folder / name).read_bytes()
