"""What one run of a lesson uses: data, backbone, sizes and seeds, so that lessons write no literals."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch

from transfer_utils import device
from transfer_utils.errors import unknown


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

    def __str__(self) -> str:
        note = " A quick run: it checks that everything works and claims nothing." if self.quick else ""
        return f"{self.profile} profile on {device.describe(self.device)}: {self.photos}, {self.backbone}.{note}"


def settings(profile: str = "auto", quick: bool = False, home: str | None = None) -> Settings:
    """The settings of a profile: 'cpu', 'gpu', or 'auto' for what suits this computer, see best_profile.

    quick, or the environment variable COURSE_QUICK=1, cuts every training to a few steps. home: the folder that keeps
    downloads, features and saved models, see use_home. Sets torch's number of threads, see device.best_threads.
    """
    if profile not in ("auto", "cpu", "gpu"):
        raise unknown("profile", profile, ("auto", "cpu", "gpu"))
    if home:
        use_home(home)
    device.use_threads()
    quick = quick or os.environ.get("COURSE_QUICK", "0") not in ("", "0")
    found = device.best_device()
    if profile == "auto":
        profile = best_profile(found.type)
    if profile == "cpu":
        return Settings(profile, quick, found, "cifar10_photos", "efficientnet_lite0", True, 96, 20)
    photos = "cifar10_photos" if quick else "cifar10"
    return Settings(profile, quick, found, photos, "resnet50", not quick, 96 if quick else 224, 20)


def best_profile(kind: str) -> str:
    """'gpu' for a graphics card, 'cpu' for the rest. kind: torch's word for the device, 'cuda' or 'xpu' for cards.

    A Mac's graphics unit ('mps') speeds up the 'cpu' profile; all of CIFAR-10 through a ResNet50 is too much for it.
    """
    return "gpu" if kind in ("cuda", "xpu") else "cpu"


def cache_folder() -> Path:
    """Where features, downloads and saved models are kept: TRANSFER_UTILS_HOME, or the user's cache folder."""
    own = os.environ.get("TRANSFER_UTILS_HOME")
    return Path(own) if own else Path(platformdirs.user_cache_dir("transfer_utils"))


def use_home(folder: str | Path) -> Path:
    """Keep features, downloads and saved models in this folder from now on, for example one on a mounted Drive.

    Sets TRANSFER_UTILS_HOME, so that processes started from here use it too. The folder is made, but not the one it
    lies in: FileNotFoundError where that is missing.
    """
    home = Path(folder).expanduser().absolute()
    if not home.parent.is_dir():
        raise FileNotFoundError(
            f"home={str(folder)!r} should lie in {home.parent}, which is not there. If that is on your Drive, mount it "
            "first: from google.colab import drive; drive.mount('/content/drive')"
        )
    home.mkdir(exist_ok=True)
    os.environ["TRANSFER_UTILS_HOME"] = str(home)
    return home


def result(**values: object) -> None:
    """Print the headline numbers of a lesson as one line of JSON, which `make course` and the tests read."""
    print(json.dumps({"result": {name: _plain(value) for name, value in values.items()}}))


def _plain(value: object) -> object:
    if isinstance(value, torch.Tensor | np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 4)
    if hasattr(value, "__dict__"):
        return {name: _plain(part) for name, part in vars(value).items()}
    return value
