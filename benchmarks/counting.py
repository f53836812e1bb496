"""How many random networks a second are counted, against counting them one by one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from analysis import CONVENTIONS, RunStore, cost_many, measure_cost
from analysis.many import sample_choices
from benchmarks.tables import Table, load_remark
from search import read_study

_STUDY = Path(__file__).parent.parent / "configs" / "studies" / "atlas.toml"
_NUM_ROWS = 3_000_000
_NUM_SINGLE = 50


def run() -> Table:
    """Counts fresh random rows of the atlas."""
    remark = load_remark()
    study = read_study(_STUDY, store=RunStore(Path("runs")))
    space, size = study.space, study.input
    started = time.perf_counter()
    cost_many(space, sample_choices(space, 1, 0), size=size)
    tables_s = time.perf_counter() - started
    rows = []
    for label, names in (
        ("params and macs", ("params", "macs")),
        ("every convention", tuple(CONVENTIONS)),
    ):
        speeds = []
        for seed in (1, 2, 3):
            choices = sample_choices(space, _NUM_ROWS, seed)
            started = time.perf_counter()
            cost_many(space, choices, size=size, names=names)
            speeds.append(_NUM_ROWS / (time.perf_counter() - started))
        rows.append((label, f"{min(speeds) / 1e6:.1f}", f"{sorted(speeds)[1] / 1e6:.1f}"))
    single = sample_choices(space, _NUM_SINGLE, 4).tolist()
    started = time.perf_counter()
    for row in single:
        measure_cost(space.spec(row), size)
    speed = _NUM_SINGLE / (time.perf_counter() - started)
    rows.append(("every convention, one by one", f"{speed / 1e6:.5f}", f"{speed / 1e6:.5f}"))
    return Table(
        title="Counting random networks",
        method=f"The space of configs/studies/atlas.toml, {space.size:,} rows, input {size}; three "
        f"draws of {_NUM_ROWS:,} rows, each counted once, {os.cpu_count()} threads. Making the "
        f"tables takes {tables_s:.1f} s once a space and is not included.{remark}",
        head=("what", "slowest, million networks/s", "median, million networks/s"),
        rows=rows,
    )
