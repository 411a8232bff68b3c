"""Time from a folder of 250 photos to its cross-validated accuracy: the first run, and again with features cached.

Two classes, 125 photos each, as JPEG of 12 megapixels, as a telephone takes them, and of 2; seen at 224 pixels. What
importing took before is told apart.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from transfer_utils import data

SIZES = ((4000, 3000), (1600, 1200))
CHILD = """
import sys, time
started = time.perf_counter()
from transfer_utils import own_photos, stats
imported = time.perf_counter()
folder = own_photos.read(sys.argv[1], progress=False)
read = time.perf_counter()
bank = own_photos.extract(folder)
extracted = time.perf_counter()
accuracy = stats.evaluate(bank.cross_validate(), folder.photos.labels, folder.photos.classes).accuracy
done = time.perf_counter()
parts = (done - imported, read - imported, extracted - read, done - extracted, imported - started)
print(" | ".join([*(f"{seconds:.1f}" for seconds in parts), str(accuracy)]))
"""


def write_photos(folder: Path, size: tuple[int, int], photos: data.ImageSet, per_class: int) -> None:
    """Cats and dogs as JPEG, a folder for each."""
    photos = photos.only("cat", "dog").take(per_class)
    for i, (pixels, label) in enumerate(zip(photos.images, photos.labels, strict=True)):
        path = folder / photos.classes[label] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.BICUBIC).save(path)


def main(sizes: Sequence[tuple[int, int]] = SIZES) -> str:
    head = [
        "| photos | | seconds | read | features | cross-validation | importing before | accuracy |",
        "|" + "---|" * 8,
    ]
    return "\n".join([*head, *(line for size in sizes for line in compare(size))])


def compare(size: tuple[int, int]) -> list[str]:
    lines = []
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place, "photos"), Path(place, "home")
        write_photos(folder, size, data.load(), 125)
        for run in ("first run", "second run"):
            child = subprocess.run(
                [sys.executable, "-c", CHILD, str(folder)],
                env={**os.environ, "TRANSFER_UTILS_HOME": str(home)},
                capture_output=True,
                text=True,
                check=True,
            )
            lines.append(f"| {size[0]} x {size[1]} pixels | {run} | {child.stdout.strip()} |")
    return lines


if __name__ == "__main__":
    print(main())
