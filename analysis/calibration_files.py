"""Calibrations on disk: one JSON file each, below ``calibrations/`` in the run store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.calibrations import FEWEST_NETWORKS, Calibration, CalibrationSample, Learned
from analysis.environment import current_environment
from analysis.execution import executed_from_data
from analysis.predictor import Predictor
from analysis.runtimes import RUNTIMES
from blocks import BranchworkError, ImageSize, Problem
from networks import spec_from_dict

FOLDER = "calibrations"


def default_path(runs: Path, runtime: str, threads: int, machine: str | None = None) -> Path:
    """Returns where a calibration lies unless it is put elsewhere.

    Args:
        runs: The run store's folder.
        runtime: The runtime.
        threads: Its threads.
        machine: What the processor is called; None stands for this one.
    """
    name = current_environment().cpu if machine is None else machine
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "machine"
    return runs / FOLDER / f"{slug}_{runtime}_{threads}.json"


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Writes a calibration, with what was found out about its own errors."""
    data = {
        **calibration.data,
        "fingerprint": calibration.fingerprint,
        "noise": vars(calibration.noise),
        "errors": vars(calibration.errors),
        "learned": calibration.learned.data,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(data, separators=(",", ":")), encoding="utf-8")
    temporary.replace(path)


def read_calibration(path: Path) -> Calibration:
    """Reads a calibration.

    Raises:
        BranchworkError: If it is missing, or is none.
    """
    try:
        return calibration_from_data(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except (LookupError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        # Our own errors are ValueErrors as well, and say more: a block that is not here.
        if isinstance(error, BranchworkError):
            raise
        raise _unreadable(path, f"{type(error).__name__}: {error}") from None


def calibration_from_data(data: Mapping[str, Any]) -> Calibration:
    """Returns a calibration from plain data.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is not what it should be.
        ValueError: If a number or a name cannot be.
        BranchworkError: If a network cannot be read.
    """
    if data["runtime"] not in RUNTIMES:
        message = f"no runtime {data['runtime']!r}"
        raise ValueError(message)
    samples = tuple(_sample(each) for each in data["samples"])
    if len(samples) < FEWEST_NETWORKS:
        message = f"{len(samples)} networks where at least {FEWEST_NETWORKS} are needed"
        raise ValueError(message)
    return Calibration(
        runtime=data["runtime"],
        version=str(data["version"]),
        threads=int(data["threads"]),
        dtype=str(data["dtype"]),
        machine=str(data["machine"]),
        num_cores=int(data["num_cores"]),
        date=str(data["date"]),
        samples=samples,
        num_failed=int(data["num_failed"]),
        kept=_learned(data["learned"]) if "learned" in data else None,
    )


def _learned(data: Mapping[str, Any]) -> Learned:
    return Learned(
        fingerprint=str(data["fingerprint"]),
        predictor=Predictor.from_data(data["predictor"]),
        ratios=np.array(data["ratios"], dtype=np.float64),
    )


def _sample(data: Mapping[str, Any]) -> CalibrationSample:
    times_ms = [float(data[key]) for key in ("time_ms", "before_ms", "again_ms")]
    if not all(math.isfinite(each) and each > 0 for each in times_ms):
        message = "a time that is not above 0"
        raise ValueError(message)
    time_ms, before_ms, again_ms = times_ms
    kernels = tuple(map(executed_from_data, data["kernels"]))
    for each in kernels:
        # What cannot be read as a kernel is told here, with the file's name.
        each.kernel(())
    return CalibrationSample(
        spec=spec_from_dict(data["spec"]),
        input=ImageSize.parse(data["input"]),
        time_ms=time_ms,
        before_ms=before_ms,
        again_ms=again_ms,
        kernels=kernels,
    )


def _unreadable(path: Path, got: str) -> BranchworkError:
    return BranchworkError(
        Problem(
            where=str(path),
            rule="a calibration is a file that 'branchwork calibrate' wrote",
            got=got,
            do="run 'branchwork calibrate --runtime NAME', or name another file",
        )
    )
