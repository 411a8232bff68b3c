"""Weights on disk: a safetensors file with a JSON card beside it."""

import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import nn

from transfer_utils import machine
from transfer_utils.backbones.stages import plain
from transfer_utils.machine import unknown, write_atomically

Model = TypeVar("Model", bound=nn.Module)


def save_checkpoint(path: str | Path, model: nn.Module, card: dict[str, Any]) -> Path:
    """Write <path>.safetensors and <path>.json, each in one step: a crash leaves the old file or the new one.

    card: what a stranger needs to know about the weights: classes, photos, recipe, accuracy.
    """
    # safetensors takes only contiguous tensors, and convolutions may be channels_last.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in plain(model).state_dict().items()}
    weights = Path(f"{path}.safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(weights, serialise(tensors))
    write_atomically(Path(f"{path}.json"), (json.dumps(card, indent=2) + "\n").encode())
    return weights


def load_checkpoint(path: str | Path, model: Model) -> Model:
    """Fill the model with the weights in <path>.safetensors, and return it.

    Raises FileNotFoundError, or ValueError for a file that is damaged or belongs to another architecture.
    """
    weights = Path(f"{path}.safetensors")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} does not exist. Save a checkpoint there first: save_checkpoint(...).")
    return _fill(model, weights.read_bytes(), str(weights))


def checkpoint_card(path: str | Path) -> dict[str, Any]:
    """The card beside <path>.safetensors."""
    return json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))


def shipped() -> list[str]:
    """The names of the checkpoints that come with the course."""
    return sorted(path.stem for path in (machine.shipped_folder() / "checkpoints").glob("*.safetensors"))


def shipped_card(name: str) -> dict[str, Any]:
    """The card of a shipped checkpoint. ValueError for an unknown name."""
    if name not in shipped():
        raise unknown("checkpoint", name, shipped())
    return json.loads(machine.read_shipped("checkpoints", f"{name}.json"))


def load_shipped(name: str, model: Model) -> Model:
    """Fill the model with a shipped checkpoint, after comparing its sha256."""
    return _fill(model, machine.read_shipped("checkpoints", f"{name}.safetensors"), name)


def _fill(model: Model, content: bytes, origin: str) -> Model:
    try:
        tensors = parse(content)
    except SafetensorError as error:
        raise ValueError(f"{origin} is not a whole safetensors file ({error}). Save it again.") from error
    try:
        plain(model).load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"{origin} does not fit this network: {error}. Build the network with the classes in its card."
        ) from error
    return model


def checkpoint_folder(seed: int) -> Path:
    """Where the checkpoint of a pretraining seed is: seed 0 is shipped, the others are built by `make checkpoints`."""
    if seed == 0:
        return machine.shipped_folder() / "checkpoints"
    return machine.shipped_folder().parent / "build" / "checkpoints" / f"seed{seed}"
