import io
import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import filelock
import pytest
from photo_pieces import checksums, png

from transfer_utils.course import sample_photos
from transfer_utils.own_photos import store, store_zip


def test_store_keeps_what_is_there(tmp_path):
    path = store(tmp_path, "cat", "a.jpg", b"one")
    assert path == tmp_path / "cat" / "a.jpg"
    assert store(tmp_path, "cat", "a.jpg", b"one") == path
    second, third = (store(str(tmp_path), "cat", "a.jpg", content) for content in (b"two", b"three"))
    assert (second.name, third.name) == ("a-2.jpg", "a-3.jpg")
    assert store(tmp_path, "cat", "a.jpg", b"two") == second
    assert [path.read_bytes() for path in sorted((tmp_path / "cat").iterdir())] == [b"two", b"three", b"one"]


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "..\\evil", "C:\\evil", "CON", "a\0b", "..", "x" * 300, ""]
)
def test_store_stays_inside(tmp_path, name):
    root = tmp_path / "root"
    path = store(root, f"c{name}", name, b"x")
    assert path.parent.parent == root
    assert list(tmp_path.iterdir()) == [root]
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["", "  ", "..", "./."[:1]])
def test_store_needs_a_class(tmp_path, name):
    with pytest.raises(ValueError, match=re.escape(f"the class name {name!r}; give the class a name")):
        store(tmp_path, name, "a.jpg", b"x")
    assert not list(tmp_path.iterdir())


def test_store_does_not_follow_a_link_out(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "cat", True)
    with pytest.raises(ValueError, match="is a link that leads out of"):
        store(tmp_path / "root", "cat", "a.jpg", b"x")
    assert not list((tmp_path / "elsewhere").iterdir())


STORES = """
import sys
from transfer_utils.own_photos import store
for number in range(20):
    store(sys.argv[1], "cat", f"{number}.jpg", sys.argv[2].encode() * 10_000)
"""


def stored(folder) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "cat").iterdir())


@pytest.mark.parametrize("name", ["a.jpg", "ä.jpg", "a", "x" * 300 + ".jpg"])
@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_threads_that_store_under_one_name_lose_nothing(tmp_path, monkeypatch, name, locks):
    def refuse(*_, **__):
        raise OSError(37, "No locks available")

    if not locks:
        monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    contents = [bytes([number // 2]) * 50_000 for number in range(16)]  # each of them twice
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda content: store(tmp_path, "cat", name, content), contents))
    assert [path.read_bytes() for path in paths] == contents
    assert stored(tmp_path) == sorted(set(contents))


@pytest.mark.slow
def test_processes_that_store_under_one_name_lose_nothing(tmp_path):
    storing = [subprocess.Popen([sys.executable, "-c", STORES, tmp_path / "mine", letter]) for letter in "aab"]
    assert [process.wait() for process in storing] == [0, 0, 0]
    assert stored(tmp_path / "mine") == [b"a" * 10_000] * 20 + [b"b" * 10_000] * 20
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_sample_is_written_once(tmp_path):
    root = sample_photos(tmp_path / "sample")
    before = checksums(root)
    assert len(before) == 126
    (root / "cat" / "cat-01.png").write_bytes(b"mine")
    (root / "cat" / "cat-02.png").unlink()
    sample_photos(str(root))
    assert (root / "cat" / "cat-01.png").read_bytes() == b"mine"
    again = checksums(sample_photos(tmp_path / "again"))
    assert list(again.values()) == list(before.values())
    assert (root / "cat" / "cat-02.png").read_bytes() == (tmp_path / "again" / "cat" / "cat-02.png").read_bytes()


def zip_of(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, png(i))
    return content.getvalue()


def test_a_zip_is_stored_class_by_class(tmp_path):
    stored = store_zip(
        tmp_path, "pets.zip", zip_of("pets/cat/a.png", "pets/dog/deep/b.png", "pets/loose.png", "pets/.DS_Store")
    )
    assert [path.relative_to(tmp_path).as_posix() for path in stored] == ["cat/a.png", "dog/b.png"]
    assert stored[1].read_bytes() == png(1)


@pytest.mark.parametrize("name", ["../cat/a.png", "/cat/a.png", "C:/cat/a.png"])
def test_of_a_hostile_zip_nothing_is_stored(tmp_path, name):
    with pytest.raises(ValueError, match="has a name that may lead out of the folder"):
        store_zip(tmp_path / "mine", "pets.zip", zip_of("pets/cat/b.png", name))
    assert not list(tmp_path.rglob("*"))
