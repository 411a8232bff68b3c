import io
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from transfer_utils import own_photos
from transfer_utils.own_photos import Unreadable, decode, read_photo
from transfer_utils.own_photos.decode import safe_name

SIZE = 32


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """A photo without any symmetry: red grows to the right, green downwards, blue marks one corner."""
    across, down = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
    corner = (across < 60) & (down < 60)
    return Image.fromarray(np.stack([across, down, 200 * corner], -1).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(content: bytes, expected: Image.Image) -> int:
    """The largest difference between a file as we read it and a picture saved without loss."""
    pixels, _ = read_photo(content, SIZE)
    return int(np.abs(pixels.astype(int) - read_photo(encoded(expected), SIZE)[0]).max())


def note(content: bytes) -> str:
    return "; ".join(read_photo(content, SIZE)[1].notes)


def reason(content: bytes) -> str:
    with pytest.raises(Unreadable) as error:
        read_photo(content, SIZE)
    return str(error.value)


# --- pixels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 33, 224])
def test_a_photo_is_its_middle_square(size):
    stripes = np.zeros((40, 120, 3), np.uint8)
    stripes[:, 40:80] = (10, 200, 30)
    pixels, facts = read_photo(encoded(Image.fromarray(stripes)), size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[size // 4 : -size // 4, size // 4 : -size // 4] == (10, 200, 30)).all()
    assert (facts.width, facts.height, facts.notes) == (120, 40, ())


def test_shrinking_does_not_alias():
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    pixels, _ = read_photo(encoded(Image.fromarray(checks.astype(np.uint8))), SIZE)
    assert pixels.min() > 100
    assert pixels.max() < 155


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_every_orientation_gives_the_upright_photo(kind, compression, tag):
    if compression and kind != "TIFF":
        return
    upright, exif = gradient(), Image.Exif()
    exif[own_photos.ORIENTATION] = tag
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(back.get(tag, decode._UPRIGHT[tag])) if tag > 1 else upright
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    if compression:
        options["compression"] = compression
    content = encoded(stored, kind, exif=exif, **options)
    assert difference(content, upright) <= (6 if kind == "JPEG" else 0)
    facts = read_photo(content, SIZE)[1]
    assert (facts.width, facts.height) == (48, 32)
    assert facts.notes == (("turned upright by its EXIF tag",) if tag > 1 else ())


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(tag):
    exif = Image.Exif()
    exif[own_photos.ORIENTATION] = tag
    assert difference(encoded(gradient(), exif=exif), gradient()) == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_is_ignored():
    assert (
        difference(encoded(gradient(), "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), gradient()) == 0
    )


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "YCbCr"])
def test_modes_give_the_pixels_of_rgb(mode):
    picture = gradient().convert(mode)
    content = encoded(picture, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    assert difference(content, picture.convert("RGB")) == 0
    assert note(content) == ""


def test_adobe_cmyk_jpeg_is_not_inverted():
    content = encoded(gradient().convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert difference(content, gradient()) < 12


def test_lab_becomes_rgb():
    from PIL import ImageCms

    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    smooth = gradient().point(lambda value: 90 + value // 4)  # all of it inside what LAB of 8 bits can hold
    assert difference(encoded(lab.apply(smooth), "TIFF"), smooth) < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "palette with a see-through colour", "RGB"])
def test_transparent_parts_become_white(mode):
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 20, 40))
    options: dict = {}
    if mode == "palette with a see-through colour":
        picture = picture.getchannel("A").point(lambda alpha: alpha // 255).convert("P")
        picture.putpalette([0, 0, 0, 0, 0, 0])
        options = {"transparency": 0}
    elif mode == "RGB":
        black_and_green = Image.new("RGB", (40, 40))
        black_and_green.paste((0, 255, 0), (0, 0, 20, 40))
        picture, options = black_and_green, {"transparency": (0, 255, 0)}
    else:
        picture = picture.convert(mode)
    pixels, facts = read_photo(encoded(picture, **options), 40)
    assert (pixels[:, :18] == 255).all()
    assert (pixels[:, 22:] == 0).all()
    assert facts.notes == ("transparent parts became white",)


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_16_bits_are_scaled_not_clipped(byte_order):
    values = np.repeat(np.linspace(0, 65535, 32), 32).reshape(32, 32).astype(byte_order)
    mode = "I;16" if byte_order == "<u2" else "I;16B"
    picture = Image.frombytes(mode, (32, 32), values.tobytes())
    expected = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    for kind in ("TIFF",) if mode == "I;16B" else ("PNG", "TIFF"):
        assert difference(encoded(picture, kind), expected) == 0
        assert note(encoded(picture, kind)) == "16-bit, scaled to 8"


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_larger_numbers_are_scaled_from_darkest_to_brightest(kind):
    values = np.repeat(np.linspace(-1e6, 3e6, 32), 32).reshape(32, 32).astype(kind)
    content = encoded(Image.fromarray(values), "TIFF")
    expected = Image.fromarray(np.rint((values + 1e6) * (255 / 4e6)).astype(np.uint8))
    assert difference(content, expected) <= 1
    assert "from darkest to brightest" in note(content)


def test_numbers_that_are_none():
    values = np.full((32, 32), 0.5, np.float32)
    values[:8], values[8:16], values[16:24] = np.nan, np.inf, 1.0
    pixels, _ = read_photo(encoded(Image.fromarray(values), "TIFF"), SIZE)
    assert pixels[3, 0, 0] == 0
    assert pixels[12, 0, 0] == pixels[20, 0, 0] == 255
    nothing, _ = read_photo(encoded(Image.fromarray(values * np.nan), "TIFF"), SIZE)
    assert (nothing == 0).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert difference(content, frames[0]) == 0
    assert note(content) == "first of 3 frames"


def test_long_photos_are_noted():
    assert note(encoded(gradient(5000, 20))) == "very long: only the middle is seen"
    assert note(encoded(gradient(96, 32))) == ""


def test_large_jpegs_decode_small_but_sharp(monkeypatch):
    sizes = []
    fit = decode.ImageOps.fit
    monkeypatch.setattr(decode.ImageOps, "fit", lambda image, *rest: (sizes.append(image.size), fit(image, *rest))[1])
    content = encoded(gradient(1200, 800), "JPEG", quality=95)
    assert difference(content, gradient(1200, 800)) < 12
    assert sizes[0] == (150, 100)
    assert read_photo(content, 128)[1].width == 1200
    assert min(sizes[-1]) >= 128


def test_threads_do_not_disturb_each_other():
    content = [encoded(gradient(48 + n, 40), kind) for n in range(8) for kind in ("PNG", "JPEG", "WEBP")]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda one: read_photo(one, SIZE)[0], content))
    assert all(np.array_equal(read_photo(one, SIZE)[0], pixels) for one, pixels in zip(content, parallel, strict=True))


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty (0 bytes); copy or download it again"),
        (b"apples\nbread\n", "it is text, not a photo; replace it with the photo"),
        ("Äpfel ".encode() * 400, "it is text"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"<?xml version='1.0'?><svg/>", "it is an SVG drawing; save it as PNG"),
        (b"%PDF-1.7\n", "it is a document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "it is a document"),
        (b"PK\3\4" + bytes(30), "it is an archive"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "it is a HEIC photo; save it as JPEG, or pip install pillow-heif"),
        (b"\0\0\0\x18ftypisom" + bytes(30), "it is a video"),
        (b"\0\0\0\x14ftypqt  " + bytes(30), "it is a video"),
        (b"\0\0\0\x18ftypcrx " + bytes(30), "it is a RAW camera file"),
        (b"FUJIFILMCCD-RAW 0201", "it is a RAW camera file"),
        (bytes(5000), "it holds only zeros"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "it begins like a photo, but"),
        (b"GIF89a\x40\0\x40\0\0\0\0;", "it begins like a photo, but"),
        (bytes(range(256)), "it is not a kind of photo that we know; save it as JPEG or PNG"),
    ],
)
def test_what_is_no_photo_is_named(content, words):
    assert reason(content).startswith(words)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "kind", ["JPEG", "progressive", "PNG", "GIF", "BMP", "TIFF", "lzw", "PPM", "WEBP", "AVIF", "JPEG2000"]
)
def test_every_cut_is_found(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))
    options: dict = {"progressive": {"progressive": True}, "lzw": {"compression": "tiff_lzw"}}.get(kind, {})
    kind = {"progressive": "JPEG", "lzw": "TIFF"}.get(kind, kind)
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    content = encoded(noise, kind, **options)
    for size in (8, 64):  # a JPEG of 96 pixels is drafted for the first, and not for the second
        for share in (0.02, 0.3, 0.6, 0.9):
            with pytest.raises(Unreadable):
                read_photo(content[: int(share * len(content))], size)
    if kind == "JPEG":
        with pytest.raises(Unreadable, match="damaged or cut off"):
            read_photo(content[: len(content) // 2] + bytes(len(content) // 2), 8)


@pytest.mark.filterwarnings("ignore")  # Pillow warns about half of them
def test_every_single_byte_may_be_wrong():
    """Whatever a file holds: a photo or Unreadable, nothing else."""
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        content = np.frombuffer(encoded(gradient(20, 20), kind), np.uint8)
        for _ in range(60):
            damaged = content.copy()
            damaged[random.integers(0, len(content), 3)] = random.integers(0, 256, 3)
            try:
                pixels, _ = read_photo(damaged.tobytes(), 16)
            except Unreadable:
                continue
            assert pixels.shape == (16, 16, 3)


def test_a_bad_header_checksum_is_found():
    content = bytearray(encoded(gradient()))
    content[30] ^= 1
    assert reason(bytes(content)).startswith("it begins like a photo, but")


@pytest.mark.parametrize("side", [13_400, 60_000])
def test_giants_are_refused_before_they_are_decoded(monkeypatch, side):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    limit = Image.MAX_IMAGE_PIXELS
    assert f"{decode.MOST_PIXELS:,}" in reason(b"\x89PNG\r\n\x1a\n" + chunk + data)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_limits(monkeypatch):
    assert reason(encoded(gradient(1, 1))).startswith("it has 1 x 1 pixels, and a side needs at least 16")
    assert "15 x 40" in reason(encoded(gradient(15, 40)))
    read_photo(encoded(gradient(16, 16)), SIZE)
    monkeypatch.setattr(decode, "MOST_PIXELS", 48 * 32 - 1)
    assert reason(encoded(gradient())).startswith("it has 48 x 32 pixels, and we read at most 1,535")
    monkeypatch.setattr(decode, "MOST_BYTES", 50)
    assert "and we read at most 50; save it smaller" in reason(encoded(gradient()))


def test_bombs_by_the_rules_of_pillow_are_refused_too(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "too many pixels" in reason(encoded(gradient()))


@pytest.mark.parametrize("tags", [{decode.DNG_VERSION: b"\1\4\0\0"}, {254: 1, 330: 8}])
def test_previews_of_raw_files_are_refused(tags):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    info = ImageFileDirectory_v2()
    for tag, value in tags.items():
        info.tagtype[tag] = 1 if isinstance(value, bytes) else 4
        info[tag] = value
    assert reason(encoded(gradient(), "TIFF", tiffinfo=info)).startswith("it is a RAW camera file")


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("too large"), struct.error("x"), TypeError(), EOFError()]
)
def test_whatever_pillow_raises_becomes_a_reason(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(decode, "_opened", fail)
    assert reason(b"x").startswith(f"it is damaged or cut off ({str(error) or type(error).__name__}); copy")


def test_heic_is_read_where_a_plug_in_is_installed(monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: calls.append(1)))
    reason(b"\0\0\0\x18ftypheic" + bytes(30))
    assert calls == [1]


def test_programs_are_never_started(monkeypatch):
    assert not {"EPS", "WMF", "MPEG"} & set(decode.FORMATS)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert "document" in reason(encoded(gradient(), "EPS"))


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat", "cat"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("a\\b:c", "a_b_c"),
        ("..", ""),
        (" . ", ""),
        (".hidden", "hidden"),
        ("CON", "_CON"),
        ("con.jpg", "_con.jpg"),
        ("com1 .png", "_com1.png"),
        ("a\nb\0c", "a_b_c"),
        ("end. ", "end"),
        ("Ka\u0308se", "K\u00e4se"),
        ("\U0001f431.jpg", "\U0001f431.jpg"),
        ("x" * 200 + ".jpeg", "x" * 95 + ".jpeg"),
        ("\U0001f431" * 100 + ".jpg", "\U0001f431" * 24 + ".jpg"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe
    assert safe_name(safe) == safe
