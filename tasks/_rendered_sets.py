"""Data sets that Branchwork renders: kept on disk, rendered once, never half."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from filelock import FileLock

from blocks import BranchworkError, DataError, Problem

from ._task import TaskData

SPLITS = ("train", "val")

_CACHE_VARIABLE = "BRANCHWORK_CACHE"
_DONE = "complete.json"
_STALE_S = 24 * 3600

Opened = TypeVar("Opened", bound=TaskData)


@dataclass(frozen=True, kw_only=True)
class RenderedSet(ABC):
    """Which rendered data set: equal ones have equal files wherever they are rendered.

    Attributes:
        num_train: Number of images to learn from.
        num_val: Number of images to be scored on.
        seed: Seed of everything random.
    """

    task: ClassVar[str]
    """The task that the set is for; folder names begin with it."""

    parts: ClassVar[tuple[str, ...]]
    """The folders in the set's folder, which hold all of its files."""

    revision: ClassVar[int]
    """Raised by one whenever its renderer gives other images."""

    num_train: int
    num_val: int
    seed: int

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            BranchworkError: If one is too small.
        """
        problems = [
            Problem(
                where=f"{self.task}.{option}",
                rule=f"the option must be at least {smallest}",
                got=str(getattr(self, option)),
                do=f"use {smallest} or more",
            )
            for option, smallest in (("num_train", 1), ("num_val", 1), ("seed", 0))
            if getattr(self, option) < smallest
        ]
        if problems:
            raise BranchworkError(problems)

    @property
    def folder_name(self) -> str:
        """Name of the data set's folder, another one for every other set of files."""
        numbers = f"{self.num_train}-{self.num_val}-seed{self.seed}"
        return f"{self.task}-{numbers}-r{self.revision}"

    @property
    def splits(self) -> tuple[tuple[str, int], ...]:
        """Every split with its number of images; its place is the stream of its randomness."""
        return tuple(zip(SPLITS, (self.num_train, self.num_val), strict=True))

    @abstractmethod
    def render(self, folder: Path) -> None:
        """Writes all files.

        Args:
            folder: The data set's folder, which is there and empty.

        Raises:
            OSError: If a file cannot be written.
        """


def _cache_folder() -> Path:
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


def open_rendered(which: RenderedSet, data: Path | None, read: Callable[[Path], Opened]) -> Opened:
    """Opens a split of a data set, rendering the set on first use.

    Args:
        which: The data set.
        data: The folder to keep it in; None for the cache folder.
        read: Opens the split in the set's folder.

    Raises:
        DataError: If the folder cannot be written.
    """
    folder = ensure_rendered(which, _cache_folder() if data is None else data)
    version = _version_of(folder)
    try:
        opened = read(folder)
    except DataError:
        pass
    else:
        if not opened.skipped:
            return opened
    # All the bytes are there, but not as they were written.
    _distrust(folder, version)
    return read(ensure_rendered(which, folder.parent))


def _version_of(folder: Path) -> int:
    """Returns a number that changes when the data set is rendered anew; 0 if it is not there."""
    try:
        return (folder / _DONE).stat().st_mtime_ns
    except OSError:
        return 0


def _distrust(folder: Path, version: int) -> None:
    """Marks a data set as not whole, unless it was rendered anew since its version was read.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if _version_of(folder) == version:
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
