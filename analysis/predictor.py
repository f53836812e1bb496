"""Predicts how long a network takes, from measurements of others in one runtime on one machine.

Three layers, each a mean for the next. Every kernel has a launch, and takes time by what it
computes and moves: coefficients that are not negative, one set a kind, fitted to what the
runtime's profiler says. What they take beyond that depends on their sides, smoothly: a
Gaussian process learns it. And a network takes what its kernels take together, weighted by kind,
with a last correction by what the network is made of, fitted to whole passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from analysis.calibration_kernels import NUM_PLAIN_TERMS, NUM_TERMS, Kernel, TimedKernels
from analysis.predictor_smoothing import Smoother, smooth

FloatArray = NDArray[np.float64]

_LEAST_MS = 0.003
"""What is shorter than this is launching and the profiler's own steps."""
_RIDGE = 0.02
"""Keeps a kind that is hardly ever seen near the time at plausible rates."""
_WEIGHT_OF_WHOLE = 10.0
_NUM_FITS = 3
_OUTLIER = np.log(4.0)
"""A runtime may name a kernel after its neighbour, which then seems to take the time of both."""
_PLAUSIBLE = np.array([1.0] * NUM_PLAIN_TERMS + [0.0] * (NUM_TERMS - NUM_PLAIN_TERMS))


@dataclass(frozen=True, kw_only=True)
class TimedNetwork:
    """A network whose time is known.

    Attributes:
        kernels: All that it executes.
        timed: The same by what the runtime timed together; empty where it does not tell.
        time_ms: A whole pass.
    """

    kernels: tuple[Kernel, ...]
    timed: tuple[TimedKernels, ...]
    time_ms: float


class Predictor:
    """What is known of a runtime on a machine.

    Args:
        networks: What was measured.
    """

    def __init__(self, networks: Sequence[TimedNetwork]) -> None:
        self._kernels = _KernelModel(networks)
        self._kinds = sorted({each.kind for network in networks for each in network.kernels})
        by_kind = np.array([self._times_by_kind(network.kernels) for network in networks])
        times_ms = np.array([network.time_ms for network in networks])
        self._shares = _not_negative(
            by_kind / times_ms[:, None], np.ones(len(times_ms)), np.ones(by_kind.shape[1]), 1.0
        )
        means = by_kind @ self._shares
        points = np.array([self._point(times) for times in by_kind])
        residuals = np.log(times_ms / means)
        self._scale = float(np.exp(np.median(residuals)))
        self._smoother, left_out = smooth(points, residuals - np.log(self._scale))
        self.left_out_ratios = np.exp(left_out) * self._scale * means / times_ms

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of kernels that were measured."""
        return frozenset(self._kinds)

    def predict_ms(self, kernels: Sequence[Kernel]) -> float:
        """Returns how long a network takes that executes these."""
        times = self._times_by_kind(kernels)
        correction = self._smoother.at(self._point(times)[None])[0]
        return float(times @ self._shares * self._scale * np.exp(correction))

    def _times_by_kind(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Returns the sums of the kernels' times by kind; a kind never seen counts to all."""
        times = np.zeros(len(self._kinds) + 1)
        places = {kind: index for index, kind in enumerate(self._kinds)}
        for kernel, time_ms in zip(kernels, self._kernels.times_ms(kernels), strict=True):
            times[places.get(kernel.kind, len(self._kinds))] += time_ms
        times[-1] += _LEAST_MS * len(kernels)
        return times

    def _point(self, times: FloatArray) -> FloatArray:
        """Returns where a network lies: its size, and the shares of its kinds."""
        whole = times.sum()
        return np.concatenate([[np.log(whole)], np.sqrt(times / whole) * 3.0])


class _KernelModel:
    """Times of single kernels."""

    def __init__(self, networks: Sequence[TimedNetwork]) -> None:
        rows = [each for network in networks for each in network.timed]
        self._kinds = sorted({kernel.kind for each in networks for kernel in each.kernels})
        self._rates, is_kept = self._fit(rows, networks)
        rows = [row for row, kept in zip(rows, is_kept, strict=True) if kept]
        self._smoothers = self._smoothed(rows)

    def times_ms(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Returns how long each takes."""
        times = self._linear(kernels)
        for kind, smoother in self._smoothers.items():
            where = [index for index, kernel in enumerate(kernels) if kernel.kind == kind]
            points = np.array([_log_sides(kernels[index]) for index in where])
            times[where] *= np.exp(smoother.at(points)) if where else 1.0
        return times

    def _fit(
        self, rows: Sequence[TimedKernels], networks: Sequence[TimedNetwork]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Returns the coefficients, and which rows they agree with."""
        terms = np.array([self._terms(row.kernels) for row in rows]).reshape(len(rows), -1)
        times_ms = np.array([row.time_ms for row in rows])
        weights = 1 / (times_ms + _LEAST_MS)
        # Whole passes are measured better than what is in them.
        wholes = np.array([self._terms(each.kernels) / each.time_ms for each in networks])
        towards = np.tile(_PLAUSIBLE, len(self._kinds))
        kept = np.ones(len(rows), dtype=bool)
        are_alone = np.array([len(row.kernels) == 1 for row in rows], dtype=bool)
        for _ in range(_NUM_FITS):
            rates = _not_negative(
                np.vstack([terms[kept] * weights[kept, None], _WEIGHT_OF_WHOLE * wholes]),
                np.concatenate(
                    [times_ms[kept] * weights[kept], np.full(len(wholes), _WEIGHT_OF_WHOLE)]
                ),
                towards,
                _RIDGE,
            )
            found = terms @ rates if len(rows) else times_ms
            off = np.log((found + _LEAST_MS) * weights)
            kept = are_alone | (np.abs(off) < _OUTLIER)
        return rates, kept

    def _linear(self, kernels: Sequence[Kernel]) -> FloatArray:
        rates = self._rates.reshape(len(self._kinds), NUM_TERMS)
        by_kind = dict(zip(self._kinds, rates, strict=True))
        return np.array(
            [
                max(_LEAST_MS, float(np.dot(kernel.terms, by_kind.get(kernel.kind, _PLAUSIBLE))))
                for kernel in kernels
            ]
        )

    def _terms(self, kernels: Sequence[Kernel]) -> FloatArray:
        sums = np.zeros((len(self._kinds), NUM_TERMS))
        for kernel in kernels:
            sums[self._kinds.index(kernel.kind)] += kernel.terms
        return sums.ravel()

    def _smoothed(self, rows: Sequence[TimedKernels]) -> Mapping[str, Smoother]:
        alone = [row for row in rows if len(row.kernels) == 1 and row.time_ms > 0]
        equal: dict[tuple[str, tuple[int, ...]], list[TimedKernels]] = {}
        for row in alone:
            (kernel,) = row.kernels
            equal.setdefault((kernel.kind, kernel.sides), []).append(row)
        found: dict[str, list[tuple[FloatArray, float]]] = {}
        for (kind, _), same in equal.items():
            kernel = same[0].kernels[0]
            (linear_ms,) = self._linear([kernel])
            time_ms = float(np.median([row.time_ms for row in same]))
            found.setdefault(kind, []).append((_log_sides(kernel), np.log(time_ms / linear_ms)))
        return {
            kind: smooth(np.array([p for p, _ in each]), np.array([v for _, v in each]))[0]
            for kind, each in found.items()
        }


def _log_sides(kernel: Kernel) -> FloatArray:
    return np.log(np.array(kernel.sides, dtype=np.float64))


def _not_negative(
    terms: FloatArray, values: FloatArray, towards: FloatArray, ridge: float
) -> FloatArray:
    """Returns coefficients of at least 0, drawn a little towards others."""
    pull = np.eye(len(towards)) * ridge
    found: FloatArray = optimize.nnls(
        np.vstack([terms, pull]), np.concatenate([values, ridge * towards])
    )[0]
    return found
