"""Which device, which precision, how many threads: decided once, from what the hardware really does."""

import contextlib
import os
import platform
from collections.abc import Iterator

import torch
from torch import nn


def best_device() -> torch.device:
    """The accelerator that torch finds (CUDA, MPS, XPU), otherwise the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def precision(device: torch.device) -> torch.dtype:
    """torch.bfloat16 where the hardware computes in it, torch.float32 elsewhere.

    Emulated bfloat16 is slower than float32, so a T4, which only emulates it, gets float32.
    """
    if device.type == "cuda":
        real = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        real = bool({"amx_bf16", "avx512_bf16"} & _cpu_flags())
    else:
        real = False
    return torch.bfloat16 if real else torch.float32


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


@contextlib.contextmanager
def spare_core() -> Iterator[None]:
    """Leave one core to the browser: training on all of them waits for the thread that the browser holds up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _has_depthwise(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())


def describe(device: torch.device) -> str:
    """The device and precision in plain words, for example 'CPU, 2 threads, bfloat16'."""
    digits = str(precision(device)).removeprefix("torch.")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {digits}"
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads, {digits}"
    return f"{device.type}, {digits}"


def _cpu_flags() -> set[str]:
    # Linux lists the flags; elsewhere torch's own probe knows at least whether AVX-512 bf16 is there.
    if platform.system() == "Linux" and os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as info:
            return next((set(line.split()) for line in info if line.startswith("flags")), set())
    capable = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return {"avx512_bf16"} if capable else set()
