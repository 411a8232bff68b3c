"""The command that trains on a folder of photos: in a process of its own once, and here for everything that fails."""

import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from transfer_utils import data, own_photos, train_folder
from transfer_utils.own_photos import classifiers, saved_models

NAMES = ("frog", "ship")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Eight photos of each of two classes, a file that is none, and one that is there twice."""
    root = tmp_path_factory.mktemp("mine") / "my photos ä"
    for name in NAMES:
        (root / name).mkdir(parents=True)
        for i, photo in enumerate(data.load().only(name).take(8).images):
            Image.fromarray(photo.permute(1, 2, 0).numpy()).save(root / name / f"{i}.png")
    (root / "ship" / "list.jpg").write_bytes(b"apples, bread, milk\n")
    shutil.copy(root / "frog" / "1.png", root / "frog" / "again.png")
    return root


def checksums(root: Path) -> dict[str, tuple]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """What the command did, in a process of its own."""
    place, before = tmp_path_factory.mktemp("trained"), checksums(photos)
    command = [sys.executable, "-m", "transfer_utils.train_folder", str(photos), "--out", "deep/model"]
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=280, encoding="utf-8")
    assert checksums(photos) == before
    return place, ran


def failed(capsys, *arguments) -> str:
    """Why the command ended with status 1: one line, and nothing on standard output."""
    with pytest.raises(SystemExit) as ended:
        train_folder.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, str)  # which Python prints, and turns into status 1
    assert ended.value.code.startswith("Nothing was saved. ")
    assert len(ended.value.code.splitlines()) == 1
    assert capsys.readouterr().out == ""
    return ended.value.code


def ended(*arguments) -> str:
    """Why the command ended, or '' if it did what it should."""
    try:
        train_folder.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return str(end.code)
    return ""


@pytest.fixture
def no_work(monkeypatch) -> None:
    monkeypatch.setattr(own_photos, "read", lambda *_, **__: pytest.fail("the photos were read"))


# --- what it does -------------------------------------------------------------------------------------------------


def test_it_says_where_the_model_is_and_nothing_else(trained):
    place, ran = trained
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{place / 'deep' / 'model'}\n"
    assert sorted(path.name for path in (place / "deep" / "model").iterdir()) == sorted(
        [*saved_models.CHECKED, saved_models.SUMS]
    )
    assert os.listdir(place / "deep") == ["model"]


def test_it_tells_on_standard_error_how_it_goes(trained):
    _, ran = trained
    for words in (
        "16 photos in 2 classes; 2 files left out.",
        "ship/list.jpg: it is text, not a photo",
        "the same file as frog/1.png",
        "running the network",
        "Recognised, each by a classifier that had not seen it: ",
        " of 16 photos",
    ):
        assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Warning" not in ran.stderr


def test_the_saved_model_knows_the_photos(trained, photos):
    place, ran = trained
    classifier = own_photos.load(place / "deep" / "model")
    assert classifier.classes == NAMES
    assert len(classifier.known) == 16
    folder = own_photos.read(photos, classifier.size, progress=False)
    answers = own_photos.predict(classifier, folder.photos.images)
    assert (answers["class"] == [NAMES[label] for label in folder.photos.labels]).mean() > 0.85
    card = (place / "deep" / "model" / saved_models.CARD).read_text(encoding="utf-8")
    measured = ran.stderr.split("had not seen it: ")[1].splitlines()[0]
    assert f"(cross-validation): {measured}." in card


def test_a_zip_and_a_second_time_into_the_same_place(trained, photos, tmp_path, capsys, monkeypatch):
    """The features of these photos are in the cache by now, so the network must not run again."""
    monkeypatch.setattr(
        classifiers.training, "run_network", lambda *_: pytest.fail("the photos went through the network")
    )
    archive = shutil.make_archive(tmp_path / "photos", "zip", photos)
    before = checksums(tmp_path)
    for source in (archive, photos):
        train_folder.main([str(source), "--out", str(tmp_path / "model")])
        assert capsys.readouterr().out == f"{tmp_path / 'model'}\n"
        assert own_photos.load(tmp_path / "model").classes == NAMES
    assert checksums(tmp_path).items() >= before.items()


def test_a_place_that_the_terminal_cannot_spell_is_no_failure(trained, photos, tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    train_folder.main([str(photos), "--out", str(tmp_path / "modèle")])
    terminal.flush()
    assert terminal.buffer.getvalue() == str(tmp_path / "modèle").encode("ascii", "backslashreplace") + b"\n"
    assert own_photos.load(tmp_path / "modèle").classes == NAMES


# --- what it refuses ----------------------------------------------------------------------------------------------


def test_help_has_an_example_and_a_promise(capsys):
    with pytest.raises(SystemExit) as ended:
        train_folder.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "example: python -m transfer_utils.train_folder photos --out my_model" in said
    assert "Your photos are only read, never changed." in " ".join(said.split())


@pytest.mark.parametrize("arguments", [[], ["photos"], ["--out", "model"], ["photos", "more", "--out", "model"]])
def test_without_photos_or_a_place_it_shows_how_to_call_it(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        train_folder.main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m transfer_utils.train_folder" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
def test_a_place_with_other_files_is_refused_before_any_work(photos, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "holds 'thesis.tex' and is no saved model" in failed(capsys, photos, "--out", tmp_path)
    assert "cannot be saved as the folder" in failed(capsys, photos, "--out", tmp_path / "thesis.tex")
    assert checksums(tmp_path).keys() == {str(tmp_path / "thesis.tex")}


@pytest.mark.usefixtures("no_work")
def test_the_folder_that_we_are_in_is_refused_before_any_work(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (".", ""):
        assert "cannot be saved as the folder" in failed(capsys, photos, "--out", place)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("inside", ["model", "frog/model", "../my photos ä/model"])
def test_a_place_among_the_photos_is_refused_before_any_work(photos, capsys, inside):
    before = checksums(photos)
    assert "lies inside" in failed(capsys, photos, "--out", photos / inside)
    assert checksums(photos) == before


def no_such_folder(root):
    pass


def an_empty_folder(root):
    root.mkdir()


def a_text_file(root):
    root.write_text("cat")


def photos_without_classes(root):
    root.mkdir()
    Image.new("RGB", (40, 40)).save(root / "1.png")


def one_class(root):
    (root / "cat").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(root / "cat" / "1.png")


def one_photo_of_a_class(root):
    for i, name in enumerate(("cat", "cat", "dog")):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 90).save(root / name / f"{i}.png")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_such_folder, "There is no folder or zip"),
        (an_empty_folder, "is empty"),
        (a_text_file, "is neither a folder nor a whole zip"),
        (photos_without_classes, "has no photos inside class folders"),
        (one_class, "we need at least 2"),
        (one_photo_of_a_class, "The class 'dog' has only 1 photo; it needs at least 2 different ones"),
    ],
)
def test_a_folder_that_is_no_use_is_refused_in_one_line(tmp_path, capsys, make, said):
    make(tmp_path / "photos")
    assert said in failed(capsys, tmp_path / "photos", "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_whose_name_is_no_utf_8_is_trained_or_refused_before_any_work(tmp_path, monkeypatch):
    """As old zips and other systems leave them."""
    for name in (b"caf\xe9", b"ship"):
        place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/photos/" + name))
        try:
            place.mkdir(parents=True)
        except OSError:
            pytest.skip("this file system takes no such name")
        for i in range(2):
            Image.effect_noise((40, 40), 90).save(place / f"{i}.png")
    monkeypatch.setattr(own_photos, "extract", functools.partial(own_photos.extract, backbone="course_resnet/both"))
    assert "codec" not in ended(tmp_path / "photos", "--out", tmp_path / "model")


def test_a_crash_of_the_disk_is_told_in_one_line(trained, photos, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in failed(capsys, photos, "--out", tmp_path / "model")
    assert not list(tmp_path.iterdir())
