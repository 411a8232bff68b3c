"""Where a run of the lessons writes: settled in the process that starts them, for their kernels inherit it."""

import os
from collections.abc import Callable
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir
from platformdirs import user_config_dir

from transfer_utils import machine

USUAL: dict[str, Callable[[], str]] = {  # variable of a folder that kernels write to: where it lies otherwise
    "JUPYTER_RUNTIME_DIR": jupyter_runtime_dir,
    "IPYTHONDIR": lambda: "~/.ipython",
    "MPLCONFIGDIR": lambda: user_config_dir("matplotlib"),
}


def settle() -> None:
    """Point what kernels write to, and cannot, to a temporary folder; says so of what a learner would want to keep.

    Sets TRANSFER_UTILS_HOME, HOME and the variables of USUAL where they are needed.
    """
    machine.cache_folder()
    if not _has_home():
        os.environ["HOME"] = str(machine.temporary_folder())  # Jupyter starts with no kernel without one
    for variable, usual in USUAL.items():
        if machine.trouble(os.environ.get(variable) or usual()):
            os.environ[variable] = str(machine.temporary_folder() / variable.lower())


def _has_home() -> bool:
    try:
        return Path.home().is_absolute()
    except RuntimeError:
        return False
