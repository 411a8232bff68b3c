"""Find test photos that nearly equal a training photo, and list them in data/photos/near_duplicates.csv.

usage: python data/make_near_duplicates.py [--look PICTURE.png]

A pair counts as near-duplicate when the photos, or one of them mirrored, correlate at THRESHOLD or more after a
shift of up to 2 pixels. Candidates are the nearest training photos by ImageNet features. Barz and Denzler looked
for the same with another network and by eye (2020, https://arxiv.org/abs/1902.00423).
"""

import csv
import sys

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from transfer_utils import machine, training
from transfer_utils.backbones import load_backbone
from transfer_utils.data import CIFAR10, ImageSet, read_sheet

CANDIDATES = 8
THRESHOLD = 0.90
SHIFT = 2


def everything(split: str) -> tuple[ImageSet, list[tuple[str, int]]]:
    """All photos of the sheets of a split, and for each its class and its position in the sheet."""
    sheets = [read_sheet(f"{split}_{name}.webp") for name in CIFAR10]
    places = [(name, i) for name, sheet in zip(CIFAR10, sheets, strict=True) for i in range(len(sheet))]
    images = torch.from_numpy(np.concatenate(sheets)).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("any",)), places


def described(photos: ImageSet) -> Tensor:
    """Unit-length features of the photos and of their mirror images, averaged."""
    backbone = load_backbone("efficientnet_lite0")
    mirrored = ImageSet(photos.images.flip(-1), photos.labels, photos.classes)
    both = [training.extract(backbone, p, size=96) for p in (photos, mirrored)]
    return normalize(both[0] + both[1], dim=1)


def correlation(a: Tensor, b: Tensor) -> float:
    """The best correlation of two photos (3, 32, 32) over shifts and a mirror image of b."""
    inner = slice(SHIFT, -SHIFT)
    a = _standard(a[:, inner, inner])
    return max(
        float((a * _standard(version.roll((dy, dx), (1, 2))[:, inner, inner])).mean())
        for version in (b, b.flip(-1))
        for dy in range(-SHIFT, SHIFT + 1)
        for dx in range(-SHIFT, SHIFT + 1)
    )


def _standard(x: Tensor) -> Tensor:
    x = x.float()
    return (x - x.mean()) / x.std().clamp_min(1e-6)


def main() -> None:
    (train, train_places), (test, test_places) = everything("train"), everything("test")
    nearest = (described(test) @ described(train).T).topk(CANDIDATES, dim=1).indices
    found = []
    for i, neighbours in enumerate(nearest.tolist()):
        best, j = max((correlation(test.images[i], train.images[j]), j) for j in neighbours)
        found.append((best, i, j))
    found.sort(reverse=True)
    if "--look" in sys.argv:
        look(sys.argv[-1], [(test.images[i], train.images[j]) for _, i, j in found[:120]])
        for n, (best, i, j) in enumerate(found[:120]):
            print(n, f"{best:.3f}", *test_places[i], *train_places[j])
    twins = sorted((*test_places[i], *train_places[j], round(best, 3)) for best, i, j in found if best >= THRESHOLD)
    with open(machine.shipped_folder() / "photos" / "near_duplicates.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["test_class", "test_position", "train_class", "train_position", "correlation"])
        writer.writerows(twins)
    machine.write_checksums("photos")
    print(f"{len(twins)} of {len(test)} test photos are listed and left out")


def look(path: str, pairs: list[tuple[Tensor, Tensor]]) -> None:
    """A picture of the closest pairs, ten to a row, to judge the threshold by eye."""
    tiles = [torch.cat([a, b, torch.full((3, 32, 8), 255, dtype=torch.uint8)], 2) for a, b in pairs]
    rows = [torch.cat(tiles[i : i + 10], 2) for i in range(0, len(tiles), 10)]
    picture = Image.fromarray(torch.cat(rows, 1).permute(1, 2, 0).numpy())
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
