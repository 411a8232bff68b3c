"""Time from a folder of 250 photos to its cross-validated accuracy: the first run, and again with features cached.

Two classes, 125 photos each, as JPEG of 12 megapixels, as a telephone takes them, and of 2; seen at 224 pixels. Wanted:
30 s, then 3 s.
"""

import os
import subprocess
import sys
import tempfile
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
print(f"{done - imported:.1f} s: read {read - imported:.1f}, features {extracted - read:.1f}, "
      f"cross-validation {done - extracted:.1f}; importing took {imported - started:.1f} before. {accuracy}")
"""


def write_photos(folder: Path, size: tuple[int, int]) -> None:
    photos = data.load().only("cat", "dog").take(125)
    for i, (pixels, label) in enumerate(zip(photos.images, photos.labels, strict=True)):
        path = folder / photos.classes[label] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.BICUBIC).save(path)


def main() -> None:
    for size in SIZES:
        compare(size)


def compare(size: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place, "photos"), Path(place, "home")
        folder.mkdir()
        write_photos(folder, size)
        for run in ("first run", "second run"):
            child = subprocess.run(
                [sys.executable, "-c", CHILD, str(folder)],
                env={**os.environ, "TRANSFER_UTILS_HOME": str(home)},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"{size[0]} x {size[1]} pixels, {run}: {child.stdout.strip()}")


if __name__ == "__main__":
    main()
