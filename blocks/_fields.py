"""Fields of layer specs: types that are checked, and search dimensions that are declared."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, TypeVar

from ._errors import Problem, quoted

T = TypeVar("T")

LARGEST_COUNT = 1_000_000
"""The largest width, ratio or number that a field takes: far above what anybody builds."""


def choice(default: T, *, among: tuple[T, ...] = (), help: str = "") -> T:  # noqa: A002
    """Declares a field with a default and the values that a search may try.

    An integer outside ``among`` is still a valid setting; a string is not.

    Args:
        default: The value when nothing is written.
        among: The values that ``"all"`` stands for in a study file.
        help: One line for the catalogue.
    """
    metadata = {"among": among, "help": help}
    return dataclasses.field(default=default, metadata=metadata)


def required(cls: type[T], *, help: str = "") -> T:  # noqa: A002
    """Declares a field that must be written.

    Args:
        cls: The field's type (only for type checkers).
        help: One line for the catalogue.
    """
    del cls
    return typing.cast("T", dataclasses.field(metadata={"among": (), "help": help}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldInfo:
    """One field of a kind, as the catalogue shows it.

    Attributes:
        name: Its name.
        type: Its type.
        default: Its default, or ``dataclasses.MISSING``.
        among: The values that a search may try.
        help: What it sets.
    """

    name: str
    type: Any
    default: Any
    among: tuple[Any, ...]
    help: str


def fields_of(cls: type[Any]) -> tuple[FieldInfo, ...]:
    """Returns the declared fields of a spec class."""
    return _fields_of(typing.cast("Hashable", cls))


@cache
def _fields_of(cls: Any) -> tuple[FieldInfo, ...]:  # noqa: ANN401 - a class, which is hashable
    hints = typing.get_type_hints(cls)
    return tuple(
        FieldInfo(
            name=field.name,
            type=hints[field.name],
            default=field.default,
            among=tuple(field.metadata.get("among", ())),
            help=str(field.metadata.get("help", "")),
        )
        for field in dataclasses.fields(cls)
    )


def field_problems(spec: object) -> Iterator[Problem]:
    """Yields a problem for every field whose value does not fit its declaration."""
    for info in fields_of(type(spec)):
        value = getattr(spec, info.name)
        expected = mismatch(info, value)
        if expected:
            yield Problem(
                where="",
                rule=f"field {info.name!r} must be {expected}",
                got=quoted(value),
                do=_advice(info),
            )


def mismatch(info: FieldInfo, value: object) -> str:
    """Returns what the field should have been, or "" if the value fits.

    Nothing is coerced: 1.0 is no whole number and 1 is not true, so equal specs are equal text.
    """
    if info.type is bool:
        return "" if isinstance(value, bool) else "true or false"
    if info.type is int:
        declared = type(value) is int and value in info.among
        return "" if declared or _is_count(value) else f"a whole number from 1 to {LARGEST_COUNT}"
    if info.type is float:
        fits = isinstance(value, float) and math.isfinite(value)
        return "" if fits else "a number with a decimal point"
    if info.type is str:
        return "" if value in info.among else f"one of {', '.join(map(repr, info.among))}"
    if info.type == tuple[int, ...]:
        fits = isinstance(value, tuple) and len(value) > 0 and all(map(_is_count, value))
        return "" if fits else f"a list of whole numbers from 1 to {LARGEST_COUNT}"
    # Any other class, such as a block's, is what the value must be an object of.
    is_another = isinstance(info.type, type) and not isinstance(value, info.type)
    return f"a {info.type.__name__}" if is_another else ""


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_COUNT


def _advice(info: FieldInfo) -> str:
    if info.among:
        return f"the usual values are {', '.join(map(repr, info.among))}"
    if info.default is not dataclasses.MISSING:
        return f"leave it out for the default, {info.default!r}"
    return info.help or "write one"
