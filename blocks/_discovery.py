"""Finds blocks: in this folder, in folders that the user names, in installed packages."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

from ._errors import BranchworkError, Problem, SpecError
from ._slots import SLOTS

ENTRY_POINT_GROUP = "branchwork.blocks"
_NOT_BLOCKS = frozenset({"testing"})
_LONGEST = 300


def load_shipped_blocks() -> None:
    """Imports every public file of this folder but ``testing.py``; each registers its block."""
    folder = Path(__file__).parent
    for info in pkgutil.iter_modules([str(folder)]):
        if not info.name.startswith("_") and info.name not in _NOT_BLOCKS:
            importlib.import_module(f"blocks.{info.name}")


def load_installed_blocks() -> None:
    """Imports the blocks that installed packages offer under ``branchwork.blocks``.

    Raises:
        SpecError: If some of them cannot be imported, after the others were; the packages are
            named, and nothing that a broken one registered stays.
    """
    problems: list[Problem] = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist else "an installed package"
        try:
            with _nothing_left_behind():
                point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code raises anything
            where = f"entry point {point.name} of {package}"
            problems += _broken(where, error, f"mend or uninstall {package}")
    if problems:
        raise SpecError(problems)


def load_block_folder(folder: Path) -> tuple[str, ...]:
    """Imports every public Python file of a folder; each may register blocks.

    A file is imported once, however often its folder is named.

    Returns:
        The names of the files imported, without ``.py``.

    Raises:
        BranchworkError: If there is no such folder, or one of its files fails; nothing that the
            broken file registered stays.
    """
    if not folder.is_dir():
        raise BranchworkError(
            Problem(
                where="--blocks",
                rule="block files are read from a folder",
                got=repr(str(folder)),
                do="name a folder that exists",
            )
        )
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    for path in files:
        _load_file(path.resolve())
    return tuple(path.stem for path in files)


def _load_file(path: Path) -> None:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"_branchwork_blocks_{digest}_{path.stem}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _nothing_left_behind():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        advice = "mend the file, or move it out of the folder"
        raise SpecError(_broken(str(path), error, advice)) from error


@contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """Takes out again what was registered, if what registers fails."""
    registered = {slot: {entry.name for entry in registry} for slot, registry in SLOTS.items()}
    try:
        yield
    # Ctrl-C in somebody's block file must leave nothing registered either; it is raised again.
    except BaseException:
        for slot, registry in SLOTS.items():
            for name in {entry.name for entry in registry} - registered[slot]:
                registry.remove(name)
        raise


def _broken(where: str, error: BaseException, advice: str) -> list[Problem]:
    """Says that a block did not import; what Branchwork itself objected to stays as it was said."""
    if isinstance(error, BranchworkError):
        return [replace(problem, where=f"{where}: {problem.where}") for problem in error.problems]
    return [
        Problem(
            where=where,
            rule="a block must import without an error",
            got=f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST],
            do=advice,
        )
    ]
