"""Registries: which names stand for which classes.

One readable file: a registry is a dictionary from a kind's name to its entry, filled by a
decorator. Slots have a registry each, tasks have theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from ._errors import Problem, SpecError, did_you_mean, quoted

T = TypeVar("T")


class Slot(StrEnum):
    """The places of a network that a layer can fill."""

    STEM = "stem"
    TRANSITION = "transition"
    BLOCK = "block"
    FUSION = "fusion"
    AGGREGATOR = "aggregator"
    HEAD = "head"


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[T]):
    """What is known of a registered kind.

    Attributes:
        name: The kind's name, as written in specs.
        cls: The class that implements it.
        revision: Raised by one whenever the kind's numerics change; enters ``spec_id``.
        aliases: Other names under which users may write it.
    """

    name: str
    cls: type[T]
    revision: int
    aliases: tuple[str, ...]

    @property
    def summary(self) -> str:
        """First line of the class's documentation."""
        return (self.cls.__doc__ or "").strip().splitlines()[0] if self.cls.__doc__ else ""


class Registry(Generic[T]):
    """The kinds that can stand in one place, by name.

    Args:
        noun: What the kinds are ("block", "task"), for messages.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, str] = {}

    def register(
        self, name: str, *, revision: int = 1, aliases: tuple[str, ...] = ()
    ) -> Callable[[type[T]], type[T]]:
        """Returns a class decorator that files the class under ``name``.

        Raises:
            SpecError: If another class holds the name or one of the aliases.
        """

        def file(cls: type[T]) -> type[T]:
            for taken in (name, *aliases):
                held = self._entries.get(self._aliases.get(taken, taken))
                if held is not None:
                    raise SpecError(
                        Problem(
                            where=f"{cls.__module__}.{cls.__qualname__}",
                            rule=f"every {self.noun} kind is registered once",
                            got=f"{taken!r}, held by {held.cls.__module__}.{held.cls.__qualname__}",
                            do="choose another name",
                        )
                    )
            self._entries[name] = Entry(name=name, cls=cls, revision=revision, aliases=aliases)
            self._aliases.update(dict.fromkeys(aliases, name))
            return cls

        return file

    def get(self, name: str, *, where: str = "") -> Entry[T]:
        """Returns the entry of a kind, found by its name or an alias.

        Raises:
            SpecError: If no kind has the name.
        """
        entry = self._entries.get(self._aliases.get(name, name))
        if entry is None:
            raise SpecError(
                Problem(
                    where=where,
                    rule=f"a {self.noun} must be of a registered kind",
                    got=quoted(name),
                    do=did_you_mean(name, [*self._entries, *self._aliases]),
                )
            )
        return entry

    def entry_of(self, cls: type[T]) -> Entry[T]:
        """Returns the entry under which a class is registered.

        Raises:
            SpecError: If it is not.
        """
        for entry in self:
            if entry.cls is cls:
                return entry
        raise SpecError(
            Problem(
                where=f"{cls.__module__}.{cls.__qualname__}",
                rule=f"a {self.noun} must be registered",
                got="an unregistered class",
                do=f"decorate it with @register_{self.noun}(name)",
            )
        )

    def __iter__(self) -> Iterator[Entry[T]]:
        """Iterates over the entries by name."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        """Tells whether a kind of this name or alias is registered."""
        return self._aliases.get(name, name) in self._entries

    def __len__(self) -> int:
        """Number of kinds."""
        return len(self._entries)

    def remove(self, name: str) -> None:
        """Takes a kind out again (a block file that was found broken, or a test's)."""
        entry = self._entries.pop(name)
        for alias in entry.aliases:
            del self._aliases[alias]
