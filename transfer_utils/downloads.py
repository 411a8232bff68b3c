"""Weight files from the network: whole, or not at all."""

import hashlib
import re
import sys
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor


def weights(url: str) -> dict[str, Tensor]:
    """The tensors of a weight file, downloaded once into torch's own cache folder, and compared with its checksum.

    url: its file name carries the first digits of the sha256, name-<digits>.pth, as torchvision's do. A file from an
    earlier download that is damaged or cut off is replaced. RuntimeError that says what is missing and how to get it.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists() and not _is_whole(path):
        print(f"{path} is damaged or was cut off. It is downloaded again.", file=sys.stderr)
        path.unlink()
    try:
        # weights_only: tensors and nothing else, so that loading a file cannot run code.
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # each way in which a network can fail has its own kind of error
        raise RuntimeError(
            f"{path.name} is missing and could not be downloaded from {url} ({type(error).__name__}: {error}). "
            f"Try again, or fetch it by hand and put it into {path.parent}."
        ) from error


def _is_whole(path: Path) -> bool:
    digits = re.search(r"-([a-f0-9]{8,})\.", path.name)
    with open(path, "rb") as file:
        return digits is None or hashlib.file_digest(file, "sha256").hexdigest().startswith(digits[1])
