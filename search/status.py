"""What a search has come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from analysis.pareto import pareto_mask
from analysis.records import Record, Status
from analysis.store import RunStore
from search.runner import load_search
from search.study_file import Study


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
    is_running = _is_running(name, store)
    state = "running" if is_running else "finished" if tried >= study.trials else "interrupted"
    return {
        "name": name,
        "state": state,
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
        "front": [_front_row(record, study) for record in front_of(study, own)],
        "failures": [
            {"record_id": r.record_id, "reason": r.reason} for r in own if r.status is Status.FAILED
        ],
        "broken_files": list(loaded.broken),
    }


def front_of(study: Study, records: list[Record]) -> list[Record]:
    """Returns the records that no other beats in every objective, by the first objective."""
    done = [r for r in records if r.status in {Status.TRAINED, Status.PROFILED}]
    if not done:
        return []
    values = np.array([[item.value(r) for item in study.objectives] for r in done])
    mask = pareto_mask(values, [item.maximise for item in study.objectives])
    first = study.objectives[0]
    kept = [record for record, on_front in zip(done, mask, strict=True) if on_front]
    return sorted(kept, key=first.value, reverse=first.maximise)


def _front_row(record: Record, study: Study) -> dict[str, Any]:
    row: dict[str, Any] = {
        "record_id": record.record_id,
        "spec_id": record.spec_id,
        "choices": record.choices,
        **{item.name: item.value(record) for item in study.objectives},
    }
    if record.score is not None:
        row["score_interval"] = [record.score.low, record.score.high]
        row["protocol_id"] = record.score.protocol_id
    return row


def _is_running(name: str, store: RunStore) -> bool:
    try:
        with FileLock(store.study_folder(name) / ".search.lock", timeout=0):
            return False
    except Timeout:
        return True
