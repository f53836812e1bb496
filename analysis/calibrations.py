"""Calibrations: what was measured of a runtime on a machine, and the predictor learned from it.

A calibration holds measurements, not coefficients: what is learned from them is a function of
them, so that a better way of learning needs no new measurements. Its fingerprint covers both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.execution import Executed, Kernel, expected_kernels
from analysis.predictor import Predictor, nearest_kind
from analysis.predictor_learning import TimedNetwork, learn
from analysis.rank_agreement import kendall_tau
from blocks import ImageSize
from networks import NetworkSpec, spec_id, spec_to_dict

REVISION = 3
"""Of how predictions are made from measurements."""
WITHIN = 0.1
"""The relative error whose frequency is stated."""
FEWEST_NETWORKS = 10
_NUM_FOLDS = 5
_LINEAR = "upsample_bilinear"

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationSample:
    """One network that was measured.

    Attributes:
        spec: The network.
        input: The image's size.
        time_ms: The middle one of its turns' quieter half, as at the machine's best.
        again_ms: That of every other turn.
        before_ms: That of the turns between them.
        kernels: What was executed, each with its time under the profiler; empty where there is
            none.
    """

    spec: NetworkSpec
    input: ImageSize
    time_ms: float
    before_ms: float
    again_ms: float
    kernels: tuple[Executed, ...]

    @property
    def data(self) -> dict[str, Any]:
        """The sample as plain data."""
        return {
            "spec": spec_to_dict(self.spec),
            "input": str(self.input),
            "time_ms": self.time_ms,
            "before_ms": self.before_ms,
            "again_ms": self.again_ms,
            "kernels": [kernel.data for kernel in self.kernels],
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
class Learned:
    """What was learned from a calibration, so that it need not be learned again.

    Attributes:
        fingerprint: That of the calibration.
        predictor: What predicts.
        ratios: True over predicted times of networks that were left out (``Calibration.ratios``).
    """

    fingerprint: str
    predictor: Predictor
    ratios: FloatArray

    @property
    def data(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "fingerprint": self.fingerprint,
            "predictor": self.predictor.data,
            "ratios": self.ratios.tolist(),
        }


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
        kept: What was learned before, if anything; what was learned from others is not used.
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
    kept: Learned | None = None

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

    @property
    def learned(self) -> Learned:
        """What is learned from all samples, and how well it would have done without each."""
        return Learned(fingerprint=self.fingerprint, predictor=self.predictor, ratios=self.ratios)

    @cached_property
    def ratios(self) -> FloatArray:
        """True over predicted times, every network predicted from the others' folds."""
        if self._known is not None:
            return self._known.ratios
        order = np.random.default_rng(0).permutation(len(self._timed))
        ratios = np.ones(len(order))
        for fold in range(_NUM_FOLDS):
            out = order[fold::_NUM_FOLDS]
            left_out = set(out.tolist())
            predictor = learn(
                [each for index, each in enumerate(self._timed) if index not in left_out]
            )
            for index in left_out:
                network = self._timed[index]
                ratios[index] = network.time_ms / predictor.predict_ms(network.kernels)
        return ratios

    @cached_property
    def errors(self) -> Errors:
        """How far predictions of networks that were not seen lie from the measurements."""
        true_ms = np.array([sample.time_ms for sample in self.samples])
        return errors(true_ms / self.ratios, true_ms)

    @cached_property
    def predictor(self) -> Predictor:
        """What is learned from all samples."""
        known = self._known
        return learn(self._timed) if known is None else known.predictor

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
        known = self.predictor.kinds
        unknown = {each.kind for each in kernels if not nearest_kind(each.kind, known)}
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
    def _known(self) -> Learned | None:
        """What was learned before from these very samples."""
        is_mine = self.kept is not None and self.kept.fingerprint == self.fingerprint
        return self.kept if is_mine else None

    @cached_property
    def _timed(self) -> Sequence[TimedNetwork]:
        return [self._timed_network(sample) for sample in self.samples]

    def _timed_network(self, sample: CalibrationSample) -> TimedNetwork:
        ops = sample.spec.operations(sample.input)
        linear = {op.address for op in ops if op.kind == _LINEAR}
        return TimedNetwork(
            kernels=self._kernels(sample.spec, sample.input),
            executed=tuple((each.kernel(linear), each.time_ms) for each in sample.kernels),
            time_ms=sample.time_ms,
        )

    def _kernels(self, spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
        return expected_kernels(self.runtime, spec, size)


def sample_id(sample: CalibrationSample) -> str:
    """Returns what tells networks of a calibration apart: spec_id and input."""
    return f"{spec_id(sample.spec)}-{sample.input}"
