"""What a search has come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.comparing import conditions_of
from analysis.objectives import Objective
from analysis.pareto import pareto_mask
from analysis.records import Record, Status
from analysis.store import RunStore
from search.lock import is_searched
from search.runner import ENDED_FILE
from search.strata import Strata
from search.study import Study
from search.study_file import load_search


def search_status(name: str, store: RunStore) -> dict[str, Any]:
    """Returns the state of a search as plain data.

    Raises:
        StudyError: If there is no such search.
    """
    study = load_search(name, store)
    loaded = store.load(name)
    records = loaded.records
    own = [r for r in records if not r.reused_from]
    count = {status.value: sum(r.status is status for r in own) for status in Status}
    tried = len({r.spec_id for r in records if r.status is not Status.INFEASIBLE})
    folder = store.study_folder(name)
    ended = folder / ENDED_FILE
    message = ended.read_text(encoding="utf-8").strip() if ended.is_file() else ""
    state = "finished" if tried >= study.trials or message else "interrupted"
    front = front_of(study, records)
    return {
        "name": name,
        "state": "running" if is_searched(folder) else state,
        "message": message,
        "task": study.task_name,
        "input": str(study.input),
        "objectives": [item.name for item in study.objectives],
        "num_trials": study.trials,
        "num_finished": tried,
        "num_records": len(records),
        "num_trained": count["trained"],
        "num_profiled": count["profiled"],
        "num_infeasible": count["infeasible"],
        "num_pruned": count["pruned"],
        "num_failed": count["failed"],
        "num_reused": len(records) - len(own),
        "space_size": study.space.size,
        "strata": None if study.strata is None else _strata_data(study.strata, records),
        "front": [_front_row(record, study) for record in front],
        "failures": [
            {"record_id": r.record_id, "reason": r.reason} for r in own if r.status is Status.FAILED
        ],
        "broken_files": list(loaded.broken),
    }


def _strata_data(strata: Strata, records: Sequence[Record]) -> dict[str, Any]:
    """Returns strata with the number of networks that were tried in each."""
    costs = {
        r.spec_id: r.cost.conventions[strata.by]
        for r in records
        if r.status is not Status.INFEASIBLE and r.cost is not None
    }
    held = Counter(map(strata.stratum, costs.values()))
    return {
        "by": strata.by,
        "edges": list(strata.edges),
        "num_finished": [held[number] for number in range(len(strata))],
    }


def front_of(study: Study, records: Sequence[Record]) -> list[Record]:
    """Returns the records that no other beats in every objective, by the first objective.

    Records that repeat another of these, and those without a value, are left out. Where latency is
    an objective, only records of the conditions under which most were measured are compared.
    """
    known = {r.reference for r in records}
    done = [
        r
        for r in records
        if r.status in {Status.TRAINED, Status.PROFILED} and r.reused_from not in known
    ]
    for item in study.objectives:
        if item.runtime:
            done = _of_one_machine(done, item)
    if not done:
        return []
    values = np.array([[item.value(r) for item in study.objectives] for r in done])
    mask = pareto_mask(values, [item.maximise for item in study.objectives])
    first = study.objectives[0]
    kept = [record for record, on_front in zip(done, mask, strict=True) if on_front]
    return sorted(kept, key=first.value, reverse=first.maximise)


def _of_one_machine(records: list[Record], item: Objective) -> list[Record]:
    found = [item.latency(r.latencies) for r in records]
    labels = [
        None if latency is None else conditions_of(r, latency).label
        for r, latency in zip(records, found, strict=True)
    ]
    ranked = Counter(label for label in labels if label).most_common(1)
    return [r for r, own in zip(records, labels, strict=True) if ranked and ranked[0][0] == own]


def _front_row(record: Record, study: Study) -> dict[str, Any]:
    row: dict[str, Any] = {
        "record_id": record.record_id,
        "spec_id": record.spec_id,
        "choices": record.choices,
        **{item.name: item.value(record) for item in study.objectives},
    }
    if record.score is not None:
        row["metric"] = record.score.metric
        row["metric_value"] = record.score.value
        row["score_interval"] = [record.score.low, record.score.high]
        row["protocol_id"] = record.score.protocol_id
    conditions = {
        item.name: conditions_of(record, latency).label
        for item in study.objectives
        if (latency := item.latency(record.latencies))
    }
    if conditions:
        row["latency_conditions"] = conditions
    return row
