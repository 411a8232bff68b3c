"""The command line: train on a folder, ask a saved model, and the help of both in no time."""

import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_classifiers import CLASSES, new_photos, small_classifier

from transfer_utils import data, own_photos
from transfer_utils.__main__ import main
from transfer_utils.own_photos import classifiers, commands, read_photo, saved_models

NAMES = ("frog", "ship")
HELP = ([], ["--help"], ["train", "--help"], ["predict", "--help"], ["doctor", "--help"])


# --- help ---------------------------------------------------------------------------------------------------------


def called(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_imports_nothing_large(arguments):
    """So that it answers at once."""
    ran = called("-X", "importtime", "-m", "transfer_utils", *arguments)
    assert ran.returncode == (0 if arguments else 2)
    assert "usage: python -m transfer_utils" in ran.stdout + ran.stderr
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}
    assert {"argparse", "transfer_utils"} <= imported
    assert not {"torch", "numpy", "pandas", "PIL", "transfer_utils.machine", "transfer_utils.own_photos"} & imported


def test_without_a_command_it_shows_all_of_them(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    for command in ("train", "predict", "doctor"):
        assert f"\n    {command} " in err


def test_an_unknown_command_is_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian", "photos"])
    assert ended.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "usage"), [(["--loud"], "[-h]"), (["doctor", "more"], "doctor")])
def test_more_than_a_command_takes_is_refused_with_its_usage(arguments, usage, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: python -m transfer_utils {usage}")
    assert f"unrecognized arguments: {arguments[-1]}" in said


# --- train --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
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
def trained(folder, tmp_path_factory):
    """What the command did, in a process of its own."""
    place, before = tmp_path_factory.mktemp("trained"), checksums(folder)
    command = [sys.executable, "-m", "transfer_utils", "train", str(folder), "--out", "deep/model"]
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=280, encoding="utf-8")
    assert checksums(folder) == before
    return place, ran


def failed(capsys, *arguments) -> str:
    """Why the command ended with status 1: one line, and nothing on standard output."""
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments)])
    assert isinstance(ended.value.code, str)  # which Python prints, and turns into status 1
    assert ended.value.code.startswith("Nothing was saved. ")
    assert len(ended.value.code.splitlines()) == 1
    assert capsys.readouterr().out == ""
    return ended.value.code


def ended(*arguments) -> str:
    """Why the command ended, or '' if it did what it should."""
    try:
        main(["train", *map(str, arguments)])
    except SystemExit as end:
        return str(end.code)
    return ""


@pytest.fixture
def no_work(monkeypatch) -> None:
    monkeypatch.setattr(commands, "read", lambda *_, **__: pytest.fail("the photos were read"))


# --- train: what it does ------------------------------------------------------------------------------------------


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


def test_the_saved_model_knows_the_photos(trained, folder):
    place, ran = trained
    classifier = own_photos.load(place / "deep" / "model")
    assert classifier.classes == NAMES
    assert len(classifier.known) == 16
    photos = own_photos.read(folder, classifier.size, progress=False).photos
    answers = classifier.predict(photos.images)
    assert (answers["class"] == [NAMES[label] for label in photos.labels]).mean() > 0.85
    card = (place / "deep" / "model" / saved_models.CARD).read_text(encoding="utf-8")
    measured = ran.stderr.split("had not seen it: ")[1].splitlines()[0]
    assert f"(cross-validation): {measured}." in card


def test_a_zip_and_a_second_time_into_the_same_place(trained, folder, tmp_path, capsys, monkeypatch):
    """The features of these photos are in the cache by now, so the network must not run again."""
    monkeypatch.setattr(
        classifiers.training, "run_network", lambda *_: pytest.fail("the photos went through the network")
    )
    archive = shutil.make_archive(tmp_path / "photos", "zip", folder)
    before = checksums(tmp_path)
    for source in (archive, folder):
        main(["train", str(source), "--out", str(tmp_path / "model")])
        assert capsys.readouterr().out == f"{tmp_path / 'model'}\n"
        assert own_photos.load(tmp_path / "model").classes == NAMES
    assert checksums(tmp_path).items() >= before.items()


def test_a_place_that_the_terminal_cannot_spell_is_no_failure(trained, folder, tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    main(["train", str(folder), "--out", str(tmp_path / "modèle")])
    terminal.flush()
    assert terminal.buffer.getvalue() == str(tmp_path / "modèle").encode("ascii", "backslashreplace") + b"\n"
    assert own_photos.load(tmp_path / "modèle").classes == NAMES


# --- train: what it refuses ---------------------------------------------------------------------------------------


def test_help_of_train_has_an_example_and_a_promise(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "example: python -m transfer_utils train photos --out my_model" in said
    assert "Your photos are only read, never changed." in " ".join(said.split())


@pytest.mark.parametrize("arguments", [[], ["photos"], ["--out", "model"], ["photos", "more", "--out", "model"]])
def test_train_without_photos_or_a_place_shows_how_to_call_it(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    assert ended.value.code == 2
    assert "usage: python -m transfer_utils train" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
def test_a_place_with_other_files_is_refused_before_any_work(folder, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "holds 'thesis.tex' and is no saved model" in failed(capsys, folder, "--out", tmp_path)
    assert "cannot be saved as the folder" in failed(capsys, folder, "--out", tmp_path / "thesis.tex")
    assert checksums(tmp_path).keys() == {str(tmp_path / "thesis.tex")}


@pytest.mark.usefixtures("no_work")
def test_the_folder_that_we_are_in_is_refused_before_any_work(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (".", ""):
        assert "cannot be saved as the folder" in failed(capsys, folder, "--out", place)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("inside", ["model", "frog/model", "../my photos ä/model"])
def test_a_place_among_the_photos_is_refused_before_any_work(folder, capsys, inside):
    before = checksums(folder)
    assert "lies inside" in failed(capsys, folder, "--out", folder / inside)
    assert checksums(folder) == before


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
    monkeypatch.setattr(commands, "extract", functools.partial(own_photos.extract, backbone="course_resnet/both"))
    assert "codec" not in ended(tmp_path / "photos", "--out", tmp_path / "model")


def test_a_crash_of_the_disk_is_told_in_one_line(trained, folder, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in failed(capsys, folder, "--out", tmp_path / "model")
    assert not list(tmp_path.iterdir())


# --- predict: one line for each photo, whatever its name, and the reasons apart from them -------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return own_photos.save(tmp_path_factory.mktemp("saved") / "model", small_classifier()[0])


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Three photos that a classifier can tell, in order of its classes."""
    paths = []
    for name, image in zip(CLASSES, new_photos(1).images, strict=True):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(paths[-1])
    return paths


def ask(*arguments) -> object:
    """The exit status of the command, or the message that it ends with."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(os.fspath, arguments)])
    return ended.value.code


def expected(path: Path) -> tuple[str, str]:
    """The answer of the classifier itself."""
    pixels, _ = read_photo(path.read_bytes(), 64)
    answer = small_classifier()[0].predict(torch.from_numpy(pixels).permute(2, 0, 1)[None]).iloc[0]
    return answer["class"], f"{answer['probability']:.4f}"


def test_one_line_for_each_photo_and_nothing_else(model, photos, capsys):
    assert ask(model, *photos) == 0
    out, err = capsys.readouterr()
    assert out == "".join("\t".join([str(path), *expected(path)]) + "\n" for path in photos)
    assert "3/3" in err  # the progress


@pytest.fixture(scope="module")
def awkward(tmp_path_factory) -> dict[str, Path]:
    """A photo under awkward names, one that is broken, and one that is not there."""
    folder = tmp_path_factory.mktemp("awkward")
    names = {
        "tab": "a\tb.png",
        "newline": "a\nb.png",
        "letters": "Käfer 熊.png",
        "broken": "broken.jpg",
        "gone": "gone.jpg",
    }
    for name in names.values():
        if name != "gone.jpg":
            Image.fromarray(new_photos(1).images[1].permute(1, 2, 0).numpy()).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"apples\n")
    return {kind: folder / name for kind, name in names.items()}


@pytest.fixture(scope="module")
def ran(model, awkward):
    """What the command did with them, in a process of its own."""
    paths = [awkward[kind] for kind in ("tab", "newline", "broken", "gone", "letters")]
    command = [sys.executable, "-m", "transfer_utils", "predict", model.name, *paths]
    return subprocess.run(command, cwd=model.parent, capture_output=True, timeout=280)


def test_the_command_answers_every_photo_that_it_can_read_in_one_line(ran, awkward):
    lines = ran.stdout.decode("utf-8", "backslashreplace").split("\n")
    assert lines.pop() == ""
    assert [line.count("\t") for line in lines] == [2] * 3
    shown = [line.split("\t")[0].removeprefix(f"{awkward['gone'].parent}{os.sep}") for line in lines]
    assert shown[:2] == ["a\\tb.png", "a\\nb.png"]
    assert [tuple(line.split("\t")[1:]) for line in lines] == [expected(awkward["letters"])] * 3


def test_the_command_says_why_not_on_standard_error(ran, awkward):
    said = ran.stderr.decode("utf-8", "backslashreplace")
    assert f"{awkward['broken']}: it is text, not a photo" in said
    assert f"{awkward['gone']}: there is no such file" in said
    assert "5/5" in said
    assert "Traceback" not in said
    assert ran.returncode == 1


def test_the_command_says_nothing_that_only_a_programmer_understands(ran):
    assert b"Warning" not in ran.stderr


@pytest.mark.parametrize("content", [b"", b"apples\n", b"\x89PNG\r\n\x1a\n garbage"])
def test_an_unreadable_photo_does_not_stop_the_others(model, photos, capsys, content):
    photos[1].write_bytes(content)
    assert ask(model, *photos) == 1
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(photos[0]), str(photos[2])]
    assert f"{photos[1]}: " in err


def test_a_folder_is_no_photo(model, photos, capsys, tmp_path):
    assert ask(model, tmp_path, photos[0]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == ["\t".join([str(photos[0]), *expected(photos[0])])]
    assert f"{tmp_path}: " in err


def test_patterns_that_no_shell_expanded_are_expanded(model, photos, capsys):
    """And a file whose name looks like a pattern is that file."""
    odd = photos[0].with_name("[cat].png")
    odd.write_bytes(photos[0].read_bytes())
    assert ask(model, photos[0].parent / "*i*.png", odd) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [str(photos[2]), str(odd)]
    assert ask(model, photos[0].parent / "*.tiff") == 1
    assert "*.tiff: there is no such file" in capsys.readouterr().err


def test_a_pipe_is_not_waited_for(model, photos, capsys, tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    os.mkfifo(tmp_path / "pipe")
    assert ask(model, tmp_path / "pipe", photos[0]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "pipe: it is no ordinary file" in err


def test_a_class_with_a_tab_in_its_name_is_still_one_field(photos, tmp_path, capsys):
    classifier = replace(small_classifier("course_resnet/both")[0], classes=("a\tb", "c\nd", "e\rf"))
    ask(own_photos.save(tmp_path / "model", classifier), *photos)
    assert [line.count("\t") for line in capsys.readouterr().out.split("\n")] == [2, 2, 2, 0]


def test_a_photo_unlike_all_that_it_knows_is_named_and_answered(model, photos, capsys, tmp_path):
    noise = tmp_path / "noise.png"
    Image.effect_noise((64, 64), 120).convert("RGB").save(noise)
    assert ask(model, photos[0], noise) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert f"{noise}: unlike any photo that this classifier was trained on" in err
    assert f"{photos[0]}: unlike" not in err


@pytest.mark.parametrize("name", [b"\xff\xfe.png", "naïve 熊.png".encode(), b"a\r\nb.png"])
def test_no_name_is_more_than_one_line_or_ends_the_run(model, photos, monkeypatch, capsys, name):
    """Not even on a terminal that knows only ASCII."""
    odd = os.fsencode(photos[0].parent) + b"/" + name
    try:
        Path(os.fsdecode(odd)).write_bytes(photos[0].read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert ask(model, os.fsdecode(odd), photos[1]) == 0
    terminal.flush()
    first, second, rest = terminal.buffer.getvalue().split(b"\n")
    assert first.split(b"\t")[1:] == [word.encode() for word in expected(photos[0])]
    assert b"\r" not in first
    assert second.startswith(os.fsencode(photos[1]))
    assert rest == b""


def test_photos_are_only_read(model, photos):
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in photos]
    ask(model, *photos)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in photos] == before


# --- predict: no model --------------------------------------------------------------------------------------------


def damaged(model: Path) -> None:
    (model / "network.safetensors").write_bytes(b"garbage")


def missing(model: Path) -> None:
    (model / "SHA256SUMS").unlink()


def emptied(model: Path) -> None:
    for path in model.iterdir():
        path.unlink()


@pytest.mark.parametrize("spoil", [damaged, missing, emptied])
def test_a_model_that_is_not_whole_is_refused_in_one_line(photos, tmp_path, capsys, spoil):
    spoil(own_photos.save(tmp_path / "model", small_classifier("course_resnet/both")[0]))
    said = ask(tmp_path / "model", *photos)
    assert len(said.splitlines()) == 1
    assert "Copy the whole folder anew" in said
    assert capsys.readouterr().out == ""


def test_a_photo_in_place_of_the_model_is_refused_in_one_line(photos, capsys):
    said = ask(photos[0], photos[1])
    assert said == f"There is no folder {photos[0]}. Give the folder that a model was saved to."
    assert capsys.readouterr() == ("", "")


def test_help_of_predict_has_an_example(capsys):
    assert ask("--help") == 0
    assert "example: python -m transfer_utils predict my_model holiday/*.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["model"]])
def test_predict_without_photos_shows_how_to_call_it(arguments, capsys):
    assert ask(*arguments) == 2
    assert "usage: python -m transfer_utils predict" in capsys.readouterr().err


# --- start-up -------------------------------------------------------------------------------------------------------

HEAVY = "{'timm', 'torchvision', 'sklearn', 'scipy', 'triton', 'openvino', 'torch._dynamo', 'matplotlib.pyplot'}"


@pytest.mark.parametrize("rooms", ["own_photos", "backbones, course, data, show, stats, training"])
def test_what_takes_seconds_to_import_waits_until_it_is_used(rooms):
    script = f"import sys; from transfer_utils import {rooms}; print(*{HEAVY} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"
