"""A network as one file that needs no course to run: pixels or tokens in, logits out."""

import copy
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from transfer_utils.backbones.stages import StagedModel, unwrapped

NEEDED = ("onnx", "onnxscript", "onnxruntime")


class _WithPreprocessing(nn.Module):
    """The network behind its own preprocessing: uint8 (N, 3, H, W), or tokens, int64 (N, L), to logits (N, classes)."""

    def __init__(self, model: StagedModel):
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (N, classes) of uint8 photos that already have the right size, or of tokens."""
        return self.model(self.model.preprocess(rows))


def export(path: str | Path, model: nn.Module, size: int) -> Path:
    """Write the network with its preprocessing to one file, for any number of photos of size x size pixels.

    A network that reads lines takes tokens of model.encode(lines, size) instead.

    path: ends in .pt2, a program for torch.export.load, or in .onnx, which runs without torch and takes `photos`, uint8
    (N, 3, size, size), or `tokens`. ValueError for another ending, and for a size that the network cannot take;
    TypeError as in freeze; ImportError names the packages that ONNX lacks. Sources:
    https://docs.pytorch.org/docs/stable/export.html and https://docs.pytorch.org/docs/stable/onnx.html
    """
    path, staged = Path(path), unwrapped(model)
    staged.check_size("export()", size)
    if path.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"export() got {path.name!r}; the name must end in .pt2 or .onnx.")
    if path.suffix == ".onnx":
        _require_onnx()
    path.parent.mkdir(parents=True, exist_ok=True)
    network, example, shapes = _parts(staged, size)
    if path.suffix == ".pt2":
        torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), path)
    else:
        _write_onnx(path, network, example, shapes, staged.takes)
    return path


def _write_onnx(path: Path, network: nn.Module, example: tuple[Tensor], shapes: tuple[dict], takes: str) -> None:
    torch.onnx.export(
        network,
        example,
        path,
        input_names=[takes],
        output_names=["logits"],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _require_onnx() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'ONNX needs {", ".join(missing)}, which are not installed: pip install "transfer_utils[export]". '
            "Everything else works without."
        )


def _parts(model: StagedModel, size: int) -> tuple[nn.Module, tuple[Tensor], tuple[dict]]:
    """A copy of the network in eval mode on the CPU, an example input, and which of its dimensions may vary."""
    network = _WithPreprocessing(copy.deepcopy(model)).cpu().eval()
    # Two rows: an example of one would be taken for a fixed size of one.
    return network, (model.example(2, size),), ({0: torch.export.Dim(model.takes)},)
