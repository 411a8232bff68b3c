"""What the tests of features share."""

import pytest

from transfer_utils import data, training
from transfer_utils.training import features


@pytest.fixture
def photos() -> data.ImageSet:
    return data.load(split="valid").only("cat", "ship").take(6)


@pytest.fixture
def passes(monkeypatch, own_home) -> list[int]:
    """The number of photos in each pass through a network, in an empty cache."""
    seen, run = [], training.run_network

    def counted(model, network, images, size):
        seen.append(len(images))
        return run(model, network, images, size)

    monkeypatch.setattr(features, "run_network", counted)
    return seen
