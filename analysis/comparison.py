"""Several networks against each other: every pair, adjusted for their number, and their groups.

What is claimed depends on what there is. With one training run each, the claims are about these
trained networks and rest on images; with several, they are about architectures and rest on seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np

from analysis.permutation import (
    LEVEL,
    NUM_PERMUTATIONS,
    POWER,
    ImageComparison,
    Pairable,
    compare_on_images,
)
from analysis.seeds import SeedComparison, SeedSummary, compare_over_seeds, summarise_seeds
from analysis.statistics import Interval, bootstrap
from analysis.telling_apart import adjust, groups

C = TypeVar("C", ImageComparison, SeedComparison)
S = TypeVar("S", Interval, SeedSummary)


@dataclass(frozen=True, kw_only=True)
class Pair(Generic[C]):
    """Two networks of a comparison.

    Attributes:
        first: Name of the one, the better by score.
        second: Name of the other.
        found: How they differ.
        p: Its p, adjusted for the number of pairs (Holm).
    """

    first: str
    second: str
    found: C
    p: float

    @property
    def differs(self) -> bool:
        """Whether they can be told apart, all pairs considered."""
        return self.p <= LEVEL


@dataclass(frozen=True, kw_only=True)
class Comparison(Generic[S, C]):
    """Several networks under one protocol.

    Attributes:
        rests_on: ``images`` or ``seeds``.
        claim: What the numbers speak of, in a sentence.
        scores: Each network's score, the best first.
        pairs: Every pair.
        groups: Names of networks that cannot be told apart; a network may stand in several.
    """

    rests_on: str
    claim: str
    scores: dict[str, S]
    pairs: tuple[Pair[C], ...]
    groups: tuple[tuple[str, ...], ...]


def compare_trained(
    results: Mapping[str, Pairable],
    *,
    metric: str = "",
    seed: int = 0,
    num_permutations: int = NUM_PERMUTATIONS,
) -> Comparison[Interval, ImageComparison]:
    """Compares trained networks on the images that all were scored on.

    Args:
        results: Per-image results by name, on the same images in the same order.
        metric: What to compare; "" for the task's headline.
        seed: Seed of resampling and permutations.
        num_permutations: Most swaps to try for a pair.

    Raises:
        ValueError: If the images are not the same.
    """
    scores = {
        name: bootstrap(each, seed=seed, metric=metric)
        for name, each in sorted(results.items(), key=lambda item: -_value(item[1], metric))
    }
    found = {
        (first, second): compare_on_images(
            results[first],
            results[second],
            metric=metric,
            seed=seed,
            num_permutations=num_permutations,
        )
        for first, second in combinations(scores, 2)
    }
    num_images = next(iter(results.values())).num_images
    return Comparison(
        rests_on="images",
        claim=f"About these trained networks, over the {num_images:,} images that all were scored "
        "on; another training run of the same networks may give another order.",
        scores=scores,
        pairs=_pairs(found),
        groups=_groups(tuple(scores), _pairs(found)),
    )


def compare_architectures(
    scores: Mapping[str, Sequence[float]],
) -> Comparison[SeedSummary, SeedComparison]:
    """Compares architectures over their training runs.

    Args:
        scores: By name, one score a run, all under one protocol.

    Raises:
        ValueError: If one has no score.
    """
    summaries = {name: summarise_seeds(values) for name, values in scores.items()}
    ordered = dict(sorted(summaries.items(), key=lambda item: -item[1].mean))
    found = {
        (first, second): compare_over_seeds(scores[first], scores[second])
        for first, second in combinations(ordered, 2)
    }
    return Comparison(
        rests_on="seeds",
        claim="About architectures, over training runs that differ in their seed; the images are "
        "the same in all of them, so nothing is said of other images.",
        scores=ordered,
        pairs=_pairs(found),
        groups=_groups(tuple(ordered), _pairs(found)),
    )


def sentence(pair: Pair[ImageComparison] | Pair[SeedComparison]) -> str:
    """Says in words what is known of a pair, and what it would take to know more.

    Args:
        pair: Two networks.
    """
    if pair.differs:
        return f"{pair.first} scores higher than {pair.second} (p {_written(pair.p)})."
    apart = f"{pair.first} and {pair.second} cannot be told apart (p {_written(pair.p)})"
    if isinstance(pair.found, ImageComparison):
        if math.isinf(pair.found.detectable):
            return f"{apart}; so few images show no difference, however large."
        return (
            f"{apart}; a true difference of {pair.found.detectable:.3f} would be found with a "
            f"power of {POWER:.0%}."
        )
    more = pair.found.num_more_seeds
    if more is None:
        return f"{apart}; no number of seeds that can be told would do."
    return f"{apart}; a difference of this size needs {more} more seeds of each to tell apart."


def _value(results: Pairable, metric: str) -> float:
    value = float(results.score(np.ones((1, results.num_images)), metric)[0])
    return -math.inf if math.isnan(value) else value


def _pairs(found: Mapping[tuple[str, str], C]) -> tuple[Pair[C], ...]:
    adjusted = adjust([each.p for each in found.values()])
    return tuple(
        Pair(first=first, second=second, found=each, p=p)
        for ((first, second), each), p in zip(found.items(), adjusted, strict=True)
    )


def _groups(names: tuple[str, ...], pairs: Sequence[Pair[C]]) -> tuple[tuple[str, ...], ...]:
    known = {(pair.first, pair.second): pair.p for pair in pairs}
    return tuple(
        tuple(names[index] for index in group)
        for group in groups(len(names), lambda i, j: known[names[i], names[j]])
    )


def _written(p: float) -> str:
    return "unknown" if math.isnan(p) else f"{p:.2g}"
