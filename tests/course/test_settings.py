import contextlib
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from transfer_utils import backbones, data, machine, training
from transfer_utils.course import settings
from transfer_utils.machine import best_profile, cache_folder, device, downloads, use_home
from transfer_utils.stats import Interval


@pytest.mark.parametrize(("profile", "quick"), [("cpu", False), ("cpu", True), ("gpu", True), ("gpu", False)])
def test_only_a_full_run_on_a_card_needs_the_network(own_home, monkeypatch, profile, quick):
    def no_network(*_):
        raise OSError("no network here")

    for place in (machine, downloads):
        monkeypatch.setattr(place, "fetch", no_network)
    run = settings(profile, quick)
    for load in (
        lambda: data.load(run.photos, "valid"),
        lambda: backbones.load_backbone(run.backbone, classes=10, pretrained=run.pretrained),
    ):
        needed = profile == "gpu" and not quick
        with pytest.raises((OSError, RuntimeError), match="no network here") if needed else contextlib.nullcontext():
            load()


@pytest.mark.parametrize(("kind", "expected"), [("cuda", "gpu"), ("xpu", "gpu"), ("mps", "cpu"), ("cpu", "cpu")])
def test_auto_profile_follows_the_hardware(monkeypatch, kind, expected):
    assert best_profile(kind) == expected
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind != "cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(device, "_computes", lambda accelerator: True)
    run = settings()
    assert (run.profile, run.device.type) == (expected, kind)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_profile_that_was_asked_for_stays_on_any_hardware(monkeypatch, profile):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(device, "_computes", lambda accelerator: True)
    run = settings(profile)
    assert (run.profile, run.device.type) == (profile, "mps")


def test_settings_set_the_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
    try:
        settings("cpu")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("value", "quick"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_quick_by_environment(monkeypatch, value, quick):
    monkeypatch.setenv("COURSE_QUICK", value)
    assert settings("cpu").quick is quick
    assert settings("cpu", quick=True).quick is True


def test_few_cuts_only_quick_runs():
    full, quick = settings("cpu"), settings("cpu", quick=True)
    assert (full.few(20), full.few(20, quick=5)) == (20, 20)
    assert (quick.few(20), quick.few(20, quick=5), quick.few(1)) == (2, 5, 1)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings("cpu").size = 32


def test_unknown_profile():
    with pytest.raises(ValueError, match=r"There is no profile 'cpuu'\. Did you mean 'cpu'\? Known: auto, cpu, gpu\."):
        settings("cpuu")


def test_settings_say_what_they_are():
    text = str(settings("cpu"))
    assert text.startswith("cpu profile on CPU, ")
    assert text.endswith(": cifar10_photos, efficientnet_lite0.")
    assert str(settings("cpu", quick=True)).endswith("claims nothing.")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFER_UTILS_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("TRANSFER_UTILS_HOME")
    assert cache_folder() == Path(platformdirs.user_cache_dir("transfer_utils"))


# --- a home of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def drive(own_home, monkeypatch) -> Path:
    """A folder to make a home in. own_home also brings the variable back to what it was."""
    drive = own_home.parent / "drive"
    drive.mkdir()
    monkeypatch.chdir(drive)
    for variable in ("HOME", "USERPROFILE"):  # what ~ stands for, the second one on Windows
        monkeypatch.setenv(variable, str(drive))
    return drive


@pytest.mark.parametrize("given", ["{drive}/course", "course", "~/course"], ids=["absolute", "relative", "~"])
def test_home_is_made_and_used_from_then_on(drive, monkeypatch, given):
    settings("cpu", home=given.format(drive=drive))
    assert (drive / "course").is_dir()
    assert os.environ["TRANSFER_UTILS_HOME"] == str(drive / "course")
    monkeypatch.chdir(drive.parent)  # which a relative one outlives
    assert cache_folder() == drive / "course"


def test_home_may_be_there_already_and_keeps_its_files(drive):
    (drive / "kept").write_text("as it was")
    assert use_home(drive) == cache_folder() == drive
    assert (drive / "kept").read_text() == "as it was"


def test_without_home_nothing_changes(own_home):
    settings("cpu")
    assert own_home.is_dir()
    assert cache_folder() == own_home


def test_home_on_a_drive_that_is_not_mounted(own_home, drive):
    with pytest.raises(FileNotFoundError, match=r"which is not there.*drive\.mount\('/content/drive'\)") as error:
        settings("cpu", home="MyDrive/course")
    assert f"home='MyDrive/course' should lie in {drive / 'MyDrive'}" in str(error.value)
    assert cache_folder() == own_home
    assert list(drive.iterdir()) == []


def test_features_and_weights_land_at_home(drive, tiny, pairs, monkeypatch):
    def fetch(url, path, digest):
        path.parent.mkdir()
        torch.save({}, path)
        return path

    monkeypatch.setattr(downloads, "fetch", fetch)
    home = use_home(drive / "course")
    training.extract(tiny(), pairs[1], 32)
    machine.download_weights("https://example.org/net-0123abcd.pth")
    assert sorted(path.name for path in home.iterdir() if any(path.iterdir())) == ["features", "weights"]


# --- results ------------------------------------------------------------------------------------------------------


def test_result_prints_one_line_of_json(capsys):
    settings("cpu").result(accuracy=torch.tensor(0.123456), gain=Interval(0.1, 0.05123456, 0.15, 5), drift=0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == {
        "result": {
            "accuracy": 0.1235,
            "gain": {"mean": 0.1, "low": 0.0512, "high": 0.15, "n": 5},
            "drift": 0,
            "quick": False,
        }
    }


def test_result_takes_numbers_from_numpy(capsys):
    settings("cpu").result(epoch=np.int64(3), accuracy=np.float32(0.5), loss=np.float64(1 / 3))
    assert json.loads(capsys.readouterr().out) == {
        "result": {"epoch": 3, "accuracy": 0.5, "loss": 0.3333, "quick": False}
    }
