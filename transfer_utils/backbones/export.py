"""A trained network as one file that needs no course to run: pixels in, logits out."""

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from transfer_utils.backbones.stages import StagedModel

NEEDED = ("onnx", "onnxscript", "onnxruntime")


class FromPixels(nn.Module):
    """The network behind its own preprocessing: uint8 (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, model: StagedModel):
        super().__init__()
        self.model = model

    def forward(self, photos: Tensor) -> Tensor:
        """Logits (N, classes) of uint8 photos that already have the right size."""
        return self.model(self.model.preprocess(photos))


def save_program(path: Path, model: StagedModel, size: int) -> Path:
    """Write the network with its preprocessing to <path>.pt2, for any number of photos of size x size pixels.

    Source: https://docs.pytorch.org/docs/stable/export.html
    """
    path = path.with_name(f"{path.name}.pt2")
    path.parent.mkdir(parents=True, exist_ok=True)
    network, example, shapes = _parts(model, size)
    torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), path)
    return path


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """The function in a .pt2 file: uint8 (N, 3, size, size) to logits. The class of the network is not needed."""
    return torch.export.load(path).module()


def missing_for_onnx() -> list[str]:
    """The packages of the extra `export` that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def save_onnx(path: Path, model: StagedModel, size: int) -> Path:
    """Write the same as ONNX to <path>.onnx, which runs without torch. ImportError names what is missing.

    Source: https://docs.pytorch.org/docs/stable/onnx.html
    """
    _require_onnx()
    path = path.with_name(f"{path.name}.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    network, example, shapes = _parts(model, size)
    torch.onnx.export(network, example, path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)
    return path


def load_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """The function in an .onnx file, run by onnxruntime on the CPU. ImportError names what is missing."""
    _require_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda photos: torch.from_numpy(session.run(None, {name: photos.numpy()})[0])


def _require_onnx() -> None:
    missing = missing_for_onnx()
    if missing:
        raise ImportError(
            f'ONNX needs {", ".join(missing)}, which are not installed: pip install "transfer_utils[export]". '
            "Everything else works without."
        )


def _parts(model: StagedModel, size: int) -> tuple[nn.Module, tuple[Tensor], tuple[dict]]:
    """A copy of the network in eval mode on the CPU, an example input, and which of its dimensions may vary."""
    network = FromPixels(copy.deepcopy(model)).cpu().eval()
    # Two photos: an example of one would be taken for a fixed size of one.
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    return network, (example,), ({0: torch.export.Dim("photos")},)
