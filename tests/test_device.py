import contextlib
import io

import pytest
import torch

from transfer_utils import device

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_best_device_without_an_accelerator_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert device.best_device() == CPU


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_best_device_is_the_accelerator(monkeypatch, kind):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    assert device.best_device().type == kind


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512f"}, torch.float32),
        (set(), torch.float32),
        ({"avx2", "avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
    ],
)
def test_precision_of_a_processor_follows_its_flags(monkeypatch, flags, expected):
    monkeypatch.setattr(device, "_cpu_flags", lambda: flags)
    assert device.precision(CPU) is expected


def test_precision_of_a_gpu_that_only_emulates_bfloat16_is_float32(monkeypatch):
    """A T4: torch supports bfloat16 there, but by emulation."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert device.precision(CUDA) is torch.float32


def test_precision_of_a_gpu_with_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert device.precision(CUDA) is torch.bfloat16


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_precision_elsewhere_is_float32(kind):
    assert device.precision(torch.device(kind)) is torch.float32


def test_autocast_is_nothing_in_float32(monkeypatch):
    monkeypatch.setattr(device, "_cpu_flags", set)
    context = device.autocast(CPU)
    assert isinstance(context, contextlib.nullcontext)
    with context:
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.float32


def test_autocast_computes_in_bfloat16_where_it_pays(monkeypatch):
    monkeypatch.setattr(device, "_cpu_flags", lambda: {"amx_bf16"})
    with device.autocast(CPU):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.bfloat16


def test_describe(monkeypatch):
    monkeypatch.setattr(device, "_cpu_flags", set)
    assert device.describe(CPU) == f"CPU, {torch.get_num_threads()} threads, float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L4")
    assert device.describe(CUDA) == "NVIDIA L4, bfloat16"
    assert device.describe(torch.device("mps")) == "mps, float32"


def test_flags_come_from_cpuinfo_on_linux(monkeypatch):
    monkeypatch.setattr(device.platform, "system", lambda: "Linux")
    monkeypatch.setattr(device.os.path, "exists", lambda _: True)
    text = "processor\t: 0\nflags\t\t: fpu sse amx_bf16\nbugs\t: none\nflags\t\t: other\n"
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO(text))
    assert {"fpu", "sse", "amx_bf16"} <= device._cpu_flags()
    assert "other" not in device._cpu_flags()


@pytest.mark.parametrize(("capable", "expected"), [(True, {"avx512_bf16"}), (False, set())])
def test_flags_come_from_torch_elsewhere(monkeypatch, capable, expected):
    monkeypatch.setattr(device.platform, "system", lambda: "Windows")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: capable, raising=False)
    assert device._cpu_flags() == expected


@pytest.mark.parametrize(
    ("groups", "kind", "expected"),
    [(4, "cpu", torch.float32), (1, "cpu", torch.bfloat16), (4, "cuda", torch.bfloat16)],
)
def test_depthwise_networks_train_in_float32_on_a_processor(monkeypatch, groups, kind, expected):
    """Their backward pass is slower in bfloat16 there; without gradients bfloat16 still pays."""
    monkeypatch.setattr(device, "precision", lambda _: torch.bfloat16)
    monkeypatch.setattr(device.torch, "autocast", lambda kind, dtype: (kind, dtype))
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, groups=groups))
    found = device.autocast(torch.device(kind), training=network)
    assert isinstance(found, contextlib.nullcontext) is (expected is torch.float32)
    assert device.autocast(torch.device(kind)) == (kind, torch.bfloat16)


def test_one_core_is_left_and_the_threads_come_back():
    for threads, left in ((3, 2), (1, 1)):
        torch.set_num_threads(threads)
        with device.spare_core():
            assert torch.get_num_threads() == left
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
