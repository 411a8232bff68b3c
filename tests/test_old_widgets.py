"""The widgets with the versions of ipywidgets and anywidget that Colab ships."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSIONS = ("ipywidgets==7.7.1", "anywidget==0.9.21", "ipython_genutils==0.2.0")


@pytest.fixture(scope="module")
def colab_widgets() -> Path:
    """A folder with these packages, beside and not instead of the installed ones; kept for the next time."""
    folder = ROOT / "build" / "colab_widgets"
    if not (folder / "ipywidgets").is_dir():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *VERSIONS]
        if subprocess.run(install).returncode:
            if os.environ.get("CI"):
                pytest.fail(f"in CI this test must run: could not install {', '.join(VERSIONS)}")
            pytest.skip("no network: could not install Colab's versions")
    return folder


def test_the_widgets_work_headless_with_colabs_versions(colab_widgets):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(colab_widgets), os.environ.get("PYTHONPATH", "")])}
    check = "import ipywidgets, anywidget; print(ipywidgets.__version__, anywidget.__version__)"
    seen = subprocess.run([sys.executable, "-c", check], env=env, cwd=ROOT, capture_output=True, text=True)
    assert seen.stdout.split() == ["7.7.1", "0.9.21"]
    tests = ["tests/test_widgets.py", "tests/test_live.py", "tests/test_labs.py", "tests/test_uploads.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    ran = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
