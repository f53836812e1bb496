"""A resolved study: what is searched, by what, under which limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.conventions import CONVENTIONS
from analysis.objectives import Objective
from blocks import ImageSize
from networks import SpecSpace, spec_id
from search.predicting import StudyCalibration
from search.strata import Strata
from tasks import Task
from training import Schedule


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
        strata: Ranges of a cost from which random proposals are drawn in turn, None if they are
            drawn from the space as it is.
        calibrations: What latencies are predicted from, one for each runtime of which an
            objective or a limit is predicted.
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
    strata: Strata | None = None
    calibrations: tuple[StudyCalibration, ...] = ()

    @property
    def count_limits(self) -> dict[str, float]:
        """The limits on what is counted in closed form, by convention."""
        return {
            limit.objective.name: limit.largest
            for limit in self.limits
            if limit.objective.name in CONVENTIONS
        }

    @property
    def needs_score(self) -> bool:
        """Whether networks must be trained."""
        return any(item.maximise for item in self.objectives)

    @property
    def compared_runtimes(self) -> tuple[str, ...]:
        """The runtimes whose latencies are objectives or limited."""
        items = (*self.objectives, *(limit.objective for limit in self.limits))
        return tuple(dict.fromkeys(item.runtime for item in items if item.runtime))

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that every network is measured in; eager where nothing else is said."""
        return self.compared_runtimes or (() if self.calibrations else ("eager",))

    @property
    def definition(self) -> dict[str, str]:
        """What must not change while a study goes on, by the names that its file gives.

        Budget, workers, limits, sampler, strata and the place of the data may change.
        """
        return {
            "study.base": spec_id(self.space.base),
            "study.task": self.task_name,
            "task": json.dumps(asdict(self.task), sort_keys=True),
            "study.input": str(self.input),
            "study.schedule": json.dumps(self.schedule.settings(), sort_keys=True),
            "study.objectives": ", ".join(item.name for item in self.objectives),
            "study.seed": str(self.seed),
            **{f"calibrations.{each.runtime}": each.fingerprint for each in self.calibrations},
            **{f"free.{d.address}": ", ".join(d.labels) for d in self.space.dimensions},
        }

    def row(self, choices: Mapping[str, Any]) -> tuple[int, ...]:
        """Returns the choice indices that choices by address stand for.

        Raises:
            ValueError: If these are not the study's addresses and choices.
        """
        dimensions = self.space.dimensions
        if choices.keys() != {dimension.address for dimension in dimensions}:
            message = "other addresses than the study's"
            raise ValueError(message)
        return tuple(
            d.labels.index(json.dumps(choices[d.address], sort_keys=True)) for d in dimensions
        )
