import hashlib

import pytest

from transfer_utils import machine
from transfer_utils.machine import files


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package folder elsewhere, so that folder() has to look for the data anew."""
    package = tmp_path / "site" / "transfer_utils"
    package.mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(package / "machine" / "files.py"))
    return package


def test_folder_in_a_checkout(package):
    (package.parent / "data" / "photos").mkdir(parents=True)
    assert machine.shipped_folder.__wrapped__() == package.parent / "data"


def test_folder_in_an_installed_wheel_comes_first(package):
    for place in (package.parent / "data", package / "_embedded"):
        (place / "photos").mkdir(parents=True)
    assert machine.shipped_folder.__wrapped__() == package / "_embedded"


def test_folder_missing_says_where_it_looked_and_what_to_do(package):
    with pytest.raises(FileNotFoundError, match="Install the course again") as error:
        machine.shipped_folder.__wrapped__()
    assert str(package / "_embedded") in str(error.value)
    assert str(package.parent / "data") in str(error.value)


@pytest.mark.parametrize("group", ["photos", "checkpoints", "texts"])
def test_every_shipped_file_is_listed_and_whole(group):
    names = {path.name for path in (machine.shipped_folder() / group).iterdir()} - {"SHA256SUMS"}
    assert names == set(files._checksums(group))
    for name in names:
        assert machine.read_shipped(group, name) == (machine.shipped_folder() / group / name).read_bytes()


def test_damaged_file_is_refused_by_name(shipped_copy, damage):
    damage(shipped_copy / "photos" / "near_duplicates.csv")
    with pytest.raises(ValueError, match=r"near_duplicates\.csv is damaged") as error:
        machine.read_shipped("photos", "near_duplicates.csv")
    assert "git checkout -- data/photos/near_duplicates.csv" in str(error.value)
    assert "pip install --force-reinstall" in str(error.value)


def test_missing_file_is_refused_by_name(shipped_copy):
    (shipped_copy / "photos" / "test_cat.webp").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_cat\.webp is missing.*git checkout -- data/photos/test_cat"):
        machine.read_shipped("photos", "test_cat.webp")


def test_file_without_a_checksum_is_refused(shipped_copy):
    (shipped_copy / "photos" / "extra.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"extra\.csv is damaged"):
        machine.read_shipped("photos", "extra.csv")


def test_write_checksums_lists_every_other_file(shipped_copy):
    folder = shipped_copy / "results"
    for link in folder.glob("*.csv"):
        link.unlink()
    (folder / "b.json").write_bytes(b"{}")
    (folder / "a.csv").write_bytes(b"x\n")
    (folder / "words.txt").write_bytes(b"y\n")
    machine.write_checksums("results")
    names = ("a.csv", "b.json", "words.txt")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    assert (folder / "SHA256SUMS").read_text().splitlines() == [f"{digests[name]}  {name}" for name in digests]
    assert machine.read_shipped("results", "b.json") == b"{}"
