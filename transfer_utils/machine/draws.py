"""Random draws that leave the process's random state alone, since widgets and cells run in threads that share it."""

import functools
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from transfer_utils.machine.tensors import is_whole

Seed = int | torch.Generator | None


def generator(seed: Seed) -> torch.Generator:
    """A generator of one's own. seed: a number; a generator, which goes on where it is; None: torch.manual_seed's last.

    A generator made from a number draws what torch draws after torch.manual_seed with that number. ValueError for
    anything else, and for a generator that is not on the CPU.
    """
    if isinstance(seed, torch.Generator) and seed.device.type == "cpu":
        return seed
    if seed is None:
        seed = torch.initial_seed()  # read, not drawn: no other thread can come in between
    if is_whole(seed, -(2**63)) and seed < 2**64:
        return torch.Generator().manual_seed(int(seed))
    raise ValueError(f"A seed was {seed!r}; it must be a whole number of 64 bits, or a torch.Generator on the CPU.")


class draws_from(TorchDispatchMode):  # noqa: N801  # used like torch.no_grad
    """Inside this context, what this thread draws on the CPU comes from a generator, not from the process's state.

    For code that takes no generator, such as the constructors of layers and dropout. drawn: whether anything was.
    """

    def __init__(self, source: torch.Generator):
        super().__init__()
        self.source, self.drawn = source, False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation; if it draws, from our generator."""
        kwargs = kwargs or {}
        if not _draws(func, args, kwargs):
            return func(*args, **kwargs)
        self.drawn = True
        form = _taking_a_generator(func)
        if form is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return form(*args, **{**kwargs, "generator": self.source})


class no_second_draws(TorchDispatchMode):  # noqa: N801  # used like torch.no_grad
    """Around a backward pass: RuntimeError where a part of the network runs, and draws, for a second time.

    torch.utils.checkpoint would repeat the draws of the process's state, and those came from draws_from. What a hook
    draws, for noise in a gradient, is no repetition.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation, unless it draws where gradients are recorded, as only a repetition does there."""
        if _draws(func, args, kwargs or {}) and torch.is_grad_enabled():
            raise RuntimeError(
                "A checkpointed part of this network (torch.utils.checkpoint) draws random numbers, as dropout does. "
                "In the backward pass it would draw others, and its gradients would be wrong. Switch checkpointing "
                "off, for example by set_grad_checkpointing(False), or set its dropout to 0."
            )
        return func(*args, **(kwargs or {}))


@functools.cache
def _taking_a_generator(func: Any) -> Any:
    """The operation itself, or its form that also takes a generator (torch.rand has two); None where there is none."""
    wanted = {*_arguments(func), "generator"}
    forms = (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads())
    return next((form for form in (func, *forms) if set(_arguments(form)) == wanted), None)


def _arguments(func: Any) -> list[str]:
    return [argument.name for argument in func._schema.arguments]


def _draws(func: Any, args: tuple, kwargs: dict) -> bool:
    tagged = torch.Tag.nondeterministic_seeded in func.tags
    return tagged and _on_cpu(args, kwargs) and not _without_dropout(func, args, kwargs)


def _without_dropout(func: Any, args: tuple, kwargs: dict) -> bool:
    """Attention that drops nothing draws nothing, though it has the tag of what does."""
    names = _arguments(func)
    return "dropout_p" in names and not {**dict(zip(names, args, strict=False)), **kwargs}.get("dropout_p")


def _on_cpu(args: tuple, kwargs: dict) -> bool:
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    device = tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")
    return device.type == "cpu"
