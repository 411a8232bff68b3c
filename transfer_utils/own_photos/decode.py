"""One photo file, whatever it is, as a square of pixels, or the reason why not."""

import io
import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Plain pixel formats only: others start a helper program (EPS), or draw instead of store (WMF).
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
MOST_BYTES = 100_000_000
MOST_PIXELS = 178_000_000  # Pillow itself stops at 178,956,970, and that limit belongs to the whole process
LEAST_SIDE = 16
LONG = 3  # width over height, or height over width
MOST_IN_A_NAME = 100  # bytes; file systems take 255
FULL_16_BIT = 65_535.0
ORIENTATION = 0x0112
DNG_VERSION, SUB_PICTURES, PREVIEW = 50706, 330, 254  # TIFF tags
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{number}" for port in ("COM", "LPT") for number in range(10)}
_RAW = "a RAW camera file; develop it with the camera's program and save it as JPEG"
_HEIC = "a HEIC photo; save it as JPEG, or pip install pillow-heif"
_ARCHIVE = "an archive; unpack it and keep the photos that are in it"
_VIDEO = "a video; save single frames of it as JPEG"
_DOCUMENT = "a document; save the photos that are in it as JPEG"
_OTHERS = (  # where in the file, which bytes, what that is; the first match counts
    *((0, magic, _RAW) for magic in (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"FOVb")),
    (4, b"ftypcrx", _RAW),
    *((4, b"ftyp" + brand, _HEIC) for brand in (b"hei", b"hev", b"mif", b"msf")),
    (4, b"ftypavi", "an AVIF photo; save it as JPEG, or pip install --upgrade pillow"),
    *((4, magic, _VIDEO) for magic in (b"ftyp", b"moov", b"mdat")),
    *((0, magic, _VIDEO) for magic in (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3")),
    (8, b"AVI ", _VIDEO),
    *((0, magic, _ARCHIVE) for magic in (b"PK\3\4", b"PK\5\6", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")),
    *((0, magic, _DOCUMENT) for magic in (b"%PDF", b"%!PS", b"8BPS", b"\xd0\xcf\x11\xe0")),
)
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r")  # bytes that no text has
_BEGINNINGS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0\x0cjP")


class Unreadable(ValueError):
    """A file that is no usable photo; the message says why, and what to do."""


@dataclass(frozen=True)
class Facts:
    """What the file was: width and height in pixels, upright; notes: what the learner should know."""

    width: int
    height: int
    notes: tuple[str, ...]


def read_photo(content: bytes, size: int) -> tuple[np.ndarray, Facts]:
    """The upright middle square of a photo as uint8 (size, size, 3) RGB, and its facts.

    Raises Unreadable, and nothing else, for whatever is not a whole photo.
    """
    if not content:
        raise Unreadable("it is empty (0 bytes); copy or download it again")
    if len(content) > MOST_BYTES:
        raise Unreadable(too_many_bytes(len(content)))
    try:
        return _decode(content, size)
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(_looks_like(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"it would unpack to far too many pixels; save it with at most {MOST_PIXELS:,}") from error
    except Exception as error:  # hostile bytes make Pillow raise nearly everything there is
        cause = " ".join(str(error).split())[:80] or type(error).__name__
        raise Unreadable(f"it is damaged or cut off ({cause}); copy or download it again") from error


def too_many_bytes(count: int) -> str:
    """The reason for refusing a file of so many bytes."""
    return f"it has {count:,} bytes, and we read at most {MOST_BYTES:,}; save it smaller"


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises Unreadable for what is no file or too large, and OSError."""
    if not os.path.lexists(path):
        raise Unreadable("there is no such file; check the spelling")
    if not path.is_file():
        raise Unreadable("it is no ordinary file, or a link that leads nowhere; replace it with the photo")
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(too_many_bytes(path.stat().st_size))
    return path.read_bytes()


def safe_name(name: str) -> str:
    """A name that every system takes as that of one visible file: at most 100 bytes; '' if nothing is left."""
    plain = shown(unicodedata.normalize("NFC", name), instead="_")
    plain = re.sub(r"\.{2,}", ".", re.sub(r'[<>:"/\\|?*]', "_", plain)).strip(". ")
    if plain.partition(".")[0].strip().upper() in _RESERVED:
        plain = f"_{plain}"
    stem, dot, ending = plain.rpartition(".")
    ending = f".{ending}" if stem and len(ending) < 10 else ""
    room = MOST_IN_A_NAME - len(ending.encode())
    return plain.removesuffix(ending).encode()[:room].decode("utf-8", "ignore").strip(". ") + ending


def shown(name: str, instead: str = "?") -> str:
    """A name in one line that every screen can show, with `instead` for each letter that none shows."""
    return "".join(letter if letter.isprintable() else instead for letter in name)


def _decode(content: bytes, size: int) -> tuple[np.ndarray, Facts]:
    if content.startswith(b"\xff\xd8"):
        # A broken copy often ends in zeros, which decode to grey without complaint; cut off, they are found.
        content = content.rstrip(b"\0")
    with _opened(content) as image:
        _refuse_sizes_and_previews(image)
        header, notes = image.size, [_frames(image)]
        is_jpeg = image.format in ("JPEG", "MPO")
        image.draft(None, (size, size))  # a JPEG can be decoded at a half, a quarter or an eighth, much faster
        turned = _orientation(image) in _UPRIGHT
        image.load()
        tag = _orientation(image)  # TIFF files turn themselves while they load, and drop the tag
        width, height = header if is_jpeg else image.size
        if tag >= 5:
            width, height = height, width
        upright: Image.Image = image.transpose(_UPRIGHT[tag]) if tag in _UPRIGHT else image
        upright, note = _to_rgb(upright)
        pixels = np.array(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))
    notes += ["turned upright by its EXIF tag" if turned else "", note]
    if max(width, height) > LONG * min(width, height):
        notes.append("very long: only the middle is seen")
    return pixels, Facts(width, height, tuple(filter(None, notes)))


def _opened(content: bytes) -> Image.Image:
    if content[4:8] == b"ftyp":
        _plug_in_heif()
    Image.init()
    known = tuple(name for name in FORMATS if name in Image.OPEN)
    return Image.open(io.BytesIO(content), formats=known)


def _plug_in_heif() -> None:
    """Let Pillow read HEIC where pillow-heif is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


def _refuse_sizes_and_previews(image: Image.Image) -> None:
    """Look at the header, before anything is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise Unreadable(f"it has {width:,} x {height:,} pixels, and we read at most {MOST_PIXELS:,}; save it smaller")
    if min(width, height) < LEAST_SIDE:
        raise Unreadable(
            f"it has {width} x {height} pixels, and a side needs at least {LEAST_SIDE}; use the original photo"
        )
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    # Most RAW files are TIFF files whose first page is a thumbnail and whose photo hides in a sub-page.
    if DNG_VERSION in tags or (tags.get(PREVIEW) == 1 and SUB_PICTURES in tags):
        raise Unreadable(f"it is {_RAW}")


def _frames(image: Image.Image) -> str:
    # The further frames of an MPO photo are a camera's helpers, such as depth.
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return f"first of {count} frames" if count > 1 else ""


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(np.asarray(image))
    if image.mode == "LAB":
        return _from_lab(image), ""
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB"), ""


def _from_numbers(values: np.ndarray) -> tuple[Image.Image, str]:
    """Whole numbers of 16 bits by their full range; all others from the darkest to the brightest."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    note = "numbers with fractions or beyond 16 bits, scaled from darkest to brightest"
    if values.dtype.kind in "iu" and low >= 0 and high <= FULL_16_BIT:
        low, high, note = 0.0, FULL_16_BIT, "16-bit, scaled to 8"
    finite = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    grey = np.rint((finite - low) * (255 / (high - low or 1))).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB"), note


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # not every Pillow is built with it

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)


def _on_white(image: Image.Image) -> tuple[Image.Image, str]:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB"), "transparent parts became white" if np.asarray(image)[..., 3].min() < 255 else ""


def _looks_like(content: bytes) -> str:
    """Why Pillow does not know these bytes, as far as their beginning tells."""
    for place, magic, kind in _OTHERS:
        if content.startswith(magic, place):
            return f"it is {kind}"
    if content.startswith(_BEGINNINGS):
        return "it begins like a photo, but its header is damaged or cut off; copy or download it again"
    if content[:4] == b"\0\0\0\0" and not content.strip(b"\0"):
        return "it holds only zeros; copy it from the camera or phone again"
    return _looks_like_text(content[:1000].lower())


def _looks_like_text(start: bytes) -> str:
    if b"<svg" in start:
        return "it is an SVG drawing; save it as PNG"
    if b"<html" in start or b"<!doctype html" in start:
        return "it is a web page, not a photo; open it in a browser and save the photo itself"
    if not _CONTROLS.intersection(start):
        return "it is text, not a photo; replace it with the photo"
    return "it is not a kind of photo that we know; save it as JPEG or PNG"
