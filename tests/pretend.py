"""A pretend graphics card: computes on the CPU, but its tensors mix with the CPU's as little as a real card's do.

To torch it is a device of its own, with autograd, autocast and all; only its memory is the computer's.
"""

import collections
import ctypes

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

NAME = "card"
HOST, CARD = 1, 12  # DLPack's numbers for the CPU and for a device that it knows nothing about

# A real card serves better, and an older torch cannot be told of a pretended one.
POSSIBLE = not torch.cuda.is_available() and hasattr(backend_registration, "_setup_privateuseone_for_python_backend")

# What made the program wait for the card, and how often: 'copy to card', 'copy to cpu', or an operation.
waits: collections.Counter[str] = collections.Counter()

# Their answer, or its shape, is a number that the program needs to go on.
ANSWERS = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount"}
# Structure, not numbers: these work on any device's memory, but torch offers them only to the devices that it knows.
STRUCTURE = {"set_", "as_strided", "view", "_reshape_alias", "unfold", "resize_"}
# What autocast computes in the lower precision, and what in float32: of CUDA's lists, what our networks use.
LOWER = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default, torch.ops.aten.matmul.default)
FLOAT32 = (torch.ops.aten.log_softmax.int, torch.ops.aten.nll_loss_nd.default)

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_registered: list[torch.library.Library] = []  # taken back when nobody holds it


class Module:
    """What torch.card offers, as torch.cuda would."""

    is_available = is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = staticmethod(lambda seed: None)
    empty_cache = staticmethod(lambda: None)
    mem_get_info = staticmethod(lambda device: (2**34, 2**34))
    memory_allocated = memory_reserved = staticmethod(lambda device: 0)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


def install() -> None:
    """Make the card known to torch, which then takes it for the computer's accelerator, until the process ends."""
    # Parameters keep their identity when a module moves to CUDA; elsewhere only this way.
    torch.__future__.set_swap_module_params_on_conversion(True)
    if _registered:
        return
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(_compute, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    special = torch.library.Library("aten", "IMPL")
    # torch sends the convolutions of other people's devices here, under names of their own.
    special.impl("convolution_overrideable", _convolution, "PrivateUse1")
    special.impl("convolution_backward_overrideable", _convolution_backward, "PrivateUse1")
    for operation in (*LOWER, *FLOAT32):
        special.impl(operation, _autocast(operation), "AutocastPrivateUse1")
    _registered.extend((everything, special))
    torch.UntypedStorage.clone = _clone_storage(torch.UntypedStorage.clone)


def _labelled(tensor: torch.Tensor, kind: int) -> torch.Tensor:
    """The same memory as a tensor of the other device: DLPack hands tensors over with a note of where they are."""
    capsule = torch._C._to_dlpack(tensor)
    # The first two entries: a pointer to the numbers, then the kind of device.
    ctypes.c_int32.from_address(_pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)).value = kind
    return torch._C._from_dlpack(capsule)


def _compute(operation, *arguments, **named):
    """Any operation with a tensor on the card, or for the card, in it: the CPU's own, on the card's memory."""
    name = operation._schema.name.removeprefix("aten::")
    if name in STRUCTURE or operation.is_view:
        return operation.redispatch(torch.DispatchKeySet("CPU"), *arguments, **named)
    if name == "_copy_from":
        return _copied(*arguments)
    # torch hands on numbers where the operation is declared for tensors only.
    declared = zip(operation._schema.arguments, arguments, strict=False)
    arguments = [torch.tensor(v) if str(a.type) == "Tensor" and isinstance(v, int | float) else v for a, v in declared]
    flat, structure = tree_flatten((arguments, named))
    tensors = [v for v in flat if isinstance(v, torch.Tensor)]
    # A single number may come from the CPU, as on a real card. CUDA also takes indices from there, and waits for them.
    if any(t.device.type != NAME and t.ndim for t in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got some on {NAME} and on cpu!")
    if name in ANSWERS:
        waits[name] += 1
    # An empty tensor may be there to be resized to the answer, which memory of others cannot be.
    card = [t for t in tensors if t.device.type == NAME]
    host = {id(t): _labelled(t, HOST) if t.numel() else torch.empty_like(t, device="cpu") for t in card}
    arguments, named = tree_unflatten([host.get(id(v), _here(v)) for v in flat], structure)
    answer = operation(*arguments, **named)
    for tensor in card:
        if not tensor.numel() and host[id(tensor)].numel():
            tensor.set_(_labelled(host[id(tensor)], CARD))
    same = {id(host[id(t)]): t for t in card}  # what was changed in place stays the tensor that it was
    return tree_map(lambda v: same[id(v)] if id(v) in same else _there(v), answer)


def _copied(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """A copy to, from or within the card; without non_blocking, CUDA waits for one across."""
    if source.device.type != target.device.type and not non_blocking:
        waits[f"copy to {target.device.type}"] += 1
    here, there = (_labelled(t, HOST) if t.device.type == NAME else t for t in (source, target))
    there.copy_(here)
    return target


def _convolution(*arguments):
    return _compute(torch.ops.aten.convolution.default, *arguments)


def _convolution_backward(grad, x, weight, *rest):
    return _compute(torch.ops.aten.convolution_backward.default, grad, x, weight, [grad.shape[1]], *rest)


def _autocast(operation):
    def run(*arguments, **named):
        dtype = torch.get_autocast_dtype(NAME) if operation in LOWER else torch.float32
        cast = [v.to(dtype) if isinstance(v, torch.Tensor) and v.is_floating_point() else v for v in arguments]
        with torch._C._ExcludeDispatchKeyGuard(torch.DispatchKeySet("AutocastPrivateUse1")):
            return operation(*cast, **named)

    return run


def _here(value):
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _there(value):
    return _labelled(value, CARD) if isinstance(value, torch.Tensor) else value


def _clone_storage(original):
    """copy.deepcopy clones storages, and for that torch would ask the card for raw memory."""

    def clone(storage: torch.UntypedStorage) -> torch.UntypedStorage:
        if storage.device.type != NAME:
            return original(storage)
        return torch.empty(0, dtype=torch.uint8, device=NAME).set_(storage).clone().untyped_storage()

    return clone
