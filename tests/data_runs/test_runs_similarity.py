import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import one_hot

from runs import similarity
from transfer_utils import course, data
from transfer_utils.data import VIEWS

FIVE = ["cat", "deer", "horse", "ship", "truck"]

# --- alignment ------------------------------------------------------------------------------------------------------


def cloud(count=60, width=5, apart=1.0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % 3
    return torch.randn(count, width) + apart * one_hot(labels, width), labels


def by_kernels(bank, labels) -> float:
    """The definition: centre both kernel matrices, and take the cosine between them."""
    count = len(labels)
    centre = np.eye(count) - np.full((count, count), 1 / count)
    same_class = labels.numpy()[:, None] == labels.numpy()[None]
    first, second = (centre @ k @ centre for k in (bank.double().numpy() @ bank.double().numpy().T, same_class))
    return (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())


@pytest.mark.parametrize(("count", "width"), [(30, 4), (12, 40)], ids=["many photos", "many dimensions"])
def test_alignment_is_the_cosine_between_centred_kernels(count, width):
    bank, labels = cloud(count, width)
    found = similarity.alignment(bank, labels)
    assert found == pytest.approx(by_kernels(bank, labels), rel=1e-9)
    assert 0.05 < found < 0.95


def test_features_that_are_the_labels_align_fully():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert similarity.alignment(one_hot(labels).float(), labels) == pytest.approx(1)
    assert similarity.alignment(one_hot(1 - labels[:5]).float(), labels[:5]) == pytest.approx(1)  # names do not count


@pytest.mark.parametrize("change", ["rotated", "scaled", "shifted", "shuffled"])
def test_alignment_does_not_depend_on_the_axes(change):
    bank, labels = cloud()
    before = similarity.alignment(bank, labels)
    if change == "rotated":
        bank = bank @ torch.linalg.qr(torch.randn(5, 5)).Q
    elif change == "scaled":
        bank = 300 * bank
    elif change == "shifted":
        bank = bank + torch.randn(5)
    else:
        order = torch.randperm(len(bank))
        bank, labels = bank[order], labels[order]
    assert similarity.alignment(bank, labels) == pytest.approx(before, rel=1e-4)


def test_alignment_of_noise_is_near_zero_and_grows_with_distance():
    found = [similarity.alignment(*cloud(3000, apart=apart)) for apart in (0.0, 1.0, 3.0)]
    assert found[0] < 0.01
    assert found == sorted(found)
    assert found[2] > 0.5


# --- from rows to a table -------------------------------------------------------------------------------------------


def test_gains_are_means_over_seeds_minus_random_weights():
    rows = pd.DataFrame(
        [
            ("scratch", "a or b", 0, 0.6, 0.1, None),
            ("scratch", "a or b", 1, 0.5, 0.2, None),
            ("scratch", "b or c", 0, 0.7, 0.1, None),
            ("scratch", "b or c", 1, 0.7, 0.1, None),
            ("both", "b or c", 0, 0.6, 0.4, 0.25),
            ("both", "a or b", 0, 0.9, 0.3, 0.5),
            ("both", "a or b", 1, 0.8, 0.5, 0.5),
            ("both", "b or c", 1, 0.7, 0.6, 0.25),
        ],
        columns=["source", "task", "seed", "test", "alignment", "nearness"],
    )
    table = course.gains_by_task(rows.sample(frac=1, random_state=0)).set_index(["source", "task"])
    assert set(table.index) == {("both", "a or b"), ("both", "b or c")}
    assert table.loc[("both", "a or b"), ["gain", "alignment", "nearness"]].tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert table.loc[("both", "b or c"), ["gain", "alignment", "nearness"]].tolist() == pytest.approx(
        [-0.05, 0.5, 0.25]
    )


def table_of(measure: np.ndarray, gain: np.ndarray) -> pd.DataFrame:
    """Arrays (tasks, sources) as the table that gains() gives, in any order."""
    places = itertools.product(range(measure.shape[0]), range(measure.shape[1]))
    lines = [{"task": f"t{i}", "source": f"s{j}", "measure": measure[i, j], "gain": gain[i, j]} for i, j in places]
    return pd.DataFrame(lines).sample(frac=1, random_state=1)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(2, 10, 4))


@pytest.mark.parametrize("sign", [1, -1])
def test_correlation_of_a_measure_that_orders_every_task_alike(noise, sign):
    """Each task has a level of its own, in the measure and in the gain, which does not blur the correlation."""
    tasks = np.arange(10.0)[:, None]
    found = course.correlation(table_of(noise[0] + 5 * tasks, 2 * sign * noise[0] - 9 * tasks), "measure")
    assert (found.mean, found.low, found.high) == pytest.approx((sign, sign, sign))
    assert found.n == 10


def test_tasks_that_gain_more_from_every_source_are_no_correlation():
    """The measure knows which task gains more. Which source to take it does not know."""
    tasks = np.arange(10.0)[:, None]
    one, other = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    table = table_of(100 * tasks + one, 100 * tasks + other)
    assert np.corrcoef(table["measure"], table["gain"])[0, 1] > 0.99
    found = course.correlation(table, "measure")
    assert (found.mean, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-9)


def test_correlation_lies_in_its_interval_and_is_the_same_each_time(noise):
    table = table_of(noise[0], noise[0] + 2 * noise[1])
    found = course.correlation(table, "measure")
    assert -1 <= found.low < found.mean < found.high <= 1
    assert found.high - found.low > 0.1
    assert course.correlation(table.sample(frac=1, random_state=9), "measure") == found


def test_the_interval_is_over_tasks():
    """The same task three times over is no more evidence than once: draws of single marks would not see that."""
    agree, differ = np.array([[1.0, -1.0]]), np.array([[-1.0, 1.0]])
    found = course.correlation(table_of(np.repeat(agree, 4, 0), np.vstack([agree] * 3 + [differ])), "measure")
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((-0.5, 1))


# --- the runs -------------------------------------------------------------------------------------------------------


def test_every_source_and_random_weights_run_with_every_seed():
    found = [(job["source"], job["seed"]) for job in similarity.jobs()]
    sources = ["scratch", "vehicles", "animals", "both_small", "both"]
    assert sorted(found) == sorted(itertools.product(sources, range(5)))


def test_tasks_are_the_ten_pairs_of_classes_that_were_never_pretrained_on():
    assert similarity.HELD_OUT == FIVE
    pairs = {(a, b) for a in FIVE for b in FIVE if a < b}
    assert len(similarity.TASKS) == 10
    assert set(similarity.TASKS) == pairs


@pytest.fixture
def quick(monkeypatch):
    """Three tasks, four photos per class, and twenty to judge by."""

    def few(classes):
        train, valid, test = data.splits(classes)
        return train.take(120), valid.take(20), test.take(20)

    monkeypatch.setattr(similarity, "splits", few)
    monkeypatch.setattr(similarity, "PER_CLASS", 4)
    monkeypatch.setattr(similarity, "TASKS", [("cat", "truck"), ("deer", "horse"), ("ship", "truck")])


@pytest.mark.parametrize("source", ["vehicles", "scratch"])
def test_one_run_has_a_row_for_each_task(quick, monkeypatch, source):
    near = dict(zip(FIVE, (0.1, 0.2, 0.3, 0.4, 0.8), strict=True))
    monkeypatch.setattr(similarity, "_nearness", lambda name: near)
    rows = similarity.rows(source, seed=0)
    assert [row["task"] for row in rows] == ["cat or truck", "deer or horse", "ship or truck"]
    for row in rows:
        assert 0 <= row["test"] <= 1
        assert 0 < row["alignment"] < 1
    if source == "scratch":
        assert all(set(row) == {"task", "test", "alignment"} for row in rows)
    else:
        assert [row["nearness"] for row in rows] == pytest.approx([0.45, 0.25, 0.6])
    assert similarity.rows(source, seed=0) == rows


@pytest.mark.parametrize("unknown", [set(), {"deer", "horse"}])
def test_each_task_looks_at_its_own_two_classes(quick, monkeypatch, unknown):
    """With features that are the labels of some classes, and noise, what a probe reaches is known beforehand."""

    def bank(model, photos, *_, **__):
        known = torch.tensor([name not in unknown for name in photos.classes])
        return one_hot(photos.labels, 5).float() * known + 1e-3 * torch.randn(len(photos), 5)

    def views(*given, **named):
        return torch.stack([bank(*given, **named) for _ in range(VIEWS)])

    monkeypatch.setattr(similarity.training, "extract", bank)
    monkeypatch.setattr(similarity.training, "extract_views", views)
    easy, hard, last = similarity.rows("scratch", seed=0)
    if not unknown:
        easy, last, hard = hard, easy, {"test": 0, "alignment": 0}
    assert (easy["test"], last["test"]) == (1, 1)
    assert (easy["alignment"], last["alignment"]) == pytest.approx((1, 1), abs=0.001)
    assert max(hard["test"], hard["alignment"]) < 0.8


# --- nearness -------------------------------------------------------------------------------------------------------

POINTS = {  # what the neutral network makes of each class
    "airplane": (4.0, 1.0),
    "automobile": (5.0, 0.0),
    "ship": (3.0, 0.5),
    "truck": (5.0, -1.0),
    "bird": (1.0, 3.0),
    "dog": (-1.0, 5.0),
    "frog": (0.0, 4.0),
    "cat": (-1.0, 5.0),
    "deer": (0.0, 6.0),
    "horse": (1.0, 5.0),
}


@pytest.fixture
def neutral(monkeypatch):
    """The ImageNet network as one that knows the points."""

    def bank(model, photos, size):
        assert (model, size) == ("efficientnet_lite0", 96)
        return torch.tensor([POINTS[name] for name in photos.classes])[photos.labels]

    monkeypatch.setattr(similarity.backbones, "load_backbone", lambda name: name)
    monkeypatch.setattr(similarity.training, "extract", bank)


@pytest.mark.parametrize(
    ("source", "classes"), [("vehicles", ["airplane", "automobile"]), ("animals", ["bird", "dog", "frog"])]
)
def test_nearness_is_the_cosine_to_the_nearest_class_from_the_middle_of_all(neutral, source, classes):
    middle = np.mean([POINTS[name] for name in classes + FIVE], axis=0)

    def cosine(one, other):
        x, y = (np.array(POINTS[name]) - middle for name in (one, other))
        return x @ y / np.sqrt((x @ x) * (y @ y))

    expected = {name: max(cosine(name, other) for other in classes) for name in FIVE}
    assert similarity._nearness(source) == pytest.approx(expected, abs=1e-5)


def test_nearness_knows_which_source_is_like_a_class(neutral):
    vehicles, animals = (similarity._nearness(source) for source in ("vehicles", "animals"))
    assert animals["cat"] == pytest.approx(1)  # where the dogs are
    assert min(vehicles["ship"], vehicles["truck"]) > max(animals["ship"], animals["truck"])
    assert min(animals[name] for name in FIVE[:3]) > max(vehicles[name] for name in FIVE[:3])
