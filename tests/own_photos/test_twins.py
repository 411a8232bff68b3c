import numpy as np
import torch
from photo_pieces import GOOD, SIZE, encoded, picture, written
from PIL import Image

from transfer_utils import data, own_photos
from transfer_utils.own_photos import read, twins


def test_near_duplicates_are_grouped(tmp_path):
    original = picture(1, 96)
    brighter = original.point(lambda value: min(255, value * 1.2))
    versions = {
        "cat/a.png": encoded(original),
        "cat/b.jpg": encoded(original, "JPEG", quality=60),
        "cat/c.png": encoded(original.resize((40, 40))),
        "cat/d.png": encoded(original.crop((1, 1, 94, 94))),
        "cat/e.png": encoded(brighter),
        "zebra/f.png": encoded(original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    }
    found = read(written(tmp_path, GOOD | versions), SIZE, progress=False)
    groups = dict(zip(found.names, found.groups.tolist(), strict=True))
    assert len({groups[name] for name in versions}) == 1
    assert len({groups[name] for name in GOOD}) == 4
    assert groups["cat/a.png"] not in {groups[name] for name in GOOD}
    assert "6 photos look nearly like another, such as cat/a.png and cat/b.jpg; they stay" in found.report()


def test_groups_link_across_chunks(monkeypatch):
    photos = torch.stack([torch.from_numpy(np.asarray(picture(n % 7)).copy()).permute(2, 0, 1) for n in range(20)])
    whole = own_photos.alike(photos)
    assert whole.tolist() == [n % 7 for n in range(20)]
    monkeypatch.setattr(twins, "CHUNK", 3)
    assert torch.equal(own_photos.alike(photos), whole)


def test_blank_photos_are_not_grouped():
    noise = torch.randint(126, 129, (4, 3, 32, 32), dtype=torch.uint8)
    flat = torch.full((3, 3, 32, 32), 200, dtype=torch.uint8)
    photo = torch.from_numpy(np.asarray(picture(0)).copy()).permute(2, 0, 1)[None]
    faint = photo // 40 + 120  # the same pattern, but too weak to see
    assert len(set(own_photos.alike(torch.cat([noise, flat, photo, faint])).tolist())) == 9


def test_course_photos_are_seldom_grouped():
    """One draw of 500 different photos; see ALIKE for the rate over all of them."""

    photos = data.load("cifar10_photos", "train").take(50, seed=0)
    assert len(set(own_photos.alike(photos.images).tolist())) >= 498
