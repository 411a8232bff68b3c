"""The explorers of predictions: in every state a sentence that is true, and the photos that it speaks of.

Those of stored rows and of neighbours are in test_widgets.py.
"""

import base64
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from transfer_utils import data, show, training
from transfer_utils.show import pictures

TEN = data.load(split="valid").take(1)
TEN = data.ImageSet(data.resize(TEN.images, 64), TEN.labels, TEN.classes)


def tiles_of(shown) -> np.ndarray:
    """The pictures of the sprite, (N, side, side, 3), as the page cuts them out."""
    code = shown.sprite["url"].partition(",")[2]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB")).astype(float)
    side, columns = shown.sprite["side"], shown.sprite["columns"]
    assert sheet.shape[:2] == (shown.sprite["rows"] * side, columns * side)
    return sheet.reshape(-1, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)


def assert_shows(tile: np.ndarray, expected: torch.Tensor, others: torch.Tensor) -> None:
    """The tile is this photo, up to compression, and none of the others."""

    def distance(photo: torch.Tensor) -> float:
        return float(np.abs(tile - photo.permute(1, 2, 0).numpy()).mean())

    assert distance(expected) < min(distance(photo) for photo in others)


def every_frame(shown):
    for key, frame in shown.frames.items():
        yield tuple(map(int, key.split(","))), frame


# --- heat ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maps():
    """One bright place in each, another one for each class."""
    maps = torch.zeros(10, 10, 4, 4)
    for c in range(10):
        maps[:, c, c // 4, c % 4] = 1
    return maps


@pytest.fixture(scope="module")
def shares():
    return torch.randn(10, 10, generator=torch.Generator().manual_seed(0)).mul(2).softmax(1)


@pytest.fixture(scope="module")
def heat(maps, shares):
    return show.heat_explorer(TEN, shares, maps)


def test_heat_has_a_true_sentence_for_every_photo_and_class(heat, shares):
    frames = dict(every_frame(heat))
    assert len(frames) == 100
    for (i, c), frame in frames.items():
        taken = TEN.classes[shares[i].argmax()]
        assert frame["sentence"] == (
            f"Photo {i + 1} is of class {TEN.classes[TEN.labels[i]]}; the network says {taken} "
            f"({shares[i].max():.0%}). Bright in the second picture: what speaks for {TEN.classes[c]}, "
            f"to which it gives {shares[i, c]:.0%}."
        )


def test_heat_shows_the_photo_and_its_map_for_the_class(heat, maps):
    tiles = tiles_of(heat)
    for (i, c), frame in every_frame(heat):
        (row,) = frame["rows"]
        left, right = row["tiles"]
        assert max(row["tiles"]) < len(tiles)
        assert TEN.classes[c] in row["label"]
        assert TEN.classes[c] in row["words"]
        if i % 3 == 0:
            assert_shows(tiles[left], TEN.images[i], TEN.images[torch.arange(10) != i])
            here = pictures.heated(TEN.images[i : i + 1].expand(10, -1, -1, -1), maps[i])
            assert_shows(tiles[right], here[c], here[torch.arange(10) != c])


def test_heat_starts_with_the_answer_of_the_network_for_the_first_photo(heat, shares):
    assert heat.chosen == {"photo": "1: airplane", "class asked about": TEN.classes[shares[0].argmax()]}


def test_the_sprite_of_the_lesson_stays_small(heat):
    assert len(heat.sprite["url"]) < 200_000
    assert heat.sprite["shown"] > 100


def test_heat_has_a_still_picture_with_alt_text(heat):
    alt = html.unescape(re.search(r'alt="([^"]*)"', heat.picture().data).group(1))
    assert heat.frame["sentence"] in alt


# --- mistakes -----------------------------------------------------------------------------------------------------

PHOTOS = data.load(split="valid").only("cat", "dog", "ship").take(8)
NAMES = [f"{PHOTOS.classes[label]}/{i}.png" for i, label in enumerate(PHOTOS.labels)]


@pytest.fixture(scope="module")
def judged():
    """Shares that are often wrong, and features in which each photo has its nearest ones."""
    generator = torch.Generator().manual_seed(1)
    shares = torch.randn(24, 3, generator=generator).mul(2).softmax(1)
    return shares, torch.randn(24, 5, generator=generator)


@pytest.fixture(scope="module")
def mistakes(judged):
    return show.mistake_explorer(PHOTOS, NAMES, *judged, count=20)


def test_the_worst_mistake_comes_first(mistakes, judged):
    own = judged[0][torch.arange(24), PHOTOS.labels]
    assert mistakes.chosen == {"mistake": "1 of 20"}
    shown = [NAMES.index(frame["sentence"].split(" is in the folder ")[0]) for _, frame in every_frame(mistakes)]
    assert shown == own.argsort()[:20].tolist()


def test_mistakes_say_what_the_classifier_said_and_what_is_alike(mistakes, judged):
    shares, bank = judged
    kinds = set()
    for _, frame in every_frame(mistakes):
        photo = NAMES.index(frame["sentence"].split(" is in the folder ")[0])
        true, taken = PHOTOS.classes[PHOTOS.labels[photo]], PHOTOS.classes[shares[photo].argmax()]
        centred = bank - bank.mean(0)
        likeness = torch.cosine_similarity(centred[photo], centred, dim=1)
        likeness[photo] = -2
        near = likeness.topk(6).indices
        same = (PHOTOS.labels[near] == PHOTOS.labels[photo]).sum().item()
        told = (
            f"but with only {shares[photo, PHOTOS.labels[photo]]:.0%}"
            if taken == true
            else f"with {shares[photo].max():.0%}"
        )
        assert frame["sentence"] == (
            f"{NAMES[photo]} is in the folder {true}. The classifier says {taken}, {told}; "
            f"{same} of the 6 most alike are in its class. Dashed frames mark other classes."
        )
        (row,) = frame["rows"]
        assert row["label"] == true
        assert row["wrong"] == [n + 1 for n, hit in enumerate(near) if PHOTOS.labels[hit] != PHOTOS.labels[photo]]
        kinds.add(taken == true)
    assert kinds == {True, False}


def test_mistakes_show_the_photo_and_those_most_alike(mistakes, judged):
    tiles, small = tiles_of(mistakes), data.resize(PHOTOS.images, 64)
    for _, frame in every_frame(mistakes):
        photo = NAMES.index(frame["sentence"].split(" is in the folder ")[0])
        wanted = [photo, *training.nearest(judged[1], [photo], count=6)[0].tolist()]
        found = frame["rows"][0]["tiles"]
        assert len(found) == 7
        assert max(found) < len(tiles)
        for position, tile in zip(wanted, found, strict=True):
            assert_shows(tiles[tile], small[position], small[torch.arange(24) != position])


def test_there_are_no_more_mistakes_than_photos(judged):
    shares, bank = judged
    shown = show.mistake_explorer(PHOTOS[:8], NAMES[:8], shares[:8], bank[:8], count=20)
    assert shown.controls[0]["options"][-1] == "8 of 8"


def test_mistakes_of_a_folder_of_four(judged):
    """The smallest folder that can be cross-validated."""
    few = torch.tensor([0, 1, 8, 9])
    shown = show.mistake_explorer(PHOTOS[few], [NAMES[i] for i in few], judged[0][few], judged[1][few])
    for _, frame in every_frame(shown):
        photo, *near = frame["rows"][0]["tiles"]
        assert photo not in near
        assert "of the 3 most alike are in its class" in frame["sentence"]


def test_mistakes_have_a_still_picture_with_alt_text(mistakes):
    mistakes.state = [3]
    alt = html.unescape(re.search(r'alt="([^"]*)"', mistakes.picture().data).group(1))
    assert "mistake: 4 of 20" in alt
    assert mistakes.frame["sentence"] in alt


def test_class_names_with_dollars_do_not_stop_a_still_picture(judged):
    named = replace(PHOTOS, classes=("$5_or_$10", *PHOTOS.classes[1:]))
    shown = show.mistake_explorer(named, NAMES, *judged)
    for state in range(len(shown.controls[0]["options"])):
        shown.state = [state]
        assert "<img alt=" in shown.picture().data
