"""The package on the pretend card, in a process of its own: torch counts devices once, at its first backward pass."""

import subprocess
import sys
from pathlib import Path

import pretend
import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not pretend.POSSIBLE, reason="a real card is here, or torch takes in no device written in Python")
@pytest.mark.parametrize(
    "which",
    [pytest.param("not solution", marks=pytest.mark.slow), pytest.param("solution", marks=pytest.mark.notebook)],
)
def test_the_package_works_on_the_pretend_card(which):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", which, HERE / "on_the_card.py"]
    ran = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-6000:]
