"""Small photos and folders of them, for the tests that read photos."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, side: int = 32) -> Image.Image:
    """A smooth random photo: different seeds do not look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(seed: int) -> bytes:
    return encoded(picture(seed))


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def checksums(root: Path) -> dict[str, str]:
    """Every file, link and folder under a folder, without following links."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for folder, folders, files in os.walk(root)
        for path in (Path(folder, name) for name in folders + files)
        if path.is_symlink() or path.is_file()
    }


GOOD = {f"{name}/{n}.png": png(10 * n + len(name)) for name in ("cat", "zebra") for n in (1, 2)}
SIZE = 32
