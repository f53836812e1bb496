"""Runs of other counters themselves, each in a process of its own.

fvcore and thop are no longer maintained and have side effects: thop leaves buffers behind, fvcore
rests on a deprecated tracer. In their own processes neither they nor their failures reach us.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.any_module import import_network
from blocks import ImageSize, load_block_folder
from networks import NetworkSpec, spec_from_dict, spec_to_dict

LIMIT_S = 300.0
"""Seconds that a counter may take."""

_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class CounterRun:
    """What became of one run of a counter.

    Attributes:
        count: The number that it prints; None if it failed.
        failure: Why it failed, on one line; "" if it did not.
    """

    count: int | None
    failure: str = ""


def run_counters(
    network: NetworkSpec | str,
    size: ImageSize,
    *,
    blocks: Sequence[Path] = (),
    limit_s: float = LIMIT_S,
) -> dict[str, CounterRun]:
    """Lets every counter count a network, in eval mode and at batch 1, all at the same time.

    Args:
        network: A spec, or the import path of a module.
        size: The image's size.
        blocks: Folders with the user's blocks.
        limit_s: Seconds after which a counter is stopped.
    """
    request = {
        "network": network if isinstance(network, str) else spec_to_dict(network),
        "input": str(size),
        "blocks": [str(folder) for folder in blocks],
    }
    runs = {name: _started(json.dumps(request | {"counter": name})) for name in COUNTERS}
    return {name: _finished(process, limit_s) for name, process in runs.items()}


def _started(request: str) -> subprocess.Popen[str]:
    # -P keeps the working folder from hiding our packages; what we can import, it can.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-P", "-m", "analysis.counter_runs", request],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _finished(process: subprocess.Popen[str], limit_s: float) -> CounterRun:
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return CounterRun(count=None, failure=f"stopped after {limit_s:g} s")
    lines = out.splitlines()
    if process.returncode == 0 and lines:
        return CounterRun(**json.loads(lines[-1]))
    said = (err.splitlines() or ["nothing said"])[-1]
    return CounterRun(count=None, failure=f"exit code {process.returncode}: {said[:_LONGEST]}")


def _fvcore(module: nn.Module, image: Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    count = FlopCountAnalysis(module, image)
    return int(count.unsupported_ops_warnings(enabled=False).total())


def _thop(module: nn.Module, image: Tensor) -> int:
    from thop import profile

    total, _ = profile(module, (image,), verbose=False)
    return int(total)


COUNTERS: dict[str, Callable[[nn.Module, Tensor], int]] = {"fvcore": _fvcore, "thop": _thop}
"""The counters that are run, by the name of the convention that emulates each."""


def _count(request: dict[str, Any]) -> CounterRun:
    for folder in request["blocks"]:
        load_block_folder(Path(folder))
    network = request["network"]
    module = (
        import_network(network) if isinstance(network, str) else spec_from_dict(network).build()
    )
    size = ImageSize.parse(request["input"])
    image = torch.zeros(1, 3, size.height, size.width)
    try:
        return CounterRun(count=COUNTERS[request["counter"]](module.eval(), image))
    except Exception as error:  # noqa: BLE001 - others' code raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return CounterRun(count=None, failure=reason[:_LONGEST])


def _main() -> None:
    """Counts what the one argument asks for; the last line on standard output is the answer."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        run = _count(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps({"count": run.count, "failure": run.failure}) + "\n")


if __name__ == "__main__":
    _main()
