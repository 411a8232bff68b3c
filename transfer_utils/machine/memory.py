"""What stays on the device, what is sent to it batch by batch, and what happens when its memory runs out."""

import contextlib
import ctypes
import functools
import gc
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules_of_torch

from transfer_utils.machine.device import best_device, has_own_memory, send

OURS = Path(__file__).parent.parent
SHARE = 0.25  # of the free memory that photos may take; the rest is for weights, activations and the optimiser
IN_WORDS = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h, in bytes: what is given back, and what is mapped by itself
SMALLER = "The memory of the device ran out. From here on, batches are worked off in smaller parts."
Take = Callable[[Tensor], Tensor]  # positions (on the CPU) to the rows at them (on the device)


def fits(size: int, free: float) -> bool:
    """Whether this many bytes of photos should stay on a device with this much free memory, in bytes."""
    return size <= SHARE * free


def free_bytes(device: torch.device) -> float:
    """The free memory of a graphics card. Elsewhere infinite: what the device reads is the computer's own memory."""
    if not has_own_memory(device):
        return float("inf")
    card = torch.get_device_module(device)
    unused = card.memory_reserved(device) - card.memory_allocated(device)  # torch holds it, nobody uses it
    return card.mem_get_info(device)[0] + unused


def on_device(rows: Tensor, device: torch.device) -> Take:
    """A function that gives some rows on the device: all are kept there if they fit, otherwise sent as asked for."""
    if fits(rows.nbytes, free_bytes(device)):
        kept = rows.to(device)
        return lambda positions: kept[send(positions, device)]
    # From pinned memory the card fetches a batch by itself, while it still computes on the one before.
    return lambda positions: send(rows[positions].pin_memory(), device)


def in_parts(
    work: Callable[[Tensor, float], Any], undo: Callable[[], Any] = lambda: None
) -> Callable[[Tensor], list[Any]]:
    """A function that runs work(part, share) on a batch, in one part until memory runs out, then in 2, 4, ... parts.

    share: of the batch that the part is, so that gradients which are weighted with it add up to those of the whole
    batch. undo() forgets what a failed attempt left behind. Batch-norm sees the parts, not the batch.
    """
    count = 1

    def run(batch: Tensor) -> list:
        nonlocal count
        while True:
            try:
                # Not into parts of one photo: batch-norm cannot learn from those.
                parts = batch.tensor_split(max(1, min(count, len(batch) // 2)))
                return [work(part, len(part) / max(1, len(batch))) for part in parts]
            except RuntimeError as error:
                if 4 * count > len(batch) or not _is_out_of_memory(error):
                    raise
            # Behind the except block, where no traceback holds the failed attempt's tensors any more.
            undo()
            release()
            _say_so()
            count *= 2

    return run


@contextlib.contextmanager
def nothing_kept() -> Iterator[None]:
    """Let an error through, but not the tensors of the failed step.

    IPython keeps the traceback of the last error, a traceback keeps the variables of its functions, and those would
    keep the memory of the device until the next error.
    """
    try:
        yield
    except BaseException as error:
        link: BaseException | None = error
        seen: set[int] = set()
        while link is not None and id(link) not in seen:  # an error can be its own cause
            seen.add(id(link))
            traceback.clear_frames(link.__traceback__)
            _clear_closures(link.__traceback__)
            link = link.__cause__ or link.__context__
        raise


def _clear_closures(trace: TracebackType | None) -> None:
    """A function inside a function holds cells, and those outlive the cleared frame.

    Torch has such a one, through which a module with hooks calls itself. Ours are made for one training or pass.
    """
    for frame, _ in traceback.walk_tb(trace):
        code = frame.f_code
        if code.co_filename == modules_of_torch.__file__ or OURS in Path(code.co_filename).parents:
            for function in gc.get_referents(frame):
                if getattr(function, "__code__", None) is code and "<locals>" in function.__qualname__:
                    for cell in function.__closure__ or ():
                        cell.cell_contents = None


def hold_memory() -> None:
    """Let the C library of Linux keep what torch gives back, where it would ask the system for it anew in every step.

    A training takes a tenth less time, and a pass at 224 pixels a third. The process stays as large as it once was.
    """
    with contextlib.suppress(OSError):  # another system, or another C library
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 2**30)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def release() -> None:
    """Give back what nobody uses any more."""
    gc.collect()
    device = best_device()
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


@functools.cache
def _say_so() -> None:
    print(SMALLER, file=sys.stderr)


def _is_out_of_memory(error: RuntimeError) -> bool:
    # CUDA has an error of its own, MPS says it in words, and so do the libraries that CUDA calls: the last of these is
    # cuDNN's when no way to convolve finds the memory it wants (https://github.com/pytorch/pytorch/issues/108645).
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in IN_WORDS)
