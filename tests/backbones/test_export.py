"""Exported networks: the same numbers from one file, whatever the number of photos."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_networks import stir

from transfer_utils import backbones, data
from transfer_utils.backbones.export import NEEDED

ALONE = """
import sys
for name in ("transfer_utils", "timm", "torchvision"):
    sys.modules[name] = None  # so that importing it fails
import numpy, torch
torch.set_num_threads(1)  # as in these tests: another number adds up in another order
photos = torch.from_numpy(numpy.load("photos.npy"))
network = torch.export.load("lite.pt2").module()
for count in (1, 3):
    numpy.save(f"logits{count}.npy", network(photos[:count]).detach().numpy())
"""


def photos_of(size: int) -> torch.Tensor:
    return data.resize(data.load(split="valid").take(1).images[:7], size)


@torch.no_grad()
def logits_of(model, photos: torch.Tensor) -> torch.Tensor:
    """What the course's own code makes of photos, without anything from export."""
    model.eval()
    return model(model.preprocess(photos))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def lite():
    return backbones.load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def program(lite, folder):
    return torch.export.load(backbones.export(folder / "lite.pt2", lite, 64)).module()


# --- torch.export -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_program_gives_the_same_logits_for_any_number_of_photos(program, lite, count):
    photos = photos_of(64)[:count]
    assert photos.dtype is torch.uint8
    torch.testing.assert_close(program(photos), logits_of(lite, photos), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", [True, False])
def test_a_program_is_the_network_in_eval_mode(tiny, tmp_path, mode):
    model = tiny(classes=5)
    model(torch.randn(8, 3, 16, 16))  # statistics of its own
    path = backbones.export(tmp_path / "deep" / "folder" / "tiny.pt2", model.train(mode), 16)
    assert path == tmp_path / "deep" / "folder" / "tiny.pt2"
    run = torch.export.load(path).module()
    for count in (1, 3, 7):
        photos = photos_of(16)[:count]
        torch.testing.assert_close(run(photos), logits_of(model, photos), atol=1e-5, rtol=0)


def test_a_new_process_runs_the_program_without_the_course(program, lite, folder):
    photos = photos_of(64)
    np.save(folder / "photos.npy", photos.numpy())
    subprocess.run([sys.executable, "-c", ALONE], cwd=folder, check=True, timeout=200)
    for count in (1, 3):
        logits = torch.from_numpy(np.load(folder / f"logits{count}.npy"))
        torch.testing.assert_close(logits, logits_of(lite, photos[:count]), atol=1e-5, rtol=0)


def test_names_with_dots_keep_them(tiny, tmp_path):
    assert backbones.export(str(tmp_path / "rate0.1.pt2"), tiny(), 16) == tmp_path / "rate0.1.pt2"


@pytest.mark.parametrize("name", ["tiny", "tiny.pth", "tiny.ONNX", ".pt2", "rate0.1"])
def test_another_ending_is_refused_with_the_two_that_there_are(tiny, tmp_path, name):
    with pytest.raises(ValueError, match=rf"export\(\) got '{name}'; the name must end in \.pt2 or \.onnx"):
        backbones.export(tmp_path / "deep" / name, tiny(), 16)
    assert not list(tmp_path.iterdir())


def test_a_program_reads_lines(small_gpt, tmp_path):
    model = small_gpt().new_head(3, seed=0)
    program = torch.export.load(backbones.export(tmp_path / "gpt.pt2", model, 12)).module()
    tokens = model.encode(["a cat", "a dog ran in the fog", ""], 12)
    with torch.no_grad():
        assert torch.allclose(program(tokens), model.eval()(tokens), atol=1e-6)
        assert torch.allclose(program(tokens[:1]), model(tokens[:1]), atol=1e-6)


@pytest.mark.parametrize("size", [0, 65, "12"])
def test_more_tokens_than_it_reads_are_not_exported(small_gpt, tmp_path, size):
    with pytest.raises(ValueError, match=r"export\(\) got size=.*Give a whole number from 1 to 64"):
        backbones.export(tmp_path / "new" / "gpt.pt2", small_gpt(), size)
    assert not any(tmp_path.iterdir())


# --- ONNX ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_files(lite, folder):
    """Two networks, each with its size and its file."""
    torch.manual_seed(0)
    resnet = stir(backbones.load_backbone("resnet50", pretrained=False, classes=10))
    sizes = {"lite": (lite, 64), "resnet50": (resnet, 32)}
    return {
        name: (model, size, backbones.export(folder / f"{name}.onnx", model, size))
        for name, (model, size) in sizes.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lite", "resnet50"])
def test_onnxruntime_gives_the_same_logits(onnx_files, name):
    import onnxruntime

    model, size, path = onnx_files[name]
    assert path.name == f"{name}.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        photos = photos_of(size)[:count]
        expected = logits_of(model, photos)
        assert expected.std() > 0.05
        (logits,) = session.run(["logits"], {"photos": photos.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_an_onnx_file_is_one_file_that_takes_bytes(onnx_files, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_files["lite"][2], providers=["CPUExecutionProvider"])
    (photos,) = session.get_inputs()
    assert photos.name == "photos"
    assert photos.type == "tensor(uint8)"
    assert photos.shape[1:] == [3, 64, 64]
    assert isinstance(photos.shape[0], str)  # any number
    assert sorted(path.name for path in folder.glob("*.onnx*")) == ["lite.onnx", "resnet50.onnx"]


@pytest.mark.slow
def test_an_onnx_file_that_reads_lines_takes_tokens(small_gpt, tmp_path):
    import onnxruntime

    model = small_gpt().new_head(3, seed=0)
    path, tokens = backbones.export(tmp_path / "gpt.onnx", model, 12), model.encode(["a cat", "a dog ran", ""], 12)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"tokens": tokens.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model.eval()(tokens).detach(), atol=1e-4, rtol=0)


# --- packages that are not there ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [("onnxruntime",), ("onnx", "onnxscript"), NEEDED])
def test_missing_packages_are_named_with_the_extra_that_brings_them(monkeypatch, tmp_path, tiny, gone):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest))
    missing = ", ".join(name for name in NEEDED if name in gone)
    said = rf"ONNX needs {missing}, which .* pip install \"transfer_utils\[export\]\""
    with pytest.raises(ImportError, match=said):
        backbones.export(tmp_path / "deep" / "tiny.onnx", tiny(), 16)
    assert not list(tmp_path.iterdir())


def test_the_extra_brings_what_onnx_needs():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {line.partition(">")[0] for line in project["optional-dependencies"]["export"]} == set(NEEDED)
    assert all(importlib.util.find_spec(name) for name in NEEDED)


@pytest.mark.parametrize("name", ["a.pt2", "a.onnx"])
@pytest.mark.parametrize("size", [0, "32", 32.0, True, None])
def test_a_size_that_is_none_is_refused(tiny, tmp_path, name, size):
    with pytest.raises(ValueError, match=r"export\(\) got size=.*Give one whole number of at least 1"):
        backbones.export(tmp_path / "new" / name, tiny(), size)
    assert not any(tmp_path.iterdir())
