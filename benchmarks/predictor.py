"""How well latencies of random networks that were never seen are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.calibrating import calibrate
from analysis.calibrations import Calibration, CalibrationSample, Errors, errors
from benchmarks.tables import Table, load_remark
from blocks import SLOTS, Slot

_RUNTIMES = ("onnxruntime", "openvino", "eager")
_MINUTES = 11.0
_NUM_UNSEEN = 64
_SEED = 0
_SEED_UNSEEN = 99
_LEAST_IN_FAMILY = 5


def run() -> Table:
    """Calibrates every runtime, then predicts networks of another seed."""
    remark = load_remark()
    rows: list[Sequence[str]] = []
    for runtime in _RUNTIMES:
        before = _unseen(runtime)
        known = calibrate(runtime, minutes=_MINUTES, seed=_SEED)
        rows += rows_of(known, twice(before, _unseen(runtime)))
    return Table(
        title="Predicted latencies of random networks",
        method="float32, batch 1, 1 thread, not rewritten. Each runtime is calibrated on as many "
        f"random networks as it can measure in {_MINUTES:g} minutes, then predicts {_NUM_UNSEEN} "
        "of another seed; a left-out family is predicted without any network that has its block. "
        "A time is the middle one of the quieter four of eight turns, in processor time of the "
        "process, as at the machine's best (docs/calibrating.md), networks taking turns. Networks "
        "to be predicted are measured twice, before the calibration and after it, prepared anew: "
        "what is predicted is the geometric mean, and noise is the first against the second; for "
        "left-out families it is that of even turns against odd ones of the same half minute."
        f"{remark}",
        head=(
            "runtime",
            "networks",
            "known",
            "predicted",
            "within 10 %",
            "median error",
            "nine of ten within",
            "Kendall's tau",
            "noise: within 10 %",
            "noise: median",
        ),
        rows=rows,
    )


def _unseen(runtime: str) -> Calibration:
    # Time enough to measure them all; they are what ends it.
    return calibrate(runtime, minutes=60.0, most_networks=_NUM_UNSEEN, seed=_SEED_UNSEEN)


def twice(first: Calibration, second: Calibration) -> Calibration:
    """Returns networks with the mean time of two measurements, and each of them."""
    seconds_ms = {(each.spec, each.input): each.time_ms for each in second.samples}
    samples = []
    for sample in first.samples:
        again_ms = seconds_ms.get((sample.spec, sample.input))
        if again_ms is not None:
            before_ms = sample.time_ms
            mean_ms = (before_ms * again_ms) ** 0.5
            samples.append(replace(sample, time_ms=mean_ms, before_ms=before_ms, again_ms=again_ms))
    return replace(second, samples=tuple(samples))


def rows_of(known: Calibration, unseen: Calibration) -> list[Sequence[str]]:
    """Returns the rows of one runtime: all unseen networks, then every left-out family."""
    rows = [_row(known, "unseen", unseen.samples)]
    for kind in sorted(entry.name for entry in SLOTS[Slot.BLOCK]):
        family = [each for each in known.samples if kind in _blocks(each)]
        others = tuple(each for each in known.samples if kind not in _blocks(each))
        if len(family) >= _LEAST_IN_FAMILY:
            rows.append(_row(replace(known, samples=others), f"without {kind}", family))
    return rows


def _row(known: Calibration, label: str, samples: Sequence[CalibrationSample]) -> Sequence[str]:
    true_ms = np.array([each.time_ms for each in samples])
    found_ms = np.array([known.predict_ms(each.spec, each.input) for each in samples])
    found, noise = errors(found_ms, true_ms), _noise(samples)
    return (
        known.version,
        label,
        str(len(known.samples)),
        str(found.count),
        f"{found.within:.0%}",
        f"{found.median:.1%}",
        f"{found.p90:.0%}",
        f"{found.tau:.2f}",
        f"{noise.within:.0%}",
        f"{noise.median:.1%}",
    )


def _noise(samples: Sequence[CalibrationSample]) -> Errors:
    return errors(
        np.array([each.again_ms for each in samples]),
        np.array([each.before_ms for each in samples]),
    )


def _blocks(sample: CalibrationSample) -> set[str]:
    names = {entry.cls: entry.name for entry in SLOTS[Slot.BLOCK]}
    return {
        names[type(group.block)]
        for stage in sample.spec.stages
        for unit in stage.units
        for group in unit.body
    }
