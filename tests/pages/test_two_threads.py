"""A cell and the freezing lab at work at the same time, in a real JupyterLab: neither changes the other's numbers."""

import json
import time

import browser
import pytest

pytestmark = pytest.mark.browser

SET_UP = """
import json, random, threading, time
import torch
from transfer_utils import backbones, course, data

course.settings("cpu")
train, valid = (data.load("cifar10_photos", split).only("cat", "deer", "horse") for split in ("train", "valid"))
lab = course.freezing_lab(train, valid.take(30), epochs=3)
inner, threads, steps = lab.job, set(), 0

def counted(state):
    global steps
    for frame in inner(state):
        threads.add(threading.current_thread().name)
        steps += 1
        yield frame

lab.job = counted

def heads():
    model, found = backbones.course_resnet(5, seed=0), []
    for seed in range(500):
        torch.manual_seed(seed)
        found += [model.new_head(3).head.weight.detach().clone(), torch.rand(2)]
    return found

def report(**values):
    print("REPORT" + json.dumps({**values, "steps": steps, "other": threading.current_thread().name not in threads}))

expected, live = heads(), False
lab
"""
# Run All comes past these once with nobody at the controls; from then on they wait for the lab.
HEADS = """
before, different, until = steps, 0, time.monotonic() + 60 * live
while steps < before + 60 and time.monotonic() < until:
    different += sum(not torch.equal(one, other) for one, other in zip(expected, heads()))
report(different=different, met=steps - before)
"""
SEEDING = """
before, until = len(lab.runs), time.monotonic() + 60 * live
while len(lab.runs) < before + 4 and time.monotonic() < until:
    torch.manual_seed(random.getrandbits(32))
    torch.rand(3)
report(runs=[[run[key] for key in ("source", "per_class", "through", "seed", "accuracy")] for run in lab.runs])
live = True
"""


@pytest.fixture(scope="module")
def opened(open_cells):
    page = open_cells((SET_UP, HEADS, SEEDING))
    # The first move makes the kernel's second thread, and would wait for a cell that is running.
    photos(page).press("ArrowRight")
    page.wait_for_selector(".tl-lab tbody tr:nth-child(2)", timeout=browser.PATIENCE * 1000)
    return page


def photos(page):
    return page.locator(".tl-lab").get_by_role("slider", name="Photos per class")


def run_while_moving(page, position: int, keys: str, pause: float) -> dict:
    """Run a cell, press keys on the lab's slider of photos until it ends, and return what it reported."""
    cell = page.locator(".jp-CodeCell").nth(position)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    deadline = time.monotonic() + browser.PATIENCE
    while prompt.inner_text() == before or not prompt.inner_text().strip("[]: ").isdigit():
        for key in keys.split():
            photos(page).press(key)
            page.wait_for_timeout(1000 * pause)
        assert time.monotonic() < deadline, "the cell did not end"
    return json.loads(cell.locator(".jp-OutputArea").inner_text().partition("REPORT")[2])


def test_500_seeded_heads_are_the_same_while_a_control_is_moved(opened):
    found = run_while_moving(opened, 1, "ArrowLeft ArrowRight", pause=3)
    assert found["other"], "the lab waited for the cell, so that the two never met"
    assert found["met"] >= 60
    assert found["different"] == 0


def test_the_lab_gives_the_same_accuracy_while_a_cell_seeds(opened):
    found = run_while_moving(opened, 2, "Home ArrowRight", pause=4)
    assert found["other"], "the lab waited for the cell, so that the two never met"
    accuracies: dict[tuple, set] = {}
    for *setting, accuracy in found["runs"]:
        accuracies.setdefault(tuple(setting), set()).add(accuracy)
    assert all(len(seen) == 1 for seen in accuracies.values()), accuracies
    assert len(found["runs"]) > len(accuracies), "no setting ran twice"
