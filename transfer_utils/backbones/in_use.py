"""Who uses a network now: threads, and training loops that have begun."""

import contextlib
import gc
import inspect
import sys
import threading
import traceback
import weakref
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any

from torch import nn

from transfer_utils import machine
from transfer_utils.backbones.held import eval_held

# --- threads --------------------------------------------------------------------------------------------------------

# A widget may ask a network that a cell trains. Modes belong to the network, not to the thread, and torch crashes where
# one thread reads gradients (.to does) that another drops. Beside the models, since locks cannot be copied or saved.
_IN_USE: "weakref.WeakKeyDictionary[nn.Module, threading.RLock]" = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


@contextlib.contextmanager
def taking_turns(model: nn.Module) -> Iterator[None]:
    """Let no other thread in here with this network until the end. The same thread may come again."""
    with _MAKING:
        lock = _IN_USE.setdefault(model, threading.RLock())
    with lock:
        yield


@contextlib.contextmanager
def restoring_modes(model: nn.Module) -> Iterator[None]:
    """Give every module its own training flag back at the end, whatever is switched in between."""
    with taking_turns(model):
        modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with taking_turns(model):
            for module, training in modes:
                module.training = training
            eval_held(model)


@contextlib.contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """As restoring_modes, and no other thread comes in between."""
    with taking_turns(model), restoring_modes(model):
        yield


# --- training loops -------------------------------------------------------------------------------------------------

Loop = Generator[Any, Any, Any]
RUNS = (inspect.GEN_SUSPENDED, inspect.GEN_RUNNING)
# Beside the models, not in them: a copy or a saved model is not being trained.
_LOOPS: "weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[Loop]]" = weakref.WeakKeyDictionary()


def guarded(model: nn.Module, call: str, steps: Loop) -> Loop:
    """The steps of a training loop, known to refuse_while_training as long as they go on.

    RuntimeError, before the first step, while another loop trains the model. At the end modes are as before, and no
    traceback keeps the tensors of a step that failed. call: what an error calls this loop.
    """
    loop = _guarded(model, call, steps)
    _LOOPS.setdefault(model, weakref.WeakSet()).add(loop)
    return loop


def _guarded(model: nn.Module, call: str, steps: Loop) -> Loop:
    refuse_while_training(model, call, but=inspect.currentframe())  # this one is running already
    with machine.on_free_cores(), machine.nothing_kept(), restoring_modes(model):
        yield from steps


def refuse_while_training(model: Any, what: str, but: FrameType | None = None) -> None:
    """RuntimeError while a training loop has begun on this model and may still go on. but: not the loop of this frame.

    One that runs at this moment does so in another thread.
    """
    if not _going_on(model, but):
        return
    gc.collect()  # a loop that nobody can reach any more may wait for this
    for loop in _going_on(model, but):
        if inspect.getgeneratorstate(loop) == inspect.GEN_SUSPENDED and _lies_in_a_traceback(loop):
            loop.close()
    if not _going_on(model, but):
        return
    raise RuntimeError(
        f"{what} would change {model.name} while a training loop runs on it, and the loop goes by the stages as they "
        "were when it began. Let it end, or close it first: loop.close(), or del loop."
    )


def _going_on(model: Any, but: FrameType | None) -> list[Loop]:
    begun = [loop for loop in _LOOPS.get(model, ()) if inspect.getgeneratorstate(loop) in RUNS]
    return [loop for loop in begun if loop.gi_frame is not but]  # type: ignore[attr-defined]


def _lies_in_a_traceback(loop: Loop) -> bool:
    """Whether a function that owned the loop was stopped by an error or an interrupt, which the notebook remembers."""
    error, seen = getattr(sys, "last_value", None), set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # Not the frame of a cell: its names are still in the user's hands.
            of_a_function = frame.f_code.co_flags & inspect.CO_OPTIMIZED
            if of_a_function and any(value is loop for value in frame.f_locals.values()):
                return True
        error = error.__cause__ or error.__context__
    return False
