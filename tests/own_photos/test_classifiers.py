"""A classifier from a few photos: who judges whom, how sure it may sound, and what it has not seen before."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import model_selection
from small_classifiers import (
    CLASSES,
    SIZE,
    as_folder,
    new_photos,
    numbered_fits,
    small_bank,
    small_classifier,
    small_folder,
)

from transfer_utils import backbones, data, own_photos, stats, training
from transfer_utils.data import ImageSet
from transfer_utils.own_photos import Bank, Classifier, classifiers


def made_bank(labels: list[int], groups: list[int] | None = None, width: int = 6) -> Bank:
    """Random features under these labels, without any photo."""
    count = len(labels)
    classes = tuple(f"class {i}" for i in range(max(labels) + 1))
    photos = ImageSet(torch.zeros(count, 3, 32, 32, dtype=torch.uint8), torch.tensor(labels), classes)
    plain = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    folder = as_folder(photos, None if groups is None else torch.tensor(groups), size=32)
    model = SimpleNamespace(name="none")
    return Bank(model, folder, plain, torch.zeros(0, count, width))


@pytest.fixture
def fits(monkeypatch) -> list[set[int]]:
    return numbered_fits(monkeypatch)


# --- features -----------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_frozen_backbone(in_float32, monkeypatch):
    folder = as_folder(data.load().only("cat", "ship").take(4))
    monkeypatch.setattr(classifiers, "CHUNK", 3)
    bank = own_photos.extract(folder)
    expected = training.extract(backbones.load_backbone(classifiers.BACKBONE), folder.photos, SIZE, cache=False)
    torch.testing.assert_close(bank.plain, expected, atol=1e-3, rtol=1e-3)
    assert bank.views.shape == (0, 8, 1280)
    assert bank.folder is folder


def test_views_are_augmented_copies_in_the_order_of_the_photos(in_float32, monkeypatch):
    folder = as_folder(data.load().only("cat", "ship").take(4), size=32)
    plain = own_photos.extract(folder, "course_resnet/both", views=True)
    monkeypatch.setattr(classifiers, "CHUNK", 3)
    parts = own_photos.extract(folder, "course_resnet/both", views=True)
    assert plain.views.shape == parts.views.shape == (data.VIEWS, 8, 256)
    for views in (plain.views, parts.views):
        likeness = torch.cdist(views.mean(0), plain.plain)
        assert torch.equal(likeness.argmin(1), torch.arange(8))


@pytest.mark.parametrize(
    ("labels", "groups", "said"),
    [
        ([0, 0, 1], [0, 1, 2], "'class 1' has only 1 photo"),
        ([0, 0, 1, 1, 1], [0, 1, 2, 2, 2], "'class 1' has 3 photos that all look nearly the same"),
    ],
    ids=["one photo", "only twins"],
)
def test_a_class_that_cannot_be_cross_validated_is_refused_before_any_work(monkeypatch, labels, groups, said):
    monkeypatch.setattr(classifiers.backbones, "load_backbone", lambda *_: pytest.fail("the network was loaded"))
    with pytest.raises(ValueError, match=rf"The class {said}; it needs at least 2 different ones\. Add photos"):
        own_photos.extract(made_bank(labels, groups).folder)


# --- cross-validation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_no_photo_is_judged_by_a_probe_that_saw_it_or_a_twin(fits, seed):
    bank = small_bank()
    groups = bank.folder.groups
    judge = bank.cross_validate(seed)[:, 0].long().tolist()
    assert len(fits) == classifiers.FOLDS
    for photo, fit in enumerate(judge):
        seen = {int(groups[row]) for row in fits[fit]}
        assert int(groups[photo]) not in seen
    for fit, rows in enumerate(fits):  # and it saw all others
        assert rows == {photo for photo, other in enumerate(judge) if other != fit}


def test_views_of_a_photo_are_not_seen_either(monkeypatch):
    bank = made_bank([0, 1] * 6)
    views = torch.stack([bank.plain + 0.01 * n for n in range(1, 3)])
    seen, solve = [], training.linear_probes

    def spied(everything, labels, draws, penalties):
        seen.append((everything, draws[0]))
        return solve(everything, labels, draws, penalties)

    monkeypatch.setattr(classifiers.training, "linear_probes", spied)
    replace(bank, views=views).cross_validate()
    for everything, draw in seen:
        assert torch.equal(everything, torch.cat([bank.plain, *views]))
        rows = draw % 12
        assert len(draw) == 3 * len(rows.unique())
        assert len(rows.unique()) < 12


@pytest.mark.parametrize(
    ("labels", "groups", "parts"),
    [
        ([0] * 9 + [1] * 9, None, 5),
        ([0] * 9 + [1] * 3, None, 3),
        ([0] * 9 + [1] * 5, [*range(9), 9, 9, 9, 10, 10], 2),
    ],
    ids=["many", "three of one", "five photos, two of them different"],
)
def test_there_are_as_many_parts_as_the_smallest_class_has_different_photos(fits, labels, groups, parts):
    made_bank(labels, groups).cross_validate()
    assert len(fits) == parts


def test_a_class_that_is_missing_from_a_training_part_keeps_its_column(monkeypatch):
    bank = made_bank([0] * 6 + [1] * 6 + [2] * 6)

    class ByClass:
        """Deals whole classes, so that each probe lacks the class that it judges."""

        def __init__(self, *_, **__):
            pass

        def split(self, _, labels, __):
            return [(np.flatnonzero(labels != i), np.flatnonzero(labels == i)) for i in range(3)]

    monkeypatch.setattr(model_selection, "StratifiedGroupKFold", ByClass)
    logits = bank.cross_validate()
    assert logits.shape == (18, 3)
    assert torch.isfinite(logits).all()
    assert not (logits.argmax(1) == bank.folder.photos.labels).any()


def test_cross_validation_is_repeatable_and_depends_on_the_deal():
    bank = small_bank()
    first, again, other = (bank.cross_validate(seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first.requires_grad


def test_it_recognises_most_photos_that_it_has_not_seen():
    classifier, logits = small_classifier()
    assert (logits.argmax(1) == small_folder().photos.labels).float().mean() > 0.6
    photos = new_photos(20)
    answers = classifier.predict(photos.images)
    assert (answers["class"] == [CLASSES[label] for label in photos.labels]).mean() > 0.6


# --- training -----------------------------------------------------------------------------------------------------


def test_the_classifier_is_the_backbone_with_a_probe_on_all_photos_as_its_head():
    classifier, _ = small_classifier()
    bank = small_bank()
    assert classifier.classes == CLASSES
    assert classifier.size == SIZE
    assert not any(p.requires_grad for p in classifier.model.parameters())
    assert not classifier.model.training
    probe = training.linear_probe(bank.plain, bank.folder.photos.labels, classifiers.PENALTY)
    assert torch.equal(classifier.model.head(bank.plain).argmax(1), probe.predict(bank.plain))
    torch.testing.assert_close(classifier.known, bank.plain / bank.plain.norm(dim=1, keepdim=True))
    backbone = backbones.load_backbone(classifiers.BACKBONE).state_dict()
    same = {name for name, tensor in classifier.model.state_dict().items() if torch.equal(tensor, backbone[name])}
    assert set(backbone) - same == {"head.weight", "head.bias"}
    assert bank.model.head.out_features == 1000  # the bank's own network stays as it was


def test_cross_validated_logits_set_how_sure_its_answers_sound():
    """Logits that are three times as large, and as often right, were three times too sure."""
    bank, (classifier, logits) = small_bank(), small_classifier()
    heat = stats.evaluate(logits, bank.folder.photos.labels, CLASSES).temperature
    probe = training.linear_probe(bank.plain, bank.folder.photos.labels, classifiers.PENALTY)
    torch.testing.assert_close(
        classifier.model.head(bank.plain) * heat, probe.linear()(bank.plain), atol=1e-3, rtol=1e-3
    )
    surer = bank.train(3 * logits)
    expected = classifier.model.head(bank.plain) / 3
    torch.testing.assert_close(surer.model.head(bank.plain), expected, atol=1e-3, rtol=1e-3)


def test_the_limit_is_the_95th_percentile_of_its_own_strangeness_without_twins():
    bank, (classifier, _) = small_bank(), small_classifier()
    groups, strangeness = bank.folder.groups, []
    for photo in range(len(bank.plain)):
        others = [i for i in range(len(bank.plain)) if groups[i] != groups[photo]]
        likeness = [torch.cosine_similarity(bank.plain[photo], bank.plain[i], dim=0).item() for i in others]
        strangeness.append(1 - sorted(likeness, reverse=True)[4])
    assert classifier.limit == pytest.approx(np.quantile(strangeness, 0.95), abs=1e-4)


def test_a_folder_of_four_has_a_limit_too():
    """Nobody has five others there, so the farthest one counts."""
    bank = made_bank([0, 0, 1, 1])
    classifier = replace(bank, model=backbones.course_resnet(2)).train(torch.zeros(4, 2))
    likeness = torch.cosine_similarity(bank.plain[:, None], bank.plain[None], dim=2)
    assert classifier.limit == pytest.approx(np.quantile(1 - likeness.amin(1), 0.95), abs=1e-5)
    assert classifier.limit < 2


def test_logits_of_other_photos_are_refused():
    with pytest.raises(ValueError, match=r"got 3 photos and 4 labels; it needs a label for each photo"):
        made_bank([0, 0, 1, 1]).train(torch.zeros(3, 2))


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tiny) -> Classifier:
    """Knows eight directions of 16; its head adds up the first eight numbers against the last eight."""
    model = tiny(classes=2)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[1.0] * 8 + [0.0] * 8, [0.0] * 8 + [1.0] * 8]))
        model.head.bias.zero_()
    model.requires_grad_(False).eval()
    return Classifier(model, ("low", "high"), 16, torch.eye(16)[:8], limit=0.9, card="# Made\n")


def test_answers_on_made_features(made):
    ordinary = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.0, 0.0] + [0.0] * 8)
    strange = torch.tensor([3.0, 0.2, 0.2, 0.2, 0.2] + [0.0] * 10 + [4.0])
    answers = made.judge(torch.stack([ordinary, 100 * ordinary, strange]))
    assert answers["class"].tolist() == ["low", "low", "high"]
    shares = torch.tensor([[3.6, 0.0], [360.0, 0.0], [3.8, 4.0]]).softmax(1)
    torch.testing.assert_close(torch.tensor(answers["shares"].tolist()), shares)
    assert answers["probability"].tolist() == pytest.approx(shares.amax(1).tolist())
    assert answers["neighbours"].tolist()[:2] == [[0, 1, 2, 3, 4]] * 2
    assert answers["neighbours"][2][0] == 0
    expected = [1 - 0.5 / ordinary.norm().item()] * 2 + [1 - 0.2 / strange.norm().item()]
    assert answers["strangeness"].tolist() == pytest.approx(expected, abs=1e-6)
    assert answers["unlike"].tolist() == [False, False, True]


def test_a_photo_at_the_limit_is_not_unlike(made):
    found = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5, 0.1] + [0.0] * 10])
    exactly = made.judge(found)["strangeness"][0]
    assert not replace(made, limit=float(exactly)).judge(found)["unlike"][0]
    assert replace(made, limit=float(exactly) - 1e-6).judge(found)["unlike"][0]


def test_fewer_photos_than_neighbours_are_all_neighbours(made):
    few = replace(made, known=made.known[:3])
    answers = few.judge(torch.eye(16)[:2])
    assert [sorted(near) for near in answers["neighbours"]] == [[0, 1, 2]] * 2


def test_its_own_photos_are_their_own_nearest_and_ordinary():
    classifier, _ = small_classifier()
    folder = small_folder()
    answers = classifier.predict(folder.photos.images[:12])
    assert [near[0] for near in answers["neighbours"]] == list(range(12))
    assert not answers["unlike"].any()


def test_noise_is_unlike_photos():
    classifier, _ = small_classifier()
    noise = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    assert classifier.predict(noise)["unlike"].all()


def test_a_photo_gets_the_same_answer_alone_and_in_a_batch():
    classifier, _ = small_classifier()
    images = new_photos().images
    together = classifier.predict(images)
    alone = pd.concat([classifier.predict(images[i : i + 1]) for i in range(len(images))])
    assert list(together) == ["class", "probability", "shares", "strangeness", "unlike", "neighbours"]
    for column in ("probability", "strangeness"):
        assert np.allclose(together[column], alone[column], atol=1e-2)
    assert np.allclose(together["shares"].tolist(), alone["shares"].tolist(), atol=1e-2)
    clear = (together["probability"] > 0.55).to_numpy()
    assert (together["class"].to_numpy() == alone["class"].to_numpy())[clear].all()


def test_photos_of_another_size_are_seen_at_its_own():
    classifier, _ = small_classifier()
    small = data.load(split="valid").only(*CLASSES).take(2).images
    direct = classifier.predict(small)
    assert direct.equals(classifier.predict(data.resize(small, SIZE)))
