import pytest
import torch

from runs import pretraining
from transfer_utils import backbones, data
from transfer_utils.data import SOURCES, TARGETS, source_photos
from transfer_utils.training import Recipe


@pytest.mark.parametrize(
    ("name", "count", "classes"),
    [("vehicles", 3400, 2), ("animals", 3400, 3), ("both_small", 3400, 5), ("both", 8500, 5)],
)
def test_sources_have_their_photos_in_balance(name, count, classes):
    photos = source_photos(name)
    assert len(photos) == count
    assert photos.classes == SOURCES[name][0]
    counts = torch.bincount(photos.labels, minlength=classes)
    assert len(counts) == classes
    assert counts.max() - counts.min() <= 1


def test_there_are_no_other_sources():
    assert set(SOURCES) == {"vehicles", "animals", "both_small", "both"}


def pictures(photos: data.ImageSet) -> set[tuple[str, bytes]]:
    names = [photos.classes[label] for label in photos.labels.tolist()]
    return {(name, image.numpy().tobytes()) for name, image in zip(names, photos.images, strict=True)}


@pytest.mark.parametrize("name", SOURCES)
def test_source_photos_are_training_photos_of_their_class(name):
    known, found = (pictures(photos) for photos in (data.load("cifar10_photos", "train"), source_photos(name)))
    assert len(found) == SOURCES[name][1]
    assert found <= known


def test_targets_are_never_pretrained_on():
    pretrained = {name for classes, _ in SOURCES.values() for name in classes}
    held_out = [name for classes in TARGETS.values() for name in classes]
    assert not pretrained & set(held_out)
    assert sorted([*pretrained, *held_out]) == sorted(data.CIFAR10)  # every class has one part to play


def test_a_target_has_a_near_source_and_a_far_one():
    assert set(TARGETS) <= set(SOURCES)


def test_unknown_source():
    with pytest.raises(ValueError, match=r"There is no source 'vehicle'\. Did you mean 'vehicles'\? Known: vehicles"):
        source_photos("vehicle")


def test_pretrain_writes_a_checkpoint_that_loads(tmp_path, monkeypatch):
    """The whole path on a few photos; what it says about the real ones is in the shipped cards."""
    small = source_photos("vehicles").take(16)
    monkeypatch.setattr(pretraining, "source_photos", lambda _: small)
    monkeypatch.setattr(pretraining, "RECIPE", Recipe(epochs=1, batch=16))
    threads = torch.get_num_threads()
    try:
        line = pretraining.pretrain("vehicles", 3, tmp_path)
    finally:
        torch.set_num_threads(threads)  # pretrain() is meant for a worker process and takes one thread
    card = backbones.checkpoint_card(tmp_path / "vehicles")
    assert line.startswith("vehicles, seed 3: test accuracy 0.")
    assert card["classes"] == ["airplane", "automobile"]
    assert (card["photos"], card["seed"], card["recipe"]["seed"]) == (32, 3, 3)
    model = backbones.load_checkpoint(tmp_path / "vehicles", backbones.course_resnet(2))
    test = data.load(split="test").only("airplane", "automobile")
    assert pretraining.accuracy(model, test, 32) == pytest.approx(card["test_accuracy"], abs=1e-4)
