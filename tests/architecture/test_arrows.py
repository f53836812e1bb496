"""The house plan: which folder imports which, and what no folder holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Which of our packages a package may import.
ARROWS: dict[str, frozenset[str]] = {
    "blocks": frozenset(),
    "networks": frozenset({"blocks"}),
    "tasks": frozenset({"blocks"}),
    "training": frozenset({"tasks", "networks", "blocks"}),
    "analysis": frozenset({"networks", "blocks"}),
    "search": frozenset({"training", "tasks", "analysis", "networks", "blocks"}),
    "dashboard": frozenset({"analysis"}),
    "cli": frozenset(
        {"search", "training", "tasks", "analysis", "networks", "blocks", "dashboard", "configs"}
    ),
    "configs": frozenset(),
}

# Pages of the dashboard on which networks are built by hand or blocks are shown.
WITH_NETWORKS = re.compile(r"catalogue|designer")

# What reads per-image results, whose types only the tasks know.
WITH_TASKS = re.compile(r"paired_results")

# Heavy or platform-bound libraries, and the packages that may know them.
LIBRARIES = {
    "optuna": {"search"},
    "streamlit": {"dashboard"},
    "typer": {"cli"},
    "lightning": {"training", "search"},
    "pycocotools": {"tasks"},
    "cv2": {"tasks"},
}

VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|misc|tools|stuff)($|_)")
LONGEST_FILE = 450


@dataclass(frozen=True)
class Import:
    """One import statement."""

    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


@pytest.fixture(scope="module")
def sources(root) -> dict[str, list[Path]]:
    """The Python files of every package, relative to the root."""
    return {
        package: sorted(path.relative_to(root) for path in (root / package).rglob("*.py"))
        for package in ARROWS
    }


def imports_in(text: str, path: Path, package: str) -> Iterator[Import]:
    """Every import, inside functions as well; relative ones are the package's own."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [package if node.level else str(node.module)]
        else:
            continue
        yield from (Import(path, node.lineno, name) for name in names)


@pytest.fixture(scope="module")
def imports(root, sources) -> dict[str, list[Import]]:
    return {
        package: [
            found
            for path in paths
            for found in imports_in((root / path).read_text(encoding="utf-8"), path, package)
        ]
        for package, paths in sources.items()
    }


def forbidden(package: str, found: Import) -> bool:
    """Tells whether an import crosses a row of the table."""
    target = found.module.partition(".")[0]
    if target not in ARROWS or target == package:
        return False
    allowed = ARROWS[package]
    if package == "dashboard" and WITH_NETWORKS.search(found.path.stem):
        allowed |= {"networks", "blocks"}
    if package == "dashboard" and WITH_TASKS.search(found.path.stem):
        allowed |= {"tasks"}
    return target not in allowed


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_what_its_row_names(imports, package):
    crossing = [str(found) for found in imports[package] if forbidden(package, found)]
    assert not crossing


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_with_the_packages_that_know_it(imports, library):
    using = {
        package
        for package, found in imports.items()
        if any(one.module.partition(".")[0] == library for one in found)
    }
    assert using <= LIBRARIES[library]


def test_tasks_know_no_layer(root, sources):
    layers = {"LayerSpec", "BlockSpec", "NetworkSpec", "SLOTS", "Slot", "Op", "Tape", "BranchShape"}
    taken = {
        alias.name
        for path in sources["tasks"]
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "blocks"
        for alias in node.names
    }
    assert "Registry" in taken
    assert taken.isdisjoint(layers)


def test_private_modules_stay_inside_their_package(imports):
    # Kinds of networks share the small parts of blocks.
    shared = {"blocks._inverted", "blocks._residual"}
    crossing = [
        str(one)
        for package, found in imports.items()
        for one in found
        if one.module.partition(".")[0] in ARROWS
        and one.module.partition(".")[0] != package
        and re.search(r"\._(?!_)", one.module)
        and not (package == "networks" and one.module in shared)
    ]
    assert not crossing


def test_import_linter_agrees(root):
    """Its layers are the same arrows, indirect ones and cycles included."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


def test_no_file_or_folder_is_named_for_nothing(sources):
    vague = [str(path) for paths in sources.values() for path in paths if is_vague(path)]
    assert not vague


def is_vague(path: Path) -> bool:
    return any(VAGUE.search(part.removesuffix(".py")) for part in path.parts)


def test_no_file_of_the_dashboard_bears_a_packages_name(root):
    # ``streamlit run`` puts the folder first on sys.path, so such a file would hide the package.
    names = {path.stem for path in (root / "dashboard").rglob("*") if path.suffix in {"", ".py"}}
    assert names.isdisjoint(ARROWS)


def test_every_file_has_one_reason_and_so_a_short_text(root, sources):
    long = {
        str(path): count
        for paths in sources.values()
        for path in paths
        if (count := len((root / path).read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long


def test_the_dashboard_writes_nothing(root, sources):
    writes = re.compile(
        r"\.write_text\(|\.write_bytes\(|\.unlink\(|\.mkdir\(|open\([^)]*[\"'][wax]|os\.remove|shutil\."
    )
    found = [
        str(path)
        for path in sources["dashboard"]
        if writes.search((root / path).read_text(encoding="utf-8"))
    ]
    assert not found


def test_nothing_reads_pickles_or_unsafe_yaml(root, sources):
    unsafe = re.compile(r"pickle\.loads?\(|yaml\.load\(|weights_only\s*=\s*False")
    found = [
        str(path)
        for paths in sources.values()
        for path in paths
        if unsafe.search((root / path).read_text(encoding="utf-8"))
    ]
    assert not found


def test_every_package_is_listed_and_there(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["setuptools"]["packages"])
    # Folders of a package with Python files of their own are packages too, and easily forgotten.
    found = {
        ".".join(path.parent.relative_to(root).parts)
        for name in ARROWS
        for path in (root / name).rglob("__init__.py")
    }
    assert packages == set(ARROWS) | found
    linted = set(project["tool"]["importlinter"]["root_packages"])
    assert linted == set(ARROWS) - {"configs"}
    assert set(project["tool"]["mypy"]["packages"]) == linted


# The checks see what they look for.


@pytest.mark.parametrize(
    ("package", "stem", "text", "crosses"),
    [
        ("blocks", "ccw", "from networks import lite_hrnet_18", True),
        ("blocks", "ccw", "from ._ops import Op", False),
        ("networks", "spec", "def f():\n    import analysis.cost", True),
        ("networks", "spec", "import networks.heads, torch", False),
        ("tasks", "coco", "from networks import NetworkSpec", True),
        ("training", "loop", "if True:\n    from analysis.store import RunStore", True),
        ("analysis", "report", "import training", True),
        ("dashboard", "study_page", "from networks import read_spec", True),
        ("dashboard", "catalogue_page", "from networks import read_spec", False),
        ("dashboard", "study_page", "from tasks import results_type", True),
        ("dashboard", "paired_results", "from tasks import results_type", False),
        ("dashboard", "catalogue_page", "from search import front_of", True),
        ("cli", "train", "from training import train", False),
    ],
)
def test_a_crossing_is_seen(package, stem, text, crosses):
    found = list(imports_in(text, Path(f"{package}/{stem}.py"), package))
    assert any(forbidden(package, one) for one in found) is crosses


@pytest.mark.parametrize(
    ("name", "vague"),
    [
        ("blocks/utils.py", True),
        ("analysis/plot_helpers.py", True),
        ("common/shapes.py", True),
        ("tasks/commonly.py", False),
        ("blocks/ccw.py", False),
    ],
)
def test_a_vague_name_is_seen(name, vague):
    assert is_vague(Path(name)) is vague
