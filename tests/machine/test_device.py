import contextlib
import io
from types import SimpleNamespace

import pytest
import torch

from transfer_utils import machine
from transfer_utils.machine import device as machine_device
from transfer_utils.machine.device import Hardware

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

CARDS = [  # name, compute capability, bfloat16 without emulation, and what to compute in
    ("Tesla K80", (3, 7), False, torch.float32),
    ("Tesla P100", (6, 0), False, torch.float32),
    ("Tesla V100", (7, 0), False, torch.float16),
    ("Tesla T4", (7, 5), False, torch.float16),
    ("NVIDIA GeForce GTX 1650", (7, 5), False, torch.float32),
    ("NVIDIA T1000", (7, 5), False, torch.float32),
    ("NVIDIA A100", (8, 0), True, torch.bfloat16),
    ("NVIDIA H100", (9, 0), True, torch.bfloat16),
]


@pytest.fixture
def plug_in(monkeypatch):
    """Let torch find a graphics card. Asked without care, torch says that every card knows bfloat16: by emulation."""

    def plug(name: str, capability: tuple[int, int], bf16: bool) -> None:
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bf16
        )
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)

    return plug


# --- which device -------------------------------------------------------------------------------------------------


def test_best_device_without_an_accelerator_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert machine.best_device() == CPU


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_best_device_is_the_accelerator(monkeypatch, kind):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(machine_device, "_computes", lambda accelerator: True)
    assert machine.best_device().type == kind


def test_a_card_that_torch_finds_and_cannot_compute_on_is_left_alone(monkeypatch):
    def too_old(*_):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: CPU)  # as near to a card as we get here
    assert machine.best_device() == machine_device.found_accelerator() == CPU
    machine_device._computes.cache_clear()
    monkeypatch.setattr(machine_device, "conv2d", too_old)
    assert not machine_device._computes(CPU)
    machine_device._computes.cache_clear()


def test_a_card_whose_memory_is_full_is_still_taken(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    machine_device._computes.cache_clear()
    monkeypatch.setattr(machine_device, "conv2d", full)
    assert machine_device._computes(CPU)
    machine_device._computes.cache_clear()


def test_batches_are_channels_last_but_not_on_a_mac():
    assert machine.channels_last(torch.empty(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
    on_a_mac = SimpleNamespace(device=torch.device("mps"), ndim=4)
    assert machine.channels_last(on_a_mac) is on_a_mac


# --- what it can do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bf16", "fp16", "expected"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.bfloat16),
        (False, True, torch.float16),
        (False, False, torch.float32),
    ],
)
def test_best_precision_is_bfloat16_then_float16_then_float32(bf16, fp16, expected):
    assert machine_device.best_precision(Hardware("any", "Any", bf16, fp16)) is expected


@pytest.mark.parametrize(("name", "capability", "bf16", "expected"), CARDS, ids=[card[0] for card in CARDS])
def test_a_graphics_card_computes_in_what_it_does_not_emulate(plug_in, name, capability, bf16, expected):
    plug_in(name, capability, bf16)
    fp16 = capability >= (7, 0) and expected is not torch.float32
    assert machine_device.hardware(CUDA) == Hardware("cuda", name, bf16, fp16)
    assert machine.precision(CUDA) is expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (set(), torch.float32),
        ({"avx2", "avx512f"}, torch.float32),
        ({"avx2", "avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
    ],
    ids=["unknown", "old", "AVX-512", "AMX"],
)
def test_a_processor_computes_in_what_its_flags_say(monkeypatch, flags, expected):
    monkeypatch.setattr(machine_device, "_cpu_flags", lambda: flags)
    assert machine_device.hardware(CPU) == Hardware("cpu", "CPU", bf16=expected is torch.bfloat16)
    assert machine.precision(CPU) is expected


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_elsewhere_it_is_float32(kind):
    assert machine_device.hardware(torch.device(kind)) == Hardware(kind, kind.upper())
    assert machine.precision(torch.device(kind)) is torch.float32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse amx_bf16\nbugs\t: none\nflags\t\t: other\n", {"fpu", "sse", "amx_bf16"}),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", set()),
    ],
    ids=["x86", "ARM"],
)
def test_flags_come_from_the_first_core_in_cpuinfo_on_linux(monkeypatch, text, expected):
    monkeypatch.setattr(machine_device.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine_device.os.path, "exists", lambda _: True)
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(text))
    assert machine_device._cpu_flags.__wrapped__() - {"flags", ":"} == expected


@pytest.mark.parametrize(("capable", "expected"), [(True, {"avx512_bf16"}), (False, set())])
@pytest.mark.parametrize("system", ["Windows", "Linux"])
def test_flags_come_from_torch_where_there_is_no_cpuinfo(monkeypatch, system, capable, expected):
    monkeypatch.setattr(machine_device.platform, "system", lambda: system)
    monkeypatch.setattr(machine_device.os.path, "exists", lambda _: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: capable, raising=False)
    assert machine_device._cpu_flags.__wrapped__() == expected


# --- mixed precision ----------------------------------------------------------------------------------------------


def test_autocast_is_nothing_in_float32(monkeypatch):
    monkeypatch.setattr(machine_device, "_cpu_flags", set)
    context = machine.autocast(CPU)
    assert isinstance(context, contextlib.nullcontext)
    with context:
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_half_precision_where_it_pays(monkeypatch, dtype):
    monkeypatch.setattr(machine_device, "precision", lambda _: dtype)
    with machine.autocast(CPU):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is dtype


@pytest.mark.parametrize(
    ("groups", "kind", "expected"),
    [(4, "cpu", torch.float32), (1, "cpu", torch.bfloat16), (4, "cuda", torch.bfloat16)],
)
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_depthwise_networks_train_in_float32_on_a_processor(monkeypatch, groups, kind, expected):
    """Their backward pass is slower in bfloat16 there; without gradients bfloat16 still pays."""
    monkeypatch.setattr(machine_device, "precision", lambda _: torch.bfloat16)
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, groups=groups))
    learning, looking = machine.autocast(torch.device(kind), training=network), machine.autocast(torch.device(kind))
    assert isinstance(learning, contextlib.nullcontext) is (expected is torch.float32)
    assert (looking.device, looking.fast_dtype) == (kind, torch.bfloat16)
    if kind == "cpu":
        for context, dtype in ((learning, expected), (looking, torch.bfloat16)):
            with context:
                assert network(torch.ones(1, 4, 3, 3)).dtype is dtype


@pytest.mark.parametrize(("dtype", "scaled"), [(torch.float16, True), (torch.bfloat16, False), (torch.float32, False)])
def test_gradients_are_scaled_only_in_float16(monkeypatch, dtype, scaled):
    monkeypatch.setattr(machine_device, "precision", lambda _: dtype)
    scaler, loss = machine.gradient_scaler(CPU), torch.ones(())
    assert scaler.is_enabled() is scaled
    assert (scaler.scale(loss) > 1) == scaled


@pytest.mark.parametrize(("kind", "waits"), [("cuda", False), ("mps", True), ("xpu", False), ("cpu", True)])
def test_send_waits_for_what_shares_the_memory_of_the_computer(kind, waits):
    class Sent:
        def to(self, device, non_blocking):
            return device.type, non_blocking

    assert machine.send(Sent(), torch.device(kind)) == (kind, not waits)


# --- in words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "words"), [(1, "CPU, 1 thread, float32"), (3, "CPU, 3 threads, float32")])
def test_a_processor_is_described_with_its_threads(monkeypatch, count, words):
    monkeypatch.setattr(machine_device, "_cpu_flags", set)
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert machine.describe(CPU) == words


def test_an_accelerator_is_described_by_its_name(plug_in):
    plug_in("NVIDIA L4", (8, 9), True)
    assert machine.describe(CUDA) == "NVIDIA L4, bfloat16"
    assert machine.describe(torch.device("mps")) == "MPS, float32"
