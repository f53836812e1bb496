"""The search: asks Optuna for networks, rejects, reuses or trains them, and keeps every record."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from analysis.cost import measure_cost
from analysis.environment import current_environment
from analysis.latency import Latency, measure_latency
from analysis.records import Record, Status
from analysis.store import RunStore
from blocks import BranchworkError, Problem, SpecError, StudyError, check_image_size
from networks import NetworkSpec, apply_choices, spec_id, spec_to_dict
from search.engine import Engine, Finished
from search.samplers import SAMPLERS
from search.study_file import Study, read_study, write_study
from search.trial import Job, Outcome, make_record, open_split, protocol_of
from training import Hardware

STUDY_FILE = "study.toml"
JOURNAL_FILE = "optuna.journal"
_LOCK_FILE = ".search.lock"
_MAX_STALE = 5
_MAX_ENUMERATED = 100_000
_MAX_DRAWS = 2_000
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a search is.

    Attributes:
        num_done: Networks tried (trained, or profiled where nothing is trained, or failed).
        num_trials: Networks to try.
        num_infeasible: Proposals over the limits.
        num_reused: Proposals that were known already.
        num_failed: Networks that failed.
        running: Part done of every network in training, by trial number.
        best: The best record by the first objective so far.
        message: What just happened, "" if nothing did.
    """

    num_done: int
    num_trials: int
    num_infeasible: int
    num_reused: int
    num_failed: int
    running: dict[int, float]
    best: Record | None
    message: str = ""


def start_search(study: Study, store: RunStore) -> None:
    """Makes the folder of a new study, with its resolved file.

    Raises:
        StudyError: If there is a study of that name already.
    """
    folder = store.study_folder(study.name)
    if (folder / STUDY_FILE).exists() or (folder / "records").exists():
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a new study needs a new name",
                got=f"{study.name!r}, which has results",
                do=f"go on with 'branchwork search resume {study.name}', or change study.name",
            )
        )
    write_study(study, folder / STUDY_FILE)


def load_search(name: str, store: RunStore, data: Path | None = None) -> Study:
    """Reads the resolved file of a study that was started before.

    Raises:
        StudyError: If there is none of that name.
    """
    folder = store.require_study(name)
    if not (folder / STUDY_FILE).is_file():
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a search that goes on has a resolved study file",
                got=f"no {STUDY_FILE}",
                do="start a search with 'branchwork search start'",
            )
        )
    return read_study(folder / STUDY_FILE, store=store, data=data)


def run_search(
    study: Study,
    store: RunStore,
    make_engine: Callable[[], Engine],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Runs a search until as many different networks were tried as the study asks for.

    Every finished trial is on disk before Optuna is told, so nothing finished is ever lost; what
    was in training when the process ended goes on from its checkpoint.

    Args:
        study: The study; its folder must exist.
        store: Where records go.
        make_engine: Makes what trains.
        on_progress: Is told what happens.

    Raises:
        StudyError: If the study is being searched by another process, or its data are unusable.
        KeyboardInterrupt: After Ctrl-C, when everything is put away.
    """
    folder = store.study_folder(study.name)
    check_image_size("study.input", study.input, study.space.base.coarsest_stride)
    try:
        with FileLock(folder / _LOCK_FILE, timeout=0):
            search = _Search(study, store, folder, on_progress)
            search.check_data()
            search.recover()
            if search.num_left == 0:
                on_progress(search.progress())
                return
            engine = make_engine()
            try:
                search.run(engine)
            finally:
                engine.stop()
    except Timeout:
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a study is searched by one process at a time",
                got="another that is running",
                do="wait for it, or end it",
            )
        ) from None


@dataclass(kw_only=True)
class _Running:
    """A trial in training, and the trials that proposed the same network meanwhile."""

    trial: optuna.Trial
    spec: NetworkSpec
    choices: dict[str, Any]
    latencies: tuple[Latency, ...]
    followers: list[tuple[optuna.Trial, dict[str, Any]]]


class _Search:
    def __init__(
        self,
        study: Study,
        store: RunStore,
        folder: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._study = study
        self._store = store
        self._folder = folder
        self._on_progress = on_progress
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            dimension.address: CategoricalDistribution(dimension.labels)
            for dimension in study.space.dimensions
        }
        self._optuna = _open_optuna(study, folder)
        self._records: dict[int, Record] = {}
        self._tried: dict[str, Record] = {}
        self._running: dict[int, _Running] = {}
        self._protocol_id = ""
        self._num_stale = 0
        self._num_proposals = 0
        self._exhausted = False
        for record in store.load(study.name).records:
            self._remember(record)

    # -- what is known -------------------------------------------------------------------------

    @property
    def num_left(self) -> int:
        """Networks still to be tried."""
        return max(0, self._study.trials - len(self._tried))

    def progress(self, message: str = "", running: dict[int, float] | None = None) -> Progress:
        """Returns how far the search is."""
        records = self._records.values()
        scored = [r for r in records if r.status is Status.TRAINED]
        first = self._study.objectives[0]
        sign = 1 if first.maximise else -1
        return Progress(
            num_done=len(self._tried),
            num_trials=self._study.trials,
            num_infeasible=sum(r.status is Status.INFEASIBLE for r in records),
            num_reused=sum(bool(r.reused_from) for r in records),
            num_failed=sum(r.status is Status.FAILED for r in records),
            running=running or {},
            best=max(scored, key=lambda r: sign * first.value(r), default=None),
            message=message,
        )

    def _remember(self, record: Record) -> None:
        if record.trial is not None:
            self._records[record.trial] = record
        if record.status is not Status.INFEASIBLE:
            self._tried.setdefault(record.spec_id, record)

    def check_data(self) -> None:
        """Opens the data once, so that a wrong folder is one clear line and not many trials."""
        if not self._study.needs_score:
            return
        study = self._study
        splits = [open_split(study.task, study.data, s, study.input) for s in ("train", "val")]
        self._protocol_id = protocol_of(
            study.task_name, study.task, study.schedule, splits[0], splits[1]
        ).protocol_id
        skipped = [name for split in splits for name in split.skipped]
        if skipped:
            shown = "; ".join(skipped[:3])
            self._on_progress(self.progress(f"skipped {len(skipped)} unreadable images: {shown}"))

    def recover(self) -> None:
        """Tells Optuna what a killed process could not, and proposes again what it left."""
        for trial in self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = self._records.get(trial.number)
            if record is not None:
                self._tell(trial.number, record)
                continue
            self._optuna.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                self._optuna.enqueue_trial(trial.params)

    # -- the loop ------------------------------------------------------------------------------

    def run(self, engine: Engine) -> None:
        """Proposes and collects until the budget is spent or no network is left."""
        while True:
            while engine.num_free and len(self._running) < self.num_left and not self._exhausted:
                self._propose(engine)
            if not self._running:
                break
            for finished in engine.poll(_POLL_S):
                self._collect(finished)
            self._on_progress(self.progress(running=engine.progress()))
        message = "every network of the space has been tried" if self._exhausted else ""
        self._on_progress(self.progress(message))

    def _propose(self, engine: Engine) -> None:
        if self._num_stale >= _MAX_STALE and not self._enqueue_fresh():
            self._exhausted = True
            return
        trial = self._optuna.ask(self._distributions)
        choices = {
            dimension.address: json.loads(trial.params[dimension.address])
            for dimension in self._study.space.dimensions
        }
        data = apply_choices_or_base(self._study, choices)
        try:
            spec = self._spec(choices)
            check_image_size("study.input", self._study.input, spec.coarsest_stride)
        except BranchworkError as error:
            self._reject(trial, choices, None, str(error.problems[0]), data)
            return
        over = self._over_limits(spec)
        if over:
            self._reject(trial, choices, spec, over, data)
            return
        identity = spec_id(spec)
        if identity in self._tried:
            self._reuse(trial, choices, spec, self._tried[identity])
            return
        for running in self._running.values():
            if spec_id(running.spec) == identity:
                running.followers.append((trial, choices))
                self._num_stale += 1
                return
        latencies = self._measure_latency(engine, spec)
        over = self._over_latency(latencies)
        if over:
            self._reject(trial, choices, spec, over, data, latencies)
            return
        self._num_stale = 0
        self._start(engine, trial, choices, spec, latencies)

    def _spec(self, choices: dict[str, Any]) -> NetworkSpec:
        space = self._study.space
        indices = [d.choices.index(choices[d.address]) for d in space.dimensions]
        return space.spec(indices)

    def _enqueue_fresh(self) -> bool:
        """Proposes some network that was not tried, when the sampler keeps repeating itself."""
        space = self._study.space
        generator = random.Random(self._study.seed + len(self._records))  # noqa: S311
        if space.size <= _MAX_ENUMERATED:
            rows = list(space.rows())
            generator.shuffle(rows)
        else:
            rows = [
                tuple(generator.randrange(len(d.choices)) for d in space.dimensions)
                for _ in range(_MAX_DRAWS)
            ]
        busy = {spec_id(running.spec) for running in self._running.values()}
        for row in rows:
            try:
                spec = space.spec(row)
            except SpecError:
                continue
            fits = not spec_misfit(spec, self._study) and not self._over_limits(spec)
            if fits and spec_id(spec) not in self._tried and spec_id(spec) not in busy:
                self._optuna.enqueue_trial(
                    {
                        dimension.address: dimension.labels[index]
                        for dimension, index in zip(space.dimensions, row, strict=True)
                    }
                )
                self._num_stale = 0
                return True
        return False

    # -- the ways a trial can go ---------------------------------------------------------------

    def _over_limits(self, spec: NetworkSpec) -> str:
        cost = measure_cost(spec, self._study.input)
        for limit in self._study.limits:
            value = cost.conventions.get(limit.objective.name)
            if value is not None and value > limit.largest:
                return f"{limit.objective.name} {value:,} is over the limit {limit.largest:,.0f}"
        return ""

    def _over_latency(self, latencies: tuple[Latency, ...]) -> str:
        for limit in self._study.limits:
            for latency in latencies:
                over = latency.runtime == limit.objective.runtime
                if over and latency.p50_ms > limit.largest:
                    return (
                        f"{limit.objective.name} {latency.p50_ms:.2f} ms is over the limit "
                        f"{limit.largest:g} ms"
                    )
        return ""

    def _reject(  # noqa: PLR0913
        self,
        trial: optuna.Trial,
        choices: dict[str, Any],
        spec: NetworkSpec | None,
        reason: str,
        data: dict[str, Any],
        latencies: tuple[Latency, ...] = (),
    ) -> None:
        self._num_stale += 1
        record = Record(
            record_id=_record_id(trial.number, spec),
            study=self._study.name,
            status=Status.INFEASIBLE,
            network=spec_id(spec) if spec else "invalid",
            spec=spec_to_dict(spec) if spec else data,
            spec_id=spec_id(spec) if spec else "",
            task=self._study.task_name,
            num_outputs=self._study.task.num_outputs,
            input=self._study.input,
            cost=measure_cost(spec, self._study.input) if spec_fits(spec, self._study) else None,
            environment=current_environment(),
            latencies=latencies,
            trial=trial.number,
            choices=choices,
            reason=reason,
        )
        self._store.write(record)
        self._remember(record)
        self._tell(trial.number, record)

    def _reuse(
        self, trial: optuna.Trial, choices: dict[str, Any], spec: NetworkSpec, known: Record
    ) -> None:
        self._num_stale += 1
        self._copy(trial, choices, spec, known)

    def _copy(
        self, trial: optuna.Trial, choices: dict[str, Any], spec: NetworkSpec, known: Record
    ) -> Record:
        record = replace(
            known,
            record_id=_record_id(trial.number, spec),
            study=self._study.name,
            trial=trial.number,
            choices=choices,
            reused_from=known.reused_from or f"{known.study}/{known.record_id}",
            train_s=0.0,
        )
        self._store.write(record)
        self._remember(record)
        self._tell(trial.number, record)
        return record

    def _measure_latency(self, engine: Engine, spec: NetworkSpec) -> tuple[Latency, ...]:
        with engine.quiet() as verdict:
            return (measure_latency(spec, self._study.input, verdict=verdict),)

    def _start(
        self,
        engine: Engine,
        trial: optuna.Trial,
        choices: dict[str, Any],
        spec: NetworkSpec,
        latencies: tuple[Latency, ...],
    ) -> None:
        study = self._study
        if not study.needs_score:
            self._finish(trial, choices, spec, latencies, None)
            return
        known = self._store.find_score(
            spec_id(spec), self._protocol_id, str(study.input), study.seed
        )
        if known is not None:
            self._copy(trial, choices, spec, known)
            return
        self._running[trial.number] = _Running(
            trial=trial, spec=spec, choices=choices, latencies=latencies, followers=[]
        )
        engine.submit(
            trial.number,
            Job(
                spec=spec_to_dict(spec),
                task_name=study.task_name,
                task=study.task,
                data=study.data,
                input=study.input,
                schedule=study.schedule,
                seed=study.seed,
                checkpoint=self._checkpoint(spec),
                hardware=Hardware(),
            ),
        )

    def _collect(self, finished: Finished) -> None:
        running = self._running.pop(finished.key)
        record = self._finish(
            running.trial,
            running.choices,
            running.spec,
            running.latencies,
            finished.outcome,
            finished.reason,
        )
        for trial, choices in running.followers:
            self._copy(trial, choices, running.spec, record)
        shutil.rmtree(self._checkpoint(running.spec).parent, ignore_errors=True)
        if finished.is_user_error:
            # The next network would fail alike: say it once, and stop.
            raise StudyError(
                Problem(
                    where=f"trial {finished.key}",
                    rule="the data and settings serve every network",
                    got=finished.reason,
                    do=f"mend that, then 'branchwork search resume {self._study.name}'",
                )
            )

    def _finish(  # noqa: PLR0913
        self,
        trial: optuna.Trial,
        choices: dict[str, Any],
        spec: NetworkSpec,
        latencies: tuple[Latency, ...],
        outcome: Outcome | None,
        reason: str = "",
    ) -> Record:
        status = Status.TRAINED if outcome else Status.FAILED if reason else Status.PROFILED
        record = make_record(
            record_id=_record_id(trial.number, spec),
            study=self._study.name,
            status=status,
            network=spec_id(spec),
            spec=spec,
            task_name=self._study.task_name,
            size=self._study.input,
            outcome=outcome,
            latencies=latencies,
            trial=trial.number,
            choices=choices,
            reason=reason,
        )
        self._store.write(record)
        self._remember(record)
        self._tell(trial.number, record)
        failed = f"trial {trial.number} failed: {reason}" if reason else ""
        self._on_progress(self.progress(failed))
        return record

    def _tell(self, number: int, record: Record) -> None:
        values = [item.value(record) for item in self._study.objectives]
        if record.status is Status.INFEASIBLE:
            frozen = self._trial(number)
            optuna.trial.Trial(self._optuna, frozen._trial_id).set_constraint("limits", 1.0)  # noqa: SLF001
            self._optuna.tell(number, state=TrialState.PRUNED)
        elif record.status is Status.FAILED or any(value != value for value in values):  # noqa: PLR0124
            self._optuna.tell(number, state=TrialState.FAIL)
        else:
            self._optuna.tell(number, values)

    def _trial(self, number: int) -> FrozenTrial:
        return self._optuna.get_trials(deepcopy=False)[number]

    def _checkpoint(self, spec: NetworkSpec) -> Path:
        return self._folder / "checkpoints" / spec_id(spec) / "last.ckpt"


def apply_choices_or_base(study: Study, choices: dict[str, Any]) -> dict[str, Any]:
    """Returns the plain data that choices lead to, for the record of an impossible network."""
    base = spec_to_dict(study.space.base)
    try:
        return apply_choices(base, choices)
    except SpecError:
        return base


def spec_misfit(spec: NetworkSpec, study: Study) -> bool:
    """Tells whether the study's input size does not suit a network."""
    size, stride = study.input, spec.coarsest_stride
    return bool(size.height % stride or size.width % stride)


def spec_fits(spec: NetworkSpec | None, study: Study) -> bool:
    """Tells whether there is a network whose cost can be stated."""
    return spec is not None and not spec_misfit(spec, study)


def default_workers(study: Study) -> int:
    """Returns how many processes train at the same time: one a core unless the study says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return study.workers or max(1, min(cores or 1, study.trials))


def _record_id(trial: int, spec: NetworkSpec | None) -> str:
    return f"{trial:05d}-{spec_id(spec) if spec else 'invalid'}"


def _open_optuna(study: Study, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE)))
    directions = ["maximize" if o.maximise else "minimize" for o in study.objectives]
    with warnings.catch_warnings():
        # Optuna marks constant_liar as experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        opened = optuna.create_study(
            study_name=study.name,
            storage=storage,
            directions=directions,
            load_if_exists=True,
        )
        # A resumed sampler must not draw again what it drew first.
        opened.sampler = SAMPLERS[study.sampler](study.seed + len(opened.get_trials()))
    return opened
