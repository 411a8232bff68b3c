"""The command that asks a saved model: one line for each photo, whatever its name, and the reasons apart from them."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_classifiers import CLASSES, new_photos, small_classifier

from transfer_utils import own_photos, predict
from transfer_utils.own_photos import read_photo


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return own_photos.save(tmp_path_factory.mktemp("saved") / "model", small_classifier()[0], "# Card\n")


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
        predict.main([os.fspath(argument) for argument in arguments])
    return ended.value.code


def expected(path: Path) -> tuple[str, str]:
    """The answer of the classifier itself."""
    pixels, _ = read_photo(path.read_bytes(), 64)
    answer = own_photos.predict(small_classifier()[0], torch.from_numpy(pixels).permute(2, 0, 1)[None]).iloc[0]
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
    command = [sys.executable, "-m", "transfer_utils.predict", model.name, *paths]
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
    ask(own_photos.save(tmp_path / "model", classifier, ""), *photos)
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


# --- no model -----------------------------------------------------------------------------------------------------


def damaged(model: Path) -> None:
    (model / "network.safetensors").write_bytes(b"garbage")


def missing(model: Path) -> None:
    (model / "SHA256SUMS").unlink()


def emptied(model: Path) -> None:
    for path in model.iterdir():
        path.unlink()


@pytest.mark.parametrize("spoil", [damaged, missing, emptied])
def test_a_model_that_is_not_whole_is_refused_in_one_line(photos, tmp_path, capsys, spoil):
    spoil(own_photos.save(tmp_path / "model", small_classifier("course_resnet/both")[0], ""))
    said = ask(tmp_path / "model", *photos)
    assert len(said.splitlines()) == 1
    assert "Copy the whole folder anew" in said
    assert capsys.readouterr().out == ""


def test_a_photo_in_place_of_the_model_is_refused_in_one_line(photos, capsys):
    said = ask(photos[0], photos[1])
    assert said == f"There is no folder {photos[0]}. Give the folder that a model was saved to."
    assert capsys.readouterr() == ("", "")


def test_help_has_an_example(capsys):
    assert ask("--help") == 0
    assert "example: python -m transfer_utils.predict my_model holiday/*.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["model"]])
def test_without_photos_it_shows_how_to_call_it(arguments, capsys):
    assert ask(*arguments) == 2
    assert "usage: python -m transfer_utils.predict" in capsys.readouterr().err
