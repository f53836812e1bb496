"""What the words of ``branchwork compare`` stand for: records, networks with seeds, predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.records import Record
    from analysis.store import RunStore
    from tasks import ImageResults, Task


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Networks that may be compared.

    Attributes:
        task: The task's name.
        metric: The metric.
        protocol_id: The protocol of records, None for prediction files.
        results: Per-image results by name, where each network has one run.
        scores: Scores of all runs by name, where some network has several.
    """

    task: str
    metric: str
    protocol_id: str | None
    results: dict[str, ImageResults] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)


def find_compared(
    names: Sequence[str],
    *,
    task: str | None,
    annotations: Path | None,
    metric: str,
    store: RunStore,
) -> Compared:
    """Returns what is to be compared.

    Args:
        names: What the user wrote.
        task: The task's name, None if records say it.
        annotations: What prediction files are scored on.
        metric: The metric, "" for the task's own.
        store: Where records are.

    Raises:
        BranchworkError: If a name stands for nothing, or if the networks may not be compared.
    """
    from blocks import BranchworkError, Problem

    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BranchworkError(
            Problem(
                where="A B...",
                rule="a network is compared with others",
                got=f"{repeated[0]!r} twice",
                do="name each once",
            )
        )
    if annotations is not None:
        return _of_predictions(names, task, annotations, metric)
    return _of_records(names, task, metric, store)


def _of_predictions(
    names: Sequence[str], task: str | None, annotations: Path, metric: str
) -> Compared:
    from blocks import BranchworkError, Problem
    from tasks import TASKS, find_task

    if task is None:
        raise BranchworkError(
            Problem(
                where="--task",
                rule="prediction files do not say what they are for",
                got="no task",
                do=f"choose one of {', '.join(entry.name for entry in TASKS)}",
            )
        )
    cls = find_task(task)
    made = cls()
    results = {name: made.score_files(annotations, Path(name)) for name in names}
    metric = _metric(cls, metric, next(iter(results.values())))
    _check_defined(results, metric)
    return Compared(
        task=task,
        metric=metric,
        protocol_id=None,
        results=results,
    )


def _of_records(names: Sequence[str], task: str | None, metric: str, store: RunStore) -> Compared:
    from analysis.comparing import require_one_protocol
    from analysis.image_results_store import ImageResultsStore
    from blocks import BranchworkError, Problem
    from tasks import find_task

    found = {name: _runs_of(name, store) for name in names}
    group = require_one_protocol([record for runs in found.values() for record in runs])
    if task not in {None, group.protocol.task}:
        raise BranchworkError(
            Problem(
                where="--task",
                rule="records are compared under their own task",
                got=f"{task!r}, and records of {group.protocol.task}",
                do=f"write --task {group.protocol.task}, or leave it out",
            )
        )
    cls = find_task(group.protocol.task)
    kept = ImageResultsStore(store)
    if all(len(runs) == 1 for runs in found.values()):
        results = {name: kept.results(runs[0], cls.results) for name, runs in found.items()}
        metric = _metric(cls, metric, next(iter(results.values())))
        _check_defined(results, metric)
        return Compared(
            task=group.protocol.task,
            metric=metric,
            protocol_id=group.protocol_id,
            results=results,
        )
    scores = {
        name: [_score(record, metric or group.metric) for record in runs]
        for name, runs in found.items()
    }
    return Compared(
        task=group.protocol.task,
        metric=metric or group.metric,
        protocol_id=group.protocol_id,
        scores=scores,
    )


def _runs_of(name: str, store: RunStore) -> list[Record]:
    """The scored records that a name stands for: one, or all seeds of one network."""
    from analysis.comparing import originals
    from blocks import BranchworkError, Problem, did_you_mean

    study, slash, rest = name.partition("/")
    if not slash or not rest:
        raise BranchworkError(
            Problem(
                where=name,
                rule="a record is named STUDY/RECORD_ID, a network STUDY/NETWORK",
                got="neither; prediction files also need --annotations"
                if Path(name).is_file()
                else "no study",
                do="look the names up with branchwork report or in the dashboard",
            )
        )
    store.require_study(study)
    records = [record for record in store.load(study).records if record.score is not None]
    exact = [record for record in records if record.record_id == rest]
    if exact:
        return exact
    runs = list(originals([r for r in records if rest in {r.network, r.spec_id}]))
    networks = sorted({record.spec_id for record in runs})
    if len(networks) > 1:
        raise BranchworkError(
            Problem(
                where=name,
                rule="seeds are those of one network",
                got=f"{len(networks)} networks of that name: {', '.join(networks[:5])}",
                do=f"write {study}/{networks[0]}, for example",
            )
        )
    if runs:
        return runs
    known = [*(r.record_id for r in records), *(r.network for r in records)]
    raise BranchworkError(
        Problem(
            where=name,
            rule=f"a scored record, network or spec_id of the study {study!r}",
            got=repr(rest),
            do=did_you_mean(rest, list(dict.fromkeys(known))),
        )
    )


def _score(record: Record, metric: str) -> float:
    from blocks import BranchworkError, Problem, did_you_mean

    assert record.score is not None
    if metric == record.score.metric:
        return record.score.value
    if metric not in record.score.metrics:
        raise BranchworkError(
            Problem(
                where="--metric",
                rule=f"a metric that {record.reference} holds",
                got=repr(metric),
                do=did_you_mean(metric, list(record.score.metrics)),
            )
        )
    return record.score.metrics[metric]


def _metric(cls: type[Task], metric: str, results: ImageResults) -> str:
    from blocks import BranchworkError, Problem, did_you_mean

    if metric and metric not in results.metrics:
        raise BranchworkError(
            Problem(
                where="--metric",
                rule="a metric of the task",
                got=repr(metric),
                do=did_you_mean(metric, list(results.metrics)),
            )
        )
    return metric or cls.metric


def _check_defined(results: dict[str, ImageResults], metric: str) -> None:
    """Refuses networks that have no such score: nothing can be said of a difference then."""
    from blocks import BranchworkError, Problem

    problems = [
        Problem(
            where=name,
            rule="networks are compared by a score that they have",
            got=f"{metric} is undefined",
            do="choose another --metric, or data that it can be computed on",
        )
        for name, each in results.items()
        if math.isnan(each.metrics[metric])
    ]
    if problems:
        raise BranchworkError(problems)
