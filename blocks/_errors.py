"""The errors that a user's mistake raises: where, which rule, what was got, what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One broken rule, in the four parts in which Branchwork speaks of it.

    Attributes:
        rule: What must hold.
        got: What stood there instead.
        do: What the reader can do about it.
        where: The address, file or option concerned.
        branch: The branch concerned, where there is one.
        stride: That branch's stride.
    """

    rule: str
    got: str
    do: str
    where: str = ""
    branch: int | None = None
    stride: int | None = None

    def under(self, prefix: str) -> Problem:
        """Returns the same problem, seen from one level further out."""
        return replace(self, where=join_address(prefix, self.where))

    def __str__(self) -> str:
        """Writes the problem on one line."""
        where = f"{self.where}: " if self.where else ""
        branch = "" if self.branch is None else f" on branch {self.branch}"
        stride = "" if self.stride is None else f" (stride {self.stride})"
        return f"{where}{self.rule}, got {self.got}{branch}{stride}; {self.do}"


class BranchworkError(ValueError):
    """A user's mistake; the command prints it on standard error and exits with 2.

    Args:
        problems: Everything that was found wrong, collected before raising.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[BranchworkError], tuple[tuple[Problem, ...]]]:
        """Lets the error travel between processes whole."""
        return type(self), (self.problems,)


class SpecError(BranchworkError):
    """A network or one of its layers cannot be built as written."""


class DataError(BranchworkError):
    """A data folder, annotation file or image cannot be used."""


class CheckpointError(BranchworkError):
    """A checkpoint does not fit the network that is to read it."""


class StudyError(BranchworkError):
    """A study file, a study's name or a study's state does not allow what was asked."""


class _Quoting(reprlib.Repr):
    """Writes any value on part of a line: long ones shortened, deep ones cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 8
        self.maxstring = self.maxlong = self.maxother = 120

    def repr_int(self, x: int, level: int) -> str:
        """Writes whole numbers, but for those that Python refuses to write."""
        return (
            f"a number of {x.bit_length()} bits"
            if abs(x) > _LONGEST
            else super().repr_int(x, level)
        )


_LONGEST = 10**100
_quoting = _Quoting()


def quoted(value: object) -> str:
    """Returns what was got as messages quote it: on one line, short whatever it is.

    >>> quoted("ccw"), quoted([[1, 2]] * 20)
    ("'ccw'", '[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], ...]')
    """
    return _quoting.repr(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns advice for an unknown name: the nearest known one, or all of them.

    >>> did_you_mean("cww", ["ccw", "basic"])
    "did you mean 'ccw'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of {', '.join(names)}" if names else "there is none to choose from"


def join_address(*parts: str) -> str:
    """Joins address parts with dots, leaving out the empty ones.

    >>> join_address("stages.0", "", "fusion")
    'stages.0.fusion'
    """
    return ".".join(part for part in parts if part)
