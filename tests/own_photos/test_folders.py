import io
import os
import re
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_pieces import GOOD, SIZE, checksums, encoded, picture, png, written
from PIL import Image

from transfer_utils import own_photos
from transfer_utils.own_photos import decode, folders, read, zips

TRUNCATED = {
    kind: encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)), kind)[:1500]
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
}


def with_file(name: str, content: bytes):
    """A good folder with one more file in it."""
    return lambda root: written(root / "photos", GOOD | {name: content})


def folder(files: dict[str, bytes]):
    def build(root: Path) -> Path:
        (root / "photos").mkdir()
        return written(root / "photos", files)

    return build


def single(name: str, content: bytes):
    """One file in place of a folder."""
    return lambda root: written(root, {name: content}) / name


def zipped(files: dict[str, bytes] | list, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in dict(files).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_with(name: str, content: bytes = GOOD["cat/1.png"]):
    return single("photos.zip", zipped(GOOD | {name: content}))


def renamed(before: str, after: str):
    """A zip in which a name was changed behind the back of zipfile."""
    return single("photos.zip", zipped(GOOD | {before: png(7)}).replace(before.encode(), after.encode()))


def linked_member(root: Path) -> Path:
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return single("photos.zip", buffer.getvalue())(root)


def tweaked(change):
    """A zip whose last member's records were changed: change(bytes, place of local record, place of central one)."""

    def build(root: Path) -> Path:
        content = bytearray(zipped(GOOD | {"zebra/last.bmp": bytes(5000)}))
        change(content, content.rindex(b"PK\3\4"), content.rindex(b"PK\1\2"))
        return single("photos.zip", bytes(content))(root)

    return build


def encrypt(content, local, central):
    content[local + 6] |= 1
    content[central + 8] |= 1


def lie(size: int, honest_checksum: bool = False):
    def change(content, local, central):
        for place in (local + 14, central + 16):
            if honest_checksum:
                struct.pack_into("<I", content, place, zlib.crc32(bytes(size)))
            struct.pack_into("<I", content, place + 8, size)

    return change


def overlap(content, local, central):
    struct.pack_into("<I", content, central + 42, content.index(b"PK\3\4"))


def strange_method(content, local, central):
    struct.pack_into("<H", content, local + 8, 99)
    struct.pack_into("<H", content, central + 10, 99)


def flip_data(content, local, central):
    content[local + 45] ^= 255


def linked(name: str, target: str, is_folder: bool = False):
    def build(root: Path) -> Path:
        written(root / "photos", GOOD)
        os.symlink(target, root / "photos" / name, is_folder)
        return root / "photos"

    return build


def beside(name: str):
    """A path that does not exist, next to one that does."""
    return lambda root: written(root / "my_photos", GOOD).parent / name


def unopenable(root: Path) -> Path:
    """As root may read everything, the system's refusal is played by the test's own fixture."""
    return written(root / "photos", GOOD | {"cat/locked.png": png(5)})


def giant() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT5\xaf\x06\x1e"


def lying_on_its_side() -> bytes:
    exif = Image.Exif()
    exif[own_photos.ORIENTATION] = 6
    return encoded(picture(77, 40), "JPEG", exif=exif)


def bad_checksum() -> bytes:
    content = bytearray(png(3))
    content[30] ^= 1
    return bytes(content)


BAD = {  # name of the case: builder, words that the learner reads
    # paths
    "no such path": (beside("holiday"), "There is no folder or zip"),
    "misspelt path": (beside("my_photo"), r"Did you mean '.*my_photos'\?"),
    "very long path": (beside("x" * 5000), "Check the spelling"),
    "path with a zero": (beside("a\0b"), "There is no folder or zip"),
    "unknown home": (lambda _: "~nobody-at-all/photos", "nobody knows what ~ stands for"),
    "number for a path": (lambda _: 7, "read() got 7; give the path"),
    "nothing for a path": (lambda _: None, "read() got None; give the path"),
    "empty path": (lambda _: "", "read() got ''; give the path"),
    "path of a photo": (single("cat.png", png(1)), "cat.png is neither a folder nor a whole zip"),
    "path of a text": (single("cat.zip", b"apples"), "cat.zip is neither a folder nor a whole zip"),
    "path of an empty file": (single("cat.zip", b""), "neither a folder nor a whole zip"),
    # folders
    "empty folder": (folder({}), "is empty. Use one folder per class"),
    "only litter": (folder({"cat/.DS_Store": b"x", "__MACOSX/1.png": png(1), "Thumbs.db": b"x"}), "is empty"),
    "photos at top level only": (folder({"1.png": png(1), "2.png": png(2)}), "has no photos inside class folders"),
    "photo beside the class folders": (with_file("1.png", png(1)), "not in a class folder"),
    "one class": (folder({"cat/1.png": png(1), "cat/2.png": png(2)}), "1 class folders (cat)"),
    "one readable class": (folder({"cat/1.png": png(1), "dog/2.png": b"woof"}), "dog/2.png: it is text"),
    "no readable class": (folder({"cat/1.png": b"miaow", "dog/2.png": b"woof"}), "0 class folders (none)"),
    "already split": (
        folder({f"{split}/{name}": content for split in ("train", "test") for name, content in GOOD.items()}),
        r"already split into test, train\. Give its train folder instead: '.*photos.train'",
    ),
    "wrapped and split": (
        folder({f"x/{split}/{name}": content for split in ("Val", "Training") for name, content in GOOD.items()}),
        r"Give its Training folder instead: '.*photos.x.Training'",
    ),
    "dangling link": (linked("cat/link.png", "nowhere.png"), "a link that leads nowhere"),
    "link that loops": (linked("cat/loop.png", "loop.png"), "a link that leads nowhere"),
    "folder link that loops": (linked("cat/again", "..", True), "it is a link, which we do not follow"),
    "linked class": (linked("dog", "cat", True), "it is a link, which we do not follow"),
    "locked file": (unopenable, "it cannot be opened (Permission denied)"),
    "pipe": (
        lambda root: (os.mkfifo(written(root / "photos", GOOD) / "cat/pipe.png"), root / "photos")[1],
        "it is no ordinary file",
    ),
    # names
    "name with a newline": (with_file("cat/a\nb.png", b"x"), "it is text"),
    "name with an emoji": (with_file("cat/\U0001f431.png", b"x"), "it is text"),
    "name of 200 letters": (with_file(f"cat/{'x' * 200}.png", b"x"), "it is text"),
    "name that is no text": (with_file("cat/\udcff.png", b"x"), "it is text"),
    # files
    "empty file": (with_file("cat/bad.jpg", b""), "it is empty (0 bytes)"),
    "text": (with_file("cat/bad.jpg", b"apples"), "it is text, not a photo"),
    "zeros": (with_file("cat/bad.jpg", bytes(999)), "it holds only zeros"),
    "noise": (with_file("cat/bad.jpg", bytes(range(255))), "it is not a kind of photo"),
    "HEIC": (with_file("cat/bad.heic", b"\0\0\0\x18ftypheic" + bytes(9)), "pip install pillow-heif"),
    "video": (with_file("cat/bad.mp4", b"\0\0\0\x18ftypmp42" + bytes(9)), "it is a video"),
    "PDF": (with_file("cat/bad.jpg", b"%PDF-1.4"), "it is a document"),
    "SVG": (with_file("cat/bad.png", b"<svg xmlns='x'/>"), "it is an SVG drawing"),
    "web page": (with_file("cat/bad.jpg", b"<!doctype html>"), "it is a web page"),
    "zip in a folder": (with_file("cat/bad.zip", zipped(GOOD)), "it is an archive"),
    "GIF without frames": (with_file("cat/bad.gif", b"GIF89a\x40\0\x40\0\0\0\0;"), "begins like a photo, but"),
    "one pixel": (with_file("cat/bad.png", encoded(picture(1).resize((1, 1)))), "1 x 1 pixels"),
    "very long photo": (with_file("cat/long.png", encoded(picture(5).resize((5000, 20)))), "only the middle is seen"),
    "giant header": (with_file("cat/bad.png", giant()), "too many pixels"),
    "bad checksum": (with_file("cat/bad.png", bad_checksum()), "begins like a photo, but"),
    "lying on its side": (with_file("cat/side.jpg", lying_on_its_side()), "turned upright by its EXIF tag"),
    "see-through": (with_file("cat/clear.png", encoded(Image.new("RGBA", (32, 32)))), "transparent parts became white"),
    **{
        f"cut-off {kind}": (with_file(f"cat/bad.{kind.lower()}", content), r"it (is damaged|begins like a photo, but)")
        for kind, content in TRUNCATED.items()
    },
    "the same file twice": (with_file("cat/twin.png", GOOD["cat/1.png"]), "the same file as cat/1.png"),
    "the same file in two classes": (with_file("zebra/twin.png", GOOD["cat/1.png"]), "it is in two classes"),
    # zips
    "zip that climbs": (zip_with("../evil.png"), "may lead out of the folder"),
    "zip that climbs later": (zip_with("cat/../../evil.png"), "may lead out of the folder"),
    "zip with a root path": (zip_with("/evil.png"), "may lead out of the folder"),
    "zip with a drive": (zip_with("C:/evil.png"), "may lead out of the folder"),
    "zip with backslashes": (renamed("cat/__evil.png", "cat\\..evil.png"), "may lead out of the folder"),
    "zip with a zero in a name": (renamed("cat/evil_.png", "cat/evil\0.png"), "may lead out of the folder"),
    "zip with a link": (linked_member, "'cat/link.png' is a link"),
    "zip bomb by ratio": (zip_with("cat/bomb.bmp", bytes(11_000_000)), "unpacks to more than 200 times its size"),
    "zip too large": (zip_with("cat/large.bmp", bytes(2_000_000)), "we read at most 1,000,000"),
    "zip that promises too little": (tweaked(lie(1000)), "is damaged"),
    "zip that promises too little and forges": (tweaked(lie(1000, honest_checksum=True)), "is damaged"),
    "zip that promises too much": (tweaked(lie(6000)), "says 6,000 bytes and holds 5,000"),
    "zip whose members overlap": (tweaked(overlap), "its members overlap"),
    "zip with a password": (tweaked(encrypt), "is locked with a password"),
    "zip of a strange method": (tweaked(strange_method), "is damaged"),
    "zip with damaged data": (tweaked(flip_data), "is damaged"),
    "zip cut off": (single("photos.zip", zipped(GOOD)[:-40]), "neither a folder nor a whole zip"),
    "zip without files": (single("photos.zip", zipped({})), "is empty"),
    "zip of one class": (single("photos.zip", zipped({"cat/1.png": png(1)})), "1 class folders (cat)"),
    "zip already split": (
        single("photos.zip", zipped({f"{s}/{n}": c for s in ("train", "val") for n, c in GOOD.items()})),
        r"train'? \(unpack the zip first\)",
    ),
    "zip in a zip": (zip_with("cat/inner.zip", zipped(GOOD)), "it is an archive"),
    "large file in a zip": (zip_with("cat/large.bmp", bytes(300_000)), "we read at most 200,000"),
}


@pytest.fixture
def small_limits(monkeypatch) -> None:
    """Limits that a test can reach."""
    monkeypatch.setattr(zips, "MOST_ZIP_BYTES", 1_000_000)
    for module in (decode, zips):
        monkeypatch.setattr(module, "MOST_BYTES", 200_000)


@pytest.fixture
def outcome(monkeypatch):
    """What read() tells: the message of an error, or the notes. Any other error fails the test."""
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    def of(source) -> str:
        try:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "read_bytes", refuse)
                found = read(source, SIZE, progress=False)
        except (ValueError, FileNotFoundError) as error:
            return str(error) if type(error) is not own_photos.Unreadable else pytest.fail("it belongs in a row")
        assert (found.report() + "".join(found.files["file"])).encode()  # all of it can be printed
        assert len(found.photos) == len(found.names) == len(found.groups) == found.files["used"].sum()
        assert found.files.loc[~found.files["used"], "note"].ne("").all()
        return " | ".join(filter(None, found.files["note"])) + "."

    return of


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("small_limits")
def test_bad_input(tmp_path, outcome, case):
    build, words = BAD[case]
    try:
        source = build(tmp_path)
    except (AttributeError, NotImplementedError, OSError):
        pytest.skip("this system cannot make such a file")
    before = checksums(tmp_path)
    told = outcome(source)
    assert words in told or re.search(words, told), told
    assert told.isprintable()
    assert told.endswith((".", "?"))
    assert checksums(tmp_path) == before


def test_there_are_many_bad_inputs():
    assert len(BAD) >= 45


# --- what is read -------------------------------------------------------------------------------------------------


def equal(one, other) -> bool:
    same = torch.equal(one.photos.images, other.photos.images) and torch.equal(one.photos.labels, other.photos.labels)
    return same and one.photos.classes == other.photos.classes and torch.equal(one.groups, other.groups)


def test_folder_becomes_photos(tmp_path):
    found = read(written(tmp_path, GOOD | {"cat/deep/er/3.png": png(99)}), SIZE, progress=False)
    assert found.names == ("cat/1.png", "cat/2.png", "cat/deep/er/3.png", "zebra/1.png", "zebra/2.png")
    assert found.photos.classes == ("cat", "zebra")
    assert found.photos.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.photos.images.shape == (5, 3, SIZE, SIZE)
    assert found.photos.images.dtype == torch.uint8
    assert found.groups.dtype == found.photos.labels.dtype == torch.int64
    assert len(set(found.groups.tolist())) == 5
    expected = np.asarray(Image.open(tmp_path / "cat" / "2.png"))
    assert np.array_equal(found.photos.images[1].permute(1, 2, 0).numpy(), expected)
    assert list(found.files) == ["file", "class", "width", "height", "used", "fate", "note"]
    assert found.files["used"].all()


@pytest.mark.parametrize("wrapper", ["", "photos/", "all of/photos/"])
def test_folder_and_zip_are_the_same(tmp_path, wrapper):
    files = {wrapper + name: content for name, content in GOOD.items()}
    files |= {"__MACOSX/._1.png": b"x", f"{wrapper}.DS_Store": b"x", f"{wrapper}cat/@eaDir/1.png": b"x"}
    plain, packed = written(tmp_path / "plain", files), tmp_path / "packed.zip"
    packed.write_bytes(zipped(dict(reversed(files.items()))))
    one, other = read(plain, SIZE, progress=False), read(str(packed), SIZE, progress=False)
    assert equal(one, other)
    assert one.names == other.names == tuple(wrapper + name for name in GOOD)
    assert one.files.equals(other.files)


def test_order_does_not_depend_on_the_disk(tmp_path, monkeypatch):
    source = written(tmp_path, GOOD)
    first = read(source, SIZE, progress=False)
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((f, d, n[::-1]) for f, d, n in reversed(list(walk(*a, **k)))))
    assert equal(first, read(source, SIZE, progress=False))


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    written(tmp_path / "mine", GOOD)
    assert len(read("~/mine", SIZE, progress=False).photos) == 4


def test_composed_and_decomposed_names_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, "K\u00e4fer") for form in ("NFC", "NFD")]
    files = GOOD | {f"{name}/{n}.png": png(50 + n) for n, name in enumerate(names)}
    for source in (written(tmp_path / "plain", files), single("a.zip", zipped(files))(tmp_path)):
        assert read(source, SIZE, progress=False).photos.classes == (names[0], "cat", "zebra")


def test_macos_names_in_zips(tmp_path):
    content = zipped(GOOD | {"K\u00e4fer/1.png": png(3)})
    place = content.rindex("K\u00e4fer".encode()) - 46
    content = bytearray(content)
    content[place + 9] &= ~8  # the flag that says UTF-8
    local = content.index("K\u00e4fer".encode()) - 30
    content[local + 7] &= ~8
    assert "K\u00e4fer" in read(single("a.zip", bytes(content))(tmp_path), SIZE, progress=False).photos.classes


def test_too_many_files(tmp_path, monkeypatch):
    source = written(tmp_path, GOOD)
    monkeypatch.setattr(folders, "MOST_PHOTOS", 4)
    read(source, SIZE, progress=False)
    monkeypatch.setattr(folders, "MOST_PHOTOS", 3)
    with pytest.raises(ValueError, match=r"holds more than 3 files\. Give a smaller folder"):
        read(source, SIZE, progress=False)


@pytest.mark.parametrize("size", [31, 513, 64.0, "64", True, None])
def test_size_is_checked(tmp_path, size):
    with pytest.raises(ValueError, match=f"size={size!r}; it must be a whole number from 32 to 512"):
        read(tmp_path, size)


@pytest.mark.usefixtures("small_limits")
def test_large_members_are_not_even_unpacked(tmp_path, monkeypatch):
    source = single("a.zip", zipped(GOOD | {"cat/large.bmp": bytes(300_000)}))(tmp_path)
    opened = []
    member_of = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda a, m, *r: (opened.append(m.filename), member_of(a, m, *r))[1])
    read(source, SIZE, progress=False)
    assert sorted(opened) == sorted(GOOD)


def test_file_that_vanishes(tmp_path, monkeypatch):
    read_bytes = decode.read_bytes

    def vanish(path):
        path.unlink() if path.name == "2.png" and path.parent.name == "cat" else None
        return read_bytes(path)

    monkeypatch.setattr(folders, "read_bytes", vanish)
    found = read(written(tmp_path, GOOD), SIZE, progress=False)
    assert found.files["used"].tolist() == [True, False, True, True]


def test_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    source = written(tmp_path, GOOD | {"cat/locked/1.png": png(9)})
    monkeypatch.setattr(os, "scandir", refuse)
    files = read(source, SIZE, progress=False).files
    assert files[~files["used"]]["file"].tolist() == ["cat/locked/"]
    assert "Permission denied" in files[~files["used"]]["note"].item()


def test_progress_is_told_on_stderr_only_if_wanted(tmp_path, capsys):
    read(written(tmp_path, GOOD), SIZE, progress=False)
    assert capsys.readouterr() == ("", "")
    read(tmp_path, SIZE)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading photos" in err


def test_equal_files(tmp_path):
    twins = {"cat/3.png": GOOD["cat/1.png"], "zebra/9.png": GOOD["cat/2.png"]}
    found = read(written(tmp_path, GOOD | twins), SIZE, progress=False)
    assert found.names == ("cat/1.png", "zebra/1.png", "zebra/2.png")
    notes = dict(zip(found.files["file"], found.files["note"], strict=True))
    assert notes["cat/3.png"] == "the same file as cat/1.png"
    assert notes["cat/2.png"].startswith("the same file as zebra/9.png; it is in two classes")
    assert notes["zebra/9.png"].startswith("the same file as cat/2.png; it is in two classes")
    fates = dict(zip(found.files["file"], found.files["fate"], strict=True))
    assert fates == {
        **dict.fromkeys(("cat/1.png", "zebra/1.png", "zebra/2.png"), "used"),
        "cat/3.png": "copy",
        "cat/2.png": "in two classes",
        "zebra/9.png": "in two classes",
    }
    expected = torch.from_numpy(np.asarray(picture(15)).copy()).permute(2, 0, 1)  # zebra/1.png
    assert torch.equal(found.photos.images[1], expected)
