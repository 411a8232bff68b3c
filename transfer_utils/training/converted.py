"""Long passes through OpenVINO, which runs most networks two to six times as fast on a CPU as torch (docs/speed.md).

Where it is not installed, where it does not know a network, and where converting would take longer than it saves, torch
computes as ever. Source: https://docs.openvino.ai
"""

import functools
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from transfer_utils import machine
from transfer_utils.backbones import StagedModel, keeping_modes
from transfer_utils.machine import best_device, cache_folder, precision
from transfer_utils.training.fingerprints import fingerprint
from transfer_utils.training.items import seen

LONG = 6_000_000  # pixels of a pass: 120 photos at 224; from about here on, a second of converting is soon made up for
TOKEN = 16 * 16  # pixels that a token counts for: as many as a vision transformer makes one token of
BATCH = 16  # photos or lines at once, what the processor's cache holds
EQUAL = 1e-3  # how far its outputs in float32 may be from torch's, as a share of their length
LIMIT = 500_000_000  # bytes of converted networks in the cache folder
HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
Run = Callable[[Tensor], tuple[Tensor, ...]]


def runtime(rows: Tensor, size: int) -> str:
    """What computes a pass over photos (N, 3, H, W) seen at `size` pixels, or tokens (N, size): 'torch', or 'openvino'
    and its version.

    It follows from the length of the pass, not from what lies in a cache, so that the same call gives the same numbers.
    """
    pixels = size * TOKEN if rows.ndim == 2 else size * size
    version = _installed()
    return f"openvino {version}" if version and best_device().type == "cpu" and len(rows) * pixels >= LONG else "torch"


@functools.cache
def _installed() -> str | None:
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return None


def converted(model: StagedModel, network: nn.Module, rows: Tensor, size: int) -> Run | None:
    """A function from what `seen` gives for some rows to the outputs of `network`, float32; None where torch computes.

    Converted once, compared with torch in float32, and kept in the cache folder, found again as features are.
    """
    by, device = runtime(rows, size), best_device()
    if by == "torch":
        return None
    key = fingerprint(model, network, torch.empty(0), device, precision(device), by, size)
    if key is None:
        return None
    path, hint = cache_folder() / "networks" / f"{key}.safetensors", HINTS[precision(device)]
    kept = machine.recall(path)
    if kept is None:
        example = rows[torch.arange(3) % len(rows)]  # one more than a trace sees: it must not go by their number
        kept = _compiled_bytes(model, network, seen(model, example, size), hint)
        machine.keep(path, kept, LIMIT)
    return _loaded(kept, hint) if len(kept) else None


class _Whole(nn.Module):
    """A network and the preprocessing before it."""

    def __init__(self, model: StagedModel, network: nn.Module):
        super().__init__()
        self.network = network
        self.preprocess = model.preprocess  # not the model itself: its other stages would be traced along

    def forward(self, rows: Tensor) -> Any:
        return self.network(self.preprocess(rows))


def _compiled_bytes(model: StagedModel, network: nn.Module, example: Tensor, hint: str) -> Tensor:
    """The network as OpenVINO keeps it, uint8; empty where it cannot convert it, or not equally."""
    with keeping_modes(model), torch.no_grad(), torch.autocast("cpu", enabled=False):
        model.eval()
        try:
            whole = _Whole(model, network)
            graph, expected = _graph(whole, example), as_tuple(whole(example))
            found = _run(_core().compile_model(graph, "CPU", _settings("f32")))(example)
            if all(map(_close, found, expected)):
                content = _core().compile_model(graph, "CPU", _settings(hint)).export_model().getvalue()
                return torch.frombuffer(bytearray(content), dtype=torch.uint8)
        except Exception:  # of many kinds, from code of others; whatever it is, torch can do it
            pass
    return torch.empty(0, dtype=torch.uint8)


def _graph(whole: nn.Module, example: Tensor) -> Any:
    """The network as a graph of OpenVINO, for any number of rows.

    Through its front end and not by its convert_model(), which counts its uses over the network.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that a trace leaves out, and of the age of torch.jit
        # Without memory in common: the weights may train on while the graph is in use.
        traced = TorchScriptPythonDecoder(
            whole, example_input=example[:2], shared_memory=False, trace_kwargs={"check_trace": False}
        )
    reader = FrontEndManager().load_by_framework("pytorch")
    graph = reader.convert(reader.load(traced))
    graph.reshape([-1, *example.shape[1:]])
    return graph


def _loaded(kept: Tensor, hint: str) -> Run | None:
    try:
        return _run(_core().import_model(io.BytesIO(kept.numpy().tobytes()), "CPU", _settings(hint)))
    except Exception:  # kept by a machine whose processor knows more, for example
        return None


def _run(compiled: Any) -> Run:
    request = compiled.create_infer_request()

    def run(rows: Tensor) -> tuple[Tensor, ...]:
        outputs = request.infer([rows.contiguous().numpy()], share_inputs=True, share_outputs=True)
        return tuple(torch.from_numpy(output.copy()) for output in outputs.values())

    return run


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _settings(hint: str) -> dict[str, Any]:
    """How a network is computed. hint: the precision, also of one that is loaded, which forgets its own."""
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    # Not pinned: two processes would be given the same cores.
    return {"INFERENCE_PRECISION_HINT": hint, "ENABLE_CPU_PINNING": False, **threads}


def _close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).norm() <= EQUAL * expected.norm())


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """The outputs of a network that gives one, or several."""
    return outputs if isinstance(outputs, tuple) else (outputs,)
