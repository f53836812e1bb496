"""Calibrations of a machine that exists only in tests."""

from __future__ import annotations

import itertools

from analysis.calibration_kernels import kernels_of
from analysis.calibration_networks import draw_networks
from analysis.calibrations import Calibration, CalibrationSample

NUM_NETWORKS = 24


def made_time_ms(kernels) -> float:
    """A machine that launches in 10 microseconds and computes 5e9 a second."""
    return sum(0.01 + kernel.macs / 5e6 for kernel in kernels)


def made_calibration(seed=0, runtime="onnxruntime", count=NUM_NETWORKS) -> Calibration:
    samples = []
    for drawn in itertools.islice(draw_networks(seed), count):
        kernels = kernels_of(drawn.spec.operations(drawn.size), are_fused=True)
        layers: dict[str, float] = {}
        for kernel in kernels:
            name = f"{kernel.addresses[0]}/Any"
            layers[name] = layers.get(name, 0.0) + made_time_ms([kernel])
        time_ms = made_time_ms(kernels)
        samples.append(
            CalibrationSample(
                spec=drawn.spec,
                input=drawn.size,
                time_ms=time_ms,
                before_ms=time_ms,
                again_ms=time_ms * 1.02,
                layer_times_ms=layers,
            )
        )
    return Calibration(
        runtime=runtime,
        version="made 1.0",
        threads=1,
        dtype="float32",
        machine="A Made (R) CPU",
        num_cores=2,
        date="2026-01-01T00:00:00+00:00",
        samples=tuple(samples),
    )
