"""Calibrations of a machine that exists only in tests."""

from __future__ import annotations

import itertools

from analysis.calibration_networks import draw_networks
from analysis.calibrations import Calibration, CalibrationSample
from analysis.execution import Executed, expected_kernels

NUM_NETWORKS = 24
OVERHEAD_MS = 0.003
"""What its profiler adds to each kernel."""


def made_time_ms(kernels) -> float:
    """A machine that launches in 10 microseconds and computes 5e9 a second."""
    return sum(0.01 + kernel.macs / 5e6 for kernel in kernels)


def as_executed(kernel) -> Executed | None:
    """What a profiler says of a convolution; None for what is none."""
    if not kernel.weight_bytes:
        return None
    channels, outs, places, width, area, stride, *_, num_terms = kernel.sides
    out = (outs, places // width, width)
    image = (channels, out[1] * stride, out[2] * stride)
    is_transposed = kernel.kind.startswith("transposed")
    each_reads = kernel.weight_bytes // (4 * outs * area)
    return Executed(
        name="/some.conv/Conv",
        operator="transposed" if is_transposed else "convolution",
        mark=kernel.kind.partition(" ")[2],
        ins=(image, *[out] * (num_terms - 1)),
        filters=(outs, each_reads, area, 1),
        out=out,
        time_ms=made_time_ms([kernel]) + OVERHEAD_MS,
    )


def made_calibration(seed=0, runtime="onnxruntime", count=NUM_NETWORKS) -> Calibration:
    samples = []
    for drawn in itertools.islice(draw_networks(seed), count):
        kernels = expected_kernels(runtime, drawn.spec, drawn.size)
        time_ms = made_time_ms(kernels)
        samples.append(
            CalibrationSample(
                spec=drawn.spec,
                input=drawn.size,
                time_ms=time_ms,
                before_ms=time_ms,
                again_ms=time_ms * 1.02,
                kernels=tuple(filter(None, map(as_executed, kernels))),
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
