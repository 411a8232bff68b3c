"""What one run of a lesson uses: data, backbone, sizes and seeds, so that lessons write no literals."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from transfer_utils import machine
from transfer_utils.machine import best_profile, unknown, use_home


@dataclass(frozen=True)
class Settings:
    """The choices of one run. size: side in pixels at which the ImageNet backbone sees the photos."""

    profile: str
    quick: bool
    device: torch.device
    photos: str
    backbone: str
    pretrained: bool
    size: int
    epochs: int
    seed: int = 0

    @property
    def comparable(self) -> bool:
        """Whether this run's numbers may stand beside the stored rows, which come from full runs of 'cpu'."""
        return self.profile == "cpu" and not self.quick

    def few(self, count: int, quick: int = 2) -> int:
        """`count` in a full run, at most `quick` in a quick one: for epochs, repeats and photos per class."""
        return min(count, quick) if self.quick else count

    @property
    def folder(self) -> Path:
        """Where this run keeps what it makes: the cache folder, or the `home` that the learner chose."""
        return machine.cache_folder()

    def result(self, **values: object) -> None:
        """Print the headline numbers of a lesson as one line of JSON, which `make course` and the tests read."""
        numbers = {**values, "quick": self.quick}
        print(json.dumps({"result": {name: _plain(value) for name, value in numbers.items()}}))

    def __str__(self) -> str:
        note = " A quick run: it checks that everything works and claims nothing." if self.quick else ""
        return f"{self.profile} profile on {machine.describe(self.device)}: {self.photos}, {self.backbone}.{note}"


def settings(profile: str = "auto", quick: bool = False, home: str | None = None) -> Settings:
    """The settings of a profile: 'cpu', 'gpu', or 'auto' for what suits this computer, see best_profile.

    quick, or the environment variable COURSE_QUICK=1, cuts every training to a few steps. home: the folder that keeps
    downloads, features and saved models, see use_home; without one, see cache_folder. Sets up this process to compute:
    see use_threads and hold_memory.
    """
    if profile not in ("auto", "cpu", "gpu"):
        raise unknown("profile", profile, ("auto", "cpu", "gpu"))
    # Decided before anything is computed: a learner reads at the top whether it is kept, and workers inherit it.
    use_home(home) if home else machine.cache_folder()
    machine.use_threads()
    machine.hold_memory()
    quick = quick or os.environ.get("COURSE_QUICK", "0") not in ("", "0")
    found = machine.best_device()
    if profile == "auto":
        profile = best_profile(found.type)
    if profile == "cpu":
        return Settings(profile, quick, found, "cifar10_photos", "efficientnet_lite0", True, 96, 20)
    photos = "cifar10_photos" if quick else "cifar10"
    return Settings(profile, quick, found, photos, "resnet50", not quick, 96 if quick else 224, 20)


def _plain(value: object) -> object:
    if isinstance(value, torch.Tensor | np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 4)
    if hasattr(value, "__dict__"):
        return {name: _plain(part) for name, part in vars(value).items()}
    return value
