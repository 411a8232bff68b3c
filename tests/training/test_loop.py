import copy
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from transfer_utils import data
from transfer_utils.backbones import StagedModel, course_resnet, drift, freeze
from transfer_utils.data import augment
from transfer_utils.machine import device, memory
from transfer_utils.training import (
    Epoch,
    Recipe,
    Step,
    accuracy,
    batches,
    features,
    fit,
    fit_until_flat,
    loop,
    predict,
    train,
)

QUICK = Recipe(epochs=2, batch=32)


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


# --- it learns ----------------------------------------------------------------------------------------------------


def test_it_learns(pairs):
    history = fit(model := course_resnet(2), *pairs, 32, Recipe(epochs=6, batch=16), progress=False)
    assert list(history.columns) == ["epoch", "loss", "train", "valid"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["loss"].iloc[-1] < 0.75 * history["loss"].iloc[0]
    assert history["train"].iloc[-1] > 0.75
    assert history["valid"].iloc[-1] > 0.75  # chance: 0.5
    assert history["valid"].iloc[-1] == pytest.approx(accuracy(model, pairs[1], 32), abs=0.03)


def test_same_seed_same_weights(tiny, pairs):
    models = [tiny() for _ in range(2)]
    histories = [fit(model, *pairs, 32, QUICK, progress=False) for model in models]
    assert drift(state(models[0]), models[1]) == {}
    assert histories[0].equals(histories[1])


def test_other_seed_other_weights(tiny, pairs):
    models = [tiny(), tiny()]
    for seed, model in enumerate(models):
        fit(model, pairs[0], None, 32, replace(QUICK, seed=seed), progress=False)
    assert drift(state(models[0]), models[1])


@pytest.mark.parametrize("through", [None, "stem"])
def test_gradients_that_somebody_left_behind_change_nothing(tiny, pairs, through):
    """An interrupt leaves some between the backward pass and the step, and so does a cell of one's own."""
    models = [tiny(), tiny()]
    models[1].eval()(torch.ones(2, 3, 8, 8)).square().sum().backward()
    models[1].train()
    for model in models:
        fit(freeze(model, through), pairs[0], None, 32, QUICK, progress=False)
    assert drift(state(models[0]), models[1]) == {}


def test_augmentation_is_drawn_from_the_seed_and_can_be_left_out(tiny, pairs):
    models = [tiny(), tiny()]
    for model, augmented in zip(models, (True, False), strict=True):
        fit(model, pairs[0], None, 32, replace(QUICK, augment=augmented), progress=False)
    assert drift(state(models[0]), models[1])


def test_smoothing_spreads_a_share_of_the_target(tiny, pairs):
    """The first loss is what nn.CrossEntropyLoss makes of the first batch."""
    model, how = tiny(), Recipe(epochs=1, batch=32, augment=False, smoothing=0.3)
    twin = copy.deepcopy(model).train()
    first = next(train(model, pairs[0], None, 32, how))
    order = torch.randperm(len(pairs[0]), generator=torch.Generator().manual_seed(1)).tensor_split(4)[0]
    seen = pairs[0][order]
    wanted = nn.CrossEntropyLoss(label_smoothing=0.3)(twin(twin.preprocess(seen.images)), seen.labels)
    assert first.loss.item() == pytest.approx(wanted.item(), abs=2e-2)


@pytest.mark.parametrize("through", [None, "stem", "pool"])
def test_mixup_mixes_by_the_seed_and_leaves_the_state_of_all_draws_alone(tiny, pairs, through):
    models, before = [tiny() for _ in range(4)], torch.get_rng_state()
    for model, (mixup, seed) in zip(models, [(0.0, 0), (0.2, 0), (0.2, 0), (0.2, 1)], strict=True):
        fit(freeze(model, through), pairs[0], None, 32, replace(QUICK, mixup=mixup, seed=seed), progress=False)
    plain, mixed, again, other = map(state, models)
    assert drift(mixed, again) == {}
    assert drift(mixed, plain)
    assert drift(mixed, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mixture_is_of_two_photos_and_its_targets_are_their_labels():
    x, y = torch.randn(6, 3, 2, 2), torch.arange(6)
    mixed, ((share, labels), (rest, others)) = batches.mixed_up(x, y, 0.5)
    assert share + rest == pytest.approx(1)
    assert torch.equal(labels, y)
    assert sorted(others.tolist()) == y.tolist()
    assert torch.allclose(mixed, share * x + rest * x[others])
    assert batches.mixed_up(x, y, 0.0) == (x, [(1.0, y)])


def test_fixed_views_are_all_that_it_sees(tiny, pairs, monkeypatch):
    model, seen, made, flip_and_shift = tiny(), set(), [], data.flip_and_shift
    views = model.preprocess(data.views(pairs[0].images, seed=1).flatten(0, 1))
    monkeypatch.setattr(augment, "flip_and_shift", lambda *given: made.append(1) or flip_and_shift(*given))
    model.stem.register_forward_pre_hook(lambda _, x: seen.update(photo.numpy().tobytes() for photo in x[0]))
    fit(model, pairs[0], None, 32, Recipe(epochs=3, batch=32, seed=1, fixed_views=True), progress=False)
    assert seen <= {photo.numpy().tobytes() for photo in views}
    assert len(seen) > 1.5 * len(pairs[0])  # more than one view of most photos
    assert len(made) == data.VIEWS


def test_without_augmentation_fixed_views_change_nothing(tiny, pairs):
    models = [tiny(), tiny()]
    for model, fixed in zip(models, (True, False), strict=True):
        fit(model, pairs[0], None, 32, replace(QUICK, augment=False, fixed_views=fixed), progress=False)
    assert drift(state(models[0]), models[1]) == {}


def test_head_ratio_slows_the_stages_below(tiny, pairs):
    moved = {}
    for ratio in (1, 1000):
        model, before = tiny(), state(tiny())
        fit(model, pairs[0], None, 32, replace(QUICK, head_ratio=ratio, decay=0.0), progress=False)
        moved[ratio] = drift(before, model)
    assert moved[1000]["stem.0.weight"] < moved[1]["stem.0.weight"] / 100
    assert moved[1000]["head.weight"] > moved[1]["head.weight"] / 10


# --- the generator ------------------------------------------------------------------------------------------------


def test_steps_and_epochs(tiny, pairs):
    records = list(train(tiny(), *pairs, 32, replace(QUICK, batch=50)))
    # 128 photos in batches of about 50: two steps an epoch
    assert [type(r) for r in records] == [Step, Step, Epoch] * 2
    assert [r.epoch for r in records] == [1, 1, 1, 2, 2, 2]
    steps = [r for r in records if isinstance(r, Step)]
    assert [(r.step, r.steps) for r in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(isinstance(r.loss, torch.Tensor) and not r.loss.requires_grad for r in steps)
    expected = (records[0].loss + records[1].loss) / 2  # two batches of 64
    assert records[2].loss == pytest.approx(expected.item(), rel=1e-5)
    assert 0 < records[2].train <= 1
    assert 0 < records[2].valid <= 1


def test_every_photo_is_seen_once_an_epoch(tiny, pairs):
    model, seen = tiny(), []
    model.stem.register_forward_pre_hook(lambda _, x: seen.append([photo.numpy().tobytes() for photo in x[0]]))
    fit(model, pairs[0], None, 32, replace(QUICK, batch=50, augment=False), progress=False)
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == sorted(p.numpy().tobytes() for p in model.preprocess(pairs[0].images))
    assert first != second


def test_break_keeps_what_was_learned(tiny, pairs):
    model, before = tiny(), state(tiny())
    for record in train(model, *pairs, 32, QUICK):
        if record.step == 3:
            learned = state(model)
            break
    assert "head.weight" in drift(before, model)
    assert drift(learned, model) == {}


@pytest.mark.parametrize("through", [None, "stem"])
def test_training_updates_batch_norm_in_every_step(tiny, pairs, through):
    """Also after eval() before the training, and after each look at the valid photos."""
    model = freeze(tiny(), through).eval()
    fit(model, *pairs, 32, replace(QUICK, epochs=3), progress=False)
    assert model.body[1].num_batches_tracked == 3 * 4


def test_valid_is_looked_at_as_often_as_asked(tiny, pairs):
    history = fit(tiny(), *pairs, 32, Recipe(epochs=5, batch=64, evaluate_every=2), progress=False)
    assert history["valid"].notna().tolist() == [False, True, False, True, True]


def test_valid_is_optional(tiny, pairs):
    assert list(fit(tiny(), pairs[0], None, 32, QUICK, progress=False).columns) == ["epoch", "loss", "train"]


def test_photos_are_seen_at_the_size_asked_for(tiny, pairs, monkeypatch):
    model, sizes = tiny(), set()
    model.stem.register_forward_pre_hook(lambda _, x: sizes.add(tuple(x[0].shape[-2:])))
    fit(model, *pairs, 24, replace(QUICK, epochs=1), progress=False)
    assert sizes == {(24, 24)}


def test_a_single_step_works(tiny, pairs):
    photos = pairs[0].take(4)
    history = fit(tiny(), photos, None, 32, Recipe(epochs=1, batch=64), progress=False)
    assert len(history) == 1


def rates(monkeypatch, model, photos, recipe: Recipe) -> list[list[float]]:
    """The learning rate of every group at every step."""
    seen = []

    class Noting(torch.optim.AdamW):
        def step(self, *arguments, **options):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop.torch.optim, "AdamW", Noting)
        fit(model, photos, None, 32, recipe, progress=False)
    return seen


def test_the_rate_rises_to_its_peak_and_falls_to_nothing(tiny, pairs, monkeypatch):
    recipe = Recipe(epochs=10, batch=32, rate=1e-3, head_ratio=10)
    head, below = zip(*rates(monkeypatch, tiny(), pairs[0], recipe), strict=True)
    assert len(head) == 40
    assert max(head) == pytest.approx(1e-3)
    assert 5 <= head.index(max(head)) <= 15  # a quarter of the way
    assert head[0] < 1e-4
    assert head[-1] < 1e-6
    assert below == pytest.approx([rate / 10 for rate in head])


def test_without_annealing_the_rate_stays(tiny, pairs, monkeypatch):
    recipe = Recipe(epochs=10, batch=32, rate=1e-3, anneal=False)
    head = [step[0] for step in rates(monkeypatch, tiny(), pairs[0], recipe)]
    assert head[0] == pytest.approx(1e-4)
    assert head[:21] == sorted(head[:21])
    assert head[20:] == pytest.approx([1e-3] * 20)


# --- fit ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupt(monkeypatch):
    """Press the stop button during the given step."""

    def at(step: int) -> None:
        calls, loss = [], loop.cross_entropy

        def counted(*arguments, **options):
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            return loss(*arguments, **options)

        monkeypatch.setattr(loop, "cross_entropy", counted)

    return at


def test_interrupt_keeps_model_and_history(tiny, pairs, interrupt, capsys):
    interrupt(7)  # four steps an epoch: in the middle of the second one
    model, before = tiny(), state(tiny())
    history = fit(model, *pairs, 32, Recipe(epochs=5, batch=32), progress=False)
    assert history["epoch"].tolist() == [1]
    assert {"head.weight", "stem.0.weight"} <= set(drift(before, model))
    assert "Interrupted after 1 of 5 epochs; the model keeps what it learned." in capsys.readouterr().out
    assert 0 <= accuracy(model, pairs[1], 32) <= 1


def test_interrupt_before_the_first_epoch_ends(tiny, pairs, interrupt):
    interrupt(2)
    assert fit(tiny(), *pairs, 32, QUICK, progress=False).empty


def test_fit_shows_progress_only_when_asked(tiny, pairs, capsys):
    fit(tiny(), pairs[0], None, 32, replace(QUICK, epochs=1), progress=False)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


# --- behind a frozen prefix ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["stem", "body", "pool"])
@pytest.mark.parametrize("augment", [True, False])
def test_frozen_prefix_trains_on_cached_features(tiny, pairs, own_home, in_float32, through, augment):
    model = freeze(tiny(), through)
    before, rest = model.frozen_state(), state(model)
    history = fit(model, *pairs, 32, replace(QUICK, epochs=3, augment=augment), progress=False)
    assert drift(before, model) == {}
    assert "head.weight" in drift(rest, model)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["valid"].iloc[-1] == pytest.approx(accuracy(model, pairs[1], 32))
    assert len(list((own_home / "features").iterdir())) == 2  # one for train, one for valid


def test_frozen_prefix_runs_once_per_photo(tiny, pairs, own_home):
    model, photos = freeze(tiny(), "body"), []
    model.body.register_forward_hook(lambda _, x, y: photos.append(len(y)))
    fit(model, *pairs, 32, replace(QUICK, epochs=4, augment=False), progress=False)
    assert sum(photos) == len(pairs[0]) + len(pairs[1])


@pytest.mark.parametrize("through", ["body", "pool"])
@pytest.mark.parametrize("same_photos", [{"augment": False}, {"fixed_views": True}])
def test_cached_features_and_the_whole_network_agree(tiny, pairs, in_float32, monkeypatch, through, same_photos):
    """Where both see the same photos, running only the rest must be the same training as running everything."""
    recipe = replace(QUICK, epochs=4, **same_photos)
    cached, whole = freeze(tiny(), through), freeze(tiny(), through)
    cached_history = fit(cached, *pairs, 32, recipe, progress=False)
    monkeypatch.setattr(StagedModel, "frozen", [])
    whole_history = fit(whole, *pairs, 32, recipe, progress=False)
    torch.testing.assert_close(cached.head.weight, whole.head.weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(predict(cached, pairs[1], 32), predict(whole, pairs[1], 32), atol=1e-3, rtol=1e-3)
    assert cached_history["loss"].tolist() == pytest.approx(whole_history["loss"].tolist(), rel=1e-3)
    assert cached_history["valid"].tolist() == pytest.approx(whole_history["valid"].tolist(), abs=0.03)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("cache", [True, False])
def test_the_disk_is_used_only_when_asked(tiny, pairs, own_home, augment, cache):
    model = freeze(tiny(), "body")
    for _ in train(model, *pairs, 32, replace(QUICK, epochs=1, augment=augment), cache=cache):
        pass
    assert own_home.exists() is cache


def test_each_photo_of_a_batch_draws_its_own_view(tiny, pairs, monkeypatch):
    views = torch.arange(4.0).view(4, 1, 1).expand(4, len(pairs[0]), 16)
    monkeypatch.setattr(features, "extract_views", lambda *_: views)
    model, seen = freeze(tiny(), "pool"), []
    model.head.register_forward_pre_hook(lambda _, x: seen.append(x[0][:, 0].tolist()))
    fit(model, pairs[0], None, 32, replace(QUICK, batch=64), progress=False)
    assert [set(batch) for batch in seen] == [{0.0, 1.0, 2.0, 3.0}] * 4
    assert seen[:2] != seen[2:]  # and another one in the next epoch


# --- what it refuses ----------------------------------------------------------------------------------------------


def test_wrong_number_of_classes(tiny, pairs):
    with pytest.raises(ValueError, match=r"head has 5 outputs and the photos have 2 classes.*model\.new_head\(2\)"):
        fit(tiny(classes=5), *pairs, 32, QUICK, progress=False)


def test_everything_frozen(tiny, pairs):
    with pytest.raises(ValueError, match="Every stage is frozen, so nothing can train. Freeze through an earlier"):
        fit(freeze(tiny(), "head"), *pairs, 32, QUICK, progress=False)


NO_RECIPES = [
    *((name, value) for name in ("epochs", "batch", "evaluate_every") for value in (0, -1, 2.5, "3", None, True)),
    *((name, value) for name in ("rate", "head_ratio") for value in (0, -1, float("nan"), float("inf"), "1e-3", None)),
    *((name, value) for name in ("decay", "mixup") for value in (-1, float("nan"), None, "0.2")),
    *(("smoothing", value) for value in (-0.1, 1, 1.5, float("nan"), None, "0.1")),
    *(("seed", value) for value in (None, 0.5, 2**32, -(2**32), "0")),
]


@pytest.mark.parametrize(("name", "value"), NO_RECIPES)
def test_what_nobody_can_train_with_is_no_recipe(name, value):
    """evaluate_every=0 failed after the first epoch; a rate of 0 or NaN did not fail at all."""
    said = rf"Recipe\(\) got {name}={re.escape(repr(value))}; it must be a .*, for example \d"
    with pytest.raises(ValueError, match=said):
        Recipe(**{name: value})


@pytest.mark.parametrize("call", ["train", "fit"])
@pytest.mark.parametrize("recipe", ["fast", {"epochs": 1}, 20])
def test_what_is_no_recipe_is_refused_before_the_training(untouched, pairs, call, recipe):
    with pytest.raises(TypeError, match=r"a recipe of type .*; give a Recipe, for example Recipe\(20\)"):
        TRAININGS[call](untouched, *pairs, 32, recipe)


def test_numbers_of_numpy_make_the_same_recipe(tiny, pairs):
    """As they come out of a table."""
    numbers = {"epochs": 1, "batch": 32, "seed": 3}
    one, other = tiny(), tiny()
    fit(one, pairs[0], None, 32, Recipe(**numbers), progress=False)
    fit(other, pairs[0], None, 32, Recipe(**{name: np.int64(n) for name, n in numbers.items()}), progress=False)
    assert drift(state(one), other) == {}


def test_one_photo(tiny, pairs):
    with pytest.raises(ValueError, match="got 1 photos; it needs at least 2"):
        fit(tiny(), pairs[0][:1], None, 32, QUICK, progress=False)


SIZES = [0, -3, 32.5, 32.0, "32", (32, 32), True, None]
TRAININGS = {
    "train": train,  # a generator, that refuses before its first step
    "fit": lambda model, photos, valid, size, recipe: fit(model, photos, valid, size, recipe, progress=False),
    "fit_until_flat": lambda *given: fit_until_flat(*given, patience=1),
}


@pytest.fixture
def untouched(tiny):
    """A model that must be as before when all is over."""
    model = tiny()
    before = state(model)
    yield model
    assert drift(before, model) == {}
    assert model.training


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("call", TRAININGS)
def test_a_size_that_is_none_is_refused_before_the_training(untouched, pairs, call, size):
    with pytest.raises(ValueError, match=rf"\(\) got size={re.escape(repr(size))}; .*whole number of at least 1"):
        TRAININGS[call](untouched, *pairs, size, QUICK)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("call", [predict, accuracy])
def test_a_size_that_is_none_is_refused(untouched, pairs, call, size):
    with pytest.raises(ValueError, match=rf"{call.__name__}\(\) got size={re.escape(repr(size))}; "):
        call(untouched, pairs[1], size)


OTHERS = {
    "another order": (("frog", "airplane"), r"take valid\.only\('airplane', 'frog'\)"),
    "one more": (("airplane", "frog", "cat"), r"take valid\.only\('airplane', 'frog'\)"),
    "one more, in front": (("cat", "airplane", "frog"), r"take valid\.only\('airplane', 'frog'\)"),
    "one less": (("airplane",), "there are no valid photos of frog"),
    "another one": (("airplane", "cat"), "there are no valid photos of frog"),
    "other ones": (("ship", "cat"), "there are no valid photos of airplane, frog"),
}


@pytest.mark.parametrize("call", TRAININGS)
@pytest.mark.parametrize("case", OTHERS)
def test_valid_photos_with_other_classes_or_another_order_are_refused(untouched, pairs, call, case):
    names, way = OTHERS[case]
    valid = data.load(split="valid").only(*names).take(4)
    with pytest.raises(ValueError, match=rf"classes airplane, frog and the valid photos {', '.join(names)}\..*{way}"):
        TRAININGS[call](untouched, pairs[0], valid, 32, QUICK)


def test_the_way_out_of_another_order_is_one(tiny, pairs):
    swapped = pairs[1].only("frog", "airplane")
    history = fit(tiny(), pairs[0], swapped.only("airplane", "frog"), 32, QUICK, progress=False)
    assert history["valid"].notna().all()


@pytest.mark.parametrize("call", TRAININGS)
@pytest.mark.parametrize("none", [slice(0, 0), [], torch.zeros(80, dtype=torch.bool), slice(99, None)])
def test_no_valid_photos_are_refused(untouched, pairs, call, none):
    with pytest.raises(ValueError, match="got 0 valid photos; it needs at least 1"):
        TRAININGS[call](untouched, pairs[0], pairs[1][none], 32, QUICK)


@pytest.mark.parametrize("call", TRAININGS)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("take", [lambda p: p.images, lambda p: p.images.numpy(), lambda p: (p.images, p.labels), str])
def test_what_is_no_set_of_photos_is_refused(untouched, pairs, call, place, take):
    given = [take(photos) if i == place else photos for i, photos in enumerate(pairs)]
    with pytest.raises(TypeError, match=r"\(\) got photos of type .*ImageSet\(images, labels, classes\)"):
        TRAININGS[call](untouched, *given, 32, QUICK)


@pytest.mark.parametrize("call", [predict, accuracy])
@pytest.mark.parametrize("take", [lambda p: p.images, lambda p: p.images.numpy(), lambda p: (p.images, p.labels), str])
def test_nothing_is_predicted_for_what_is_no_set(untouched, pairs, call, take):
    with pytest.raises(TypeError, match=rf"{call.__name__}\(\) got photos of type"):
        call(untouched, take(pairs[1]), 32)


def test_until_flat_needs_valid_photos(untouched, pairs):
    with pytest.raises(TypeError, match=r"fit_until_flat\(\) got photos of type NoneType"):
        fit_until_flat(untouched, pairs[0], None, 32, QUICK, patience=1)


@pytest.mark.parametrize("outputs", [3, 5, 10, 1000])
def test_accuracy_needs_the_classes_of_the_head(tiny, pairs, outputs):
    model = tiny(classes=outputs)
    with pytest.raises(ValueError, match=rf"head has {outputs} outputs and the photos have 2 classes.*Give photos"):
        accuracy(model, pairs[1], 32)
    assert predict(model, pairs[1], 32).shape == (80, outputs)  # what labels mean is no matter here


@pytest.mark.parametrize("none", [slice(0, 0), [], torch.zeros(80, dtype=torch.bool)])
def test_of_no_photos_there_is_no_accuracy(untouched, pairs, none):
    with pytest.raises(ValueError, match=r"accuracy\(\) got 0 photos"):
        accuracy(untouched, pairs[1][none], 32)
    assert predict(untouched, pairs[1][none], 32).shape == (0, 2)


# --- until flat ---------------------------------------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    """Let valid accuracy follow a script, and keep the weights at every look."""

    def follow(*script: float) -> list[dict[str, torch.Tensor]]:
        looks: list[dict[str, torch.Tensor]] = []

        def evaluator(model, *_):
            def look() -> float:
                looks.append(state(model))
                return script[len(looks) - 1]

            return look

        monkeypatch.setattr(loop, "_looker", evaluator)
        return looks

    return follow


def test_until_flat_restores_the_best_epoch(tiny, pairs, scripted):
    looks = scripted(0.5, 0.9, 0.6, 0.7, 0.95)
    model = tiny()
    history = fit_until_flat(model, *pairs, 32, Recipe(epochs=5, batch=64), patience=2)
    assert history["valid"].tolist() == [0.5, 0.9, 0.6, 0.7]  # the fifth epoch never came
    assert drift(looks[1], model) == {}
    assert drift(looks[3], model)


def test_until_flat_may_take_all_epochs(tiny, pairs, scripted):
    looks = scripted(0.5, 0.4, 0.6, 0.5, 0.7)
    model = tiny()
    history = fit_until_flat(model, *pairs, 32, Recipe(epochs=5, batch=64), patience=2)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert drift(looks[4], model) == {}


def test_until_flat_prefers_the_earlier_of_equals(tiny, pairs, scripted):
    looks = scripted(0.8, 0.8)
    model = tiny()
    fit_until_flat(model, *pairs, 32, Recipe(epochs=2, batch=64), patience=1)
    assert drift(looks[0], model) == {}


def test_until_flat_counts_looks_not_epochs(tiny, pairs, scripted):
    scripted(0.9, 0.5, 0.5)
    history = fit_until_flat(tiny(), *pairs, 32, Recipe(epochs=6, batch=64, evaluate_every=2), patience=2)
    assert history["epoch"].tolist() == [2, 4, 6]


def test_until_flat_keeps_the_best_epoch_of_those_before_an_interrupt(tiny, pairs, scripted, interrupt, capsys):
    looks = scripted(0.9, 0.5, 0.5)
    interrupt(6)  # two steps an epoch: in the third one
    model = tiny()
    history = fit_until_flat(model, *pairs, 32, Recipe(epochs=5, batch=64), patience=3)
    assert history["valid"].tolist() == [0.9, 0.5]
    assert drift(looks[0], model) == {}
    assert "Interrupted after 2 of 5 epochs" in capsys.readouterr().out


@pytest.mark.parametrize("patience", [0, -1, 1.5, "2", None])
def test_a_patience_that_is_none_is_refused_before_the_training(tiny, pairs, patience):
    with pytest.raises(ValueError, match=r"got patience=.*; it must be a whole number of looks, at least 1"):
        fit_until_flat(tiny(), *pairs, 32, QUICK, patience)


# --- who calls it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("through", [None, "stem"])
def test_gradients_that_the_caller_switched_off_are_on_in_a_training(tiny, pairs, off, through):
    """Many notebooks begin with torch.set_grad_enabled(False)."""
    expected, model = freeze(tiny(), through), freeze(tiny(), through)
    fit(expected, *pairs, 32, QUICK, progress=False)
    with off():
        fit(model, *pairs, 32, QUICK, progress=False)
        assert not torch.is_grad_enabled()
    assert drift(state(expected), model) == {}


class Checkpointed(nn.Module):
    """Computed again in the backward pass, to save memory."""

    def __init__(self, share: float):
        super().__init__()
        self.drop = nn.Dropout(share)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(lambda x: torch.tanh(self.drop(x)), x, use_reentrant=False)


class Noisy(nn.Module):
    """With noise in its gradients, which no computing again explains."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(lambda slope: slope + torch.randn_like(slope))
        return x * 1


def test_dropout_in_a_checkpointed_part_is_refused_since_it_would_drop_others_in_the_backward_pass(tiny, pairs):
    model = tiny()
    model.pool = nn.Sequential(model.pool, Checkpointed(0.5))
    with pytest.raises(RuntimeError, match=r"draws random numbers, as dropout does.*set_grad_checkpointing\(False\)"):
        fit(model, *pairs, 32, QUICK, progress=False)


@pytest.mark.parametrize("part", [Checkpointed(0.0), nn.Dropout(0.5), Noisy()], ids=lambda part: type(part).__name__)
def test_other_parts_that_draw_or_are_checkpointed_train(tiny, pairs, part):
    model = tiny()
    model.pool = nn.Sequential(model.pool, part)
    assert len(fit(model, *pairs, 32, QUICK, progress=False)) == 2


# --- what the hardware asks for -----------------------------------------------------------------------------------


class Faint(nn.Module):
    """Scales down, so that the gradients behind it are too small for float16."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1e-6


@pytest.fixture
def plain() -> Callable[..., StagedModel]:
    """Build a network without batch-norm, so that a batch and its parts mean the same, and without convolutions,
    which take processors minutes in float16."""

    def build(*middle: nn.Module) -> StagedModel:
        torch.manual_seed(0)
        stages = OrderedDict(
            stem=nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.Tanh()),
            body=nn.Sequential(nn.Linear(16, 16), nn.Tanh(), *middle),
            head=nn.Linear(16, 2),
        )
        return StagedModel(stages, mean=(0.5,) * 3, std=(0.25,) * 3, name="plain")

    return build


@pytest.fixture
def in_float16(monkeypatch) -> None:
    """As on a T4, with the optimiser that graphics cards have. Processors can do it too, but slowly."""
    monkeypatch.setattr(device, "precision", lambda _: torch.float16)
    monkeypatch.setattr(features, "precision", lambda _: torch.float16)
    adam = torch.optim.AdamW
    monkeypatch.setattr(
        loop.torch.optim,
        "AdamW",
        lambda groups, weight_decay, fused: adam(groups, weight_decay=weight_decay, fused=True),
    )


@pytest.fixture
def by_descent(monkeypatch) -> None:
    """Plain gradient descent: AdamW takes the same steps for gradients that are twice as large."""

    def descent(groups, **_):
        return torch.optim.SGD(groups, momentum=0.9)

    monkeypatch.setattr(loop.torch.optim, "AdamW", descent)


def narrow(model: StagedModel, limit: int) -> list[int]:
    """Let a model's memory run out on more than `limit` photos, and at the third attempt, whatever its size."""
    sizes: list[int] = []

    def hook(_, x: tuple[Tensor]) -> None:
        sizes.append(len(x[0]))
        if len(x[0]) > limit or len(sizes) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.body.register_forward_pre_hook(hook)
    return sizes


@pytest.mark.parametrize("through", [None, "stem"])
def test_when_memory_runs_out_smaller_parts_give_the_same_training(
    plain, pairs, in_float32, by_descent, capsys, through
):
    whole, parted = freeze(plain(), through), freeze(plain(), through)
    recipe = Recipe(epochs=3, batch=34, augment=False, rate=0.1, decay=0.0)
    expected = list(train(whole, pairs[0], None, 32, recipe, cache=False))
    sizes = narrow(parted, limit=22)
    records = list(train(parted, pairs[0], None, 32, recipe, cache=False))
    # 43, 43 and 42 photos in a batch; the failure of the second part must not leave the first one's gradients behind
    assert sizes[:12] == [43, 22, 21, 11, 11, 11, 10, 11, 11, 11, 10, 11]
    assert drift(state(plain()), parted)["head.weight"] > 0.05
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parted.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)
    assert [float(r.loss) for r in records] == pytest.approx([float(r.loss) for r in expected], rel=1e-4)
    ends, ends_expected = ([r.train for r in run if isinstance(r, Epoch)] for run in (records, expected))
    assert ends == pytest.approx(ends_expected, rel=1e-4)
    assert capsys.readouterr().err == memory.SMALLER + "\n"


def test_when_memory_runs_out_features_are_the_same(plain, pairs, in_float32):
    whole, parted = plain(), plain()
    sizes = narrow(parted, limit=40)
    torch.testing.assert_close(predict(parted, pairs[0], 32), predict(whole, pairs[0], 32))
    assert sizes == [128, 64, 32, *[16] * 8]


def test_memory_that_never_suffices_is_an_error(plain, pairs):
    model = plain()
    narrow(model, limit=0)
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        fit(model, *pairs, 32, QUICK, progress=False)


@pytest.mark.parametrize("through", [None, "stem"])
@pytest.mark.parametrize("views", [{}, {"augment": False}, {"fixed_views": True}], ids=["fresh", "none", "fixed"])
def test_streamed_photos_give_exactly_the_same_training(tiny, pairs, monkeypatch, through, views):
    kept, streamed, pinned = freeze(tiny(), through), freeze(tiny(), through), []
    fit(kept, *pairs, 32, replace(QUICK, **views), progress=False)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 0)
    monkeypatch.setattr(Tensor, "pin_memory", lambda rows: pinned.append(len(rows)) or rows)
    fit(streamed, *pairs, 32, replace(QUICK, **views), progress=False)
    assert drift(state(kept), streamed) == {}
    assert pinned.count(32) == 8  # and, behind a frozen stage, what the valid photos are there


def test_float16_with_scaled_gradients_learns(plain, pairs, in_float16):
    dtypes, model = set(), plain()
    model.head.register_forward_hook(lambda *given: dtypes.add(given[-1].dtype))
    history = fit(model, *pairs, 32, Recipe(epochs=6, batch=32, augment=False), progress=False)
    assert dtypes == {torch.float16}
    assert history["loss"].iloc[-1] < 0.75 * history["loss"].iloc[0]
    assert history["valid"].iloc[-1] > 0.75  # chance: 0.5


@pytest.mark.parametrize("scaled", [True, False])
def test_gradients_too_small_for_float16_survive_because_they_are_scaled(plain, pairs, in_float16, monkeypatch, scaled):
    if not scaled:
        monkeypatch.setattr(loop, "gradient_scaler", lambda _: torch.amp.GradScaler("cpu", enabled=False))
    model, before = plain(Faint()), state(plain(Faint()))
    fit(model, pairs[0], None, 32, replace(QUICK, decay=0.0), progress=False)
    moved = drift(before, model)
    assert "head.bias" in moved
    assert ("stem.1.weight" in moved) is scaled


def test_a_step_whose_gradients_overflow_is_left_out(plain, pairs, in_float16):
    model, seen = plain(), []

    def overflow(gradient: Tensor) -> Tensor:
        return gradient * float("inf") if len(seen) == 1 else gradient

    model.head.weight.register_hook(overflow)
    for record in train(model, pairs[0], None, 32, QUICK):
        if isinstance(record, Step):
            seen.append(state(model))
    assert drift(seen[0], seen[1]) == {}  # nothing at all moved in the second step
    assert "head.weight" in drift(seen[1], seen[2])
    assert all(tensor.isfinite().all() for tensor in seen[-1].values())


# --- predictions --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_predict_is_the_model_in_eval_mode(tiny, pairs, in_float32):
    model = tiny()
    logits = predict(model, pairs[1], 48)
    assert model.training
    expected = copy.deepcopy(model).eval()(model.preprocess(data.resize(pairs[1].images, 48)))
    torch.testing.assert_close(logits, expected)


def test_accuracy_is_the_share_of_right_photos(tiny, pairs):
    model = tiny()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 1.0]))
    assert accuracy(model, pairs[1], 32) == 0.5
    assert accuracy(model, pairs[1].take(40)[40:], 32) == 1.0
