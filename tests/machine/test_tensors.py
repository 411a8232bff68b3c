import numpy as np
import pytest
import torch

from transfer_utils import machine


def test_no_number_of_a_good_tensor_is_read():
    """The meta device has none, and an error for whoever asks: a wait for a graphics card would be one here."""
    machine.check_photos("here", torch.zeros(2, 3, 4, 4, dtype=torch.uint8, device="meta"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
@pytest.mark.parametrize("empty", [{"device": "meta"}, {}])
def test_images_without_numbers_are_refused_by_their_dtype(dtype, empty):
    count = 2 if empty else 0
    with pytest.raises(ValueError, match=rf"here got {str(dtype).removeprefix('torch.')} images; photos are"):
        machine.check_photos("here", torch.zeros(count, 3, 4, 4, dtype=dtype, **empty))


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(1), 10**30])
def test_whole_numbers(value):
    assert machine.is_whole(value, 1)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True, np.bool_(True), None, (1,), float("inf"), np.float64(2)])
def test_what_is_no_whole_number(value):
    assert not machine.is_whole(value, 1)


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("labels", [[], [0], [2, 0, 1], [2, 2, 2]])
def test_good_labels_pass(labels, classes):
    machine.check_labels("here", torch.tensor(labels, dtype=torch.int64), len(labels), classes)


def test_without_a_number_of_classes_any_position_is_a_label():
    machine.check_labels("here", torch.tensor([0, 999]), 2)
    with pytest.raises(ValueError, match="up to 999 and 10 classes"):
        machine.check_labels("here", torch.tensor([0, 999]), 2, 10)
