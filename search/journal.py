"""Optuna's journal of a study: what its sampler remembers.

The records are the truth, the journal follows them. Whatever a killed process left of it, opening
it anew brings it up to the records: a torn line is cut off, a trial whose record is on disk is
told, a trial that has none is proposed again, and a journal that knows less than the records is
made anew from them. Who opens it must hold the study's lock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.records import Record, Status
from blocks import Problem, StudyError
from search.samplers import SAMPLERS
from search.study import Study

JOURNAL_FILE = "optuna.journal"
_DEFINITION = "definition"
_CONSTRAINT = "limits"
_DIRECTIONS: dict[bool, Literal["maximize", "minimize"]] = {True: "maximize", False: "minimize"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the sampler proposes.

    Attributes:
        number: The trial's number.
        choices: The study's choices, by address.
    """

    number: int
    choices: dict[str, Any]


class Journal:
    """Asks Optuna and tells it what came of it.

    Args:
        study: The study.
        folder: Its folder.
        records: The study's records so far, by trial.

    Raises:
        StudyError: If the study is not the one that the journal or the records belong to.
    """

    def __init__(self, study: Study, folder: Path, records: Mapping[int, Record]) -> None:
        self._study = study
        self._distributions: dict[str, BaseDistribution] = {
            dimension.address: CategoricalDistribution(dimension.labels)
            for dimension in study.space.dimensions
        }
        self._check_choices(folder, records)
        path = folder / JOURNAL_FILE
        _mend(path)
        self._optuna = _open(study, path)
        self._check_definition(folder)
        if not self._knows(records):
            path.unlink()
            self._optuna = _open(study, path)
            self._make_anew(records)
        self._optuna.set_user_attr(_DEFINITION, study.definition)
        self._recover(records)
        # A sampler that goes on must not draw again what it drew first.
        seed = study.seed + len(self._optuna.get_trials(deepcopy=False))
        self._optuna.sampler = SAMPLERS[study.sampler].make(seed)

    @property
    def has_waiting(self) -> bool:
        """Whether the next proposal is one that was put in, or left by a killed process."""
        return bool(self._optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def ask(self) -> Asked:
        """Returns the sampler's next proposal."""
        trial = self._optuna.ask(self._distributions)
        choices = {
            dimension.address: json.loads(trial.params[dimension.address])
            for dimension in self._study.space.dimensions
        }
        return Asked(number=trial.number, choices=choices)

    def enqueue(self, row: tuple[int, ...]) -> None:
        """Makes a row of choice indices the next proposal."""
        self._optuna.enqueue_trial(self._params(row))

    def tell(self, record: Record) -> None:
        """Tells the sampler what came of a trial, once its record is on disk."""
        assert record.trial is not None
        state, values, excess = self._result(record)
        trial = self._trials()[record.trial]
        if excess and not trial.constraints:
            # Optuna has no public way to a trial that an earlier process asked for.
            own = optuna.trial.Trial(self._optuna, trial._trial_id)  # noqa: SLF001
            own.set_constraint(_CONSTRAINT, excess)
        self._optuna.tell(record.trial, values, state=state)

    def _params(self, row: tuple[int, ...]) -> dict[str, Any]:
        return {
            dimension.address: dimension.labels[index]
            for dimension, index in zip(self._study.space.dimensions, row, strict=True)
        }

    def _trials(self) -> list[FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)

    def _result(self, record: Record) -> tuple[TrialState, list[float] | None, float]:
        """A trial's state, its values, and by how much it is over the limits."""
        if record.status is Status.INFEASIBLE:
            return TrialState.PRUNED, None, excess(record, self._study)
        values = [item.value(record) for item in self._study.objectives]
        has_all = not any(value != value for value in values)  # noqa: PLR0124 - NaN
        if record.status is Status.FAILED or not has_all:
            return TrialState.FAIL, None, 0.0
        return TrialState.COMPLETE, values, 0.0

    def _check_choices(self, folder: Path, records: Mapping[int, Record]) -> None:
        for record in records.values():
            try:
                self._study.row(record.choices)
            except ValueError:
                raise _changed(
                    folder, "free", f"other choices than those of {record.record_id}"
                ) from None

    def _check_definition(self, folder: Path) -> None:
        kept = self._optuna.user_attrs.get(_DEFINITION)
        now = self._study.definition
        if kept is None:
            return
        for part in sorted(kept.keys() | now.keys()):
            if kept.get(part) != now.get(part):
                raise _changed(folder, part, now.get(part, "nothing"), kept.get(part, "nothing"))

    def _knows(self, records: Mapping[int, Record]) -> bool:
        trials = self._trials()
        return all(
            number < len(trials) and trials[number].state is not TrialState.WAITING
            for number in records
        )

    def _make_anew(self, records: Mapping[int, Record]) -> None:
        for number in range(max(records) + 1):
            if number not in records:
                self._optuna.add_trial(create_trial(state=TrialState.FAIL))
                continue
            record = records[number]
            state, values, over = self._result(record)
            trial = create_trial(
                state=state,
                values=values,
                params=self._params(self._study.row(record.choices)),
                distributions=self._distributions,
                constraints={_CONSTRAINT: over} if over else None,
            )
            self._optuna.add_trial(trial)

    def _recover(self, records: Mapping[int, Record]) -> None:
        """Tells what a killed process could not, and proposes again what it left."""
        for trial in self._trials():
            if trial.state is not TrialState.RUNNING:
                continue
            if trial.number in records:
                self.tell(records[trial.number])
                continue
            self._optuna.tell(trial.number, state=TrialState.FAIL)
            params = trial.system_attrs.get("fixed_params", trial.params)
            if params:
                self._optuna.enqueue_trial(params)


def excess(record: Record, study: Study) -> float:
    """Returns by which parts a record is over the limits in sum, 1 if it is no network at all."""
    over = [limit.objective.value(record) / limit.largest - 1 for limit in study.limits]
    return sum(part for part in over if part > 0) or 1.0


def _open(study: Study, path: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=study.name,
        storage=JournalStorage(JournalFileBackend(str(path))),
        directions=[_DIRECTIONS[item.maximise] for item in study.objectives],
        load_if_exists=True,
    )


def _mend(path: Path) -> None:
    """Cuts a journal off at its first line that is not whole, and removes what held it.

    Optuna would append to a torn line and then read neither. Its own lock is not needed beside
    the study's; one that was left behind would be waited for, for ever if the path is relative.
    """
    for left_behind in path.parent.glob(f"{path.name}.lock*"):
        left_behind.unlink()
    if not path.is_file():
        return
    size = 0
    with path.open("r+b") as file:
        for line in file:
            if not _is_whole(line):
                break
            size += len(line)
        file.truncate(size)


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _changed(folder: Path, part: str, now: str, kept: str = "") -> StudyError:
    was = f", which was {kept}" if kept else ""
    return StudyError(
        Problem(
            where=f"{folder}: {part}",
            rule="a study that goes on keeps its networks, its task and its objectives",
            got=f"{now}{was}",
            do="put it back, or start a study of another name",
        )
    )
