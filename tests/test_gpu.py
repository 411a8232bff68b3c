"""What only a graphics card can show. Skipped without one."""

from itertools import islice

import pytest
import torch
from test_notebooks import printed, run_solved

from transfer_utils import backbones, data
from transfer_utils.backbones import freeze
from transfer_utils.machine import device, memory
from transfer_utils.training import Recipe, features, fit, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no graphics card"),
]
CARD = torch.device("cuda")


@pytest.fixture(autouse=True)
def on_the_cpu():
    """Not here: takes the place of the fixture that keeps the other tests off the card."""


@pytest.fixture
def few():
    return data.load().only("airplane", "frog").take(200)


@pytest.fixture(params=[torch.float16, torch.bfloat16])
def in_half_precision(request, monkeypatch):
    """Both kinds, whatever the card's own is: float16 with its scaler must not wait either."""
    monkeypatch.setattr(device, "precision", lambda _: request.param)
    monkeypatch.setattr(features, "precision", lambda _: request.param)


@pytest.mark.parametrize("through", [None, "stage1"])
@pytest.mark.parametrize("free", [float("inf"), 0], ids=["photos on the card", "photos sent"])
def test_no_step_waits_for_the_card(monkeypatch, in_half_precision, few, through, free):
    monkeypatch.setattr(memory, "free_bytes", lambda _: free)
    model = freeze(backbones.course_resnet(2), through)
    run = train(model, few, None, 32, Recipe(epochs=1, batch=32), cache=False)
    next(run)  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert [record.step for record in islice(run, 9)] == list(range(2, 11))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_batch_that_is_too_large_is_worked_off_in_parts(few, capsys):
    photos = few[torch.arange(256)]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.5 * 2**30 / torch.cuda.get_device_properties(CARD).total_memory)
    try:
        history = fit(backbones.course_resnet(2), photos, None, 128, Recipe(epochs=1, batch=256), progress=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(history) == 1
    assert capsys.readouterr().err.count(memory.SMALLER) == 1


def test_a_failed_training_leaves_no_tensors_on_the_card(few):
    model = backbones.course_resnet(2)
    model.pool.register_forward_hook(lambda *_: 1 / 0)
    model.to(CARD)
    before = torch.cuda.memory_allocated()
    with pytest.raises(ZeroDivisionError) as failed:
        fit(model, few, None, 32, Recipe(epochs=1), progress=False)
    memory.release()
    assert failed.value.__traceback__ is not None
    assert torch.cuda.memory_allocated() == before


def test_training_on_the_card_learns_as_on_the_processor(few, monkeypatch):
    on_card = fit(backbones.course_resnet(2), few, None, 32, Recipe(epochs=4), progress=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    on_cpu = fit(backbones.course_resnet(2), few, None, 32, Recipe(epochs=4), progress=False)
    assert on_card["train"].iloc[-1] == pytest.approx(on_cpu["train"].iloc[-1], abs=0.1)


@pytest.mark.notebook
def test_lesson_3_runs_there_in_full(tmp_path):
    said = printed(run_solved("03_fine_tuning", tmp_path, profile="gpu", quick=False))
    assert "gpu profile" in said
    assert "Not yet" not in said
