"""From what a study file says to a study: every setting checked, every mistake collected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from analysis.conventions import CONVENTIONS
from analysis.naming import RULE, find_network
from analysis.objectives import Objective, objective
from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, Problem, StudyError, did_you_mean
from networks import PRESETS, NetworkSpec, SpecSpace, spec_from_dict
from search.predicting import resolve_calibrations
from search.samplers import SAMPLERS
from search.strata import Strata, check_strata, strata_of
from search.study import Limit, Study
from tasks import Task, find_task, make_task
from training import schedule_of

_TABLES = ("study", "task", "limits", "calibrations", "strata", "free")
_STUDY_KEYS = (
    "name",
    "base",
    "task",
    "data",
    "input",
    "schedule",
    "objectives",
    "sampler",
    "trials",
    "seed",
    "workers",
)
_REQUIRED = ("name", "base", "task")

T = TypeVar("T")

DEFAULT_OBJECTIVES = ["score", "macs"]
DEFAULT_TRIALS = 20


def resolve_study(
    written: Mapping[str, Any], *, folder: Path, store: RunStore, data: Path | None
) -> Study:
    """Makes a study from what its file says.

    Args:
        written: The file's tables.
        folder: The file's folder, where a base that is a spec file lies.
        store: Where a base that is a ``spec_id`` is looked up.
        data: The data folder; None takes the file's.

    Raises:
        StudyError: With everything that is wrong.
    """
    problems = _key_problems(written)
    if problems:
        raise StudyError(problems)
    table = written["study"]
    found = _Collector()
    task_class = found.attempt(lambda: find_task(_text(table, "task")))
    task = (
        found.attempt(lambda: make_task(task_class, written.get("task", {}), "task."))
        if task_class
        else None
    )
    base = found.attempt(lambda: _base(table["base"], folder, store))
    schedule = found.attempt(lambda: schedule_of(table.get("schedule", "tiny"), "study.schedule"))
    size = found.attempt(lambda: _input(table, task_class))
    metrics = task_class.results.metric_names if task_class else None
    objectives = found.attempt(
        lambda: _objectives(table.get("objectives", DEFAULT_OBJECTIVES), metrics)
    )
    limits = found.attempt(lambda: _limits(written.get("limits", {}), metrics))
    compared = (*(objectives or ()), *(limit.objective for limit in limits or ()))
    calibrations = found.attempt(
        lambda: resolve_calibrations(written.get("calibrations", {}), compared, folder, store.root)
    )
    sampler = found.attempt(lambda: _sampler(table.get("sampler", "tpe")))
    trials = found.attempt(lambda: _count(table, "trials", 1, DEFAULT_TRIALS))
    seed = found.attempt(lambda: _count(table, "seed", 0, 0))
    workers = found.attempt(lambda: _count(table, "workers", 0, 0))
    name = found.attempt(lambda: _name(table, store))
    data_folder = found.attempt(lambda: _data(table, data))
    space = (
        found.attempt(lambda: _space(base, task, written.get("free", {})))
        if base is not None and task is not None
        else None
    )
    if "strata" in written:
        found.attempt(lambda: check_strata(written["strata"]))
    found.raise_problems()
    assert task is not None
    assert schedule is not None
    assert size is not None
    assert objectives is not None
    assert limits is not None
    assert calibrations is not None
    assert sampler is not None
    assert trials is not None
    assert seed is not None
    assert workers is not None
    assert name is not None
    assert space is not None
    study = Study(
        name=name,
        task_name=_text(table, "task"),
        task=task,
        data=data_folder,
        input=size,
        schedule=schedule,
        objectives=objectives,
        sampler=sampler,
        trials=trials,
        seed=seed,
        workers=workers,
        limits=limits,
        space=space,
        calibrations=calibrations,
    )
    if "strata" in written:
        return dataclasses.replace(study, strata=_strata(written["strata"], study))
    return study


class _Collector:
    """Collects what is wrong, so that it can be raised at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def attempt(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except BranchworkError as error:
            self.problems.extend(error.problems)
            return None

    def raise_problems(self) -> None:
        if self.problems:
            raise StudyError(self.problems)


def _key_problems(written: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(
            where=name,
            rule=f"a study file has the tables {', '.join(_TABLES)}",
            got=repr(name),
            do=did_you_mean(name, _TABLES),
        )
        for name in written
        if name not in _TABLES
    ]
    problems += [
        Problem(where=name, rule="this is a table", got=repr(written[name]), do=f"write [{name}]")
        for name in _TABLES
        if not isinstance(written.get(name, {}), Mapping)
    ]
    table = written.get("study", {})
    if not isinstance(table, Mapping):
        return problems
    problems += [
        Problem(
            where=f"study.{key}",
            rule=f"a study has the settings {', '.join(_STUDY_KEYS)}",
            got=repr(key),
            do=did_you_mean(key, _STUDY_KEYS),
        )
        for key in table
        if key not in _STUDY_KEYS
    ]
    problems += [
        Problem(
            where=f"study.{key}",
            rule=f"a study names its {', '.join(_REQUIRED)}",
            got="nothing",
            do=f"add {key} = ... under [study]",
        )
        for key in _REQUIRED
        if key not in table
    ]
    return problems


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if isinstance(value, str):
        return value
    raise StudyError(
        Problem(
            where=f"study.{key}", rule="this is text", got=repr(value), do=f'write {key} = "..."'
        )
    )


def _name(table: Mapping[str, Any], store: RunStore) -> str:
    name = _text(table, "name")
    store.study_folder(name)
    return name


def _count(table: Mapping[str, Any], key: str, least: int, default: int) -> int:
    value = table.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise StudyError(
        Problem(
            where=f"study.{key}",
            rule=f"this is a whole number of at least {least}",
            got=repr(value),
            do=f"write {key} = {default or least}",
        )
    )


def _data(table: Mapping[str, Any], data: Path | None) -> Path | None:
    """The folder that the user names now goes before the one that the file names."""
    if data is not None or "data" not in table:
        return data
    return Path(_text(table, "data"))


def _input(table: Mapping[str, Any], task_class: type[Task] | None) -> ImageSize | None:
    if "input" not in table:
        return task_class.default_input if task_class else None
    try:
        return ImageSize.parse(_text(table, "input"))
    except BranchworkError as error:
        raise StudyError(
            [dataclasses.replace(problem, where="study.input") for problem in error.problems]
        ) from None


def _sampler(written: object) -> str:
    if isinstance(written, str) and written in SAMPLERS:
        return written
    raise StudyError(
        Problem(
            where="study.sampler",
            rule="a study uses a known sampler",
            got=repr(written),
            do=did_you_mean(str(written), SAMPLERS),
        )
    )


def _space(base: NetworkSpec, task: Task, free: Mapping[str, object]) -> SpecSpace:
    return SpecSpace.resolve(base.with_outputs(task.num_outputs), free)


def _strata(written: Mapping[str, Any], study: Study) -> Strata:
    return strata_of(
        written,
        space=study.space,
        size=study.input,
        limits=study.count_limits,
        seed=study.seed,
    )


def _base(written: object, folder: Path, store: RunStore) -> NetworkSpec:
    """The base is a preset, a spec file beside the study file, a spec_id, or a whole spec."""
    if isinstance(written, Mapping):
        return spec_from_dict(written)
    text = str(written)
    found = find_network(text, store, (folder, Path()))
    if found is not None:
        return found.spec
    raise StudyError(
        Problem(
            where="study.base",
            rule=f"the base is {RULE} in the store",
            got=repr(written),
            do=did_you_mean(text, PRESETS),
        )
    )


def _objectives(written: object, metrics: Collection[str] | None) -> tuple[Objective, ...]:
    names = [str(name) for name in written] if isinstance(written, list) else []
    if not names or len(set(names)) < len(names):
        raise StudyError(
            Problem(
                where="study.objectives",
                rule="objectives are a list of at least one, each named once",
                got=repr(written),
                do='write ["score", "macs"]',
            )
        )
    return tuple(objective(name, "study.objectives", metrics) for name in names)


def _limits(written: Mapping[str, Any], metrics: Collection[str] | None) -> tuple[Limit, ...]:
    limits = []
    for name, value in _flattened(written):
        item = objective(name, f"limits.{name}", metrics)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if item.maximise or not is_number:
            raise StudyError(
                Problem(
                    where=f"limits.{name}",
                    rule="a limit is the largest value of a cost or a latency, above 0",
                    got=repr(value),
                    do=f"write macs = 200e6, or one of {', '.join(CONVENTIONS)}",
                )
            )
        limits.append(Limit(objective=item, largest=float(value)))
    return tuple(limits)


def _flattened(written: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """TOML reads ``latency.eager = 20`` as a table in a table."""
    rows: list[tuple[str, Any]] = []
    for name, value in written.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}.{inner}", item) for inner, item in value.items()]
        else:
            rows.append((name, value))
    return rows
