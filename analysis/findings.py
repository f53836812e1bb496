"""What a study found, in plain words that claim no more than tests and intervals allow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from analysis.axes import INTERVAL_MEANING, write_score
from analysis.comparing import (
    Comparable,
    LatencyConditions,
    latency_conditions,
    latency_under,
    protocols,
)
from analysis.image_results_store import ReadResults
from analysis.permutation import LEVEL
from analysis.records import Record, Score, Status
from analysis.rivals import Rivals, find_rivals
from analysis.tables import record_label


def read_nothing(record: Record) -> None:
    """Stands for a store without per-image results."""
    del record


def findings(
    records: Sequence[Record],
    read: ReadResults = read_nothing,
    only: Comparable | None = None,
) -> list[str]:
    """Returns sentences on records: how many, the best, the cheapest that is as good, the caveats.

    Which networks cannot be told apart from the best is tested on the same images where per-image
    results are stored, and told by overlapping intervals elsewhere; see ``analysis.rivals``.
    Records under different protocols or at different input sizes are spoken of apart.

    Args:
        records: The records.
        read: Gives the per-image results of a record.
        only: The scores to speak of, where not of all.
    """
    if not records:
        return ["There are no records yet."]
    sentences = [_counts(records)]
    groups = protocols(records)
    if not groups:
        sentences.append("No network has been scored, so nothing can be said of accuracy.")
    for group in groups if only is None else [only]:
        prefix = f"{group.label}: " if only is None and len(groups) > 1 else ""
        sentences += [prefix + sentence for sentence in _of_group(group, read)]
    if len(groups) > 1:
        sentences.append(
            f"The scores stand under {len(groups)} combinations of protocol and input size, which "
            "are not compared with each other."
        )
    return sentences


def _counts(records: Sequence[Record]) -> str:
    counts = Counter(record.status for record in records)
    parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
    noun = "record" if len(records) == 1 else "records"
    reused = sum(bool(record.reused_from) for record in records)
    verb = "repeats" if reused == 1 else "repeat"
    again = f" ({reused} of them {verb} an equal network)" if reused else ""
    return f"{len(records)} {noun}: {', '.join(parts)}{again}."


def _of_group(group: Comparable, read: ReadResults) -> list[str]:
    scored = {
        record.reference: record.score
        for record in group.records
        if record.score is not None and not math.isnan(record.score.value)
    }
    originals = [r for r in group.records if r.reference in scored and r.reused_from not in scored]
    if not originals:
        return ["No score is a number, so nothing can be said of accuracy."]
    best = max(originals, key=lambda record: scored[record.reference].value)
    top = scored[best.reference]
    images = f"on {top.num_images:,} images"
    sentences = [
        f"Best by score: {record_label(best)} with {write_score(top)} {images}{_at_cost(best)}."
    ]
    others = [record for record in originals if record is not best]
    if others:
        found = find_rivals(best, others, read)
        equal = [best, *found.equal]
        sentences += _tested(found, originals)
        sentences += _by_interval(best, found)
        sentences += _cheapest(best, equal, scored) if found.equal else []
        sentences += _fastest(best, equal, scored)
    sentences.append(f"Every interval is a {INTERVAL_MEANING}{_replicates(originals, scored)}.")
    return sentences


def _at_cost(record: Record) -> str:
    if record.cost is None:
        return ""
    return f", at {record.cost.macs / 1e6:,.1f} M MACs and {record.cost.params / 1e6:.2f} M params"


def _tested(found: Rivals, originals: Sequence[Record]) -> list[str]:
    """Says what paired tests gave, how they were made, and what they speak of."""
    if not found.tested:
        return []
    num = len(found.tested)
    equal = sum(record in found.equal for record in found.tested)
    others = "the other" if num == 1 else f"the {num} others"
    result = (
        f"Of {others} tested against it on the same images, {equal} cannot be told apart from it"
    )
    if not equal:
        result = f"It is told apart from {others} tested against it on the same images"
    swaps = f"{'all' if found.is_exact else 'random'} {found.num_swaps:,} swaps a pair"
    adjusted = "" if num == 1 else f", p adjusted for all {found.num_pairs} pairs of them (Holm)"
    sentences = [f"{result} (paired permutation test, {swaps}{adjusted}, level {LEVEL:.0%})."]
    if found.left_out:
        count = len(found.left_out)
        left_out = "1 more, off the front or with a lower score, was"
        if count > 1:
            left_out = f"{count} more, off the front or with lower scores, were"
        sentences[0] += f" {left_out} not tested."
    once = len({record.spec_id for record in originals}) == len(originals)
    why = "one seed each" if once else "branchwork compare takes all seeds of a network"
    claim = "This is said of these trained networks, over images; not of their architectures"
    return [*sentences, f"{claim}: {why}."]


def _by_interval(best: Record, found: Rivals) -> list[str]:
    """Says what intervals alone allow to say, where nothing better is known."""
    if not found.by_interval:
        return []
    num = len(found.by_interval)
    equal = sum(record in found.equal for record in found.by_interval)
    others = f"the {num} other{'s' if num > 1 else ''}"
    if found.tested:
        others = f"{others} without per-image results"
    sentence = f"No interval of {others} overlaps that of {record_label(best)}, which stands apart."
    if equal:
        whose = "their intervals overlap" if equal > 1 else "its interval overlaps"
        sentence = (
            f"Of {others}, {equal} cannot be told apart from it: {whose} (without per-image "
            "results there is no paired test, which may still tell some apart)."
        )
    return [sentence]


def _cheapest(best: Record, equals: Sequence[Record], scored: dict[str, Score]) -> list[str]:
    costed = [(each.cost.macs, index, each) for index, each in enumerate(equals) if each.cost]
    if best.cost is None or not costed:
        return []
    macs, _, cheapest = min(costed)
    if cheapest is best or macs == best.cost.macs:
        return ["It is also the cheapest by MACs among those that cannot be told apart from it."]
    score = write_score(scored[cheapest.reference])
    sentence = (
        f"The cheapest that cannot be told apart from it is {record_label(cheapest)} with "
        f"{score}{_at_cost(cheapest)}: {macs / best.cost.macs:.0%} of its MACs."
    )
    return [sentence]


def _fastest(best: Record, equals: Sequence[Record], scored: dict[str, Score]) -> list[str]:
    sentences = []
    for conditions in latency_conditions(equals):
        timed = _timed(equals, conditions)
        own = latency_under(best, conditions)
        if own is None or len(timed) < 2:  # noqa: PLR2004 - a comparison needs two
            continue
        p50_ms, _, fastest = min(timed)
        where = f"({conditions.label}{_disturbed(equals, conditions)})"
        if fastest is best:
            sentences.append(f"None of these is faster than it {where}.")
            continue
        sentences.append(
            f"The fastest of these is {record_label(fastest)} with "
            f"{write_score(scored[fastest.reference])}: a median of {p50_ms:.1f} ms where the "
            f"best takes {own.p50_ms:.1f} ms {where}."
        )
    return sentences


def _disturbed(records: Sequence[Record], conditions: LatencyConditions) -> str:
    found = [latency_under(record, conditions) for record in records]
    count = sum(each is not None and each.verdict != "quiet" for each in found)
    return f"; disturbed measurements: {count}" if count else ""


def _timed(
    records: Sequence[Record], conditions: LatencyConditions
) -> list[tuple[float, int, Record]]:
    found = ((latency_under(record, conditions), record) for record in records)
    return [(each.p50_ms, index, r) for index, (each, r) in enumerate(found) if each is not None]


def _replicates(records: Sequence[Record], scored: dict[str, Score]) -> str:
    """Says how far repeated training of one network moved its score, where that was tried."""
    by_network: dict[str, list[Score]] = {}
    for record in records:
        by_network.setdefault(record.spec_id, []).append(scored[record.reference])
    repeated = [scores for scores in by_network.values() if len({s.seed for s in scores}) > 1]
    if not repeated:
        return ", since each network was trained once"
    spread = max(max(s.value for s in scores) - min(s.value for s in scores) for scores in repeated)
    return (
        f"; {len(repeated)} of {len(by_network)} networks were trained with several seeds, which "
        f"moved a score by up to {spread:.3f}"
    )
