"""What went wrong: where the errors of predictions lie, by key point or by class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class Diagnosis(ABC):
    """The errors of one network on one split."""

    @property
    @abstractmethod
    def convention(self) -> str:
        """What was counted, and how."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """What a table of it has in its columns; the first names the row."""

    @abstractmethod
    def rows(self) -> list[tuple[str | float, ...]]:
        """Returns the table's rows: names, counts, and fractions from 0 to 1, NaN if undefined."""

    @abstractmethod
    def parts(self) -> Sequence[tuple[str, dict[str, float]]]:
        """Returns, for every row, into which parts all that was to be found falls: fractions."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Returns all of it as plain data, with its convention."""
