import numpy as np
import pytest
import torch

from transfer_utils import data
from transfer_utils.data import augment


@pytest.fixture
def photos() -> torch.Tensor:
    return torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_about_half_and_leaves_the_rest(photos):
    flipped = augment.flip(photos, drawn())
    same = (flipped == photos).flatten(1).all(1)
    mirrored = (flipped == photos.flip(-1)).flatten(1).all(1)
    assert torch.all(mirrored ^ same)
    assert 16 <= mirrored.sum() <= 48


@pytest.mark.parametrize("most", [1, 4])
def test_shift_moves_each_photo_and_mirrors_the_border_inwards(photos, most):
    shifted = augment.shift(photos, drawn(), most=most)
    moves = set()
    for before, after in zip(photos.numpy(), shifted.numpy(), strict=True):
        padded = np.pad(before, ((0, 0), (most, most), (most, most)), mode="reflect")
        found = [
            (dy, dx)
            for dy in range(2 * most + 1)
            for dx in range(2 * most + 1)
            if np.array_equal(padded[:, dy : dy + 16, dx : dx + 16], after)
        ]
        assert len(found) == 1
        moves.update(found)
    # up and down, left and right are drawn separately, and photo by photo
    assert {dy for dy, _ in moves} == {dx for _, dx in moves} == set(range(2 * most + 1))
    assert any(dy != dx for dy, dx in moves)


@pytest.mark.parametrize("change", [augment.flip, augment.shift, data.flip_and_shift])
def test_the_generator_decides(photos, change):
    before = photos.clone()
    first = change(photos, drawn(1))
    assert first.dtype == torch.uint8
    assert first.shape == photos.shape
    torch.rand(5)  # the global generator has no say
    assert torch.equal(change(photos, drawn(1)), first)
    assert not torch.equal(change(photos, drawn(2)), first)
    assert torch.equal(photos, before)


@pytest.mark.parametrize("change", [augment.flip, augment.shift, data.flip_and_shift])
def test_it_happens_on_the_device_of_the_photos_and_nobody_waits(photos, change):
    """The meta device has shapes but no numbers, and an error for whoever asks it for one, as a wait does."""
    changed = change(photos.to("meta"), drawn())
    assert (changed.device.type, changed.shape, changed.dtype) == ("meta", photos.shape, torch.uint8)


def test_shift_keeps_every_byte_value():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(augment.shift(ramp, drawn(), most=0), ramp)


@pytest.mark.parametrize(("side", "most"), [(32, 4), (96, 12), (4, 1)])
def test_flip_and_shift_moves_by_up_to_an_eighth(side, most):
    """Followed by the middle of a photo whose grey level grows by one each row: reflection does not reach it."""
    rows = torch.arange(side, dtype=torch.uint8).view(1, 1, side, 1).expand(500, 3, side, side)
    middle = data.flip_and_shift(rows, drawn())[:, 0, side // 2, 0].int() - side // 2
    assert (middle.min(), middle.max()) == (-most, most)


def test_flip_and_shift_does_both(photos):
    both = data.flip_and_shift(photos, drawn(3))
    generator = drawn(3)
    flipped = augment.flip(photos, generator)
    assert torch.equal(both, augment.shift(flipped, generator, most=2))


# --- views --------------------------------------------------------------------------------------------------------


def test_views_are_drawn_one_after_another_from_the_seed(photos):
    before = photos.clone()
    found = data.views(photos, seed=3)
    assert found.dtype == torch.uint8
    assert found.shape == (data.VIEWS, 64, 3, 16, 16)
    generator = drawn(3)
    for view in found:
        assert torch.equal(view, data.flip_and_shift(photos, generator))
    assert not torch.equal(found[0], found[1])
    assert torch.equal(photos, before)


def test_views_are_the_same_for_the_same_seed_only(photos):
    first = data.views(photos, seed=0)
    torch.rand(5)  # the global generator has no say
    assert torch.equal(data.views(photos, seed=0), first)
    assert not torch.equal(data.views(photos, seed=1), first)


# --- corruptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corrupt", data.CORRUPTIONS.values(), ids=data.CORRUPTIONS.keys())
def test_corruptions_change_every_photo_the_same_way_each_time(photos, corrupt):
    before = photos.clone()
    first = corrupt(photos)
    assert first.dtype == torch.uint8
    assert first.shape == photos.shape
    assert (first != photos).flatten(1).any(1).all()
    assert torch.equal(photos, before)
    torch.rand(5)  # the global generator has no say
    assert torch.equal(corrupt(photos), first)


def test_noise_is_twenty_grey_levels_and_another_one_for_each_photo_and_seed():
    grey = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = augment.noise(grey)
    assert noisy.float().mean().item() == pytest.approx(128, abs=1)
    assert noisy.float().std().item() == pytest.approx(20, abs=1)
    assert not torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[:, 0], noisy[:, 1])
    assert not torch.equal(augment.noise(grey, seed=1), noisy)


@pytest.mark.parametrize("value", [0, 255])
def test_noise_stays_within_a_byte(value):
    """Without a clamp white would come out black."""
    noisy = augment.noise(torch.full((8, 3, 32, 32), value, dtype=torch.uint8))
    assert (noisy.int() - value).abs().max() < 128


def roughness(photos: torch.Tensor) -> float:
    return photos.float().diff(dim=-1).var().item()


def test_blur_smooths_edges_and_keeps_the_light(photos):
    blurred = augment.blur(photos)
    assert roughness(blurred) < roughness(photos) / 4
    assert blurred.float().mean().item() == pytest.approx(photos.float().mean().item(), abs=1)


def test_low_contrast_keeps_a_third_of_the_range_of_each_photo(photos):
    dark = photos // 4
    for before in (photos, dark):
        after = augment.low_contrast(before)
        spread, left = (
            p.float().flatten(1).max(1).values - p.float().flatten(1).min(1).values for p in (before, after)
        )
        assert (left - spread / 3).abs().max() <= 1
        assert after.float().mean().item() == pytest.approx(before.float().mean().item(), abs=3)


# --- what are no photos -------------------------------------------------------------------------------------------


def flipped_and_shifted(photos):
    return data.flip_and_shift(photos, seed=0)


CHANGES = {"flip_and_shift": flipped_and_shifted, "views": lambda photos: data.views(photos, 0), **data.CORRUPTIONS}
NO_PHOTOS = {
    "scaled": lambda photos: photos / 255,
    "float": lambda photos: photos.float(),
    "half": lambda photos: photos.half(),
    "int64": lambda photos: photos.long(),
    "bool": lambda photos: photos > 99,
    "colours last": lambda photos: photos.permute(0, 2, 3, 1),
    "one photo": lambda photos: photos[0],
    "grey": lambda photos: photos[:, :1],
    "views": lambda photos: photos[None],
    "array": lambda photos: photos.numpy(),
    "set": lambda photos: data.ImageSet(photos, torch.zeros(len(photos), dtype=torch.int64), ("any",)),
}


@pytest.mark.parametrize("spoil", NO_PHOTOS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_are_no_photos_is_refused(photos, change, spoil):
    with pytest.raises((TypeError, ValueError), match=r"\(\) got .*photos are a tensor of uint8 \(N, 3, H, W\)"):
        CHANGES[change](NO_PHOTOS[spoil](photos))


@pytest.mark.parametrize(
    ("change", "height", "width"),
    [
        (flipped_and_shifted, 1, 1),
        (flipped_and_shifted, 1, 8),
        (flipped_and_shifted, 8, 1),
        (flipped_and_shifted, 4, 64),
        (lambda photos: data.views(photos, 0), 1, 2),
        (data.CORRUPTIONS["blur"], 3, 3),
        (data.CORRUPTIONS["blur"], 2, 32),
        (data.CORRUPTIONS["blur"], 32, 1),
    ],
)
def test_photos_smaller_than_what_is_mirrored_are_refused(change, height, width):
    with pytest.raises(ValueError, match=rf"got photos of {height}x{width} pixels.*need at least \d+ each way"):
        change(torch.zeros(2, 3, height, width, dtype=torch.uint8))


@pytest.mark.parametrize(("change", "side"), [(flipped_and_shifted, 2), (data.CORRUPTIONS["blur"], 4)])
def test_the_smallest_photos_that_can_be_mirrored(change, side):
    assert change(torch.zeros(2, 3, side, side, dtype=torch.uint8)).shape == (2, 3, side, side)
