"""The house: eight rooms with faces, imports that run one way, short files, few names for lessons to type."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "transfer_utils"
# From the ground up: a room imports only rooms before it.
ROOMS = ("machine", "data", "backbones", "stats", "training", "own_photos", "show", "course")
FILES = sorted(PACKAGE.rglob("*.py"))
LESSONS = sorted((ROOT / "lessons").glob("*.py"))
MOST_NAMES, MOST_LINES, MEDIAN_LINES = 90, 260, 8


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module below transfer_utils, name) of every import of the package, wherever it stands in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("transfer_utils") for alias in node.names), f"{path}: from ... import"
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "transfer_utils":
            for alias in node.names:
                yield node.module.partition(".")[2], alias.name


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""


def face(room: str) -> list[str]:
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    (names,) = [ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign)]
    return names


def typed_in_lessons() -> set[str]:
    """Every room.name that a lesson types, behind `from transfer_utils import room` or imported from the room."""
    names = set()
    for path in LESSONS:
        rooms = {name for module, name in imported(path) if not module}
        names |= {f"{module}.{name}" for module, name in imported(path) if module}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms:
                names.add(f"{node.value.id}.{node.attr}")
    return names


def test_the_house_has_these_rooms_and_nothing_lies_outside():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()} == set(ROOMS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p)], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_and_through_faces(path):
    here = room_of(path)
    for module, name in imported(path):
        room, _, inside = module.partition(".")
        if room == here:
            assert inside or path.name != "__init__.py", f"{path}: its own face"
            continue
        assert not inside, f"{path} reaches into {module}"
        other = room or name
        assert ROOMS.index(other) < ROOMS.index(here), f"{path} imports {other}, which stands above it"
        assert not room or name in face(room), f"{path} takes {name}, which {room} does not hand out"


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_inside_a_room(room):
    """A file that imports another one, however long the way, is not imported by it."""
    files = {path.stem: path for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__"}
    below = {
        stem: {
            part
            for module, name in imported(path)
            for part in ([module.partition(".")[2]] if "." in module else [name] if module == room else [])
            if module.partition(".")[0] == room and part in files
        }
        for stem, path in files.items()
    }
    while below:
        ground = {stem for stem, needs in below.items() if not needs & below.keys()}
        assert ground, f"a circle among {sorted(below)}"
        below = {stem: needs for stem, needs in below.items() if stem not in ground}


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_only_hands_names_on(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    taken = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert ast.get_docstring(tree)
    assert sorted(taken) == sorted(face(room))
    assert len(taken) == len(set(taken))
    assert all(isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign) for node in tree.body)


def test_every_name_of_a_face_is_used_outside_its_room():
    """What nobody takes needs no door."""
    used = set()
    folders = (PACKAGE, ROOT / "lessons", ROOT / "data", ROOT / "tests", ROOT / "tools", ROOT / "benchmarks")
    for path in (p for folder in folders for p in folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        rooms = {name for module, name in imported(path) if not module}
        used |= {(module, name) for module, name in imported(path) if module in ROOMS and module != room_in(path)}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms:
                used.add((node.value.id, node.attr))
    unused = [f"{room}.{name}" for room in ROOMS for name in face(room) if (room, name) not in used]
    assert unused == []


def room_in(path: Path) -> str:
    return room_of(path) if PACKAGE in path.parents else ""


def test_lessons_type_few_names_and_only_those_of_faces():
    names = typed_in_lessons()
    assert all(name.count(".") == 1 for name in names), "a lesson reaches into a room"
    assert not [name for name in names if name.partition(".")[2] not in face(name.partition(".")[0])]
    assert len(names) <= MOST_NAMES, sorted(names)


def test_contributing_lists_the_names_that_lessons_type():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = {
        f"{room}.{name.strip(' `')}"
        for line in page.splitlines()
        if line.startswith("| `") and (room := line.split("`")[1]) in ROOMS
        for name in line.split("|")[2].split(",")
    }
    assert listed == typed_in_lessons()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_of_a_size_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_two_files_of_tests_have_one_name():
    """pytest would take the second for the first, and collect neither."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_functions_are_short():
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert statistics.median(lengths) <= MEDIAN_LINES


def test_importing_the_package_brings_nothing_heavy():
    code = "import transfer_utils, sys; print(sorted({'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
