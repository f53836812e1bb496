"""Data sets that Branchwork renders: kept on disk, rendered once, never half."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from blocks import DataError, Problem

SPLITS = ("train", "val")

_CACHE_VARIABLE = "BRANCHWORK_CACHE"
_DONE = "complete.json"
_STALE_S = 24 * 3600


class RenderedSet(ABC):
    """Which rendered data set: equal ones have equal files wherever they are rendered."""

    task: ClassVar[str]
    """The task that the set is for; folder names begin with it."""

    parts: ClassVar[tuple[str, ...]]
    """The folders in the set's folder, which hold all of its files."""

    @property
    @abstractmethod
    def folder_name(self) -> str:
        """Name of the data set's folder, another one for every other set of files."""

    @abstractmethod
    def render(self, folder: Path) -> None:
        """Writes all files.

        Args:
            folder: The data set's folder, which is there and empty.

        Raises:
            OSError: If a file cannot be written.
        """


def cache_folder() -> Path:
    """Returns where Branchwork keeps what it can make again: ``BRANCHWORK_CACHE``, if set."""
    named = os.environ.get(_CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "branchwork"


def ensure_rendered(which: RenderedSet, parent: Path) -> Path:
    """Returns the data set's folder, rendering it if it is not there whole.

    It is rendered under a temporary name and then renamed, so a killed process leaves no half of
    it behind; of several processes that want it, one renders and the others wait.

    Args:
        which: The data set.
        parent: The folder to keep it in; made if it does not exist.

    Raises:
        DataError: If the folder cannot be written.
    """
    folder = parent / which.folder_name
    if _is_whole(folder, which.parts):
        return folder
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{which.folder_name}.lock"):
            if not _is_whole(folder, which.parts):
                _remove_stale(parent, which.task)
                made = Path(tempfile.mkdtemp(prefix=f".{which.folder_name}.", dir=parent))
                try:
                    which.render(made)
                    inventory = json.dumps(_inventory(made, which.parts))
                    (made / _DONE).write_text(inventory, encoding="utf-8")
                    _install(made, folder)
                finally:
                    shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise DataError(
            Problem(
                where=str(parent),
                rule="the synthetic data set needs a folder to be kept in",
                got=str(error.strerror or error),
                do=f"give another one with --data or {_CACHE_VARIABLE}",
            )
        ) from error
    return folder


def version_of(folder: Path) -> int:
    """Returns a number that changes when the data set is rendered anew; 0 if it is not there."""
    try:
        return (folder / _DONE).stat().st_mtime_ns
    except OSError:
        return 0


def distrust(folder: Path, version: int) -> None:
    """Marks a data set as not whole, unless it was rendered anew since its version was read.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if version_of(folder) == version:
                (folder / _DONE).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            Problem(
                where=str(folder),
                rule="a damaged synthetic data set is rendered again in its place",
                got=str(error.strerror or error),
                do=f"give another folder with --data or {_CACHE_VARIABLE}",
            )
        ) from error


def _install(made: Path, folder: Path) -> None:
    made.chmod(0o755)
    if folder.exists():
        # Aside first: whoever reads it now keeps the open files, and the name is free at once.
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            folder.rename(aside / "broken")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    made.rename(folder)


def _is_whole(folder: Path, parts: tuple[str, ...]) -> bool:
    """Tells whether all the bytes that were rendered are still there."""
    try:
        expected = json.loads((folder / _DONE).read_bytes())
        return bool(expected == _inventory(folder, parts))
    except (OSError, ValueError):
        return False


def _inventory(folder: Path, parts: tuple[str, ...]) -> dict[str, Any]:
    """Returns the number of files and of bytes of every part of a data set."""
    inventory = {}
    for part in parts:
        with os.scandir(folder / part) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        inventory[part] = {"num_files": len(sizes), "num_bytes": sum(sizes)}
    return inventory


def _remove_stale(parent: Path, task: str) -> None:
    """Removes what killed processes left behind."""
    for left in parent.glob(f".{task}-*"):
        if not left.is_dir():
            continue
        try:
            stale = time.time() - left.stat().st_mtime > _STALE_S
        except FileNotFoundError:
            continue
        if stale:
            shutil.rmtree(left, ignore_errors=True)
