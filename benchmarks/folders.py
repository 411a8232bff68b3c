"""Time from a folder of 250 photos to its cross-validated accuracy: the first run, and again with features cached.

Two classes, 125 photos each, saved as JPEG of 12 megapixels, as a telephone takes them; seen at 224 pixels.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from transfer_utils import data

MEGAPIXELS = (4000, 3000)
CHILD = """
import sys, time
started = time.perf_counter()
from transfer_utils import classifiers, evaluation, photo_folders
imported = time.perf_counter()
folder = photo_folders.read(sys.argv[1], progress=False)
read = time.perf_counter()
bank = classifiers.extract(folder)
extracted = time.perf_counter()
accuracy = evaluation.overall(folder.photos.labels, classifiers.cross_validate(bank).argmax(1))
done = time.perf_counter()
print(f"{done - imported:.1f} s: read {read - imported:.1f}, features {extracted - read:.1f}, "
      f"cross-validation {done - extracted:.1f}; importing took {imported - started:.1f} before. {accuracy}")
"""


def write_photos(folder: Path) -> None:
    photos = data.load().only("cat", "dog").take(125)
    for i, (pixels, label) in enumerate(zip(photos.images, photos.labels, strict=True)):
        path = folder / photos.classes[label] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize(MEGAPIXELS, Image.Resampling.BICUBIC).save(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place, "photos"), Path(place, "home")
        folder.mkdir()
        write_photos(folder)
        for run in ("first run", "second run"):
            child = subprocess.run(
                [sys.executable, "-c", CHILD, str(folder)],
                env={**os.environ, "TRANSFER_UTILS_HOME": str(home)},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"{run}, 250 photos: {child.stdout.strip()}")


if __name__ == "__main__":
    main()
