"""When two networks give the same features: all that acts in their forward pass, as one hash."""

import copyreg
import functools
import hashlib
import importlib.metadata
import os
import pickle
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules_of_torch

from transfer_utils import machine
from transfer_utils.backbones import StagedModel

OURS = Path(__file__).parent.parent
# Read when it is imported, as what runs was: in a clone, code changes while the version stays.
OUR_CODE = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(OURS.rglob("*.py")))).digest()
PACKAGES = ("timm", "torch", "torchvision", OURS.name)
PYTHONS = Path(os.__file__).parent
INSTALLED = {"site-packages", "dist-packages"}
# What every module has, and `held`, say how it trains, how it is saved, and who listens. The rest acts in forward.
SILENT = {*vars(nn.Module()), "held"} - {"_parameters", "_buffers", "_modules"}
NAMES = {"name", "card", "_modules"}  # of a model; its stages count where they are used
_distributions = functools.cache(importlib.metadata.packages_distributions)  # takes half a second


def fingerprint(model: StagedModel, prefix: nn.Module, images: Tensor, device: torch.device, *how: Any) -> str | None:
    """A hash of all that decides what prefix(model.preprocess(images)) is in eval mode: 64 hexadecimal digits.

    how: what the caller does besides. None where nobody can tell: with hooks, code of a notebook or a script, compiled
    or scripted parts, a forward that is not its class's, or an attribute that pickle refuses.
    """
    found = hashlib.sha256()
    try:
        pickler = _Pickler(found)
        if any(map(_is_hooked, model.modules())):
            return None
        preprocessing = {name: value for name, value in _acting(model).items() if name not in NAMES}
        pickler.dump((OUR_CODE, how, _switches(device), type(model), preprocessing, prefix, images))
        pickler.dump([_version(package) for package in sorted(pickler.packages)])
    except Exception:  # pickle calls code of any attribute, which raises what it likes
        return None
    return found.hexdigest()


def _switches(device: torch.device) -> tuple:
    """What changes numbers by a switch of torch's, autocast of the caller among them."""
    around = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    products = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    # Before torch 2.9 there is no such switch.
    convolutions = getattr(getattr(torch.backends.mkldnn, "conv", None), "fp32_precision", "none")
    return device.type, torch.get_default_dtype(), products, convolutions, around


class _Pickler(pickle.Pickler):
    """Pickles into a hash, so that what acts alike in a forward pass gives equal bytes in every process.

    packages: whose code it met. PicklingError for what can act differently under the same name.
    """

    def __init__(self, found: Any):
        super().__init__(SimpleNamespace(write=found.update), protocol=5)
        self.fast = True  # equal values count, not whether they are one object
        self.packages = set(PACKAGES)
        self._noted: set[Any] = set()

    def reducer_override(self, thing: Any) -> Any:
        """How to take this apart; pickle asks for everything but numbers, text and plain containers."""
        code = thing if isinstance(thing, type | FunctionType) else type(thing)
        if code not in self._noted:
            self._noted.add(code)
            self.packages.update(map(_package, _behind(code)))
        if isinstance(thing, Tensor):
            return bytes, (_digest(thing),)
        if isinstance(thing, MethodType):  # which pickle would look up by its name
            return tuple, ((thing.__func__, thing.__self__),)
        if isinstance(thing, nn.Module):
            return copyreg.__newobj__, (type(thing),), _acting(thing)  # type: ignore[attr-defined]
        return NotImplemented


def _digest(tensor: Tensor) -> bytes:
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_quantized:  # whose scale is not among its values
        raise pickle.PicklingError(f"{type(tensor).__name__} may act otherwise than its values say")
    return machine.digest(tensor)


def _acting(module: nn.Module) -> dict[str, Any]:
    """The weights, buffers, parts and plain attributes of a module. PicklingError if its class does not say it all.

    What torch.compile and torch.jit leave in a module is among its attributes, and no pickle takes it.
    """
    state = {name: value for name, value in vars(module).items() if name not in SILENT}
    if "forward" in state or _is_hooked(module):
        raise pickle.PicklingError(f"{type(module).__name__} does something else than its class says")
    return state


def _is_hooked(module: nn.Module) -> bool:
    everywhere = modules_of_torch._global_forward_hooks or modules_of_torch._global_forward_pre_hooks
    return bool(everywhere or module._forward_hooks or module._forward_pre_hooks)


# --- whose code it is -----------------------------------------------------------------------------------------------


def _behind(code: type | FunctionType) -> Iterator[type | FunctionType]:
    """What runs under this name: of a network's class every method, one of which a cell may have replaced."""
    parts: list[Any] = [code]
    if isinstance(code, type) and issubclass(code, nn.Module):
        parts = [part for kind in code.__mro__ for part in (kind, *vars(kind).values())]
    for part in parts:
        while isinstance(part, type | FunctionType):
            yield part
            part = getattr(part, "__wrapped__", None)


def _package(code: Any) -> str:
    """The package that this class or function is from.

    PicklingError for code of a notebook or a script: it changes, and no version says so. We go by where the file lies,
    since a script can have any name.
    """
    # Of a function not __module__, which functools.wraps copies from another one.
    module = code.__globals__["__name__"] if isinstance(code, FunctionType) else code.__module__
    package = module.partition(".")[0]
    file = Path(getattr(sys.modules[package], "__file__", None) or "")
    if INSTALLED & set(file.parts) or OURS in file.parents or _is_installed(package, file):
        return package
    if package in sys.builtin_module_names or PYTHONS in file.parents:
        return "python"
    raise pickle.PicklingError(f"{code.__qualname__} is from {module}, which is not in an installed package")


def _is_installed(package: str, file: Path) -> bool:
    """Whether the file lies where a package of this name was installed, in whichever folder (pip install --target)."""
    places = (importlib.metadata.distribution(name).locate_file("") for name in _distributions().get(package, ()))
    return any(Path(str(place)) in file.parents for place in places)


def _version(package: str) -> str:
    """Name and version, in words. LookupError for a file that lies among the installed packages and is in none."""
    if package == "python":
        return platform.python_version()
    names = [package] if package in PACKAGES else _distributions()[package]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
