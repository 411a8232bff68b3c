"""A saved model is a folder that is read whole, or refused by name; and nothing in it can run."""

import copy
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save as serialise
from small_classifiers import new_photos, small_classifier

from transfer_utils import own_photos
from transfer_utils.own_photos import classifiers
from transfer_utils.own_photos.saved_models import CARD, CHECKED, MEMORY, NETWORK, SETTINGS, SUMS, check_place

SMALL = "course_resnet/both"
FILES = (*CHECKED, SUMS)
ELSEWHERE = """
import json, sys, torch
torch.set_num_threads(1)  # as in these tests
from transfer_utils import own_photos
answers = own_photos.load("model").predict(torch.load("photos.pt", weights_only=True))
answers.to_json("answers.json", double_precision=15)
"""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """Two saved models."""
    root = tmp_path_factory.mktemp("models")
    classifier, _ = small_classifier(SMALL)
    own_photos.save(root / "one", classifier)
    own_photos.save(root / "other", changed(classifier))
    return root


@pytest.fixture
def models(pristine, tmp_path) -> Path:
    """The same for one test, to be damaged without harm."""
    for name in ("one", "other"):
        shutil.copytree(pristine / name, tmp_path / name, copy_function=os.link)
    return tmp_path


def changed(classifier):
    """Another model of the same shape."""
    model = copy.deepcopy(classifier.model).new_head(3).requires_grad_(False)
    known = classifier.known.roll(1, 1)
    return replace(classifier, model=model, known=known, limit=classifier.limit / 2, card="# Other ä\n")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- there and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", [classifiers.BACKBONE, SMALL])
def test_a_loaded_model_gives_identical_answers(tmp_path, backbone):
    classifier, _ = small_classifier(backbone)
    photos = new_photos().images
    before = classifier.predict(photos)
    path = own_photos.save(tmp_path / "deep" / "model", replace(classifier, card="# Mine ä\n"))
    assert path == tmp_path / "deep" / "model"
    assert sorted(files(path)) == sorted(FILES)
    assert (path / CARD).read_text(encoding="utf-8") == "# Mine ä\n"
    loaded = own_photos.load(str(path))
    assert loaded.predict(photos).equals(before)
    assert (loaded.classes, loaded.size) == (classifier.classes, classifier.size)
    assert loaded.limit == classifier.limit
    assert loaded.card == "# Mine ä\n"
    assert not loaded.model.training


def test_a_new_process_gives_identical_answers(tmp_path):
    classifier, _ = small_classifier()
    photos = new_photos().images
    own_photos.save(tmp_path / "model", classifier)
    torch.save(photos, tmp_path / "photos.pt")
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=tmp_path, check=True, timeout=250)
    theirs, ours = pd.read_json(tmp_path / "answers.json"), classifier.predict(photos)
    for column in ("class", "neighbours", "unlike"):
        assert theirs[column].tolist() == ours[column].tolist()
    for column in ("shares", "strangeness", "probability"):
        assert torch.equal(torch.tensor(theirs[column].tolist()), torch.tensor(ours[column].tolist()))


def test_sha256sum_can_check_the_folder(models):
    ran = subprocess.run(["sha256sum", "-c", SUMS], cwd=models / "one", capture_output=True, text=True)
    assert ran.returncode == 0
    assert ran.stdout.count(": OK") == len(CHECKED)


def test_settings_say_how_a_photo_is_prepared(models):
    settings = json.loads((models / "one" / SETTINGS).read_text())
    assert settings["backbone"] == SMALL
    assert settings["classes"] == ["cat", "frog", "ship"]
    assert settings["size"] == 64
    assert settings["preprocessing"] == {"crop": "largest square in the middle", "mean": [0.5] * 3, "std": [0.25] * 3}


def test_nothing_is_unpickled(pristine, monkeypatch):
    def never(*_, **__):
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(pickle, "load", never)
    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "Unpickler", never)
    own_photos.load(pristine / "one")


# --- what is not whole is refused ---------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    content = path.read_bytes()[:-1]
    path.unlink()
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.unlink()
    path.touch()


def swapped(path: Path) -> None:
    path.unlink()
    shutil.copy(path.parent.parent / "other" / path.name, path)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("spoil", ["damaged", truncated, emptied, swapped], ids=lambda s: getattr(s, "__name__", s))
def test_a_spoiled_file_is_refused_by_name(models, damage, name, spoil):
    (damage if spoil == "damaged" else spoil)(models / "one" / name)
    with pytest.raises(ValueError, match=rf"one/{name} is damaged, or belongs to another model.*Copy the whole folder"):
        own_photos.load(models / "one")
    own_photos.load(models / "other")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(models, name):
    (models / "one" / name).unlink()
    with pytest.raises(
        ValueError, match=rf"one has no {name}, so it is not a whole saved model.*Copy the whole folder"
    ):
        own_photos.load(models / "one")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_refused(models, name):
    (models / "one" / name).unlink()
    (models / "one" / name).mkdir()
    with pytest.raises(ValueError, match=rf"one has no {name}"):
        own_photos.load(models / "one")


@pytest.mark.parametrize("spoil", ["damaged", truncated, emptied, swapped], ids=lambda s: getattr(s, "__name__", s))
def test_spoiled_checksums_are_refused(models, damage, spoil):
    sums = models / "one" / SUMS
    lines = sums.read_text().splitlines()
    if spoil == "damaged":
        damage(sums)
    elif spoil is truncated:
        sums.unlink()
        sums.write_text("\n".join(lines[:-1]) + "\n")  # the last file has none
    else:
        spoil(sums)
    with pytest.raises(ValueError, match="is damaged, or belongs to another model"):
        own_photos.load(models / "one")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\0garbage", b"\n\n\n", b"../one  classifier.json\n", b"  \n  classifier.json"]
)
def test_checksums_that_are_nonsense_are_refused(models, content):
    (models / "one" / SUMS).unlink()
    (models / "one" / SUMS).write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, or belongs to another model"):
        own_photos.load(models / "one")


def test_no_folder_at_all(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"There is no folder .*nothing\. Give the folder that a model was saved"
    ):
        own_photos.load(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*file"):
        own_photos.load(tmp_path / "file")


# --- made by hand: the checksums are right, and the rest is not ---------------------------------------------------


def by_hand(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    sums = "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in CHECKED)
    (folder / SUMS).unlink()
    (folder / SUMS).write_text(sums)
    return folder


@pytest.mark.parametrize("key", ["backbone", "classes", "size", "limit", "preprocessing"])
def test_settings_without_a_key_are_refused(models, key):
    settings = json.loads((models / "one" / SETTINGS).read_text())
    del settings[key]
    by_hand(models / "one", SETTINGS, json.dumps(settings).encode())
    with pytest.raises(ValueError, match="whole files, but is not a model that this version.*Train and save it again"):
        own_photos.load(models / "one")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"7", b'"text"', b"{", b"\xff", b"[" * 100_000])
def test_settings_that_are_no_settings_are_refused(models, content):
    by_hand(models / "one", SETTINGS, content)
    with pytest.raises(ValueError, match="whole files, but is not a model"):
        own_photos.load(models / "one")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone", "resnet51"),
        ("backbone", "course_resnet/vehicle"),
        ("backbone", "efficientnet_lite0"),  # whose weights these are not
        ("backbone", ""),
        ("classes", []),
        ("classes", ["cat"]),
        ("classes", ["cat", "dog", "frog", "ship"]),
        ("classes", 3),
        ("preprocessing", {"crop": "largest square in the middle", "mean": [0.5] * 3, "std": [0.5] * 3}),
        ("preprocessing", None),
        ("size", "large"),
        ("size", None),
        ("size", []),
        ("limit", "x"),
        ("limit", None),
        ("backbone", 5),
        ("backbone", None),
        ("size", 0),
        ("size", -3),
        ("size", 1_000_000),
        ("size", 64.5),
        ("limit", float("nan")),
        ("classes", "abc"),
        ("classes", [1, 2, 3]),
    ],
)
def test_settings_with_a_nonsense_value_are_refused(models, key, value):
    settings = json.loads((models / "one" / SETTINGS).read_text()) | {key: value}
    by_hand(models / "one", SETTINGS, json.dumps(settings).encode())
    with pytest.raises(ValueError, match="whole files, but is not a model"):
        own_photos.load(models / "one")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (NETWORK, b""),
        (NETWORK, b"not safetensors at all"),
        (NETWORK, serialise({"weight": torch.zeros(2)})),
        (MEMORY, b""),
        (MEMORY, serialise({"unknown": torch.zeros(2)})),
        (MEMORY, pickle.dumps({"known": [1, 2]})),
        (CARD, b"\xff\xfe no text"),
        *(
            (MEMORY, serialise({"known": known}))
            for known in (
                torch.zeros(5, 3),
                torch.zeros(0, 256),
                torch.zeros(256),
                torch.zeros(5, 256, dtype=torch.long),
                torch.full((5, 256), torch.nan),
            )
        ),
    ],
)
def test_contents_that_are_none_of_ours_are_refused(models, name, content):
    by_hand(models / "one", name, content)
    with pytest.raises(ValueError, match="whole files, but is not a model"):
        own_photos.load(models / "one")


# --- where a model may be saved -----------------------------------------------------------------------------------


def test_saving_again_replaces_the_model(models):
    classifier, _ = small_classifier(SMALL)
    other = files(models / "other")
    by_hand(models / "one", SETTINGS, b"{}")  # not even whole
    own_photos.save(models / "one", changed(classifier))
    assert (models / "one" / CARD).read_text(encoding="utf-8") == "# Other ä\n"
    assert sorted(files(models / "one")) == sorted(FILES)
    assert own_photos.load(models / "one").limit == classifier.limit / 2
    assert files(models / "other") == other
    assert sorted(os.listdir(models)) == ["one", "other"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    own_photos.save(tmp_path / "empty", small_classifier(SMALL)[0])
    own_photos.load(tmp_path / "empty")


@pytest.mark.parametrize("name", ["holiday.jpg", ".hidden", "classifier.json.bak", "folder/photo.jpg"])
def test_a_folder_with_anything_else_in_it_is_refused(models, name):
    (models / "one" / name).parent.mkdir(exist_ok=True)
    (models / "one" / name).write_bytes(b"mine")
    before = files(models)
    with pytest.raises(ValueError, match="is no saved model, so saving would remove something of yours. Choose a new"):
        own_photos.save(models / "one", small_classifier(SMALL)[0])
    assert files(models) == before


def test_a_part_of_a_model_may_be_something_else(tmp_path):
    """A README.md alone is more likely the learner's than ours."""
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'README\.md' and is no saved model"):
        own_photos.save(tmp_path, small_classifier(SMALL)[0])
    assert files(tmp_path) == {"README.md": b"mine"}


@pytest.mark.parametrize("name", ["model", "model/below", "model/below/that"])
def test_a_file_is_no_place_for_a_model(tmp_path, name):
    (tmp_path / "model").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"cannot be saved as the folder .*Give a new folder at a place of your own"):
        check_place(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be saved as the folder"):
        own_photos.save(tmp_path / name, small_classifier(SMALL)[0])
    assert files(tmp_path) == {"model": b"mine"}


@pytest.mark.parametrize("name", [".", "", "../here"])
def test_the_folder_that_we_are_in_is_no_place_for_a_model(tmp_path, monkeypatch, name):
    """It would be replaced under our feet."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ValueError, match="cannot be saved as the folder"):
        check_place(name)


def test_a_place_below_folders_that_are_not_there_yet_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_place("a/b/model") == tmp_path / "a" / "b" / "model"
    assert check_place("~/model") == tmp_path / "model"
    assert not list(tmp_path.iterdir())


# --- crashes ------------------------------------------------------------------------------------------------------


def crash_at(monkeypatch, owner, name: str, call: int, error: type[BaseException]) -> None:
    """Let the call-th use of owner.name fail."""
    original, calls = getattr(owner, name), []

    def maybe(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise error("the disk is full")
        return original(*arguments)

    monkeypatch.setattr(owner, name, maybe)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Path, "write_bytes", 1),
        (Path, "write_bytes", 3),
        (Path, "write_bytes", 5),
        (os, "replace", 1),
        (os, "replace", 2),
    ],
)
def test_a_crash_while_saving_leaves_the_old_model_whole_and_no_litter(models, monkeypatch, owner, name, call, error):
    before = files(models)
    with monkeypatch.context() as patch:
        crash_at(patch, owner, name, call, error)
        with pytest.raises(error, match="the disk is full"):
            own_photos.save(models / "one", changed(small_classifier(SMALL)[0]))
    assert files(models) == before
    assert sorted(os.listdir(models)) == ["one", "other"]
    own_photos.load(models / "one")


@pytest.mark.parametrize(("owner", "name", "call"), [(Path, "write_bytes", 2), (os, "replace", 1)])
def test_a_crash_at_the_first_saving_leaves_nothing(tmp_path, monkeypatch, owner, name, call):
    with monkeypatch.context() as patch:
        crash_at(patch, owner, name, call, OSError)
        with pytest.raises(OSError, match="the disk is full"):
            own_photos.save(tmp_path / "model", small_classifier(SMALL)[0])
    assert not list(tmp_path.iterdir())
    own_photos.save(tmp_path / "model", small_classifier(SMALL)[0])


def test_what_a_killed_process_left_does_not_stand_in_the_way(tmp_path):
    (tmp_path / f".model.new{os.getpid()}").mkdir()
    own_photos.save(tmp_path / "model", small_classifier(SMALL)[0])
    own_photos.load(tmp_path / "model")


# --- many at once -------------------------------------------------------------------------------------------------

SAVES = """
import sys, torch
torch.set_num_threads(1)
from small_classifiers import small_classifier
from dataclasses import replace
from transfer_utils import own_photos
classifier = replace(small_classifier("course_resnet/both")[0], card=f"# {sys.argv[2]}")
for _ in range(10):
    own_photos.save(sys.argv[1], classifier)
"""


def test_threads_that_save_in_one_place_leave_one_whole_model(tmp_path):
    """And whoever loads meanwhile gets a whole one."""
    classifier, _ = small_classifier(SMALL)
    cards = [f"# {number}" for number in range(4)]
    own_photos.save(tmp_path / "model", replace(classifier, card=cards[0]))
    with ThreadPoolExecutor(4) as pool:
        saving = [pool.submit(own_photos.save, tmp_path / "model", replace(classifier, card=c)) for c in cards * 3]
        while not all(done.done() for done in saving):
            assert own_photos.load(tmp_path / "model").card in cards
    assert [done.result() for done in saving] == [tmp_path / "model"] * 12
    assert own_photos.load(tmp_path / "model").card in cards
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.slow
def test_processes_that_save_in_one_place_leave_one_whole_model(tmp_path):
    saving = [subprocess.Popen([sys.executable, "-c", SAVES, tmp_path / "new" / "model", name]) for name in "ab"]
    assert [process.wait() for process in saving] == [0, 0]
    assert own_photos.load(tmp_path / "new" / "model").card in ("# a", "# b")
    assert os.listdir(tmp_path / "new") == ["model"]


@pytest.mark.parametrize("path", ["~nobody-of-this-name/model", "~nobody-of-this-name", "~/model", Path("~/a/model")])
def test_a_home_of_nobody_is_an_error_in_words(tmp_path, monkeypatch, path):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where no home is known
    monkeypatch.chdir(tmp_path)
    classifier, _ = small_classifier(SMALL)
    for use in (check_place, own_photos.load, lambda path: own_photos.save(path, classifier)):
        with pytest.raises(ValueError, match=r"nobody knows what ~ stands for here\. Give the path without it"):
            use(path)
    assert list(tmp_path.iterdir()) == []
