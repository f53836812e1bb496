"""Calibrations: what was measured of a runtime on a machine, and the predictor learned from it.

A calibration holds measurements, not coefficients: what is learned from them is a function of
them, so that a better way of learning needs no new measurements. Its fingerprint covers both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibration_kernels import Kernel, join_times, kernels_of
from analysis.predictor import Predictor, TimedNetwork
from analysis.rank_agreement import kendall_tau
from analysis.runtimes import RUNTIMES, OnnxModelRuntime
from blocks import ImageSize
from networks import NetworkSpec, spec_id, spec_to_dict

REVISION = 1
"""Of how predictions are made from measurements."""
WITHIN = 0.1
"""The relative error whose frequency is stated."""
FEWEST_NETWORKS = 10
_NUM_FOLDS = 5

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationSample:
    """One network that was measured.

    Attributes:
        spec: The network.
        input: The image's size.
        time_ms: The fastest of all passes.
        again_ms: The fastest of the second half of its turns.
        before_ms: The fastest of the first half.
        layer_times_ms: Time by the names of nodes or modules; empty where it is not known.
    """

    spec: NetworkSpec
    input: ImageSize
    time_ms: float
    before_ms: float
    again_ms: float
    layer_times_ms: Mapping[str, float]

    @property
    def data(self) -> dict[str, Any]:
        """The sample as plain data."""
        return {
            "spec": spec_to_dict(self.spec),
            "input": str(self.input),
            "time_ms": self.time_ms,
            "before_ms": self.before_ms,
            "again_ms": self.again_ms,
            "layer_times_ms": dict(self.layer_times_ms),
        }


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How far ratios of two times lie from 1.

    Attributes:
        count: How many.
        median: The median distance.
        p90: The distance within which nine of ten lie.
        within: The share within ``WITHIN``.
        tau: Kendall's tau between the two.
    """

    count: int
    median: float
    p90: float
    within: float
    tau: float


def errors(found_ms: FloatArray, true_ms: FloatArray) -> Errors:
    """Compares two series of times of the same networks.

    >>> errors(np.array([1.0, 2.2, 3.0]), np.array([1.0, 2.0, 4.0])).median.__round__(3)
    0.1
    """
    distances = np.abs(found_ms / true_ms - 1)
    return Errors(
        count=len(distances),
        median=float(np.median(distances)),
        p90=float(np.quantile(distances, 0.9)),
        within=float(np.mean(distances <= WITHIN)),
        tau=float(kendall_tau(found_ms[None], true_ms[None])[0]),
    )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How long a network is expected to take.

    Attributes:
        time_ms: The expected time of a pass.
        low_ms: Nine of ten networks that were predicted without being seen took longer than this
            share of the prediction.
        high_ms: Nine of ten took less than this.
        unknown: Kinds of kernels that no measured network has: their times are guessed.
    """

    time_ms: float
    low_ms: float
    high_ms: float
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Measurements of one runtime on one machine.

    Attributes:
        runtime: A name in ``RUNTIMES``.
        version: Name and version of its package.
        threads: Threads that it used.
        dtype: Number format.
        machine: What the processor is called.
        num_cores: Its cores.
        date: When it was measured, as in ISO 8601.
        samples: The networks.
        num_failed: Networks that the runtime could not run.
    """

    runtime: str
    version: str
    threads: int
    dtype: str
    machine: str
    num_cores: int
    date: str
    samples: tuple[CalibrationSample, ...]
    num_failed: int = 0

    @property
    def data(self) -> dict[str, Any]:
        """The calibration as plain data."""
        return {
            "runtime": self.runtime,
            "version": self.version,
            "threads": self.threads,
            "dtype": self.dtype,
            "machine": self.machine,
            "num_cores": self.num_cores,
            "date": self.date,
            "num_failed": self.num_failed,
            "samples": [sample.data for sample in self.samples],
        }

    @cached_property
    def fingerprint(self) -> str:
        """The first 12 hex digits of the SHA-256 of everything that predictions depend on."""
        text = json.dumps({**self.data, "revision": REVISION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def noise(self) -> Errors:
        """How far two measurements of the same networks lie apart."""
        return errors(
            np.array([sample.again_ms for sample in self.samples]),
            np.array([sample.before_ms for sample in self.samples]),
        )

    @cached_property
    def ratios(self) -> FloatArray:
        """True over predicted times, every network predicted from the others' folds."""
        timed = self._timed
        order = np.random.default_rng(0).permutation(len(timed))
        ratios = np.ones(len(timed))
        for fold in range(_NUM_FOLDS):
            out = order[fold::_NUM_FOLDS]
            left_out = set(out.tolist())
            predictor = Predictor(
                [each for index, each in enumerate(timed) if index not in left_out]
            )
            for index in left_out:
                ratios[index] = timed[index].time_ms / predictor.predict_ms(timed[index].kernels)
        return ratios

    @cached_property
    def errors(self) -> Errors:
        """How far predictions of networks that were not seen lie from the measurements."""
        true_ms = np.array([sample.time_ms for sample in self.samples])
        return errors(true_ms / self.ratios, true_ms)

    @cached_property
    def predictor(self) -> Predictor:
        """What is learned from all samples."""
        return Predictor(self._timed)

    def predict(self, spec: NetworkSpec, size: ImageSize) -> Prediction:
        """Predicts the time of a network that is not rewritten, batch 1.

        Args:
            spec: The network.
            size: The image's size.

        Raises:
            BranchworkError: If a stride does not divide the image.
        """
        kernels = self._kernels(spec, size)
        time_ms = self.predictor.predict_ms(kernels)
        unknown = {kernel.kind for kernel in kernels} - self.predictor.kinds
        low, high = np.quantile(self.ratios, (0.1, 0.9))
        return Prediction(
            time_ms=time_ms,
            low_ms=time_ms * float(low),
            high_ms=time_ms * float(high),
            unknown=tuple(sorted(unknown)),
        )

    def predict_ms(self, spec: NetworkSpec, size: ImageSize) -> float:
        """Predicts the time alone, which is quicker."""
        return self.predictor.predict_ms(self._kernels(spec, size))

    @cached_property
    def _timed(self) -> Sequence[TimedNetwork]:
        return [self._timed_network(sample) for sample in self.samples]

    def _timed_network(self, sample: CalibrationSample) -> TimedNetwork:
        kernels = self._kernels(sample.spec, sample.input)
        # A profiler slows everything down, and another process may have; shares stay the same.
        whole_ms = sum(sample.layer_times_ms.values()) or 1.0
        scale = sample.time_ms / whole_ms
        times_ms = {name: ms * scale for name, ms in sample.layer_times_ms.items()}
        return TimedNetwork(
            kernels=kernels, timed=join_times(kernels, times_ms), time_ms=sample.time_ms
        )

    def _kernels(self, spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
        are_fused = isinstance(RUNTIMES[self.runtime], OnnxModelRuntime)
        return kernels_of(spec.operations(size), are_fused=are_fused)


def sample_id(sample: CalibrationSample) -> str:
    """Returns what tells networks of a calibration apart: spec_id and input."""
    return f"{spec_id(sample.spec)}-{sample.input}"
