"""The cache of features is never needed: whatever it does, what we get is what the network says."""

import errno
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from transfer_utils import data, training
from transfer_utils.backbones import freeze
from transfer_utils.machine import cache
from transfer_utils.training import features


@pytest.fixture(autouse=True)
def may_warn(monkeypatch) -> None:
    """As in a process that has not warned yet."""
    monkeypatch.setattr(cache, "_WARNED", threading.Lock())


def whole_model(model, photos):
    return training.extract(model, photos, 32)


def first_stage(model, photos):
    return training.extract(model, photos, 32, "stem")


def views(model, photos):
    return training.extract_views(freeze(model, "body"), photos, 32, seed=1)


EXTRACT = [whole_model, first_stage, views]


def files(home: Path) -> list[Path]:
    return sorted(path for path in (home / "features").iterdir() if not path.name.startswith("."))


# --- whatever the cache does --------------------------------------------------------------------------------------


@pytest.mark.parametrize("extract", EXTRACT)
@pytest.mark.parametrize("code", ["EROFS", "ENOSPC", "EDQUOT", "ENAMETOOLONG", "EACCES", "EIO"])
def test_features_that_cannot_be_kept_are_returned(tiny, photos, passes, monkeypatch, capsys, extract, code):
    def fail(*_):
        raise OSError(getattr(errno, code), "no")

    expected = extract(tiny(), photos)
    monkeypatch.setattr(cache, "write_atomically", fail)
    for seed in (1, 2):
        assert extract(tiny(seed=seed), photos).shape == expected.shape
    monkeypatch.setattr(Path, "read_bytes", fail)
    count = len(passes)
    assert torch.equal(extract(tiny(), photos), expected)
    assert len(passes) > count
    assert capsys.readouterr().err.count("could not be kept") == 1


def remove(home):
    shutil.rmtree(home)


def replace_by_file(home):
    shutil.rmtree(home)
    home.write_text("a file")


def remove_features(home):
    shutil.rmtree(home / "features")


def features_as_file(home):
    shutil.rmtree(home / "features")
    (home / "features").write_text("a file")


@pytest.mark.parametrize("extract", EXTRACT)
@pytest.mark.parametrize("spoil", [remove, replace_by_file, remove_features, features_as_file])
def test_a_home_that_vanishes_while_we_work_costs_nothing(tiny, photos, own_home, monkeypatch, extract, spoil):
    expected, run = extract(tiny(), photos), training.run_network
    for path in files(own_home):
        path.unlink()

    def vanish(*given):
        if own_home.is_dir() and (own_home / "features").is_dir():
            spoil(own_home)
        return run(*given)

    monkeypatch.setattr(features, "run_network", vanish)
    assert torch.equal(extract(tiny(), photos), expected)


def as_folder(path):
    path.unlink()
    (path / "somebody's").mkdir(parents=True)


@pytest.mark.parametrize("extract", EXTRACT)
@pytest.mark.parametrize("spoil", [
    as_folder,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\xff\x00" * 500),
    lambda path: path.write_bytes(path.read_bytes()[:-100]),
    lambda path: path.write_bytes(path.read_bytes()[:-100] + bytes(100)),
    lambda path: path.unlink() or path.symlink_to("nowhere"),
], ids=["folder", "empty", "rubbish", "cut off", "zeros at the end", "link to nothing"])  # fmt: skip
def test_what_lies_in_the_place_of_features_is_not_taken_for_them(tiny, photos, passes, own_home, extract, spoil):
    expected = extract(tiny(), photos)
    (path,) = files(own_home)
    spoil(path)
    for _ in range(2):
        assert torch.equal(extract(tiny(), photos), expected)
    assert len(passes) == (3 if path.is_dir() else 2) * (data.VIEWS if extract is views else 1)


def test_features_of_other_photos_under_this_name_are_not_taken(tiny, photos, passes, own_home):
    expected = whole_model(tiny(), photos)
    (path,) = files(own_home)
    whole_model(tiny(), photos[:5])
    (other,) = set(files(own_home)) - {path}
    other.replace(path)
    assert torch.equal(whole_model(tiny(), photos), expected)


def wrong_channels(model):
    model.body[0] = nn.Conv2d(5, 16, 3)


def wrong_width(model):
    model.body.append(nn.Linear(77, 3))


def wrong_type(model):
    model.body[0].double()


def wrong_size(model):
    model.body.append(nn.Unflatten(1, (3, 3)))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("broken", [wrong_channels, wrong_width, wrong_type, wrong_size])
@pytest.mark.parametrize("extract", [whole_model, views])
def test_an_error_of_the_network_shows_itself_alone(tiny, photos, own_home, in_float32, extract, broken, cached):
    model = tiny()
    broken(model)
    if not cached:  # the cache itself is of no use
        own_home.mkdir()
        (own_home / "features").write_text("a file")
    with pytest.raises(RuntimeError) as caught:
        extract(model, photos)
    assert caught.value.__context__ is caught.value.__cause__ is None


# --- where nobody can tell ----------------------------------------------------------------------------------------


class Mine(nn.ReLU):
    pass


def hooked(model):
    model.stem.register_forward_hook(lambda _, x, y: y + 1)


def patched(model):
    model.body.forward = lambda x: x


def my_layer(model):
    model.body.append(Mine())


def unpicklable(model):
    model.body[2].act = lambda x: x


@pytest.mark.parametrize("change", [hooked, patched, my_layer, unpicklable])
def test_where_nobody_can_tell_features_are_always_computed(tiny, photos, passes, own_home, capsys, change):
    for count in (1, 2, 3):
        model = tiny()
        change(model)
        whole_model(model, photos)
        assert len(passes) == count
    assert not (own_home / "features").exists()
    assert capsys.readouterr().err == ""


# --- the limit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sets", [1, 2, 3, 5])
def test_the_folder_keeps_within_its_limit(tiny, photos, passes, own_home, monkeypatch, sets):
    first_stage(tiny(), photos)
    (path,) = files(own_home)
    limit = sets * path.stat().st_size
    monkeypatch.setattr(features, "CACHE_LIMIT", limit)
    for name in ("weights/net.pth", "features/notes.txt", "model.safetensors"):
        (own_home / name).parent.mkdir(exist_ok=True)
        (own_home / name).write_bytes(bytes(limit))
    for seed in range(1, 10 * sets):
        first_stage(tiny(seed=seed), photos)
        entries = [path for path in files(own_home) if path.suffix == ".safetensors"]
        assert sum(path.stat().st_size for path in entries) <= limit
    count = len(passes)
    first_stage(tiny(seed=seed), photos)
    assert len(passes) == count  # what was written last is still there
    assert all((own_home / name).exists() for name in ("weights/net.pth", "features/notes.txt", "model.safetensors"))


@pytest.mark.parametrize("limit", [0, 100, 50_000])
def test_features_larger_than_the_limit_are_returned(tiny, photos, passes, own_home, monkeypatch, limit):
    monkeypatch.setattr(features, "CACHE_LIMIT", limit)
    assert torch.equal(first_stage(tiny(), photos), first_stage(tiny(), photos))
    assert len(passes) == 2


# --- threads ------------------------------------------------------------------------------------------------------


def average_of_stages(model, photos):
    return training.by_stage(model, photos, 32)["body"]


def answers(model, photos):
    return training.predict(model, photos, 32)


def uncached(model, photos):
    return training.extract(model, photos, 32, cache=False)


@pytest.mark.parametrize("calls", [
    [uncached, uncached],
    [uncached, average_of_stages],
    [answers, uncached],
    [whole_model, whole_model],
    [whole_model, first_stage],
    [whole_model, first_stage, answers, average_of_stages, uncached],
], ids=lambda calls: " ".join(call.__name__ for call in calls))  # fmt: skip
def test_threads_share_a_model(tiny, photos, own_home, in_float32, monkeypatch, calls):
    monkeypatch.setattr(features, "FEATURE_BATCH", 1)
    model = freeze(tiny(), "stem")
    expected = [call(model, photos) for call in calls]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start = threading.Barrier(len(calls))

    def work(call):
        start.wait()
        return call(model, replace(photos))

    for _ in range(8):
        shutil.rmtree(own_home, ignore_errors=True)
        with ThreadPoolExecutor(len(calls)) as pool:
            found = list(pool.map(work, calls))
        assert all(map(torch.equal, found, expected))
        assert model.training
        assert model.body[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
