"""Arms of a comparison in turns, so that all meet the machine in the same mood, and a table of what came out."""

import importlib.metadata
import multiprocessing
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch

from transfer_utils import machine

PACKAGES = ("torch", "openvino", "fastai", "lightning", "skorch", "scikit-learn")
Arms = Mapping[str, Callable[[], Any]]


def race(arms: Arms, score: Callable[[Any], float], repeats: int, warm_up: Arms | None = None) -> pd.DataFrame:
    """Run every arm once in each round: a row each, with its round, seconds, and the score of what it returns.

    Each arm has a process of its own, so that none inherits how another one set up threads or memory. Before the first
    round it runs once untimed, or its shorter form in warm_up, for what is imported and built only once. Scoring is not
    timed.
    """
    spawn = multiprocessing.get_context("spawn")
    rows = []
    with ExitStack() as stack:
        own = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in arms}
        for turn in range(-1, repeats):
            for name, arm in (warm_up or arms if turn < 0 else arms).items():
                seconds, accuracy = own[name].submit(_timed, arm, score).result()
                rows.append({"round": turn, "arm": name, "seconds": seconds, "accuracy": accuracy})
    return pd.DataFrame(rows[len(arms) :])


def _timed(arm: Callable[[], Any], score: Callable[[Any], float]) -> tuple[float, float]:
    torch.set_num_threads(joblib.cpu_count(only_physical_cores=True))
    started = time.perf_counter()
    made = arm()
    return time.perf_counter() - started, score(made)


def table(rows: pd.DataFrame, reference: str) -> str:
    """Markdown: the median time of each arm, how many times the reference's it is in the same round, and accuracy."""
    lines = ["| | seconds | times the first | accuracy |", "|---|---|---|---|"]
    base = rows[rows["arm"] == reference].set_index("round")["seconds"]
    for name, arm in rows.groupby("arm", sort=False):
        ratios = arm.set_index("round")["seconds"] / base
        spread = "1" if name == reference else f"{ratios.median():.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        lines.append(f"| {name} | {arm['seconds'].median():.1f} | {spread} | {arm['accuracy'].mean():.1%} |")
    return "\n".join(lines)


def here() -> str:
    """This computer in a sentence."""
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    cores = joblib.cpu_count(only_physical_cores=True)
    digits = str(machine.precision(machine.best_device())).removeprefix("torch.")
    return (
        f"{_processor()}, {cores} cores, {platform.system()}, {digits}; Python {platform.python_version()}, {versions}."
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
