"""Which device, which precision, how many threads: decided once, from what the hardware really does."""

import contextlib
import functools
import os
import platform
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

# Relatives of the T4 without units for float16, whose networks become NaN in it.
# Source: https://github.com/ultralytics/ultralytics/pull/17977
NO_FLOAT16 = re.compile(r"GTX 16|\bT(400|550|600|1000|1200|2000)\b")


@dataclass(frozen=True)
class Hardware:
    """What a device can do. kind: torch's word for it. bf16, fp16: whether it computes in them, not emulates them."""

    kind: str
    name: str
    bf16: bool = False
    fp16: bool = False


def best_device() -> torch.device:
    """The accelerator that torch finds (CUDA, MPS, XPU) and can compute on, otherwise the CPU."""
    accelerator = found_accelerator()
    return accelerator if accelerator and _computes(accelerator) else torch.device("cpu")


def found_accelerator() -> torch.device | None:
    """The accelerator that torch finds, whether or not it can compute on it."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


@functools.cache
def _computes(accelerator: torch.device) -> bool:
    # torch also finds cards that are too old for it, and fails with the first thing that they should compute.
    try:
        image = torch.ones(1, 1, 3, 3, device=accelerator)
        return conv2d(image, image).item() == 9
    except RuntimeError as error:
        return "out of memory" in str(error)  # it could, if another notebook did not hold its memory


def hardware(device: torch.device) -> Hardware:
    """What torch and the system say about this device."""
    if device.type == "cuda":
        # Asked for without emulation: a T4 says yes to bfloat16 otherwise, and computes it slower than float32.
        real = torch.cuda.is_bf16_supported(including_emulation=False)
        name, since_v100 = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device) >= (7, 0)
        return Hardware("cuda", name, bf16=real, fp16=since_v100 and not NO_FLOAT16.search(name))
    if device.type == "cpu":
        return Hardware("cpu", "CPU", bf16=bool({"amx_bf16", "avx512_bf16"} & _cpu_flags()))
    return Hardware(device.type, device.type.upper())  # nobody has measured these in half precision


def best_precision(found: Hardware) -> torch.dtype:
    """bfloat16 where it is real, float16 where only that is, float32 elsewhere.

    float16 reaches down to 6e-8 only, so smaller gradients are lost unless the loss is scaled up (see gradient_scaler).
    Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740
    """
    if found.bf16:
        return torch.bfloat16
    return torch.float16 if found.fp16 else torch.float32


def precision(device: torch.device) -> torch.dtype:
    """The precision that this device computes in, see best_precision."""
    return best_precision(hardware(device))


def autocast(device: torch.device, training: nn.Module | None = None) -> contextlib.AbstractContextManager:
    """Mixed precision where it pays, and nothing where it does not. training: the network, if gradients are needed.

    On CPUs the backward pass of depthwise convolutions is slower in bfloat16 than in float32 (0.6 times the speed
    for EfficientNet-Lite0 on AMX), so networks that have them train in float32 there.
    """
    dtype = precision(device)
    slower = device.type == "cpu" and training is not None and _has_depthwise(training)
    if dtype is torch.float32 or slower:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def gradient_scaler(device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss, and the gradients back, where float16 would lose small ones; elsewhere it passes them on."""
    # Not torch's 2 ** 16: an untrained ResNet50 has gradients of 13, and float16 ends at 65,504. Each step that
    # overflows is left out, which a short training cannot afford.
    return torch.amp.GradScaler(device.type, init_scale=2.0**10, enabled=precision(device) is torch.float16)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for the device where that is safe."""
    return tensor.to(device, non_blocking=has_own_memory(device))


def channels_last(x: Tensor) -> Tensor:
    """A batch (N, C, H, W) in the layout that convolutions read fastest; another tensor as it is.

    Not on Macs, where the gradients of batch-norm come out wrong in it: https://github.com/pytorch/pytorch/issues/175189
    """
    return x if x.ndim != 4 or x.device.type == "mps" else x.contiguous(memory_format=torch.channels_last)


def has_own_memory(device: torch.device) -> bool:
    """Whether this is a graphics card, which works by itself on memory of its own, unlike a CPU or a Mac's unit."""
    return device.type not in ("cpu", "mps")


def _has_depthwise(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())


def describe(device: torch.device) -> str:
    """The device and precision in plain words, for example 'CPU, 2 threads, bfloat16'."""
    digits = str(precision(device)).removeprefix("torch.")
    threads = torch.get_num_threads()
    words = [f"{threads} thread{'s' * (threads > 1)}"] if device.type == "cpu" else []
    return ", ".join([hardware(device).name, *words, digits])


@functools.cache
def _cpu_flags() -> set[str]:
    # Linux lists the flags; elsewhere torch's own probe knows at least whether AVX-512 bf16 is there.
    if platform.system() == "Linux" and os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return next((set(line.split()) for line in info if line.startswith("flags")), set())
    capable = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return {"avx512_bf16"} if capable else set()


def best_profile(kind: str) -> str:
    """'gpu' for a graphics card, 'cpu' for the rest. kind: torch's word for the device, 'cuda' or 'xpu' for cards.

    A Mac's graphics unit ('mps') speeds up the 'cpu' profile; all of CIFAR-10 through a ResNet50 is too much for it.
    """
    return "gpu" if kind in ("cuda", "xpu") else "cpu"
