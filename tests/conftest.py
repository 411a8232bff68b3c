import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from transfer_utils import data, machine
from transfer_utils.backbones import GPT, StagedModel, gpt
from transfer_utils.data import ImageSet, photos
from transfer_utils.machine import device, files, memory
from transfer_utils.show import widgets
from transfer_utils.training import converted, features

HERE = str(Path(__file__).parent)
# What takes long, the longest first: begun last, it would leave the other workers with nothing to do.
LONG = ("colab", "notebook")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For workers side by side: a file's tests share fixtures and stay in one, but each notebook goes by itself."""
    for item in items:
        if not (item.get_closest_marker("notebook") or item.get_closest_marker("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: next((i for i, name in enumerate(LONG) if item.get_closest_marker(name)), len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def session(tmp_path_factory) -> Iterator[None]:
    """One thread, caches in a folder of the session, no quick runs by accident, importable helpers in workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_UTILS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("COURSE_QUICK", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")  # what settings() goes by, too
        patch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)
        if HERE not in sys.path:
            patch.syspath_prepend(HERE)
        threads = torch.get_num_threads()
        # One thread: these networks are tiny, and two threads on a busy two-core machine wait ten times as long.
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    memory._say_so.cache_clear()


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch) -> None:
    """Unit tests compare bits and close numbers, so they stay off an accelerator."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.fixture
def own_home(tmp_path, monkeypatch) -> Path:
    """A cache folder of this test alone."""
    monkeypatch.setenv("TRANSFER_UTILS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def in_float32(monkeypatch) -> None:
    """float32 even where the processor computes in bfloat16, for tests that compare two ways of computing."""
    monkeypatch.setattr(device, "precision", lambda _: torch.float32)
    for place in (features, converted):
        monkeypatch.setattr(place, "precision", lambda _: torch.float32)


@pytest.fixture
def tiny() -> Callable[..., StagedModel]:
    """Build a network with batch-norm in two stages, small enough to train in a moment; same seed, same weights."""

    def build(classes: int = 2, seed: int = 0) -> StagedModel:
        torch.manual_seed(seed)
        stages = OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            body=nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            head=nn.Linear(16, classes),
        )
        return StagedModel(stages, mean=(0.5,) * 3, std=(0.25,) * 3, name="tiny")

    return build


@pytest.fixture
def small_gpt(monkeypatch) -> Callable[..., GPT]:
    """Build a GPT with all its parts, small enough to train in a moment; same seed, same weights."""
    for name, size in {"WIDTH": 24, "BLOCKS": 2}.items():
        monkeypatch.setattr(gpt, name, size)
    return lambda seed=0: gpt.course_gpt(seed)


@pytest.fixture
def pairs() -> tuple[ImageSet, ImageSet]:
    """Two classes that are easy to tell apart: 64 photos of each to train on, 40 of each to look at."""
    train, valid = (data.load(split=split).only("airplane", "frog") for split in ("train", "valid"))
    return train.take(64), valid.take(40)


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch) -> Path:
    """The course's data folder as links in a folder of this test, to be damaged without harm."""
    original = machine.shipped_folder()
    for group in ("photos", "texts", "checkpoints", "results"):
        (tmp_path / group).mkdir()
        for path in (original / group).glob("*"):
            (tmp_path / group / path.name).symlink_to(path)
    for place in (files, machine):
        monkeypatch.setattr(place, "shipped_folder", lambda: tmp_path)
    files._checksums.cache_clear()
    # load() remembers what it decoded; this test must read the files
    monkeypatch.setitem(photos._LOADERS, "cifar10_photos", photos._photos.__wrapped__)
    yield tmp_path
    files._checksums.cache_clear()


@pytest.fixture
def damage() -> Callable[[Path], None]:
    """Replace a file, or a link to one, by a copy in which one bit differs."""

    def flip_one_bit(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()
        path.write_bytes(content)

    return flip_one_bit


@pytest.fixture
def displayed(monkeypatch):
    """What a cell that ends in a widget shows: one bundle after the other."""
    shown = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: shown.append(bundle))
    return shown
