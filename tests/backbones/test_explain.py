"""Grad-CAM against captum's, and the patches that test what it says."""

import copy

import pytest
import torch
from captum.attr import LayerGradCam
from test_networks import stir

from transfer_utils import backbones, course, data
from transfer_utils.backbones import explain, freeze
from transfer_utils.course import lesson05
from transfer_utils.data import ImageSet

PHOTOS = data.resize(data.load(split="valid").take(1, seed=1).images[[0, 3, 5, 8]], 96)


@pytest.fixture(scope="module")
def networks():
    """One with ImageNet's weights, one with random ones; the classes to explain go with each."""
    torch.manual_seed(0)
    resnet = stir(backbones.load_backbone("resnet50", pretrained=False, classes=10))
    lite = backbones.load_backbone("efficientnet_lite0")
    return {"resnet50": (resnet, [0, 3, 5, 8]), "efficientnet_lite0": (lite, [404, 285, 207, 510])}


def captums(model, photos, labels, stage):
    model.eval()
    pixels = model.preprocess(photos).requires_grad_()
    maps = LayerGradCam(model, model.get_submodule(stage)).attribute(pixels, target=labels, relu_attributions=True)
    return maps.squeeze(1).detach()


def snapshot(model):
    """All that explaining must not change."""
    switches = {name: (module.training, "train" in vars(module)) for name, module in model.named_modules()}
    wanted = {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()}
    return copy.deepcopy(model.state_dict()), switches, wanted


def assert_unchanged(model, before):
    state, switches, wanted = before
    now, *rest = snapshot(model)
    assert all(torch.equal(tensor, state[name]) for name, tensor in now.items())
    assert rest == [switches, wanted]


# --- grad_cam -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("resnet50", "stage2"),
        ("resnet50", "stage4"),
        ("efficientnet_lite0", "stage3"),
        ("efficientnet_lite0", "stage5"),
        ("efficientnet_lite0", "neck"),
    ],
)
@pytest.mark.parametrize("shift", [0, 1])
def test_grad_cam_is_captums(networks, name, stage, shift):
    model, labels = networks[name]
    labels = torch.tensor(labels).roll(shift)
    ours, theirs = backbones.grad_cam(model, PHOTOS, labels, stage), captums(model, PHOTOS, labels, stage)
    assert ours.shape == theirs.shape
    speaks = theirs.amax((1, 2)) > 0
    assert speaks.sum() >= 3  # where nothing speaks for a class, there is nothing to compare
    assert not ours[~speaks].any()
    for one, other in zip(ours[speaks], theirs[speaks], strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] >= 0.99
        torch.testing.assert_close(one, other / other.max())


def test_a_map_depends_on_the_class_and_not_on_the_other_photos(networks):
    model, labels = networks["efficientnet_lite0"]
    labels = torch.tensor(labels)
    together = backbones.grad_cam(model, PHOTOS, labels, "stage5")
    for i in range(len(PHOTOS)):
        alone = backbones.grad_cam(model, PHOTOS[i : i + 1], labels[i : i + 1], "stage5")
        torch.testing.assert_close(alone[0], together[i], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(backbones.grad_cam(model, PHOTOS, labels.roll(1), "stage5"), together, atol=0.1)


def test_many_photos_are_explained_in_batches(networks, monkeypatch):
    model, labels = networks["efficientnet_lite0"]
    whole = backbones.grad_cam(model, PHOTOS, torch.tensor(labels), "stage5")
    monkeypatch.setattr(explain, "BATCH", 3)
    parts = backbones.grad_cam(model, PHOTOS, torch.tensor(labels), "stage5")
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-3)


def test_maps_are_shares_of_the_brightest_place(networks):
    model, labels = networks["efficientnet_lite0"]
    maps = backbones.grad_cam(model, PHOTOS, torch.tensor(labels), "stage5")
    assert maps.shape == (4, 6, 6)
    assert maps.amin() >= 0
    torch.testing.assert_close(maps.amax((1, 2)), torch.ones(4))
    assert not maps.requires_grad


@torch.no_grad()
def silent(model):
    """No place speaks for a class whose row in the head is zero."""
    model.head.weight.zero_()
    return model


def test_a_class_for_which_nothing_speaks_gets_an_empty_map(tiny):
    photos = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    assert not backbones.grad_cam(silent(tiny()), photos, torch.tensor([0, 1, 0]), "stem").any()


@pytest.mark.parametrize(
    "prepare", [lambda model: model, lambda model: freeze(model, "stem"), lambda model: model.eval()]
)
def test_explaining_changes_nothing(tiny, prepare):
    model = tiny()
    model(torch.randn(8, 3, 16, 16)).sum().backward()  # statistics, and gradients of its own
    model.head.bias.grad = None
    model = prepare(model)
    before, photos = snapshot(model), torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    gradient = model.stem[0].weight.grad.clone()
    backbones.grad_cam(model, photos, torch.tensor([0, 1, 1]), "body")
    assert_unchanged(model, before)
    assert torch.equal(model.stem[0].weight.grad, gradient)


@pytest.mark.parametrize("stage", ["pool", "head", "boddy"])
def test_a_stage_without_maps_is_refused_and_changes_nothing(tiny, stage):
    model = tiny()
    before = snapshot(model)
    said = {"pool": "'pool' of tiny gives no maps.*Name an earlier stage", "head": "leaves no stage", "boddy": "'body'"}
    with pytest.raises(ValueError, match=said[stage]):
        backbones.grad_cam(model, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.tensor([0, 1]), stage)
    assert_unchanged(model, before)


ASKED = {  # what is explained instead of two photos, and of which classes
    "a class that is not there": (lambda x: x, torch.tensor([0, 7])),
    "a negative class": (lambda x: x, torch.tensor([0, -1])),
    "too few labels": (lambda x: x, torch.tensor([0])),
    "one label for all": (lambda x: x, torch.tensor(1)),
    "a column": (lambda x: x, torch.tensor([[0], [1]])),
    "float labels": (lambda x: x, torch.tensor([0.0, 1.0])),
    "a list": (lambda x: x, [0, 1]),
    "pixels scaled already": (lambda x: x / 255, torch.tensor([0, 1])),
    "float pixels": (lambda x: x.float(), torch.tensor([0, 1])),
    "colours last": (lambda x: x.permute(0, 2, 3, 1), torch.tensor([0, 1])),
    "one photo": (lambda x: x[0], torch.tensor([0])),
    "grey": (lambda x: x[:, :1], torch.tensor([0, 1])),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_cannot_be_explained_is_refused_and_changes_nothing(tiny, case):
    model, (spoil, labels) = tiny(), ASKED[case]
    before = snapshot(model)
    with pytest.raises((TypeError, ValueError), match=r"grad_cam\(\) got"):
        backbones.grad_cam(model, spoil(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)), labels, "body")
    assert_unchanged(model, before)


def test_batch_norm_explains_with_its_stored_statistics(tiny):
    """In training mode the other photos of the batch would move a photo's map."""
    model, photos = tiny(), torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    model(torch.randn(8, 3, 16, 16))
    maps = backbones.grad_cam(model.train(), photos, torch.zeros(4, dtype=torch.long), "body")
    torch.testing.assert_close(maps, backbones.grad_cam(model.eval(), photos, torch.zeros(4, dtype=torch.long), "body"))


# --- cover --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bright():
    """White photos, and maps in which no two places are equal."""
    maps = torch.stack([torch.randperm(36, generator=torch.Generator().manual_seed(n)) for n in range(3)])
    white = torch.full((3, 3, 96, 96), 255, dtype=torch.uint8)
    return ImageSet(white, torch.tensor([0, 1, 1]), ("cat", "dog")), maps.view(3, 6, 6) / 35


def greyed(images: torch.Tensor) -> torch.Tensor:
    """Which places of the map are covered, (N, 6, 6)."""
    return (images == lesson05.GREY).all(1)[:, ::16, ::16]


def test_exactly_a_quarter_becomes_grey(bright):
    photos, maps = bright
    covered = course.cover(photos, maps)
    assert list(covered) == ["what glows", "what glows on another photo", "the middle", "what does not glow"]
    for images in (part.images for part in covered.values()):
        assert images.dtype is torch.uint8
        assert images.unique().tolist() == [lesson05.GREY, 255]
        assert (images == lesson05.GREY).flatten(1).float().mean(1).tolist() == [0.25] * 3
        places = greyed(images).repeat_interleave(16, 1).repeat_interleave(16, 2)
        assert torch.equal((images == lesson05.GREY).all(1), places)
    assert all(part.labels is photos.labels and part.classes == photos.classes for part in covered.values())
    assert (photos.images == 255).all()  # the photos themselves stay


def test_the_highest_and_the_lowest_places_are_covered(bright):
    photos, maps = bright
    covered = course.cover(photos, maps)
    highest = maps * 35 > 26.5
    assert torch.equal(greyed(covered["what glows"].images), highest)
    assert torch.equal(greyed(covered["what glows on another photo"].images), highest[[2, 0, 1]])
    assert torch.equal(greyed(covered["what does not glow"].images), maps * 35 < 8.5)


def test_the_middle_is_in_the_middle_whatever_the_map_says(bright):
    photos, maps = bright
    for some in (maps, torch.zeros_like(maps)):
        places = greyed(course.cover(photos, some)["the middle"].images)
        assert places[:, 2:4, 2:4].all()
        assert not places[:, [0, -1]].any()
        assert not places[:, :, [0, -1]].any()


def test_the_same_seed_is_the_same_picture(bright):
    """Where many places glow alike, chance decides which of them are covered."""
    photos, maps = bright
    flat = torch.zeros_like(maps)
    first, again, other = (course.cover(photos, flat, seed)["what does not glow"].images for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    distinct = [course.cover(photos, maps, seed)["what does not glow"].images for seed in (3, 4)]
    assert torch.equal(*distinct)  # where no two are alike, it does not


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_map_is_the_same_where_the_caller_switched_gradients_off(tiny, off):
    model, photos, labels = tiny(), torch.full((2, 3, 32, 32), 9, dtype=torch.uint8), torch.tensor([0, 1])
    expected = backbones.grad_cam(model, photos, labels, "body")
    with off():
        assert torch.equal(backbones.grad_cam(model, photos, labels, "body"), expected)
