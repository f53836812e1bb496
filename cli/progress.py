"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.output import err, say

_LINE_EVERY_S = 10.0
_WHOLE_FROM = 100


class Reporter(Protocol):
    """What a verb tells about its work."""

    def update(self, done: float, text: str) -> None:
        """Says how much is done, and what is happening."""

    def note(self, text: str) -> None:
        """Writes a line that stays."""


@contextmanager
def progress(total: float, label: str) -> Iterator[Reporter]:
    """Shows work that has ``total`` parts.

    Args:
        total: Parts in all.
        label: What is done.
    """
    if sys.stderr.isatty():
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err(),
        ) as bar:
            yield _Bar(bar, total, label)
    else:
        yield _Lines(total, label)


class _Bar:
    def __init__(self, bar: Progress, total: float, label: str) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=total, text="")

    def update(self, done: float, text: str) -> None:
        self._bar.update(self._task, completed=done, text=text)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


class _Lines:
    def __init__(self, total: float, label: str) -> None:
        self._total = total
        self._label = label
        self._started = time.monotonic()
        self._first: float | None = None
        self._written = -_LINE_EVERY_S
        self._is_over = False

    def update(self, done: float, text: str) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        is_last = done >= self._total
        if self._is_over or (now - self._written < _LINE_EVERY_S and not is_last):
            return
        self._written, self._is_over = now, is_last
        elapsed_s = now - self._started
        worked = done - self._first
        left = ""
        if worked > 0 and not is_last:
            left = f", {elapsed_s / worked * (self._total - done):.0f} s left"
        words = f" {text}," if text else ""
        count = f"{done:,.0f}" if done >= _WHOLE_FROM else f"{done:.3g}"
        say(f"{self._label} {count} of {self._total:,.0f},{words} {elapsed_s:.0f} s{left}")

    def note(self, text: str) -> None:
        say(text)
