"""The freezing lab without a browser: real runs of the course ResNet, a few photos and epochs long."""

import gc
import os

import pytest
import torch

from transfer_utils import backbones, course, data
from transfer_utils.course import lesson03_lab
from transfer_utils.course.lesson03_lab import Setting
from transfer_utils.data import TARGETS

TRAIN = data.load("cifar10_photos", "train").only(*TARGETS["animals"])
VALID = data.load("cifar10_photos", "valid").only(*TARGETS["animals"]).take(10, seed=0)


@pytest.fixture(scope="module")
def lab():
    return course.freezing_lab(TRAIN, VALID, epochs=2)


def frames(setting, epochs=2):
    return list(lesson03_lab.live_run(setting, TRAIN, VALID, epochs))


def test_the_lab_opens_with_one_finished_run(lab):
    assert lab.chosen["Freeze through"] == "stage2"
    assert lab.runs[0]["per_class"] == "30"
    assert len(lab.runs[0]["curve"]) == 3
    assert {"source", "through", "ratio", "augment", "seed"} < set(lab.table().columns)


def test_facts_are_those_of_the_network(lab):
    assert [stage["name"] for stage in lab.stages] == ["stem", "stage1", "stage2", "stage3", "head"]
    model = backbones.course_resnet(3)
    for fact, through in zip(lab.facts, lesson03_lab.DEPTHS.values(), strict=True):
        backbones.freeze(model, through)
        assert fact["trainable"] == backbones.count_parameters(model, trainable=True)
        assert fact["optimiser_bytes"] == 8 * fact["trainable"]
    memory, predicted = ([fact[key] for fact in lab.facts] for key in ("activation_bytes", "predicted_ms"))
    assert memory == sorted(memory, reverse=True)
    assert predicted == sorted(predicted, reverse=True)
    assert all(ms > 0 for ms in predicted)


def test_the_curve_begins_before_training_and_grows_once_an_epoch():
    shown = frames(Setting("both", 2, "pool", 10, True, 0), epochs=3)
    assert [len(frame["valid"]) for frame in shown] == [1, 1, 2, 2, 3, 3, 4]
    assert len(shown[0]["train"]) == 0
    assert shown[-1]["epoch"] == shown[-1]["epochs"] == 3
    assert shown[-1]["seconds"] > shown[0]["seconds"] > 0
    assert shown[-1]["step_ms"] > 0


@pytest.mark.parametrize("source", ["both", None])
def test_the_same_setting_gives_the_same_run(source):
    first, second = (frames(Setting(source, 5, "stage2", 3, True, 1))[-1]["valid"] for _ in range(2))
    assert first == second


def test_another_seed_draws_other_photos_and_another_head():
    zero, one = (frames(Setting("both", 5, None, 1, False, seed))[0]["valid"] for seed in (0, 1))
    assert zero != one


def test_a_run_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    frames(Setting(None, 2, None, 1, True, 0), epochs=1)
    assert torch.equal(before, torch.get_rng_state())


def test_every_depth_and_source_can_be_chosen(lab):
    for source in range(len(lab.controls[0]["options"])):
        for depth in range(len(lesson03_lab.DEPTHS)):
            lab.state = [source, 0, depth, 2, 0, 0]
            lab.finish()
            assert lab.runs[-1]["through"] == list(lesson03_lab.DEPTHS)[depth]
            assert lab.frame["through"] == depth


def test_nothing_is_written_to_the_cache(own_home):
    frames(Setting("both", 2, "stage1", 1, True, 0), epochs=1)
    assert not own_home.exists()


def test_a_class_with_one_photo_is_refused():
    with pytest.raises(ValueError, match="needs at least 2 per class"):
        course.freezing_lab(TRAIN.take(1, seed=0), VALID)


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (VALID.only("deer", "cat", "horse"), r"take valid\.only\('cat', 'deer', 'horse'\)"),
        (VALID.only("cat", "deer"), "no valid photos of horse"),
        (data.load(split="valid").take(2), r"take valid\.only\('cat', 'deer', 'horse'\)"),
        (data.load(split="valid").only("cat", "deer", "ship"), "no valid photos of horse"),
        (VALID[:0], "0 valid photos"),
    ],
)
def test_the_lab_refuses_other_valid_photos_at_once(valid, message):
    """In a cell, that is: later the page could only say that a run failed."""
    with pytest.raises(ValueError, match=message):
        course.freezing_lab(TRAIN, valid)


@pytest.mark.slow
def test_a_hundred_moves_do_not_pile_up_memory(lab):
    def moved(count):
        for move in range(count):
            lab.state = [move % 5, move % 4, move % 5, move % 3, move % 2, move % 5]
            lab._answer({"act": "step", "run": lab.run})
        gc.collect()
        with open(f"/proc/{os.getpid()}/statm") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc to measure memory")
    before = moved(30)
    assert moved(100) - before < 50e6
    lab.finish()
