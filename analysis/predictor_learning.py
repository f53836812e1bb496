"""Learns how long kernels take, from single kernels and whole passes at once.

The Gaussian processes of ``analysis.predictor`` are conditioned on two sorts of measurements: times
of single kernels, which the runtime's profiler gives, and times of whole passes, whose logarithms
are linear in g near its last estimate. The profiler adds a constant to each kernel, which is
found from the sums. It looks at other moments than those that passes are timed at, when the machine
may be slower: times of a network's kernels are scaled so that they add up to its pass.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 2.25 for
the conditioning, appendix A.2 for that on linear functions of the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from analysis.execution import NUM_TERMS, Kernel
from analysis.predictor import (
    LARGEST,
    LEAST_MS,
    PLAUSIBLE,
    KindModel,
    Predictor,
    plausible_ms,
    points_of,
    terms_of,
)

FloatArray = NDArray[np.float64]

_RIDGE = 0.05
"""Keeps coefficients near the plausible ones where hardly anything is known."""
_TICK_MS = 0.001
"""Profilers count microseconds."""
_KERNEL_NOISE = 0.2
"""Standard deviation of the logarithm of a kernel's time, between networks that have it."""
_PASS_NOISE = 0.03
"""That of a whole pass."""
_UNSEEN_NOISE = 100.0
"""That of a kernel that was never timed on its own: such a time says nothing."""
_LEAST_SPREAD = 0.3
"""Sides that hardly vary are compared on this scale."""
_LEAST_DEVIATION = 0.08
_UNKNOWN_DEVIATION = 0.7
"""Standard deviation of g where no kernel of a kind was timed on its own."""
_NUM_STEPS = 4
_NUM_FITS = 15
_LEAST_ERROR = 0.02
_MOST_NETWORKS = 300
"""Kernels are compared with each other; these are enough."""


@dataclass(frozen=True, kw_only=True)
class TimedNetwork:
    """A network whose time is known.

    Attributes:
        kernels: What is expected to be executed.
        executed: What was executed, with what the profiler says of each in milliseconds; empty
            where there is no profiler.
        time_ms: A whole pass.
    """

    kernels: tuple[Kernel, ...]
    executed: tuple[tuple[Kernel, float], ...]
    time_ms: float


def learn(networks: Sequence[TimedNetwork]) -> Predictor:
    """Learns from what was measured.

    Args:
        networks: Networks whose times are known.
    """
    networks = _spread(networks)
    overhead_ms = _profiling(networks)
    known = _Known(networks, overhead_ms)
    kinds = {kind: _Kind(*known.of(kind), is_timed=known.is_timed(kind)) for kind in known.kinds}
    _condition(kinds, networks, known, overhead_ms)
    return Predictor({kind: each.model for kind, each in kinds.items()}, overhead_ms)


def _condition(
    by_kind: Mapping[str, _Kind],
    networks: Sequence[TimedNetwork],
    known: _Known,
    overhead_ms: float,
) -> None:
    """Conditions on whole passes what is known from single kernels."""
    kinds = list(by_kind.values())
    overhead = np.array([overhead_ms * len(each.kernels) for each in networks])
    passes_ms = np.array([each.time_ms for each in networks])
    profiled_ms = passes_ms + overhead
    noise = np.diag((_PASS_NOISE * passes_ms / profiled_ms) ** 2)
    counts = [known.counts(kind) for kind in by_kind]
    corrections = [kind.corrections for kind in kinds]
    shares: list[FloatArray] = []
    lifts = np.zeros(len(networks))
    for _ in range(_NUM_STEPS):
        times = [
            count * (kind.means * np.exp(np.clip(each, -LARGEST, LARGEST)))
            for count, kind, each in zip(counts, kinds, corrections, strict=True)
        ]
        whole = np.sum([each.sum(axis=1) for each in times], axis=0)
        shares = [each / whole[:, None] for each in times]
        spreads = [
            share @ kind.similarity - (share @ kind.similarity) @ kind.known
            for share, kind in zip(shares, kinds, strict=True)
        ]
        covariance = noise + np.sum(
            [spread @ share.T for spread, share in zip(spreads, shares, strict=True)], axis=0
        )
        moved = np.sum(
            [
                share @ (kind.corrections - each)
                for share, kind, each in zip(shares, kinds, corrections, strict=True)
            ],
            axis=0,
        )
        lifts = linalg.solve(covariance, np.log(profiled_ms / whole) - moved, assume_a="pos")
        corrections = [
            kind.corrections + spread.T @ lifts for kind, spread in zip(kinds, spreads, strict=True)
        ]
    for kind, share in zip(kinds, shares, strict=True):
        kind.lift(share.T @ lifts)


class _Known:
    """All kernels of some networks, with the times of those that were timed.

    Equal ones of a network are one.
    """

    def __init__(self, networks: Sequence[TimedNetwork], overhead_ms: float) -> None:
        self._places: dict[str, dict[tuple[float, ...], int]] = {}
        self._kernels: dict[str, list[Kernel]] = {}
        self._networks_ms: dict[str, list[float]] = {}
        self._times_ms: dict[str, list[list[float]]] = {}
        wholes_ms = [plausible_ms(each.kernels) for each in networks]
        self._rows = [
            [self._place(kernel, whole_ms) for kernel in each.kernels]
            for each, whole_ms in zip(networks, wholes_ms, strict=True)
        ]
        for each, whole_ms in zip(networks, wholes_ms, strict=True):
            sum_ms = sum(time_ms for _, time_ms in each.executed)
            factor = (each.time_ms + overhead_ms * len(each.executed)) / max(sum_ms, LEAST_MS)
            for kernel, time_ms in each.executed:
                # What is executed and never expected teaches nothing.
                if kernel.kind in self._places:
                    _, place = self._place(kernel, whole_ms)
                    self._times_ms[kernel.kind][place].append(max(factor * time_ms, LEAST_MS))

    @property
    def kinds(self) -> list[str]:
        """All kinds, in order."""
        return sorted(self._places)

    def is_timed(self, kind: str) -> bool:
        """Tells whether any kernel of a kind was timed on its own."""
        return any(self._times_ms[kind])

    def of(self, kind: str) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Returns terms, points, times (NaN where not timed) and how often each was timed."""
        kernels, times_ms = self._kernels[kind], self._times_ms[kind]
        middle = [np.median(each) if each else np.nan for each in times_ms]
        counts = [len(each) for each in times_ms]
        return (
            terms_of(kernels),
            points_of(kernels, self._networks_ms[kind]),
            np.array(middle),
            np.array(counts, dtype=float),
        )

    def counts(self, kind: str) -> FloatArray:
        """Returns how often each network has each kernel of a kind.

        Shape:
            (networks, kernels).
        """
        found = np.zeros((len(self._rows), len(self._kernels[kind])))
        for index, row in enumerate(self._rows):
            for its_kind, place in row:
                if its_kind == kind:
                    found[index, place] += 1
        return found

    def _place(self, kernel: Kernel, network_ms: float) -> tuple[str, int]:
        places = self._places.setdefault(kernel.kind, {})
        key = (*kernel.sides, network_ms)
        if key not in places:
            places[key] = len(places)
            self._kernels.setdefault(kernel.kind, []).append(kernel)
            self._networks_ms.setdefault(kernel.kind, []).append(network_ms)
            self._times_ms.setdefault(kernel.kind, []).append([])
        return kernel.kind, places[key]


class _Kind:
    """Kernels of one kind, while it is learned how long they take.

    Attributes:
        model: What is known so far.
        means: Their times by the linear model, in milliseconds.
        similarity: Covariance of g between them.
        known: (similarity + noise)^-1 similarity.
        corrections: The expected g of each, given the times of single kernels.
    """

    def __init__(
        self,
        terms: FloatArray,
        points: FloatArray,
        times_ms: FloatArray,
        counts: FloatArray,
        *,
        is_timed: bool,
    ) -> None:
        timed = counts > 0
        start = KindModel(
            rates=_rates(terms[timed], times_ms[timed]) if is_timed else PLAUSIBLE,
            points=points,
            scale=np.maximum(points.std(axis=0), _LEAST_SPREAD),
            variance=_UNKNOWN_DEVIATION**2,
            offset=0.0,
            weights=np.zeros(len(points)),
        )
        self.means = start.linear_ms(terms)
        residuals = np.log(times_ms[timed] / self.means[timed])
        if is_timed:
            start = replace(
                start,
                offset=float(np.median(residuals)),
                variance=max(_LEAST_DEVIATION, float(residuals.std())) ** 2,
            )
        noise = np.full(len(points), _UNSEEN_NOISE**2)
        noise[timed] = _KERNEL_NOISE**2 + (_TICK_MS / times_ms[timed]) ** 2 / counts[timed]
        values = np.zeros(len(points))
        values[timed] = residuals - start.offset
        self.similarity = start.similar(points)
        factors = linalg.cho_factor(self.similarity + np.diag(noise), lower=True)
        self.known: FloatArray = linalg.cho_solve(factors, self.similarity)
        self.model = replace(start, weights=linalg.cho_solve(factors, values))
        self.corrections = start.offset + self.similarity @ self.model.weights

    def lift(self, pull: FloatArray) -> None:
        """Takes in what whole passes say, as pulls on the kernels."""
        weights = self.model.weights + pull - self.known @ pull
        self.model = replace(self.model, weights=weights)


def _profiling(networks: Iterable[TimedNetwork]) -> float:
    """Returns what profiling adds to each kernel, in milliseconds.

    Beside the factor by which profiled times count: least absolute errors of the sums, relative to
    the passes, by reweighting.
    """
    timed = [each for each in networks if each.executed]
    if not timed:
        return 0.0
    sums = np.array([[sum(ms for _, ms in each.executed), -len(each.executed)] for each in timed])
    terms = sums / np.array([[each.time_ms] for each in timed])
    weights = np.ones(len(terms))
    found = np.array([1.0, 0.0])
    for _ in range(_NUM_FITS):
        found = optimize.nnls(terms * weights[:, None], weights)[0]
        weights = 1 / np.sqrt(np.maximum(np.abs(terms @ found - 1), _LEAST_ERROR))
    return float(found[1])


def _rates(terms: FloatArray, times_ms: FloatArray) -> FloatArray:
    """Returns coefficients of at least 0, drawn a little towards plausible ones."""
    weights = 1 / (times_ms + _TICK_MS)
    rates: FloatArray = optimize.nnls(
        np.vstack([terms * weights[:, None], _RIDGE * np.eye(NUM_TERMS)]),
        np.concatenate([times_ms * weights, _RIDGE * PLAUSIBLE]),
    )[0]
    return rates


def _spread(networks: Sequence[TimedNetwork]) -> Sequence[TimedNetwork]:
    """Returns at most so many networks, evenly over all."""
    if len(networks) <= _MOST_NETWORKS:
        return networks
    places = np.linspace(0, len(networks) - 1, _MOST_NETWORKS).round().astype(int)
    return [networks[place] for place in places]
