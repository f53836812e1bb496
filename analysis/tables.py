"""Tables over records: all of them with their units, and the front among comparable ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparing import (
    Comparable,
    conditions_of,
    latency_under,
    originals,
    protocols,
    require_one_conditions,
    require_one_input,
    require_one_protocol,
)
from analysis.conventions import CONVENTIONS
from analysis.cost import By, break_down
from analysis.objectives import objective
from analysis.pareto import pareto_mask
from analysis.records import Record, Status
from networks import spec_from_dict

_COLUMNS = (
    *("record_id", "study", "network", "spec_id", "status", "trial", "input", *CONVENTIONS),
    *("score", "low", "high", "metric", "task", "protocol_id", "seed", "num_images"),
)
_LAST_COLUMNS = ("latency_verdict", "cpu", "choices", "reason", "reused_from", "created")
_VALUED = frozenset({Status.TRAINED, Status.PROFILED})

__all__ = [
    "Comparable",
    "cost_table",
    "front",
    "latency_table",
    "objective_values",
    "protocols",
    "record_label",
    "records_table",
]


def record_label(record: Record) -> str:
    """Names a record's network for a reader: ``trial 7: lite_hrnet_18 [a1b2c3d4e5f6]``."""
    trial = "" if record.trial is None else f"trial {record.trial}: "
    network = record.network
    if record.spec_id and record.spec_id not in network:
        network = f"{network} [{record.spec_id}]"
    return trial + network


def records_table(records: Sequence[Record]) -> pd.DataFrame:
    """Returns one row a record.

    Conventions are whole counts for one image, scores are as the metric gives them (fractions)
    with the 95 % bootstrap interval over images from ``low`` to ``high``, and every latency
    column names its runtime, threads, batch and number format: medians in milliseconds.
    """
    rows = [_row(record) for record in records]
    latencies = sorted({key for row in rows for key in row if key.startswith("latency.")})
    table = pd.DataFrame(rows, columns=[*_COLUMNS, *latencies, *_LAST_COLUMNS])
    counts = ("trial", "seed", "num_images", *CONVENTIONS)
    return table.astype(dict.fromkeys(counts, "Int64"))


def _row(record: Record) -> dict[str, Any]:
    score, cost = record.score, record.cost
    row: dict[str, Any] = {
        "record_id": record.record_id,
        "study": record.study,
        "network": record.network,
        "spec_id": record.spec_id,
        "status": record.status.value,
        "trial": record.trial,
        "input": str(record.input),
        "task": record.task,
        "latency_verdict": "; ".join(sorted({each.verdict for each in record.latencies})),
        "cpu": record.environment.cpu,
        "choices": json.dumps(record.choices, sort_keys=True) if record.choices else "",
        "reason": record.reason,
        "reused_from": record.reused_from,
        "created": record.created,
    }
    if cost is not None:
        row |= {name: cost.conventions.get(name) for name in CONVENTIONS}
    if score is not None:
        row |= {
            "score": score.value,
            "low": score.low,
            "high": score.high,
            "metric": score.metric,
            "protocol_id": score.protocol_id,
            "seed": score.seed,
            "num_images": score.num_images,
        }
    for latency in record.latencies:
        row[f"{conditions_of(record, latency).objective}_p50_ms"] = latency.p50_ms
    return row


def latency_table(record: Record) -> pd.DataFrame:
    """Returns one row for each of a record's latencies, with everything that it depends on."""
    return pd.DataFrame(
        [
            {
                "runtime": each.runtime,
                "input": str(each.input),
                "batch": each.batch,
                "threads": each.threads,
                "dtype": each.dtype,
                "median_ms": each.p50_ms,
                "p90_ms": each.p90_ms,
                "min_ms": each.min_ms,
                "num_runs": each.num_runs,
                "machine": conditions_of(record, each).machine,
                "verdict": each.verdict,
            }
            for each in record.latencies
        ]
    )


def cost_table(record: Record) -> pd.DataFrame:
    """Returns a network's cost by stage and slot, in closed form from the record's spec.

    Returns:
        Columns ``stage``, ``slot``, ``macs`` and ``params``, in order of execution.

    Raises:
        BranchworkError: If a kind in the spec is not registered here.
    """
    ops = spec_from_dict(record.spec).operations(record.input)
    stages = dict.fromkeys(_stage(op.address) for op in ops)
    rows = [
        {"stage": stage, "slot": part.name, "macs": part.macs, "params": part.params}
        for stage in stages
        for part in break_down([op for op in ops if _stage(op.address) == stage], By.SLOT)
    ]
    return pd.DataFrame(rows, columns=["stage", "slot", "macs", "params"])


def _stage(address: str) -> str:
    parts = address.split(".")
    return ".".join(parts[:2]) if parts[0] == "stages" else parts[0]


def objective_values(records: Sequence[Record], name: str) -> list[float]:
    """Returns every record's value of one objective, NaN where it has none.

    Args:
        records: Records that may be compared.
        name: As in study files, or a whole ``LatencyConditions.objective``; latencies are medians
            in milliseconds.

    Raises:
        StudyError: If there is no such objective.
        BranchworkError: If protocols, input sizes or latency conditions differ.
    """
    require_one_input(records)
    if name.startswith("latency."):
        conditions = require_one_conditions(records, name)
        found = [latency_under(record, conditions) for record in records]
        return [math.nan if latency is None else latency.p50_ms for latency in found]
    metrics = {each for record in records if record.score for each in record.score.metrics}
    wanted = objective(name, metrics=sorted(metrics))
    if wanted.maximise:
        require_one_protocol(records)
    return [wanted.value(record) for record in records]


def front(records: Sequence[Record], objectives: Sequence[str]) -> tuple[Record, ...]:
    """Returns the records that no other beats in every objective at once.

    Records without a value are left out, and so are infeasible and failed networks and records
    that repeat one that is itself among them.

    Args:
        records: Records that may be compared.
        objectives: Names as in study files: ``score`` (more is better), ``macs``, ``params``,
            ``latency.RUNTIME`` (less is better).

    Returns:
        The front, by the last objective, best first.

    Raises:
        StudyError: If there is no such objective.
        BranchworkError: If protocols, input sizes or latency conditions differ.
    """
    compared = [record for record in originals(records) if record.status in _VALUED]
    maximise = [name.partition(".")[0] == "score" for name in objectives]
    if any(maximise):
        compared = [record for record in compared if record.score is not None]
    if not compared:
        return ()
    columns = [objective_values(compared, name) for name in objectives]
    values = np.array(columns, dtype=np.float64).T
    order = np.argsort(-values[:, -1] if maximise[-1] else values[:, -1], kind="stable")
    mask = pareto_mask(values, maximise)
    return tuple(compared[index] for index in order if mask[index])
