"""One at a time: locks between threads and processes, which end with the process that holds them."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock


@contextlib.contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Wait until nobody else holds this lock file, then hold it. Says whether that could be had.

    The system holds it for this process, so that a process that is killed blocks nobody. Some network drives have no
    locks: there the work goes on without.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock))
            locked = True
        except (OSError, NotImplementedError):
            locked = False
        yield locked


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Wait until nobody else on this computer is at work at this place, and keep them away until we are done.

    The lock file lies in the temporary folder, for in a folder of the learner it would be litter.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # where there is no temporary folder, the work goes on without a lock
            stack.enter_context(held(_lock_of(place)))
        yield


def _lock_of(place: Path) -> Path:
    # 256 files at most, since nobody can say when one may go. Two places that share one wait for each other.
    digest = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()
    return Path(tempfile.gettempdir(), f"transfer_utils-{digest[:2]}.lock")
