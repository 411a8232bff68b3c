"""The lab without a browser, with runs that train nothing."""

import re

import pytest
import traitlets

from transfer_utils import show
from transfer_utils.show import lab as show_lab


class Runs:
    """Stub runs that count themselves: how many there are now, at most, and which ended by themselves."""

    def __init__(self, steps=3, error=None):
        self.steps, self.error = steps, error
        self.active = self.most = 0
        self.ended = []

    def __call__(self, state):
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            for epoch in range(self.steps):
                yield {"epoch": epoch, "epochs": self.steps, "through": 0, "train": [], "valid": [0.5], "seconds": 0.1}
            if self.error:
                raise self.error
            self.ended.append(state)
        finally:
            self.active -= 1


def lab(runs):
    controls = [
        {"key": key, "label": key, "options": ["a", "b", "c"], "kind": "slider"} for key in ("source", "through")
    ]
    return show.Lab(
        runs,
        lambda state, frame: {"state": state, "accuracy": frame["valid"][-1], "trainable": 10, "seconds": 0.1},
        title="Lab",
        controls=controls,
        state=[0, 0],
        stages=[{"name": "stem", "parameters": 5}, {"name": "head", "parameters": 5}],
        columns=[["number", "run", "count"], ["accuracy", "accuracy", "share"]],
    )


def test_a_move_starts_a_run_and_a_finished_run_enters_the_table():
    runs = Runs()
    shown = lab(runs)
    assert not shown.busy
    shown.state = [1, 0]
    assert shown.busy
    assert shown.runs == []
    shown.finish()
    assert not shown.busy
    assert runs.ended == [[1, 0]]
    assert shown.table().to_dict("records") == [{"number": 1, "accuracy": 0.5}]
    assert shown.frame["status"] == "finished"
    assert shown.frame["said"] == "Finished: 50.0% of the valid photos."


def test_a_hundred_moves_leave_one_run_the_last(monkeypatch):
    monkeypatch.setattr(show_lab, "SLICE", 0)  # one step an answer: every run is cancelled under way
    runs = Runs(steps=5)
    shown = lab(runs)
    for move in range(100):
        shown.state = [move % 3, (move + 1) % 2]
        if move % 3 == 0:
            ask(shown)
    assert runs.ended == []
    shown.finish()
    assert runs.most == 1
    assert runs.active == 0
    assert shown.runs[-1]["state"] == [0, 0] == runs.ended[-1]


def ask(shown):
    """One question of the page, as it arrives."""
    shown._answer({"act": "step", "run": shown.run})


def test_a_question_about_a_dropped_run_is_not_answered(monkeypatch):
    monkeypatch.setattr(show_lab, "SLICE", 0)
    shown = lab(Runs())
    shown.state = [1, 0]
    dropped = shown.run
    shown.state = [2, 0]
    shown._answer({"act": "step", "run": dropped})
    assert "answer" not in shown.frame
    ask(shown)
    assert shown.frame["answer"] == 1


def test_an_error_in_a_run_appears_in_words_and_the_next_run_works():
    shown = lab(Runs(error=ValueError("cat has only 7 photos")))
    shown.state = [1, 0]
    shown.finish()
    assert shown.frame["said"] == "The run stopped with ValueError: cat has only 7 photos"
    assert shown.frame["status"] == "failed"
    assert not shown.busy
    assert shown.runs == []
    shown.job = Runs()
    shown.state = [2, 0]
    shown.finish()
    assert len(shown.runs) == 1
    assert shown.frame["status"] == "finished"


def test_an_interrupt_stops_the_run_and_keeps_what_was_drawn():
    shown = lab(Runs(error=KeyboardInterrupt()))
    shown.state = [1, 0]
    shown.finish()
    assert shown.frame["status"] == "interrupted"
    assert shown.frame["said"].startswith("Stopped by an interrupt")
    assert shown.frame["valid"] == [0.5]
    assert not shown.busy


def test_kept_runs_stay_and_the_oldest_loose_one_makes_room():
    shown = lab(Runs(steps=1))
    for move in range(show_lab.KEPT_AT_MOST):
        shown.state = [move % 2 + 1, 0]
        shown.finish()
    shown._answer({"act": "keep", "number": 1})
    shown.state = [0, 0]
    shown.finish()
    numbers = [run["number"] for run in shown.runs]
    assert len(numbers) == show_lab.KEPT_AT_MOST
    assert numbers[:2] == [1, 3]
    shown._answer({"act": "remove", "number": 1})
    assert shown.table()["number"].tolist() == numbers[1:]
    shown.keep(3)
    shown.keep(3)
    assert not any(run["kept"] for run in shown.runs)


def test_a_lab_without_a_page_is_a_picture_with_alt_text(displayed):
    shown = lab(Runs())
    shown.state = [1, 1]
    shown.finish()
    shown._ipython_display_()
    bundle = displayed[0]
    alt = re.search(r'alt="([^"]*)"', bundle["text/html"]).group(1)
    assert "stem is frozen, head trains" in alt
    assert "Run 1: 50.0% of the valid photos" in alt


def test_a_setting_that_does_not_exist_is_refused_before_anything_runs():
    runs = Runs()
    shown = lab(runs)
    with pytest.raises(traitlets.TraitError, match=r"Lab has no state \[0, 3\]; positions go 0 to 2"):
        shown.state = [0, 3]
    assert shown.state == [0, 0]
    assert not shown.busy
