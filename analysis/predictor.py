"""Predicts how long a network takes, from what was learned of a runtime on a machine.

The kernels that a runtime makes of a network are known from its spec (``analysis.execution``). A
kernel of kind c with sides x takes m(x) exp(g_c(x)): m is linear in what it computes and moves,
with coefficients that are not negative; g_c is the mean of a Gaussian process over the sides'
logarithms (``analysis.predictor_learning``). One side more is what the whole network takes at
plausible rates: the larger a network, the less of what a kernel reads is still in the caches.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 2.25.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from analysis.execution import NUM_TERMS, Kernel

FloatArray = NDArray[np.float64]

PLAUSIBLE = np.array([1.0, 0.2, 0.2, 0.4, 0.4, 0.4])
"""Coefficients of ``Kernel.terms`` where nothing is known."""
assert len(PLAUSIBLE) == NUM_TERMS
LEAST_MS = 0.0005
"""No kernel takes less."""
LARGEST = 4.0
"""The largest g that is believed."""
_REACH = 1.0
"""How far similar kernels are alike, in standard deviations of their sides' logarithms."""


class Predictor:
    """What is known of a runtime on a machine.

    Args:
        kinds: What is known of each kind of kernel.
        overhead_ms: What its profiler adds to each kernel.
    """

    def __init__(self, kinds: Mapping[str, KindModel], overhead_ms: float) -> None:
        self._kinds = kinds
        self._overhead_ms = overhead_ms

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Predictor:
        """Reads what ``data`` wrote.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is not what it should be.
            ValueError: If a number cannot be read.
        """
        kinds = {kind: KindModel.from_data(each) for kind, each in data["kinds"].items()}
        return cls(kinds, float(data["overhead_ms"]))

    @property
    def data(self) -> dict[str, Any]:
        """It as plain data."""
        kinds = {kind: each.data for kind, each in self._kinds.items()}
        return {"overhead_ms": self._overhead_ms, "kinds": kinds}

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of kernels that were measured."""
        return frozenset(self._kinds)

    def predict_ms(self, kernels: Sequence[Kernel]) -> float:
        """Returns how long a network takes that executes these."""
        by_kind: dict[str, list[Kernel]] = {}
        for kernel in kernels:
            by_kind.setdefault(kernel.kind, []).append(kernel)
        network_ms = plausible_ms(kernels)
        whole_ms = 0.0
        for kind, same in by_kind.items():
            terms, points = terms_of(same), points_of(same, network_ms)
            near = nearest_kind(kind, self._kinds)
            times = self._kinds[near].times_ms(terms, points) if near else terms @ PLAUSIBLE
            whole_ms += float(times.sum())
        # A pass that is not profiled has no overhead; launches stay.
        return max(whole_ms - self._overhead_ms * len(kernels), LEAST_MS * len(kernels))


@dataclass(frozen=True, kw_only=True, eq=False)
class KindModel:
    """How long kernels of one kind take.

    Attributes:
        rates: Coefficients of ``Kernel.terms``.
        points: The logarithms of the sides of kernels that are known.
        scale: What differences of them are divided by.
        variance: That of g.
        offset: The middle of g.
        weights: What each of the known kernels contributes to g nearby, (K + N)^-1 y.
    """

    rates: FloatArray
    points: FloatArray
    scale: FloatArray
    variance: float
    offset: float
    weights: FloatArray

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> KindModel:
        """Reads what ``data`` wrote (``Predictor.from_data``)."""
        arrays = {
            name: np.array(data[name], dtype=np.float64)
            for name in ("rates", "points", "scale", "weights")
        }
        return cls(**arrays, variance=float(data["variance"]), offset=float(data["offset"]))

    @property
    def data(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "rates": self.rates.tolist(),
            "points": self.points.tolist(),
            "scale": self.scale.tolist(),
            "variance": self.variance,
            "offset": self.offset,
            "weights": self.weights.tolist(),
        }

    def times_ms(self, terms: FloatArray, points: FloatArray) -> FloatArray:
        """Returns how long kernels take."""
        corrections = self.offset + self.similar(points) @ self.weights
        times: FloatArray = self.linear_ms(terms) * np.exp(np.clip(corrections, -LARGEST, LARGEST))
        return times

    def linear_ms(self, terms: FloatArray) -> FloatArray:
        """Returns how long they take by what they compute and move."""
        return np.maximum(terms @ self.rates, LEAST_MS)

    def similar(self, points: FloatArray) -> FloatArray:
        """Returns the covariance of g between kernels and those that are known."""
        distances = cdist(points / self.scale, self.points / self.scale, "sqeuclidean")
        similar: FloatArray = self.variance * np.exp(
            -0.5 * distances / (_REACH**2 * points.shape[1])
        )
        return similar


def nearest_kind(kind: str, known: Collection[str]) -> str:
    """Returns a kind itself, or else what is known of it with fewer marks; "" for nothing.

    >>> nearest_kind("Resize linear", {"Resize", "Add"})
    'Resize'
    """
    while kind and kind not in known:
        kind = kind.rpartition(" ")[0]
    return kind


def terms_of(kernels: Sequence[Kernel]) -> FloatArray:
    """Returns what a linear model of their times adds up.

    Shape:
        (kernels, ``NUM_TERMS``).
    """
    return np.array([kernel.terms for kernel in kernels])


def plausible_ms(kernels: Sequence[Kernel]) -> float:
    """Returns how long a network may take that executes these, where nothing is known."""
    return float(sum(np.array(kernel.terms) @ PLAUSIBLE for kernel in kernels))


def points_of(kernels: Sequence[Kernel], network_ms: float | Sequence[float]) -> FloatArray:
    """Returns where kernels of one kind lie among each other.

    Args:
        kernels: The kernels.
        network_ms: What the network of each, or of all, may take (``plausible_ms``).

    Shape:
        (kernels, sides + 1).
    """
    sides = np.array([kernel.sides for kernel in kernels], dtype=np.float64)
    networks = np.broadcast_to(np.asarray(network_ms, dtype=np.float64), len(sides))
    return np.log(np.column_stack([sides, networks]))
