"""What a study found, in plain words that claim no more than the intervals allow."""

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
from analysis.records import Record, Score, Status
from analysis.tables import record_label


def findings(records: Sequence[Record]) -> list[str]:
    """Returns sentences on records: how many, the best, the cheapest that is as good, the caveats.

    Networks whose intervals overlap are said not to be told apart. Records under different
    protocols or at different input sizes are spoken of apart.
    """
    if not records:
        return ["There are no records yet."]
    sentences = [_counts(records)]
    groups = protocols(records)
    if not groups:
        sentences.append("No network has been scored, so nothing can be said of accuracy.")
    for group in groups:
        prefix = f"{group.label}: " if len(groups) > 1 else ""
        sentences += [prefix + sentence for sentence in _of_group(group)]
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


def _of_group(group: Comparable) -> list[str]:
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
    rivals = [r for r in originals if r is not best and _overlap(scored[r.reference], top)]
    if len(originals) > 1:
        sentences.append(_rivals(best, rivals, len(originals) - 1))
        sentences += _cheapest(best, [best, *rivals], scored) if rivals else []
        sentences += _fastest(best, [best, *rivals], scored)
    sentences.append(f"Every interval is a {INTERVAL_MEANING}{_replicates(originals, scored)}.")
    return sentences


def _at_cost(record: Record) -> str:
    if record.cost is None:
        return ""
    return f", at {record.cost.macs / 1e6:,.1f} M MACs and {record.cost.params / 1e6:.2f} M params"


def _overlap(first: Score, second: Score) -> bool:
    return first.low <= second.high and second.low <= first.high


def _rivals(best: Record, rivals: Sequence[Record], num_others: int) -> str:
    if not rivals:
        return (
            f"No other interval overlaps that of {record_label(best)}: it stands apart from "
            f"the {num_others} other{'s' if num_others > 1 else ''} on these images."
        )
    verb = "cannot be told apart from it: its interval overlaps"
    if len(rivals) > 1:
        verb = "cannot be told apart from it: their intervals overlap"
    return (
        f"Of the {num_others} other{'s' if num_others > 1 else ''}, {len(rivals)} {verb} "
        "(a paired comparison on the same images may still tell some apart)."
    )


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
    return f"; {count} of these measurements were disturbed" if count else ""


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
