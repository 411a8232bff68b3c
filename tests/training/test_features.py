import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from transfer_utils import backbones, data, training
from transfer_utils.backbones import freeze
from transfer_utils.data import augment
from transfer_utils.training import features


def files(home) -> list:
    return sorted((home / "features").iterdir())


# --- resize -------------------------------------------------------------------------------------------------------


def test_resize_leaves_the_right_size_alone(photos):
    assert data.resize(photos.images, 32) is photos.images


@pytest.mark.parametrize("size", [16, 96])
def test_resize_is_bicubic_in_bytes(photos, size):
    resized = data.resize(photos.images, size)
    assert resized.shape == (12, 3, size, size)
    assert resized.dtype is torch.uint8
    expected = interpolate(photos.images.double(), (size, size), mode="bicubic", antialias=True).clamp(0, 255)
    assert (resized.double() - expected).abs().max() <= 0.51  # rounded, not cut off


def test_resize_stays_within_a_byte():
    """Bicubic overshoots at an edge; without a clamp white would come out black."""
    edge = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    edge[..., 4:] = 255
    resized = data.resize(edge, 32)
    assert resized[..., :12].max() < 64
    assert resized[..., -12:].min() > 192


# --- extract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["stem", "body", "pool", None])
@torch.no_grad()
def test_extract_is_the_prefix(tiny, photos, in_float32, stage):
    model = tiny()
    model(torch.randn(8, 3, 32, 32))  # statistics of its own, so that eval mode matters
    found = training.extract(model, photos, 48, stage, cache=False)
    prefix, _ = copy.deepcopy(model).eval().split(after=stage or "pool")
    expected = prefix(model.preprocess(data.resize(photos.images, 48)))
    assert found.dtype is torch.float32
    assert found.device.type == "cpu"
    assert not found.requires_grad
    torch.testing.assert_close(found, expected)
    if stage is None:
        assert found.shape == (12, 16)


def test_extract_works_in_batches(tiny, photos, in_float32, monkeypatch):
    whole = training.extract(tiny(), photos, 32, cache=False)
    monkeypatch.setattr(features, "FEATURE_BATCH", 5)
    torch.testing.assert_close(training.extract(tiny(), photos, 32, cache=False), whole)


def test_extracted_features_can_enter_a_backward_pass(tiny, photos):
    layer = nn.Linear(16, 2)
    layer(training.extract(tiny(), photos, 32, cache=False)).sum().backward()
    assert layer.weight.grad is not None


def test_extract_refuses_unknown_stages_and_the_head(tiny, photos):
    with pytest.raises(ValueError, match=r"no stage of tiny 'bodi'\. Did you mean 'body'\?"):
        training.extract(tiny(), photos, 32, stage="bodi")
    with pytest.raises(ValueError, match="Splitting after 'head' leaves no stage"):
        training.extract(tiny(), photos, 32, stage="head")


# --- the cache ----------------------------------------------------------------------------------------------------


def test_second_call_reads_from_disk(tiny, photos, own_home, monkeypatch):
    first = training.extract(tiny(), photos, 32)
    assert len(files(own_home)) == 1

    def not_again(*_):
        raise AssertionError("computed twice")

    monkeypatch.setattr(features, "run_network", not_again)
    assert torch.equal(training.extract(tiny(), photos, 32), first)
    assert training.extract(tiny(), photos, 32).is_contiguous()


def test_without_cache_nothing_is_written(tiny, photos, own_home):
    training.extract(tiny(), photos, 32, cache=False)
    assert not own_home.exists()


def one_weight(model, photos, size, stage):
    with torch.no_grad():
        model.stem[0].weight[0, 0, 0, 0] += 1e-4
    return model, photos, size, stage


def one_statistic(model, photos, size, stage):
    model.body[1].running_mean[3] += 1e-4
    return model, photos, size, stage


def one_pixel(model, photos, size, stage):
    images = photos.images.clone()
    images[3, 1, 4, 5] ^= 1
    return model, replace(photos, images=images), size, stage


def another_activation(model, photos, size, stage):
    model.stem[2] = nn.Hardtanh(0, 1)
    return model, photos, size, stage


def another_kind(model, photos, size, stage):
    model.stem[2] = nn.Sigmoid()  # no weights, and no settings either
    return model, photos, size, stage


def another_normalisation(model, photos, size, stage):
    model.mean += 0.1
    return model, photos, size, stage


@pytest.mark.parametrize(
    "change",
    [
        one_weight,
        one_statistic,
        one_pixel,
        another_activation,
        another_kind,
        another_normalisation,
        lambda model, photos, size, stage: (model, photos, 48, stage),
        lambda model, photos, size, stage: (model, photos, size, "stem"),
        lambda model, photos, size, stage: (model, photos[1:], size, stage),
        lambda model, photos, size, stage: (model, photos[list(range(11, -1, -1))], size, stage),
    ],
)
def test_whatever_changes_the_features_changes_the_key(tiny, photos, passes, own_home, change):
    original = (tiny(), photos, 32, "body")
    before = training.extract(*original)
    after = training.extract(*change(tiny(), photos, 32, "body"))
    assert len(passes) == len(files(own_home)) == 2
    assert before.shape != after.shape or not torch.equal(before, after)


def test_precision_changes_the_key(tiny, photos, passes, monkeypatch):
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(features, "precision", lambda _, dtype=dtype: dtype)
        training.extract(tiny(), photos, 32)
    assert len(passes) == 2


@pytest.mark.parametrize(
    "same",
    [
        lambda model: model.new_head(5),
        lambda model: freeze(model, "body"),
        lambda model: model.eval(),
        lambda model: model.to(memory_format=torch.channels_last),
    ],
)
def test_what_does_not_change_the_features_finds_them(tiny, photos, passes, same):
    training.extract(tiny(), photos, 32)
    training.extract(same(tiny()), photos, 32)
    assert len(passes) == 1


@pytest.mark.parametrize("spoil", [lambda content: b"", lambda content: content[:-7], lambda content: b"garbage" * 9])
def test_damaged_cache_file_is_computed_again(tiny, photos, passes, own_home, spoil):
    first = training.extract(tiny(), photos, 32)
    (path,) = files(own_home)
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    assert torch.equal(training.extract(tiny(), photos, 32), first)
    assert len(passes) == 2
    assert [p.read_bytes() for p in files(own_home)] == [whole]


# --- views --------------------------------------------------------------------------------------------------------


def test_views_are_augmented_copies_through_the_frozen_stages(tiny, photos, in_float32):
    model = freeze(tiny(), "stem")
    views = training.extract_views(model, photos, 32, seed=3, cache=False)
    assert views.shape == (data.VIEWS, 12, 8, 16, 16)
    generator = torch.Generator().manual_seed(3)
    for view in views:
        moved = data.flip_and_shift(photos.images, generator)
        expected = training.extract(model, replace(photos, images=moved), 32, "stem", cache=False)
        assert torch.equal(view, expected)
    assert not torch.equal(views[0], views[1])


def test_views_are_cached_by_seed(tiny, photos, passes, monkeypatch):
    model = freeze(tiny(), "body")
    first = training.extract_views(model, photos, 32, seed=0)
    assert torch.equal(training.extract_views(model, photos, 32, seed=0), first)
    assert len(passes) == data.VIEWS
    assert not torch.equal(training.extract_views(model, photos, 32, seed=1), first)
    assert len(passes) == 2 * data.VIEWS
    training.extract(model, photos, 32, stage="body")  # one plain view is not four
    assert len(passes) == 2 * data.VIEWS + 1


def test_views_are_cached_by_their_number(tiny, photos, own_home, monkeypatch):
    model = freeze(tiny(), "body")
    training.extract_views(model, photos, 32, seed=0)
    for place in (augment, data):
        monkeypatch.setattr(place, "VIEWS", 2)
    assert len(training.extract_views(model, photos, 32, seed=0)) == 2


def test_views_need_a_frozen_stage(tiny, photos):
    with pytest.raises(ValueError, match=r"tiny has no frozen stage.*freeze\(model, through='pool'\)"):
        training.extract_views(tiny(), photos, 32, seed=0)


# --- every stage at once ------------------------------------------------------------------------------------------


def test_by_stage_averages_every_stage(photos, in_float32):
    model = backbones.load_backbone("course_resnet/both")
    found = training.by_stage(model, photos, 32)
    assert {name: tuple(bank.shape) for name, bank in found.items()} == {
        "stem": (12, 32),
        "stage1": (12, 64),
        "stage2": (12, 128),
        "stage3": (12, 256),
    }
    for name, bank in found.items():
        assert bank.dtype is torch.float32
        expected = training.extract(model, photos, 32, stage=name, cache=False).mean((2, 3))
        torch.testing.assert_close(bank, expected)
    # the last average is what the head reads
    torch.testing.assert_close(found["stage3"], training.extract(model, photos, 32, cache=False))


def test_by_stage_works_in_batches_and_on_vectors(photos, monkeypatch):
    monkeypatch.setattr(features, "FEATURE_BATCH", 5)
    model = backbones.load_backbone("timm/resnet10t", pretrained=False)
    assert {name: tuple(bank.shape) for name, bank in training.by_stage(model, photos, 32).items()} == {
        "features": (12, 512)
    }


# --- what is refused ----------------------------------------------------------------------------------------------

CALLS = {
    "extract": lambda model, photos, size: training.extract(model, photos, size),
    "extract_views": lambda model, photos, size: training.extract_views(model, photos, size, 0),
    "by_stage": training.by_stage,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("take", [lambda p: p.images, lambda p: p.images.numpy(), lambda p: (p.images, p.labels), list])
def test_what_is_no_set_of_photos_is_refused(tiny, photos, passes, call, take):
    with pytest.raises(TypeError, match=rf"{call}\(\) got photos of type .*ImageSet\(images, labels, classes\)"):
        CALLS[call](freeze(tiny(), "stem"), take(photos) if take is not list else list(photos.images), 32)
    assert passes == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("size", [0, -3, 32.5, 32.0, "32", (32, 32), True, None])
def test_a_size_that_is_none_is_refused(tiny, photos, passes, call, size):
    with pytest.raises(ValueError, match=rf"{call}\(\) got size={re.escape(repr(size))}; "):
        CALLS[call](freeze(tiny(), "stem"), photos, size)
    assert passes == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x / 255,
        lambda x: x.float(),
        lambda x: x.long(),
        lambda x: x[0],
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x[:, :1],
        lambda x: x.numpy(),
    ],
)
def test_a_network_runs_on_photos_alone(tiny, photos, spoil):
    model = tiny()
    with pytest.raises((TypeError, ValueError), match=r"run_network\(\) got .*photos are a tensor of uint8"):
        training.run_network(model, model, spoil(photos.images), 32)


# --- nearest ------------------------------------------------------------------------------------------------------

BANK = torch.arange(24.0).view(6, 4).sin()


@pytest.mark.parametrize(
    "queries", [[3, 0], (3, 0), torch.tensor([3, 0]), np.array([3, 0]), range(3, -1, -3), iter([3, 0])]
)
def test_nearest_takes_positions_however_they_come(queries):
    centred = BANK - BANK.mean(0)
    similarity = torch.cosine_similarity(centred[:, None], centred[None], dim=2).fill_diagonal_(-1)
    expected = similarity[[3, 0]].argsort(dim=1, descending=True)[:, :5]
    assert torch.equal(training.nearest(BANK, queries, count=5), expected)


@pytest.mark.parametrize(
    "queries", [[6], [-1], [0, 99], [1.5], [1.0], ["1"], [True] * 6, [None], [[0, 1]], 3, torch.tensor(3)]
)
def test_nearest_refuses_what_is_no_position(queries):
    with pytest.raises(ValueError, match=r"nearest\(\) got queries=.*whole numbers from 0 to 5"):
        training.nearest(BANK, queries, 2)


@pytest.mark.parametrize(
    "queries", [torch.tensor([0.0, 1.0]), torch.ones(6, dtype=torch.bool), torch.zeros(1, 2).long()]
)
def test_nearest_refuses_tensors_that_are_no_positions(queries):
    with pytest.raises(ValueError, match=r"nearest\(\) got queries="):
        training.nearest(BANK, queries, 2)


@pytest.mark.parametrize("count", [0, -1, 6, 7, 2.0, "2", True, None])
def test_nearest_has_only_the_others_to_give(count):
    with pytest.raises(ValueError, match=rf"count={re.escape(repr(count))}, and each of the 6 rows has 5 others"):
        training.nearest(BANK, [0], count)


@pytest.mark.parametrize("bank", [BANK[0], BANK[None], BANK.long(), BANK.numpy(), BANK.log(), BANK[:, :0], [BANK]])
def test_nearest_needs_one_finite_vector_per_photo(bank):
    with pytest.raises((TypeError, ValueError), match=r"nearest\(\) got .*features"):
        training.nearest(bank, [0], 2)


# --- side effects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("call", [training.extract, training.by_stage])
def test_the_models_mode_comes_back_and_nothing_moves(tiny, photos, mode, call):
    model = freeze(tiny(), "stem").train(mode)
    before = copy.deepcopy(model.state_dict())
    call(model, photos, 32)
    assert model.training is mode
    assert model.body[1].training is mode
    assert not model.stem[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_models_mode_comes_back_after_an_error(tiny, photos, monkeypatch):
    model = tiny()

    def fail(_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.body, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        training.extract(model, photos, 32, cache=False)
    assert model.training
    assert model.stem.training
