"""The runs behind lesson 7, on few and small photos."""

from dataclasses import replace

import pytest
import torch
from small_classifiers import numbered_fits

from runs import lesson07
from transfer_utils import data, own_photos
from transfer_utils.data import photos as data_photos

PIXELS, COUNT = 48, 4


@pytest.fixture
def small(monkeypatch):
    """Small photos, and few of them to judge on."""

    def new_photos():
        valid = data.load(split="valid")
        sets = valid.only(*lesson07.CLASSES).take(4), valid.only("ship", "truck").take(4)
        return tuple(replace(photos, images=data.resize(photos.images, PIXELS)) for photos in sets)

    monkeypatch.setattr(lesson07, "PIXELS", PIXELS)
    monkeypatch.setattr(lesson07, "new_photos", new_photos)


@pytest.fixture
def banks(small, monkeypatch) -> dict[str, own_photos.Bank]:
    """What each method learns from."""
    seen = []
    monkeypatch.setattr(lesson07, "_kept", lambda bank, seed: seen.append(bank) or {})
    lesson07.rows(per_class=COUNT, seed=0)
    return dict(zip((method.name for method in lesson07.METHODS), seen, strict=True))


def test_jobs_are_two_sizes_and_twenty_draws():
    jobs = lesson07.jobs()
    assert len(jobs) == 40
    assert {(job["per_class"], job["seed"]) for job in jobs} == {(n, seed) for n in (10, 40) for seed in range(20)}


@pytest.mark.usefixtures("small")
def test_rows_have_a_promise_and_the_truth_for_every_method():
    rows = lesson07.rows(per_class=COUNT, seed=1)
    assert [row["method"] for row in rows] == [method.name for method in lesson07.METHODS]
    for row in rows:
        assert list(row) == [
            "method",
            *("promised", "low", "high"),
            *("accuracy", "flagged", "flagged_others", "auroc"),
        ]
        assert all(0 <= value <= 1 for name, value in row.items() if name != "method")
        assert row["low"] <= row["promised"] <= row["high"]
        assert (row["accuracy"] * 12) == pytest.approx(round(row["accuracy"] * 12), abs=1e-2)  # of 12 new photos


def test_the_same_seed_is_the_same_folder(small, monkeypatch):
    drawn = []
    monkeypatch.setattr(lesson07, "_kept", lambda bank, seed: drawn.append((bank.folder.photos.images, seed)) or {})
    for seed in (0, 0, 1):
        lesson07.rows(per_class=COUNT, seed=seed)
    photos, seeds = zip(*drawn[:: len(lesson07.METHODS)], strict=True)
    assert torch.equal(photos[0], photos[1])
    assert not torch.equal(photos[0], photos[2])
    assert seeds == (0, 0, 1)


def test_methods_differ_in_views_and_copies(banks):
    plain, views, together, scattered = banks.values()
    assert plain.plain.shape[0] == 3 * COUNT
    assert len(plain.views) == len(together.views) == len(scattered.views) == 0
    assert views.views.shape[:2] == (data.VIEWS, 3 * COUNT)
    assert torch.equal(views.plain, plain.plain)
    for bank in (together, scattered):
        assert torch.equal(bank.plain, torch.cat([views.plain, views.views[0]]))
        assert torch.equal(bank.folder.photos.labels, plain.folder.photos.labels.repeat(2))
        assert len(bank.folder.photos) == len(bank.plain) == len(bank.folder.names) == 6 * COUNT


@pytest.mark.parametrize(("method", "leaks"), [("with copies, kept together", False), ("with copies, scattered", True)])
def test_only_scattered_copies_leak(banks, monkeypatch, method, leaks):
    bank, count = banks[method], 3 * COUNT
    fits = numbered_fits(monkeypatch)
    judge = bank.cross_validate()[:, 0].long().tolist()
    saw_the_twin = [(photo + count) % (2 * count) in fits[fit] for photo, fit in enumerate(judge)]
    assert not any(photo in fits[fit] for photo, fit in enumerate(judge))
    assert sum(saw_the_twin) > count if leaks else not any(saw_the_twin)


def test_folders_of_the_course_are_as_if_read(small):
    drawn = data.load().only("cat", "dog").take(2)
    folder = lesson07.as_folder(drawn)
    assert folder.photos.images.shape == (4, 3, PIXELS, PIXELS)
    assert folder.names == ("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png")
    assert folder.groups.tolist() == [0, 1, 2, 3]


def test_new_photos_are_none_of_the_drawn_ones(monkeypatch):
    monkeypatch.setattr(lesson07, "PIXELS", 32)
    monkeypatch.setattr(lesson07, "STRANGERS", 3)
    ours, others = lesson07.new_photos.__wrapped__()
    assert ours.classes == lesson07.CLASSES
    assert len(ours) == 3 * data_photos.VALID_PER_CLASS
    assert not set(others.classes) & set(lesson07.CLASSES)
    assert len(others) == 3 * 7
    train = {photo.numpy().tobytes() for photo in data.load().only(*lesson07.CLASSES).images}
    assert not train & {photo.numpy().tobytes() for photo in ours.images}
