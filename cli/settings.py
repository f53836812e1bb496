"""Settings as users write them: NAME=VALUE pairs, and schedules with changes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training import Schedule


def read_pairs(texts: list[str], where: str) -> dict[str, Any]:
    """Reads NAME=VALUE texts; a value is JSON where it is any, a word otherwise.

    Args:
        texts: What the user wrote.
        where: The option, for messages.

    Raises:
        BranchworkError: If a text has no name or no value.
    """
    from blocks import BranchworkError, Problem

    pairs: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BranchworkError(
                Problem(
                    where=where,
                    rule="a setting is NAME=VALUE",
                    got=repr(text),
                    do="write steps=300, for example",
                )
            )
        try:
            pairs[name.strip()] = json.loads(value)
        except ValueError:
            pairs[name.strip()] = value.strip()
    return pairs


def read_schedule(text: str, where: str) -> Schedule:
    """Reads a schedule: ``tiny``, or ``tiny,steps=300,lr=0.01``.

    Args:
        text: What the user wrote.
        where: The option, for messages.

    Raises:
        BranchworkError: If a name or a setting is unknown.
    """
    from training import schedule_of

    # The commas of a list, milestones=[6,8], are its own.
    name, *changes = re.split(r",(?![^\[]*\])", text)
    if not changes:
        return schedule_of(name, where)
    return schedule_of({"base": name, **read_pairs(changes, where)}, where)
