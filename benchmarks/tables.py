"""Benchmark tables: numbers with the machine, versions, command and date that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from analysis.environment import current_environment

_BUSY_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a benchmark measured.

    Attributes:
        title: What it is.
        method: How it was measured.
        head: Column names, with units.
        rows: The rows, as text.
    """

    title: str
    method: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def write_table(path: Path, table: Table, command: str) -> Path:
    """Writes a table as Markdown, with everything that it depends on."""
    machine = current_environment()
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    lines = [
        f"# {table.title}",
        "",
        table.method,
        "",
        f"| {' | '.join(table.head)} |",
        f"|{'|'.join(' --- ' for _ in table.head)}|",
        *(f"| {' | '.join(row)} |" for row in table.rows),
        "",
        f"{machine.cpu}, {machine.num_cores} cores, {machine.memory_bytes / 2**30:.0f} GiB"
        + (f", {machine.accelerator}" if machine.accelerator else "")
        + f"; {machine.system}, Python {machine.python}, {packages}; `{command}`, "
        f"{datetime.now(UTC):%Y-%m-%d}",
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load_remark() -> str:
    """Returns a sentence on what else the machine was doing, "" if it was quiet."""
    busy = psutil.cpu_percent(interval=1.0) / 100
    return f" Other processes kept {busy:.0%} of the cores busy." if busy > _BUSY_SHARE else ""
