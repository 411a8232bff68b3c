import dataclasses
import json
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from transfer_utils.settings import cache_folder, result, settings
from transfer_utils.stats import Interval


def test_cpu_profile():
    run = settings("cpu")
    assert (run.profile, run.quick, run.photos) == ("cpu", False, "cifar10_photos")
    assert (run.backbone, run.pretrained, run.size, run.epochs) == ("efficientnet_lite0", True, 96, 20)


def test_gpu_profile():
    run = settings("gpu")
    assert (run.profile, run.quick, run.photos) == ("gpu", False, "cifar10")
    assert (run.backbone, run.pretrained, run.size) == ("resnet50", True, 224)


def test_quick_gpu_profile_downloads_nothing():
    run = settings("gpu", quick=True)
    assert (run.photos, run.backbone, run.pretrained, run.size) == ("cifar10_photos", "resnet50", False, 96)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_auto_profile_follows_the_hardware(monkeypatch, kind):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind != "cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    run = settings()
    assert run.profile == ("cpu" if kind == "cpu" else "gpu")
    assert run.device.type == kind


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


def test_result_prints_one_line_of_json(capsys):
    result(accuracy=torch.tensor(0.123456), gain=Interval(0.1, 0.05123456, 0.15, 5), drift=0, quick=False)
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
    result(epoch=np.int64(3), accuracy=np.float32(0.5), loss=np.float64(1 / 3))
    assert json.loads(capsys.readouterr().out) == {"result": {"epoch": 3, "accuracy": 0.5, "loss": 0.3333}}
