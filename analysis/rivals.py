"""Which networks cannot be told apart from the best one, and how that is known.

Where per-image results are stored, by paired permutation tests on the same images; elsewhere by
intervals that overlap, which tell fewer networks apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparing import latency_conditions, latency_under
from analysis.image_results_store import ReadResults
from analysis.permutation import LEVEL, Pairable, swap_results
from analysis.records import Record, Score
from analysis.tables import front
from analysis.telling_apart import adjust

MAX_TESTS = 6
"""Most networks that are tested against the best one, so that pages and reports stay quick."""
NUM_SWAPS = 2_000
"""Most swaps a pair; ``branchwork compare`` tries more."""


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """What is known of the best network and the others.

    Attributes:
        tested: Those that were tested against it on the same images.
        by_interval: Those of which only intervals are known.
        left_out: Those that nothing is said of: off every front, with lower scores.
        equal: Those of the first two kinds that cannot be told apart from it, in the given order.
        num_pairs: Pairs that the p values are adjusted for.
        num_swaps: Swaps behind each test, 0 if there was none.
        is_exact: Whether these are all the swaps that there are.
    """

    tested: tuple[Record, ...] = ()
    by_interval: tuple[Record, ...] = ()
    left_out: tuple[Record, ...] = ()
    equal: tuple[Record, ...] = ()
    num_pairs: int = 0
    num_swaps: int = 0
    is_exact: bool = False


def find_rivals(best: Record, others: Sequence[Record], read: ReadResults) -> Rivals:
    """Compares the best network with the others.

    With more than ``MAX_TESTS`` others, those on a front of score against MACs or a latency come
    first, then the better ones. Which one is the best is known from the same images, so that the p
    values are adjusted (Holm) for all pairs among the tested, not for those with the best alone:
    of seven equally good networks, the luckiest would otherwise seem better than another in about
    one of eight studies.

    Args:
        best: A scored record.
        others: Other scored records that may be compared with it.
        read: Gives the per-image results of a record.
    """
    top = read(best)
    if top is None:
        equal = tuple(each for each in others if _overlap(best, each))
        return Rivals(by_interval=tuple(others), equal=equal)
    chosen = _by_importance(best, others)[:MAX_TESTS]
    p_values: dict[str, float] = {}
    num_swaps, is_exact = 0, False
    for each in chosen:
        results = read(each)
        if results is None or not _is_paired(top, results):
            continue
        swapped = swap_results(top, results, num_permutations=NUM_SWAPS)
        p_values[each.reference] = swapped.p
        num_swaps, is_exact = swapped.num_permutations, swapped.is_exact
    num_tests = len(p_values)
    num_pairs = num_tests * (num_tests + 1) // 2
    holm = adjust(list(p_values.values()), num_more=num_pairs - num_tests)
    adjusted = dict(zip(p_values, holm, strict=True))
    kept = {each.reference for each in chosen}
    return Rivals(
        tested=tuple(each for each in others if each.reference in adjusted),
        by_interval=tuple(r for r in others if r.reference in kept - adjusted.keys()),
        left_out=tuple(each for each in others if each.reference not in kept),
        equal=tuple(
            each
            for each in others
            if each.reference in kept
            and (
                not adjusted[each.reference] <= LEVEL
                if each.reference in adjusted
                else _overlap(best, each)
            )
        ),
        num_pairs=num_pairs,
        num_swaps=num_swaps,
        is_exact=is_exact,
    )


def _is_paired(first: Pairable, second: Pairable) -> bool:
    return type(first) is type(second) and first.image_names == second.image_names


def _by_importance(best: Record, others: Sequence[Record]) -> list[Record]:
    """Returns the others, those on a front first, and among equals the better first."""
    records = [best, *others]
    on_front = {record.reference for record in front(records, ["score", "macs"])}
    for conditions in latency_conditions(records):
        timed = [each for each in records if latency_under(each, conditions) is not None]
        found = front(timed, ["score", conditions.objective])
        on_front |= {record.reference for record in found}
    return sorted(others, key=lambda each: (each.reference not in on_front, -_score(each).value))


def _overlap(first: Record, second: Record) -> bool:
    one, other = _score(first), _score(second)
    return one.low <= other.high and other.low <= one.high


def _score(record: Record) -> Score:
    assert record.score is not None, "only scored records are compared"
    return record.score
