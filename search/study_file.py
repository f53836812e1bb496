"""Study files: what is searched, read from TOML, resolved, and kept beside the results."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from analysis.conventions import CONVENTIONS
from analysis.objectives import Objective, objective
from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, Problem, StudyError, did_you_mean
from networks import PRESETS, NetworkSpec, SpecSpace, read_spec, spec_from_dict, spec_to_dict
from search.samplers import SAMPLERS
from tasks import Task, trainable_task
from training import Schedule, schedule_of

_TABLES = ("study", "task", "limits", "free")
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
DEFAULT_OBJECTIVES = ["score", "macs"]
DEFAULT_TRIALS = 20


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest value that a cost or latency may have.

    Attributes:
        objective: What is limited.
        largest: The limit, in units (milliseconds for latencies).
    """

    objective: Objective
    largest: float


@dataclass(frozen=True, kw_only=True)
class Study:
    """A resolved study.

    Attributes:
        name: Its name, that of its folder.
        task_name: The task's registered name.
        task: The task with its options.
        data: The data folder, None for a task that brings its own.
        input: The input size.
        schedule: How every network is trained.
        objectives: What networks are compared by.
        sampler: The name of the sampler.
        trials: How many different networks are tried.
        seed: Seed of the sampler and of every training.
        workers: Processes that train at the same time; 0 stands for one a core.
        limits: What rules networks out before anything is built.
        space: The networks.
    """

    name: str
    task_name: str
    task: Task
    data: Path | None
    input: ImageSize
    schedule: Schedule
    objectives: tuple[Objective, ...]
    sampler: str
    trials: int
    seed: int
    workers: int
    limits: tuple[Limit, ...]
    space: SpecSpace

    @property
    def needs_score(self) -> bool:
        """Whether networks must be trained."""
        return any(item.maximise for item in self.objectives)


def read_study(path: Path, *, store: RunStore, data: Path | None = None) -> Study:
    """Reads and resolves a study file.

    Args:
        path: The TOML file.
        store: Where a base that is a ``spec_id`` is looked up.
        data: The data folder; None takes the file's.

    Raises:
        StudyError: With everything that is wrong.
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(
            Problem(
                where=str(path),
                rule="a study file is readable TOML",
                got=f"{type(error).__name__}: {error}",
                do="mend the file; configs/studies holds examples",
            )
        ) from None
    try:
        return _resolve(written, folder=path.parent, store=store, data=data)
    except BranchworkError as error:
        problems = [
            dataclasses.replace(problem, where=f"{path}: {problem.where}")
            for problem in error.problems
        ]
        raise StudyError(problems) from None


def write_study(study: Study, path: Path) -> None:
    """Writes a resolved study: globs and ``"all"`` written out, choices sorted and pinned."""
    data: dict[str, Any] = {
        "study": {
            "name": study.name,
            "base": spec_to_dict(study.space.base),
            "task": study.task_name,
            "input": str(study.input),
            "schedule": dataclasses.asdict(study.schedule),
            "objectives": [item.name for item in study.objectives],
            "sampler": study.sampler,
            "trials": study.trials,
            "seed": study.seed,
            "workers": study.workers,
        },
        "task": dataclasses.asdict(study.task),
        "limits": {limit.objective.name: limit.largest for limit in study.limits},
        "free": {
            dimension.address: list(dimension.choices) for dimension in study.space.dimensions
        },
    }
    if study.data is not None:
        data["study"]["data"] = str(study.data.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(tomli_w.dumps(data), encoding="utf-8")
    temporary.replace(path)


def _resolve(
    written: Mapping[str, Any], *, folder: Path, store: RunStore, data: Path | None
) -> Study:
    problems = list(_key_problems(written))
    if problems:
        raise StudyError(problems)
    table = written["study"]
    found = _Collector()
    task_class = found.attempt(lambda: trainable_task(_text(table, "task")))
    task = found.attempt(lambda: _task(task_class, written.get("task", {}))) if task_class else None
    base = found.attempt(lambda: _base(table["base"], folder, store))
    schedule = found.attempt(lambda: schedule_of(table.get("schedule", "tiny"), "study.schedule"))
    size = found.attempt(
        lambda: (
            ImageSize.parse(_text(table, "input"))
            if "input" in table
            else (task_class or Task).default_input
        )
    )
    objectives = found.attempt(lambda: _objectives(table.get("objectives", DEFAULT_OBJECTIVES)))
    limits = found.attempt(lambda: _limits(written.get("limits", {})))
    sampler = table.get("sampler", "tpe")
    if sampler not in SAMPLERS:
        found.problems.append(
            Problem(
                where="study.sampler",
                rule="a study uses a known sampler",
                got=repr(sampler),
                do=did_you_mean(str(sampler), SAMPLERS),
            )
        )
    counts = {
        name: found.attempt(
            lambda name=name, least=least, default=default: _count(  # type: ignore[misc]
                table, name, least, default
            )
        )
        for name, least, default in (
            ("trials", 1, DEFAULT_TRIALS),
            ("seed", 0, 0),
            ("workers", 0, 0),
        )
    }
    name = found.attempt(lambda: _name(table, store))
    free = written.get("free", {})
    space = (
        found.attempt(lambda: SpecSpace.resolve(base.with_outputs(task.num_outputs), free))
        if base is not None and task is not None
        else None
    )
    found.raise_problems()
    assert task is not None
    assert schedule is not None
    assert size is not None
    assert objectives is not None
    assert limits is not None
    assert name is not None
    assert space is not None
    folder_written = table.get("data")
    return Study(
        name=name,
        task_name=_text(table, "task"),
        task=task,
        data=data or (Path(folder_written) if folder_written else None),
        input=size,
        schedule=schedule,
        objectives=objectives,
        sampler=sampler,
        trials=counts["trials"] or DEFAULT_TRIALS,
        seed=counts["seed"] or 0,
        workers=counts["workers"] or 0,
        limits=limits,
        space=space,
    )


class _Collector:
    """Collects what is wrong, so that it can be raised at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def attempt(self, make: Any) -> Any:  # noqa: ANN401 - returns what make returns
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
    for name in _TABLES:
        if not isinstance(written.get(name, {}), Mapping):
            problems.append(
                Problem(
                    where=name,
                    rule="this is a table",
                    got=repr(written[name]),
                    do=f"write [{name}]",
                )
            )
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


def _base(written: object, folder: Path, store: RunStore) -> NetworkSpec:
    """The base is a preset, a spec file beside the study file, a spec_id, or a whole spec."""
    if isinstance(written, Mapping):
        return spec_from_dict(written)
    text = str(written)
    if text in PRESETS:
        return PRESETS[text].make(17)
    for candidate in (folder / text, Path(text)):
        if candidate.suffix == ".json" and candidate.is_file():
            return read_spec(candidate)
    record = store.find_spec(text)
    if record is not None:
        return spec_from_dict(record.spec)
    raise StudyError(
        Problem(
            where="study.base",
            rule="the base is a preset, a spec file (.json) or a spec_id in the store",
            got=repr(written),
            do=did_you_mean(text, PRESETS),
        )
    )


def _task(task_class: type[Task], options: Mapping[str, Any]) -> Task:
    known = {field.name: field for field in dataclasses.fields(task_class)}
    for name, value in options.items():
        if name not in known:
            raise StudyError(
                Problem(
                    where=f"task.{name}",
                    rule=f"the task has the options {', '.join(known)}",
                    got=repr(name),
                    do=did_you_mean(name, known),
                )
            )
        default = known[name].default
        if type(value) is not type(default):
            raise StudyError(
                Problem(
                    where=f"task.{name}",
                    rule=f"the option is of the kind of {default!r}",
                    got=repr(value),
                    do=f"write {default!r}, for example",
                )
            )
    return task_class(**options)


def _objectives(written: object) -> tuple[Objective, ...]:
    if not isinstance(written, list) or not written:
        raise StudyError(
            Problem(
                where="study.objectives",
                rule="objectives are a list with at least one",
                got=repr(written),
                do='write ["score", "macs"]',
            )
        )
    return tuple(objective(str(name), "study.objectives") for name in written)


def _limits(written: Mapping[str, Any]) -> tuple[Limit, ...]:
    limits = []
    for name, value in _flattened(written):
        item = objective(name, f"limits.{name}")
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
