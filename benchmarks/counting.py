"""How many random networks a second are counted, against counting them one by one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from hypothesis import HealthCheck, Phase, given, settings

from analysis import CONVENTIONS, RunStore, cost_many, measure_cost
from analysis.many import sample_choices
from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import NetworkSpec, spec_id
from search import read_study

_ROOT = Path(__file__).parent.parent
_STUDY = _ROOT / "configs" / "studies" / "atlas.toml"
_NUM_ROWS = 3_000_000
_NUM_SINGLE = 200
_NUM_DRAWN = 1_000
_NUM_PROCESSES = 7


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
    return Table(
        title="Counting random networks",
        method=f"The space of configs/studies/atlas.toml, {space.size:,} rows, input {size}; three "
        f"draws of {_NUM_ROWS:,} rows, each counted once, {os.cpu_count()} threads. Making the "
        f"tables takes {tables_s:.1f} s once a space and is not included.{remark}",
        head=("what", "slowest, million networks/s", "median, million networks/s"),
        rows=rows,
    )


def run_single() -> Table:
    """Counts single networks by their closed form, each for the first time."""
    remark = load_remark()
    study = read_study(_STUDY, store=RunStore(Path("runs")))
    rows = sample_choices(study.space, _NUM_SINGLE, 4).tolist()
    drawn = [(spec, ImageSize(*(spec.coarsest_stride * n for n in (8, 6)))) for spec in _drawn()]
    first_ms = [_first_call_ms() for _ in range(_NUM_PROCESSES)]
    return Table(
        title="Counting one network",
        method=f"Every convention, by measure_cost, in one thread. {len(drawn)} different networks "
        f"as the tests draw them, over all slots and kinds; {_NUM_SINGLE} of the atlas; "
        f"lite_hrnet_18 at 256x192 as the first network of a process that has loaded everything, "
        f"in {_NUM_PROCESSES} processes. None was counted before.{remark}",
        head=("networks", "median, ms", "90 %, ms", "largest, ms"),
        rows=[
            _row("drawn", [_call_ms(spec, size) for spec, size in drawn]),
            _row("of the atlas", [_call_ms(study.space.spec(row), study.input) for row in rows]),
            _row("first of a process", first_ms),
        ],
    )


def _row(label: str, values_ms: list[float]) -> tuple[str, ...]:
    ordered = sorted(values_ms)
    ninety = ordered[min(len(ordered) * 9 // 10, len(ordered) - 1)]
    return (label, *(f"{ms:.2f}" for ms in (median(ordered), ninety, ordered[-1])))


def _call_ms(spec: NetworkSpec, size: ImageSize) -> float:
    started = time.perf_counter()
    measure_cost(spec, size)
    return (time.perf_counter() - started) * 1000


def _first_call_ms() -> float:
    code = (
        "from benchmarks.counting import _call_ms; from blocks import ImageSize; "
        "from networks import lite_hrnet_18; "
        "print(_call_ms(lite_hrnet_18(), ImageSize(256, 192)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _drawn() -> list[NetworkSpec]:
    """Draws different networks with the strategy of the tests."""
    sys.path.insert(0, str(_ROOT / "tests"))
    from drawn_specs import specs

    found: dict[str, NetworkSpec] = {}

    @settings(
        max_examples=_NUM_DRAWN,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(specs())
    def draw(spec: NetworkSpec) -> None:
        found[spec_id(spec)] = spec

    draw()
    return list(found.values())
