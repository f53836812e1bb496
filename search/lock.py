"""The lock of a study: one process searches it at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from blocks import Problem, StudyError

_LOCK_FILE = ".search.lock"
_PATIENCE_S = 2.0
"""Whoever asks for a status holds the lock for a moment."""


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Holds a study; the lock goes with the process, however that one ends.

    Raises:
        StudyError: If another process holds it.
    """
    lock = FileLock(folder / _LOCK_FILE)
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout:
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a study is searched by one process at a time",
                got="another that is running",
                do="wait for it, or end it",
            )
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_searched(folder: Path) -> bool:
    """Tells whether some process searches a study now."""
    if not (folder / _LOCK_FILE).is_file():
        return False
    try:
        with FileLock(folder / _LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True
