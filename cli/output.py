"""How verbs print: JSON alone on standard output, tables for people, the rest on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH = 160


def out() -> Console:
    """Returns the console of standard output; as wide as a table needs where it is no terminal."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def err() -> Console:
    """Returns the console of standard error."""
    width = None if sys.stderr.isatty() else _PLAIN_WIDTH
    return Console(stderr=True, width=width, highlight=False)


def say(text: str) -> None:
    """Writes a line on standard error."""
    err().print(text, markup=False)


def print_json(data: Any) -> None:  # noqa: ANN401 - plain data
    """Prints data as JSON; NaN and infinity, which JSON does not have, as null."""
    from analysis.store import finite

    sys.stdout.write(json.dumps(finite(data), indent=2) + "\n")


def table(*columns: str, title: str = "", left: int = 1) -> Table:
    """Returns an empty table: the first ``left`` columns flush left, numbers flush right."""
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index < left else "right", overflow="fold")
    return made
