"""Runs the command as a user does, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import networks  # noqa: F401 - what it registers is there before a test's blocks
from analysis import latency, timing
from blocks import SLOTS
from cli.main import main
from search import runner

LITTLE = timing.Effort(
    min_runs=4, min_duration_s=0.0, max_duration_s=10.0, max_warm_s=0.0, num_rounds=2
)


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_block_stays():
    """Takes out what a test's block files registered, for the tests that follow."""
    before = {slot: {entry.name for entry in registry} for slot, registry in SLOTS.items()}
    yield
    for slot, registry in SLOTS.items():
        for entry in list(registry):
            if entry.name not in before[slot]:
                registry.remove(entry.name)
    for name in [name for name in sys.modules if name.startswith("_branchwork_blocks_")]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def _latencies_in_passing_are_brief(monkeypatch):
    """Measures what trainings and searches note in passing in few runs."""
    monkeypatch.setitem(latency.measure_latency.__kwdefaults__, "effort", LITTLE)
    monkeypatch.setattr(runner, "BRIEF", LITTLE)
    monkeypatch.setattr(timing, "_WARM_WINDOW_S", 0.0)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path) -> Callable[..., Result]:
    """Returns a function that runs ``branchwork`` with arguments, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("BRANCHWORK_RUNS", "BRANCHWORK_BLOCKS", "BRANCHWORK_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["branchwork", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run
