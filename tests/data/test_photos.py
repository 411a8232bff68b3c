import csv
import hashlib
import pickle
import re
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from transfer_utils import data, machine, stats
from transfer_utils.data import CIFAR10, ImageSet
from transfer_utils.data import photos as data_photos

# sha256 over the pixels of all contact sheets in the order of CIFAR10, photo by photo, row by row, red green blue.
# Taken when the sheets were compared with the files of cifar-10-python.tar.gz (md5 c58f30108f718f92721af3b95e74349a).
PIXELS = {
    "train": "66f732a5600c62cb3bc982645401574cb45088bf7e7b7ad73e6f4f3684c146c8",
    "test": "d29b311db578a41875ed85d039cb149dbdd165e5158edef89bf513c283f4a4af",
}


@pytest.fixture
def numbered() -> ImageSet:
    """Three classes of 4, 6 and 10 photos; every pixel of photo i has the value i."""
    labels = torch.tensor([0, 1, 2, 2, 1] * 4)
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 2, 2).contiguous()
    return ImageSet(images, labels, ("ant", "bee", "cow"))


def numbers(photos: ImageSet) -> list[int]:
    return photos.images[:, 0, 0, 0].tolist()


def per_class(photos: ImageSet) -> list[int]:
    return torch.bincount(photos.labels, minlength=len(photos.classes)).tolist()


# --- the shipped photos -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", PIXELS)
def test_contact_sheets_hold_the_pixels_of_cifar10(split):
    digest = hashlib.sha256()
    for name in CIFAR10:
        digest.update(np.ascontiguousarray(data.read_sheet(f"{split}_{name}.webp")).tobytes())
    assert digest.hexdigest() == PIXELS[split]


def test_train_and_valid_are_the_sheets_cut_in_two():
    sheets = np.stack([data.read_sheet(f"train_{name}.webp") for name in CIFAR10]).transpose(0, 1, 4, 2, 3)
    for split, part in (("train", slice(0, 1700)), ("valid", slice(1700, 2000))):
        expected = torch.from_numpy(np.ascontiguousarray(sheets[:, part])).flatten(0, 1)
        assert torch.equal(data.load(split=split).images, expected)


def test_test_is_the_sheets_without_the_near_duplicates():
    with open(machine.shipped_folder() / "photos" / "near_duplicates.csv") as file:
        twins = {(row["test_class"], int(row["test_position"])) for row in csv.DictReader(file)}
    assert len(twins) == 61
    photos = data.load(split="test")
    assert len(photos) == 3000 - len(twins) == 2939
    for name in ("airplane", "frog"):
        sheet = data.read_sheet(f"test_{name}.webp")
        kept = [sheet[i] for i in range(300) if (name, i) not in twins]
        assert torch.equal(photos.only(name).images, torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2))


@pytest.mark.parametrize(("split", "count"), [("train", 17_000), ("valid", 3000), ("test", 2939)])
def test_splits_are_bytes_class_after_class(split, count):
    photos = data.load("cifar10_photos", split)
    assert photos.classes == CIFAR10
    assert photos.images.shape == (count, 3, 32, 32)
    assert photos.images.dtype == torch.uint8
    assert photos.images.is_contiguous()
    assert photos.labels.dtype == torch.int64
    assert torch.equal(photos.labels, photos.labels.sort().values)
    expected = [count // 10] * 10 if split != "test" else [288, 291, 291, 298, 293, 298, 296, 294, 296, 294]
    assert per_class(photos) == expected


def test_no_photo_is_in_two_splits():
    seen = [{image.numpy().tobytes() for image in data.load(split=split).images} for split in data_photos.SPLITS]
    assert [len(photos) for photos in seen] == [17_000, 3000, 2939]
    assert len(set.union(*seen)) == 17_000 + 3000 + 2939


def test_load_gives_train_photos_unless_told_otherwise():
    assert torch.equal(data.load().images, data.load("cifar10_photos", "train").images)


LOADERS = {
    **{split: lambda split=split: [data.load("cifar10_photos", split)] for split in data_photos.SPLITS},
    "all of CIFAR-10": lambda: [data.load("cifar10", "train")],
    "splits": lambda: list(data.splits(("cat", "ship"))),
    "a source": lambda: [data.source_photos("vehicles")],
    "parts": lambda: [data.load(split="valid")[:20], data.load(split="valid").resized(32)],
}


@pytest.mark.parametrize("loader", LOADERS)
def test_whoever_changes_photos_changes_nobody_elses(monkeypatch, loader):
    stub = SimpleNamespace(data=np.full((5000, 32, 32, 3), 7, np.uint8), targets=[i % 10 for i in range(5000)])
    monkeypatch.setattr(data_photos, "_downloaded_cifar10", lambda train: stub)
    monkeypatch.setitem(data_photos._LOADERS, "cifar10", lru_cache(data_photos._full_cifar10.__wrapped__))
    first = LOADERS[loader]()
    before = [(photos.images.clone(), photos.labels.clone()) for photos in first]
    for photos in first:
        photos.images.bitwise_not_()
        photos.labels.add_(1)
    for photos, (images, labels) in zip(LOADERS[loader](), before, strict=True):
        assert torch.equal(photos.images, images)
        assert torch.equal(photos.labels, labels)


@pytest.mark.parametrize("split", data_photos.SPLITS)
def test_damaged_photos_are_refused(shipped_copy, damage, split):
    damage(shipped_copy / "photos" / f"{'test' if split == 'test' else 'train'}_cat.webp")
    with pytest.raises(ValueError, match=r"_cat\.webp is damaged.*Restore it with `git checkout -- data/photos/t"):
        data.load("cifar10_photos", split)


def test_damaged_list_of_near_duplicates_is_refused(shipped_copy, damage):
    damage(shipped_copy / "photos" / "near_duplicates.csv")
    with pytest.raises(ValueError, match=r"near_duplicates\.csv is damaged"):
        data.load("cifar10_photos", "test")


def test_missing_photos_are_refused(shipped_copy):
    (shipped_copy / "photos" / "test_ship.webp").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_ship\.webp is missing.*pip install --force-reinstall"):
        data.load("cifar10_photos", "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cifar10_photo", "train"),
            "There is no data set 'cifar10_photo'. Did you mean 'cifar10_photos'? Known: cifar10_photos, cifar10.",
        ),
        (
            (["cifar10"], "train"),
            "There is no data set ['cifar10']. Did you mean 'cifar10'? Known: cifar10_photos, cifar10.",
        ),
        (("mnist", "train"), "There is no data set 'mnist'. Known: cifar10_photos, cifar10."),
        (
            ("cifar10_photos", "validation"),
            "There is no split 'validation'. Did you mean 'valid'? Known: train, valid, test.",
        ),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        data.load(*arguments)
    assert str(error.value) == message


# --- choosing photos ----------------------------------------------------------------------------------------------


def test_only_relabels_in_the_order_given(numbered):
    photos = numbered.only("cow", "ant")
    assert photos.classes == ("cow", "ant")
    assert photos.labels.tolist() == [0] * 8 + [1] * 4
    assert numbers(photos) == [2, 3, 7, 8, 12, 13, 17, 18, 0, 5, 10, 15]


def test_only_refuses_unknown_repeated_and_no_classes(numbered):
    with pytest.raises(ValueError, match=r"There is no class 'co'\. Did you mean 'cow'\? Known: ant, bee, cow\."):
        numbered.only("ant", "co")
    with pytest.raises(ValueError, match="a class twice: ant, ant"):
        numbered.only("ant", "ant")
    with pytest.raises(ValueError, match="name at least one of: ant, bee, cow"):
        numbered.only()


def test_take_draws_the_same_number_of_every_class(numbered):
    photos = numbered.take(3, seed=1)
    assert photos.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(set(numbers(photos))) == 9
    assert numbered.labels[numbers(photos)].tolist() == photos.labels.tolist()


def test_take_is_a_function_of_its_seed(numbered):
    draws = [numbers(numbered.take(3, seed)) for seed in range(5)]
    torch.rand(7)  # the global generator has no say
    assert [numbers(numbered.take(3, seed)) for seed in range(5)] == draws
    assert len({tuple(draw) for draw in draws}) == 5


def test_smaller_draws_are_the_start_of_larger_ones(numbered):
    """Lesson 02 compares sizes on nested draws."""
    small, large = numbered.take(2, seed=3), numbered.take(4, seed=3)
    for label in range(3):
        assert numbers(large[large.labels == label])[:2] == numbers(small[small.labels == label])


def test_take_can_take_all_of_the_scarcest_class(numbered):
    assert sorted(numbers(numbered.take(4).only("ant"))) == [0, 5, 10, 15]


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_take_refuses_no_photos(numbered, count):
    with pytest.raises(ValueError, match=f"per_class={count}; it needs at least 1 photo per class"):
        numbered.take(count)


def test_take_refuses_more_than_there_are(numbered):
    with pytest.raises(ValueError, match=r"per_class=5, but 'ant' has only 4 photos\. Ask for at most 4\."):
        numbered.take(5)


@pytest.mark.parametrize("rest", [slice(0, 0), slice(0, 1), slice(1, 3), [0, 5]])
def test_take_has_a_way_out_where_a_class_has_no_photo(numbered, rest):
    with pytest.raises(ValueError, match=r"has only 0 photos\. Choose classes that have photos, with only\(\)"):
        numbered[rest].take(1)


def test_split_is_stratified_and_disjoint(numbered):
    first, rest = numbered.split(0.5, seed=2)
    assert per_class(first) == [2, 4, 4]
    assert per_class(rest) == [2, 4, 4]
    assert sorted(numbers(first) + numbers(rest)) == list(range(20))


def test_split_is_a_function_of_its_seed(numbered):
    splits = [numbers(numbered.split(0.5, seed)[0]) for seed in range(5)]
    assert [numbers(numbered.split(0.5, seed)[0]) for seed in range(5)] == splits
    assert len({frozenset(part) for part in splits}) == 5


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 80])
def test_split_refuses_all_or_nothing(numbered, fraction):
    with pytest.raises(ValueError, match=f"fraction={fraction}; it must lie between 0 and 1"):
        numbered.split(fraction)


def test_set_says_what_it_is(numbered):
    assert len(numbered) == 20
    assert repr(numbered) == "20 photos of 2x2 pixels, 3 classes: ant, bee, cow"
    assert numbers(numbered[3:5]) == [3, 4]
    assert numbers(numbered[[7, 1]]) == [7, 1]
    assert numbers(numbered[numbered.labels == 0]) == [0, 5, 10, 15]


# --- what is no set of photos -------------------------------------------------------------------------------------

LABELS = torch.tensor([0, 1, 1, 0])
SIZES = [0, -3, 32.5, 32.0, "32", (32, 32), [32], True, None, float("nan"), torch.tensor(32)]


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(2, 256, shape, dtype=torch.uint8)


GOOD = pixels(4, 3, 5, 6)
IMAGES = {
    "array": (GOOD.numpy(), "type ndarray.*torch.from_numpy"),
    "list": (list(GOOD), "type list.*torch.stack"),
    "none": (None, "type NoneType"),
    "a set": (ImageSet(GOOD, LABELS, ("cat", "dog")), r"type ImageSet.*photos\.images"),
    "0 to 1": (
        GOOD / 255,
        r"float32 images from 0\S* to [01]\S*; .*\(N, 3, H, W\).*\(images \* 255\)\.round\(\)\.byte\(\)",
    ),
    "0 to 255": (GOOD.float(), r"float32 images from .* to 2.*: images\.round\(\)\.byte\(\)"),
    "normalised": (GOOD / 127.5 - 1, "float32 images from -.*before they were normalised"),
    "not a number": (torch.full((4, 3, 5, 6), torch.nan), "float32 images from nan"),
    "half": (GOOD.half(), "float16 images"),
    "bfloat16": ((GOOD / 255).bfloat16(), r"bfloat16 images.*\* 255"),
    "int64": (GOOD.long(), "int64 images"),
    "int32": (GOOD.int(), "int32 images"),
    "int8": (GOOD.to(torch.int8), "int8 images"),
    "bool": (GOOD > 99, r"bool images from 0 to 1.*\* 255"),
    "complex": (GOOD.to(torch.complex64), "complex64 images"),
    "colours last": (GOOD.permute(0, 2, 3, 1), r"\(4, 5, 6, 3\).*images\.permute\(0, 3, 1, 2\)"),
    "colours last, transparent": (pixels(4, 5, 6, 4), r"images\[\.\.\., :3\]\.permute\(0, 3, 1, 2\)"),
    "grey last": (pixels(4, 5, 6, 1), r"images\.permute\(0, 3, 1, 2\)\.expand\(-1, 3, -1, -1\)"),
    "one photo": (GOOD[0], r"\(3, 5, 6\).*images\[None\]"),
    "one photo, colours last": (pixels(5, 6, 3), r"images\.permute\(2, 0, 1\)\[None\]"),
    "grey": (GOOD[:, 0], r"images\[:, None\]\.expand\(-1, 3, -1, -1\)"),
    "grey, one channel": (GOOD[:, :1], r"images\.expand\(-1, 3, -1, -1\)"),
    "transparent": (pixels(4, 4, 5, 6), r"transparency: images\[:, :3\]"),
    "two channels": (GOOD[:, :2], r"\(4, 2, 5, 6\)"),
    "no height": (GOOD[:, :, :0], "no pixels"),
    "no width": (GOOD[..., :0], "no pixels"),
    "flat": (GOOD.flatten(1), r"\(4, 90\).*reshape"),
    "one number": (torch.tensor(3, dtype=torch.uint8), r"shape \(\)"),
    "views": (GOOD[None], r"\(1, 4, 3, 5, 6\)"),
    "scaled, then made bytes": ((GOOD / GOOD.max()).byte(), r"brightest pixel is 1 of 255.*\(images \* 255\)"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_are_no_photos_are_refused(case):
    images, message = IMAGES[case]
    with pytest.raises((TypeError, ValueError), match=rf"ImageSet\(\) got .*{message}"):
        ImageSet(images, LABELS, ("cat", "dog"))


@pytest.mark.parametrize(
    "case",
    ["0 to 1", "0 to 255", "half", "bfloat16", "int64", "int32", "bool", "grey", "one photo", "transparent"]
    + [name for name in IMAGES if "last" in name or name == "grey, one channel"],
)
def test_who_does_what_a_message_says_has_photos(case):
    images, _ = IMAGES[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 - what the message says is done
        data.resize(images, 5)
    images = eval(str(error.value).rpartition(": ")[2].rstrip("."), {"images": images})
    assert data.resize(images, 5).shape[1:] == (3, 5, 5)
    assert images.max() > 99 or case == "bool"


LABELLED = {
    "list": ([0, 1, 1, 0], r"type list.*torch\.tensor\(labels\)"),
    "array": (np.array([0, 1, 1, 0]), "type ndarray"),
    "none": (None, "type NoneType"),
    "float": (LABELS.float(), r"float32 labels.*labels\.long\(\)"),
    "int32": (LABELS.int(), "int32 labels"),
    "uint8": (LABELS.byte(), "uint8 labels"),
    "bool": (LABELS.bool(), "bool labels"),
    "one-hot": (torch.eye(2)[LABELS], r"\(4, 2\).*labels\.argmax\(1\)"),
    "a column": (LABELS[:, None], r"\(4, 1\).*labels\.flatten\(\)"),
    "a row": (LABELS[None], r"\(1, 4\)"),
    "one number": (torch.tensor(1), r"shape \(\)"),
    "negative": (torch.tensor([0, 1, -1, 0]), "label -1; labels count from 0"),
    "from 1 on": (LABELS + 1, "labels up to 2 and 2 classes, so labels go from 0 to 1"),
    "far above": (LABELS * 99, "labels up to 99 and 2 classes"),
    "too few": (LABELS[:3], "4 photos and 3 labels"),
    "too many": (LABELS.repeat(2), "4 photos and 8 labels"),
    "none of them": (LABELS[:0], "4 photos and 0 labels"),
}


@pytest.mark.parametrize("case", LABELLED)
def test_labels_that_are_none_are_refused(case):
    labels, message = LABELLED[case]
    with pytest.raises((TypeError, ValueError), match=rf"ImageSet\(\) got .*{message}"):
        ImageSet(GOOD, labels, ("cat", "dog"))


NAMED = {
    "a string": ("catdog", r"classes='catdog'; they are a tuple.*\('cat', 'dog'\)"),
    "a number": (2, "classes=2;"),
    "nothing": (None, "classes=None;"),
    "numbers": ((0, 1), r"classes=\(0, 1\);"),
    "a hole": (("cat", None), "they are a tuple of names"),
    "a set": ({"cat", "dog"}, "in the order of the labels"),
    "a dictionary": ({"cat": 0, "dog": 1}, "in the order of the labels"),
    "bytes": ((b"cat", b"dog"), "they are a tuple of names"),
    "twice": (("cat", "dog", "cat"), "each of them once"),
    "none at all": ((), "at least one class"),
    "an empty list": ([], "at least one class"),
}


@pytest.mark.parametrize("case", NAMED)
def test_classes_that_are_no_names_are_refused(case):
    classes, message = NAMED[case]
    with pytest.raises((TypeError, ValueError), match=rf"ImageSet\(\) got .*{message}"):
        ImageSet(GOOD, LABELS, classes)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (GOOD[:0], LABELS[:0]),  # no photo at all
        (GOOD[:1].clamp(max=1), LABELS[:1]),  # one photo may be as dark as it likes
        (torch.zeros_like(GOOD), LABELS),
        (GOOD.clamp(max=2), LABELS),
        (pixels(3, 3, 5, 6), LABELS[:3]),
        (pixels(4, 3, 5, 3), LABELS),
        (pixels(4, 3, 1, 1), LABELS),
    ],
)
def test_unusual_photos_are_photos(images, labels):
    photos = ImageSet(images, labels, ["cat", "dog"])
    assert photos.classes == ("cat", "dog")
    assert photos.images is images
    assert photos.labels is labels


DARK = ImageSet(torch.cat([GOOD[:2].clamp(max=1), GOOD[2:]]), torch.tensor([0, 0, 1, 1]), ("night", "day"))


@pytest.mark.parametrize(
    "pick",
    [
        lambda photos: photos[:2],
        lambda photos: photos[[0, 1]],
        lambda photos: photos[photos.labels == 0],
        lambda photos: photos.only("night"),
        lambda photos: photos.only("night").take(2),
        lambda photos: photos[:2].split(0.5)[0],
        lambda photos: photos[:2].resized(4),
        lambda photos: pickle.loads(pickle.dumps(photos[:2])),
    ],
)
def test_dark_photos_of_a_good_set_are_fine(pick):
    assert pick(DARK).images.max() == 1


@pytest.mark.parametrize("images", [GOOD / 255, GOOD[:3], GOOD.permute(0, 2, 3, 1), GOOD.clamp(max=1)])
def test_what_is_put_in_the_place_of_photos_is_checked(images):
    with pytest.raises(ValueError, match=r"ImageSet\(\) got"):
        replace(DARK, images=images)


@pytest.mark.parametrize("index", [3, -1, None, True, torch.tensor(2), torch.tensor([[0, 1]]), np.int64(1)])
def test_a_position_that_gives_no_set_is_refused(index):
    with pytest.raises(ValueError, match=r"would be no set of photos\. Give a list of positions, or a slice"):
        DARK[index]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("use", [lambda size: data.resize(GOOD, size), DARK.resized])
def test_a_size_is_a_whole_number_of_pixels(use, size):
    with pytest.raises(ValueError, match=rf"resize\(\) got size={re.escape(repr(size))}; .*whole number of at least 1"):
        use(size)


@pytest.mark.parametrize("size", [np.int64(4), np.uint8(4), torch.tensor(4).item()])
def test_a_size_may_come_out_of_a_table(size):
    assert DARK.resized(size).images.shape == (4, 3, 4, 4)


# --- all of CIFAR-10 (its download: test_downloads.py) ------------------------------------------------------------


@pytest.mark.parametrize("split", data_photos.SPLITS)
def test_full_cifar10_has_the_right_splits(monkeypatch, split):
    def downloaded(train):
        targets = [i % 10 for i in range(5000 if train else 1000)]
        values = np.arange(len(targets), dtype=np.int64)
        pixels = np.stack([values % 256, values // 256, np.zeros_like(values)], axis=-1).astype(np.uint8)
        return SimpleNamespace(targets=targets, data=pixels[:, None, None].repeat(32, 1).repeat(32, 2))

    monkeypatch.setattr(data_photos, "_downloaded_cifar10", downloaded)
    monkeypatch.setitem(
        data_photos._LOADERS, "cifar10", data_photos._full_cifar10.__wrapped__
    )  # which remembers nothing
    photos = data.load("cifar10", split)
    assert photos.images.shape[1:] == (3, 32, 32)
    assert photos.images.dtype == torch.uint8
    assert per_class(photos) == [{"train": 200, "valid": 300, "test": 100}[split]] * 10
    position = photos.images[:, 0, 0, 0].long() + 256 * photos.images[:, 1, 0, 0].long()
    assert torch.equal(position % 10, photos.labels)  # photo and label stay together
    if split != "test":  # valid: the last 300 of each class
        assert torch.equal(position >= 2000, torch.full_like(position, split == "valid", dtype=torch.bool))


# --- stored rows --------------------------------------------------------------------------------------------------


def test_results_reads_stored_rows(shipped_copy):
    pd.DataFrame({"seed": [0, 1], "test": [0.5, 0.75]}).to_csv(shipped_copy / "results" / "stub.csv", index=False)
    assert stats.results("stub")["test"].tolist() == [0.5, 0.75]


def test_results_refuses_an_unknown_name(shipped_copy):
    pd.DataFrame({"seed": [0]}).to_csv(shipped_copy / "results" / "stub.csv", index=False)
    with pytest.raises(ValueError, match=r"There is no stored result 'stab'\. Did you mean 'stub'\? Known: .*stub"):
        stats.results("stab")


INDICES = ["cat", (1, 2), {1, 2}, [100], [True, False], torch.tensor([0.0]), slice(None, None, -1), object()]


@pytest.mark.parametrize("index", INDICES, ids=lambda index: type(index).__name__)
def test_what_picks_no_photos_is_refused_in_words(index):
    few = data.load(split="valid").take(2)
    with pytest.raises(ValueError, match=r"that picks nothing of 20 photos .* Give a list of positions.*photos\.only"):
        few[index]


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan"), "0.8", None, [0.8]])
def test_what_is_no_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match=r"split\(\) got fraction=.*; it must lie between 0 and 1, for example 0.8"):
        data.load(split="valid").split(fraction)
