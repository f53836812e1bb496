"""The benchmark of predictions: what it calls the time of a network, and what noise."""

from __future__ import annotations

from itertools import islice

import pytest

from analysis.calibrating import calibration_of
from analysis.calibration_networks import draw_networks
from analysis.calibrations import CalibrationSample
from benchmarks.predictor import twice


def sitting(times_ms):
    samples = [
        CalibrationSample(
            spec=drawn.spec,
            input=drawn.size,
            time_ms=time_ms,
            before_ms=1.0,
            again_ms=1.0,
            kernels=(),
        )
        for drawn, time_ms in zip(islice(draw_networks(3), 12), times_ms, strict=False)
    ]
    return calibration_of(samples, "eager", 1, 0)


def test_networks_of_both_sittings_have_their_mean_and_both_times():
    found = twice(sitting([4.0] * 11), sitting([9.0] * 12)).samples
    assert len(found) == 11
    for sample in found:
        assert sample.time_ms == pytest.approx(6.0)
        assert (sample.before_ms, sample.again_ms) == (4.0, 9.0)
