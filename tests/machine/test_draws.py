"""Draws from a generator of one's own: the same stream as the process's, and the process's left alone."""

import functools
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from transfer_utils.machine import draws_from, generator

LAYERS = {
    "linear": lambda: nn.Linear(5, 3),
    "convolution": lambda: nn.Conv2d(3, 4, 3),
    "embedding": lambda: nn.Embedding(7, 3),
    "lstm": lambda: nn.LSTM(4, 3),
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "orthogonal": lambda: nn.ParameterList([nn.init.orthogonal_(torch.empty(4, 3))]),
    "truncated normal": lambda: nn.ParameterList([nn.init.trunc_normal_(torch.empty(9))]),
    "sparse": lambda: nn.ParameterList([nn.init.sparse_(torch.empty(6, 4), 0.5)]),
    "own factory": lambda: nn.ParameterList([torch.randn(3), torch.rand(2, 2)]),
}
DRAWS = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 3),
    "randint": lambda: torch.randint(9, (4,)),
    "randint from": lambda: torch.randint(3, 9, (4,)),
    "randperm": lambda: torch.randperm(9),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 4),
    "normal": lambda: torch.normal(0.0, 1.0, (3,)),
    "normal about": lambda: torch.normal(torch.zeros(3), 2.0),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "random_": lambda: torch.empty(3).random_(),
    "uniform_": lambda: torch.empty(3).uniform_(2, 5),
    "dropout": lambda: functional.dropout(torch.ones(9), 0.5, training=True),
    "dropout of a gradient": lambda: functional.dropout(torch.ones(9, requires_grad=True) * 2, 0.5, training=True),
    "dropout2d": lambda: functional.dropout2d(torch.ones(1, 9, 2, 2), 0.5, training=True),
    "alpha dropout": lambda: functional.alpha_dropout(torch.ones(9), 0.5, training=True),
    "rrelu": lambda: functional.rrelu(-torch.ones(9), training=True),
    "distribution": lambda: torch.distributions.Normal(0.0, 1.0).sample((3,)),
    "gumbel": lambda: functional.gumbel_softmax(torch.ones(9)),
    "attention": lambda: functional.scaled_dot_product_attention(*torch.ones(3, 1, 1, 4, 8), dropout_p=0.5),
}


def tensors(made) -> list[torch.Tensor]:
    return [made] if isinstance(made, torch.Tensor) else list(made.state_dict().values())


@pytest.mark.parametrize("draw", [*LAYERS.values(), *DRAWS.values()], ids=[*LAYERS, *DRAWS])
def test_a_seed_draws_what_torch_draws_after_manual_seed_and_leaves_its_state_alone(draw):
    torch.manual_seed(7)
    expected = [tensors(draw()), tensors(draw())]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    drawing = draws_from(generator(7))
    with drawing:
        found = [tensors(draw()), tensors(draw())]
    assert torch.equal(before, torch.get_rng_state())
    assert drawing.drawn
    for one, other in zip(sum(expected, []), sum(found, []), strict=True):
        assert torch.equal(one, other)


def test_what_draws_nothing_is_seen_to_draw_nothing():
    drawing = draws_from(generator(0))
    with drawing:
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Dropout(0.0))(torch.ones(2, 3, 1))
        torch.zeros(3).fill_(2).sort()
        functional.scaled_dot_product_attention(*torch.ones(3, 1, 1, 4, 8))
        functional.scaled_dot_product_attention(*torch.ones(3, 1, 1, 4, 8, requires_grad=True), is_causal=True)
    assert not drawing.drawn


def test_a_generator_that_an_operation_brings_itself_is_kept():
    expected = torch.rand(3, generator=generator(5))
    with draws_from(generator(7)):
        assert torch.equal(torch.rand(3, generator=generator(5)), expected)
        assert torch.equal(torch.empty(3).uniform_(generator=generator(5)), expected)


def test_the_inner_of_two_sources_counts():
    inner = generator(5)
    with draws_from(generator(7)), draws_from(inner):
        found = torch.rand(3)
    assert torch.equal(found, torch.rand(3, generator=generator(5)))


def test_only_this_thread_draws_from_it():
    torch.manual_seed(3)
    elsewhere: list[torch.Tensor] = []
    with draws_from(generator(7)):
        thread = threading.Thread(target=lambda: elsewhere.append(torch.rand(3)))
        thread.start()
        thread.join()
    torch.manual_seed(3)
    assert torch.equal(elsewhere[0], torch.rand(3))


def test_an_error_inside_leaves_nothing_behind():
    with pytest.raises(RuntimeError, match="on purpose"), draws_from(generator(7)):
        raise RuntimeError("on purpose")
    torch.manual_seed(3)
    found = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(3))


def test_a_generator_goes_on_where_it_is():
    own = torch.Generator().manual_seed(1)
    assert generator(own) is own
    assert not torch.equal(torch.rand(3, generator=generator(own)), torch.rand(3, generator=generator(own)))


def test_a_number_of_another_kind_is_a_number():
    assert torch.equal(torch.rand(3, generator=generator(np.int64(4))), torch.rand(3, generator=generator(4)))


def test_none_is_the_seed_last_given_to_torch():
    for seed in (4, 2**40, -1):
        torch.manual_seed(seed)
        torch.rand(5)  # however much was drawn since
        assert torch.equal(torch.rand(3, generator=generator(None)), torch.rand(3, generator=generator(seed)))


@pytest.mark.parametrize(
    "seed", [1.0, "1", True, 2**64, -(2**63) - 1, torch.tensor(1), [1], functools], ids=lambda seed: str(seed)[:12]
)
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"A seed was .*; it must be a whole number of 64 bits, or a torch\.Generator"):
        generator(seed)
