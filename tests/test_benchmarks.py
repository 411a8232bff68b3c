"""A few seconds of each benchmark: that it runs, and gives a table. Times are no matter of tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import folders
import loops
import passes
import pretraining
import probes
import scaling
import side_by_side
import tutorial

pytestmark = pytest.mark.slow
SMALL = {
    "passes": lambda: passes.main(1, small=True),
    "loops": lambda: loops.main(1, small=True),
    "pretraining": lambda: pretraining.main(1, small=True),
    "tutorial": lambda: tutorial.main(1, small=True),
    "probes": lambda: probes.main(sizes=(5,)),
    "folders": lambda: folders.main(sizes=((64, 48),)),
    "scaling": lambda: scaling.main(1, small=True),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_gives_a_table(name):
    head, rule, *lines = SMALL[name]().splitlines()
    assert set(rule) == {"|", "-"}
    assert len(lines) >= 2
    assert {line.count("|") for line in lines} == {head.count("|")}


def test_the_computer_is_described():
    assert "torch " in side_by_side.here()
