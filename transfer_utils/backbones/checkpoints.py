"""Weights on disk: one safetensors file, with a card in its header."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor, nn

from transfer_utils import machine
from transfer_utils.backbones.misfits import check_fit
from transfer_utils.backbones.stages import StagedModel, plain
from transfer_utils.machine import unknown, write_atomically

Model = TypeVar("Model", bound=nn.Module)
SUFFIX, CARD = ".safetensors", "card"
PICKLES = (b"PK", b"\x80")  # how files of torch.save begin
ORDER = "give the path, the model and the card in this order, for example save_checkpoint('my_model', model, {})"


def save_checkpoint(path: str | Path, model: nn.Module, card: dict[str, Any]) -> Path:
    """Write weights and card to <path>.safetensors in one step: a crash leaves the old file or the new one.

    card: what a stranger needs to know about the weights: classes, photos, recipe, accuracy. Weights that stages share
    are stored for each of them. TypeError or ValueError, before anything is written, for a card that JSON cannot hold,
    and for what are no weights; OSError where the file cannot be written.
    """
    weights = _file(path)
    if not isinstance(model, nn.Module):
        raise TypeError(f"save_checkpoint() got a {type(model).__name__} as the model; {ORDER}.")
    header = {CARD: _as_json(card)}
    tensors = {name: _own(name, tensor) for name, tensor in plain(model).state_dict().items()}
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(weights, serialise(tensors, header))
    except OSError as error:
        raise OSError(
            f"save_checkpoint() cannot write {weights} ({error.strerror or error}). What is there stays. Make room "
            "there or allow it, or give another path."
        ) from error
    return weights


def load_checkpoint(path: str | Path, model: Model) -> Model:
    """Fill the model with the weights in <path>.safetensors, and return it; a staged model gets the card too.

    FileNotFoundError, or ValueError for a file that is damaged or belongs to another network, and for a network without
    memory; the model is then as it was.
    """
    weights = _existing(path)
    content = weights.read_bytes()
    model = _fill(model, content, str(weights))
    if isinstance(staged := plain(model), StagedModel):
        staged.card = _card(content) or {}
    return model


def checkpoint_card(path: str | Path) -> dict[str, Any]:
    """The card in <path>.safetensors. FileNotFoundError, or ValueError for a file that is damaged or has none."""
    weights = _existing(path)
    content = weights.read_bytes()
    _parsed(content, str(weights))
    card = _card(content)
    if card is None:
        raise ValueError(
            f"{weights} has no card: save_checkpoint() did not write it, or an older version did. Its weights can be "
            "loaded; save them again with a card."
        )
    return card


@cache
def _architectures() -> dict[str, str]:
    """The architecture of each checkpoint that comes with the course, as its card says."""
    files = sorted((machine.shipped_folder() / "checkpoints").glob(f"*{SUFFIX}"))
    return {path.stem: (_card(_header(path)) or {}).get("architecture", "") for path in files}


def shipped(architecture: str = "course_resnet") -> list[str]:
    """The names of the checkpoints of an architecture, course_resnet or course_gpt, that come with the course."""
    return [name for name, found in _architectures().items() if found == architecture]


def shipped_card(name: str) -> dict[str, Any]:
    """The card of a shipped checkpoint, after comparing its sha256. ValueError for an unknown name."""
    if name not in _architectures():
        raise unknown("checkpoint", name, _architectures())
    return _card(machine.read_shipped("checkpoints", f"{name}{SUFFIX}")) or {}


def load_shipped(name: str, model: Model) -> Model:
    """Fill the model with a shipped checkpoint, after comparing its sha256."""
    return _fill(model, machine.read_shipped("checkpoints", f"{name}{SUFFIX}"), name)


def checkpoint_folder(seed: int) -> Path:
    """Where the checkpoint of a pretraining seed is: seed 0 is shipped, the others are built by `make checkpoints`."""
    if seed == 0:
        return machine.shipped_folder() / "checkpoints"
    return machine.shipped_folder().parent / "build" / "checkpoints" / f"seed{seed}"


def _file(path: str | Path) -> Path:
    """The file that a path means, whether or not it ends in .safetensors. TypeError for what is no path."""
    if not isinstance(path, str | Path):
        raise TypeError(f"A checkpoint got a {type(path).__name__} as its path; {ORDER}.")
    return machine.expanded(f"{str(path).removesuffix(SUFFIX)}{SUFFIX}")


def _existing(path: str | Path) -> Path:
    weights = _file(path)
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} does not exist. Save a checkpoint there first: save_checkpoint(...).")
    return weights


def _header(path: Path) -> bytes:
    """The beginning of a safetensors file, which holds its card, without the megabytes behind it."""
    with path.open("rb") as file:
        length = file.read(8)
        return length + file.read(int.from_bytes(length, "little"))


def _card(content: bytes) -> dict[str, Any] | None:
    """The card in the header of a whole safetensors file, None where there is none."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    try:
        card = json.loads(header["__metadata__"][CARD])
    except (KeyError, ValueError):
        return None
    return card if isinstance(card, dict) else None


def _own(name: str, tensor: Any) -> Tensor:
    """A copy with memory of its own, row by row: safetensors takes no other. ValueError for what is no such tensor."""
    if not isinstance(tensor, Tensor) or tensor.is_meta or tensor.is_quantized or tensor.layout is not torch.strided:
        raise ValueError(
            f"{name} of this network is no plain tensor with values, and cannot stand in a checkpoint. Save the "
            "network before it is quantised, and after its weights are filled."
        )
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


# --- cards ----------------------------------------------------------------------------------------------------------


def _as_json(card: Any) -> str:
    if not isinstance(card, dict):
        raise ValueError(f"A card is a dict, for example {{'classes': [...]}}, and not {card!r}.")
    try:
        _refuse_what_json_lacks(card, CARD)
    except RecursionError:
        raise ValueError("The card holds itself; JSON cannot. Take a copy of that part without it.") from None
    return json.dumps(card)


def _refuse_what_json_lacks(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; JSON has keys of text alone: write {str(key)!r}.")
            _refuse_what_json_lacks(part, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _refuse_what_json_lacks(part, f"{where}[{index}]")
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        what = repr(value) if isinstance(value, float) else f"a {type(value).__name__}"
        raise ValueError(
            f"{where} is {what}, which JSON cannot hold. Give text, a finite number, True, False, None, or lists and "
            "dicts of these."
        )


# --- files that do not fit ------------------------------------------------------------------------------------------


def _fill(model: Model, content: bytes, origin: str) -> Model:
    tensors, network = _parsed(content, origin), plain(model)
    # All of it beforehand: load_state_dict copies what fits before it says what does not.
    check_fit(tensors, network.state_dict(), origin)
    network.load_state_dict(tensors)
    return model


def _parsed(content: bytes, origin: str) -> dict[str, Tensor]:
    try:
        return parse(content)
    except SafetensorError as error:
        way = f" ({error}). Save it again."
        if content.startswith(PICKLES):
            way = (
                ": it looks like one of torch.save() under another name. Load it with torch.load(..., "
                "weights_only=True), and save it with save_checkpoint()."
            )
        raise ValueError(f"{origin} is not a whole safetensors file{way}") from error
