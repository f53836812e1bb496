"""A rank study: the same networks on a short and a long schedule, to see if the short one ranks.

A search trusts a short schedule to order networks as a long one would. This trains them on both
and keeps one record a run; ``search.rank_results`` says how well the two orders agree.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.image_results_store import ImageResultsStore
from analysis.records import Record, Status
from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, Problem, StudyError, check_image_size
from networks import NetworkSpec, spec_id, spec_to_dict
from search.engine import Engine, Finished
from search.lock import study_lock
from search.trial import Job, make_record, open_split, protocol_of
from tasks import Task
from training import Hardware, Schedule

_POLL_S = 0.5
_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A network of a rank study.

    Attributes:
        name: What to call it.
        spec: The network, with the task's number of outputs.
        choices: The choices that led to it, where it was drawn from a space.
    """

    name: str
    spec: NetworkSpec
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RankStudy:
    """What is trained.

    Attributes:
        name: The study's name in the run store.
        networks: The networks, all different.
        task_name: The task's registered name.
        task: The task with its options.
        data: The data folder, None for a task that brings its own.
        input: The input size.
        short: The schedule whose order is judged.
        long: The schedule whose order it is judged by.
        seeds: Seeds of the trainings; each network is trained with each.
    """

    name: str
    networks: tuple[Entrant, ...]
    task_name: str
    task: Task
    data: Path | None
    input: ImageSize
    short: Schedule
    long: Schedule
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks that the networks can be trained and ranked.

        Raises:
            StudyError: With everything that is wrong.
        """
        problems = [*_seed_problems(self), *_network_problems(self)]
        if problems:
            raise StudyError(problems)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of a rank study.

    Attributes:
        entrant: The network.
        schedule: How it is trained.
        seed: The seed of everything random.
        record_id: The name of its record.
        protocol_id: What its score will be comparable under.
    """

    entrant: Entrant
    schedule: Schedule
    seed: int
    record_id: str
    protocol_id: str


@dataclass(frozen=True, kw_only=True)
class RankProgress:
    """How far a rank study is.

    Attributes:
        num_done: Runs that ended.
        num_runs: Runs in all.
        num_failed: Runs that failed.
        running: Part done of every run under way, by its name.
        message: What just happened, "" if nothing did.
    """

    num_done: int
    num_runs: int
    num_failed: int
    running: dict[str, float]
    message: str = ""


def run_rank_study(
    study: RankStudy,
    store: RunStore,
    make_engine: Callable[[], Engine],
    on_progress: Callable[[RankProgress], None] = lambda _: None,
) -> None:
    """Trains all networks on both schedules; what was trained before is not trained again.

    A run's record is written as soon as it ended. After an interruption the same call goes on;
    what was in training goes on from its checkpoint.

    Args:
        study: The study.
        store: Where records go.
        make_engine: Makes what trains.
        on_progress: Is told what happens.

    Raises:
        StudyError: If the study is being run by another process, or if the data or settings
            serve no network.
        DataError: If the data cannot be read.
    """
    with study_lock(_made(store.study_folder(study.name))):
        trainer = _Trainer(study, store, on_progress)
        if not trainer.waiting:
            trainer.report()
            return
        engine = make_engine()
        try:
            trainer.train(engine)
        finally:
            engine.stop()


def runs_of(study: RankStudy) -> tuple[Run, ...]:
    """Returns all runs of a study: by seed, then by network, the short one before the long one.

    Raises:
        DataError: If the data cannot be read.
        StudyError: If the long schedule is no longer than the short one.
    """
    splits = [open_split(study.task, study.data, s, study.input) for s in ("train", "val")]
    schedules = [each.resolved(len(splits[0])) for each in (study.short, study.long)]
    _check_lengths(*schedules)
    protocol_ids = {
        schedule: protocol_of(study.task_name, study.task, schedule, *splits).protocol_id
        for schedule in schedules
    }
    return tuple(
        Run(
            entrant=entrant,
            schedule=schedule,
            seed=seed,
            record_id=f"{spec_id(entrant.spec)}-{protocol_id}-{study.input}-seed{seed}",
            protocol_id=protocol_id,
        )
        for seed in study.seeds
        for entrant in study.networks
        for schedule, protocol_id in protocol_ids.items()
    )


class _Trainer:
    def __init__(
        self, study: RankStudy, store: RunStore, on_progress: Callable[[RankProgress], None]
    ) -> None:
        self._study = study
        self._store = store
        self._on_progress = on_progress
        self._runs = runs_of(study)
        self._records = {record.record_id: record for record in store.load(study.name).records}
        self._training: dict[int, Run] = {}
        for run in self._left():
            self._take_over(run)
        self.waiting = dict(enumerate(self._left()))

    def train(self, engine: Engine) -> None:
        """Trains what is left."""
        while self.waiting or self._training:
            while self.waiting and engine.num_free:
                key = min(self.waiting)
                self._training[key] = self.waiting.pop(key)
                engine.submit(key, self._job(self._training[key]))
            # What ended well is kept before an error of the user's ends the study.
            for finished in sorted(engine.poll(_POLL_S), key=lambda each: each.is_user_error):
                self._collect(finished)
            self.report(engine.progress())

    def report(self, parts: dict[int, float] | None = None, message: str = "") -> None:
        """Says how far the study is."""
        own = [self._records.get(run.record_id) for run in self._runs]
        self._on_progress(
            RankProgress(
                num_done=sum(record is not None for record in own),
                num_runs=len(self._runs),
                num_failed=sum(r is not None and r.status is Status.FAILED for r in own),
                running={
                    f"{self._training[key].entrant.name}, "
                    f"{self._training[key].schedule.steps} steps": part
                    for key, part in (parts or {}).items()
                    if key in self._training
                },
                message=message,
            )
        )

    def _left(self) -> Iterator[Run]:
        return (run for run in self._runs if run.record_id not in self._records)

    def _take_over(self, run: Run) -> None:
        """Writes the record of a run whose training another study of the store has."""
        size = str(self._study.input)
        known = self._store.find_score(spec_id(run.entrant.spec), run.protocol_id, size, run.seed)
        if known is not None:
            own = self._record(run, Status.TRAINED)
            self._write(
                replace(
                    own,
                    score=known.score,
                    curve=known.curve,
                    reused_from=known.reference,
                    num_skipped_images=known.num_skipped_images,
                )
            )

    def _collect(self, finished: Finished) -> None:
        if finished.is_user_error:
            raise StudyError(
                Problem(
                    where=self._training[finished.key].entrant.name,
                    rule="the data and settings serve every network",
                    got=finished.reason,
                    do="mend that, then give the same command again: what is done is kept",
                )
            )
        run = self._training.pop(finished.key)
        outcome = finished.outcome
        if outcome is None:
            self._write(replace(self._record(run, Status.FAILED), reason=finished.reason))
            self.report(message=f"{run.entrant.name} failed: {finished.reason}")
        else:
            # Before the record: a killed process leaves no record without them.
            kept = ImageResultsStore(self._store)
            kept.write(self._study.name, run.record_id, outcome.results.arrays())
            self._write(
                replace(
                    self._record(run, Status.TRAINED),
                    score=outcome.score,
                    curve=outcome.curve,
                    train_s=outcome.elapsed_s,
                    num_skipped_images=outcome.num_skipped_images,
                )
            )
        shutil.rmtree(self._checkpoint(run).parent, ignore_errors=True)

    def _record(self, run: Run, status: Status) -> Record:
        return make_record(
            record_id=run.record_id,
            study=self._study.name,
            status=status,
            network=run.entrant.name,
            spec=run.entrant.spec,
            task_name=self._study.task_name,
            size=self._study.input,
            choices=run.entrant.choices,
        )

    def _write(self, record: Record) -> None:
        self._store.write(record)
        self._records[record.record_id] = record

    def _job(self, run: Run) -> Job:
        study = self._study
        return Job(
            spec=spec_to_dict(run.entrant.spec),
            task_name=study.task_name,
            task=study.task,
            data=study.data,
            input=study.input,
            schedule=run.schedule,
            seed=run.seed,
            checkpoint=self._checkpoint(run),
            hardware=Hardware(),
        )

    def _checkpoint(self, run: Run) -> Path:
        folder = self._store.study_folder(self._study.name)
        return folder / "checkpoints" / run.record_id / "last.ckpt"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_lengths(short: Schedule, long: Schedule) -> None:
    if short.steps * short.batch < long.steps * long.batch:
        return
    raise StudyError(
        Problem(
            where="--long",
            rule="the long schedule sees more samples than the short one",
            got=f"{long.steps} steps of {long.batch} against {short.steps} of {short.batch}",
            do="write --long short,steps=2000, for example",
        )
    )


def _seed_problems(study: RankStudy) -> list[Problem]:
    if study.seeds and len(set(study.seeds)) == len(study.seeds):
        return []
    return [
        Problem(
            where="--seed",
            rule="there is at least one seed, and no seed twice",
            got=", ".join(map(str, study.seeds)) or "none",
            do="write --seed 0 --seed 1, for example",
        )
    ]


def _network_problems(study: RankStudy) -> list[Problem]:
    problems = []
    if len(study.networks) < _LEAST:
        problems.append(
            Problem(
                where="NETWORK...",
                rule="an order needs two networks, and says little below ten",
                got=str(len(study.networks)),
                do="name more networks, or draw some: --random 8 --space STUDY.toml",
            )
        )
    named: dict[str, str] = {}
    for entrant in study.networks:
        identity = spec_id(entrant.spec)
        if identity in named:
            problems.append(
                Problem(
                    where=entrant.name,
                    rule="every network is another one",
                    got=f"the same network as {named[identity]}",
                    do="leave one of them out",
                )
            )
        named[identity] = entrant.name
        try:
            check_image_size(f"{entrant.name}: input", study.input, entrant.spec.coarsest_stride)
        except BranchworkError as error:
            problems += error.problems
        if study.task.stride not in {None, entrant.spec.output_stride}:
            problems.append(
                Problem(
                    where=f"{entrant.name}: head",
                    rule=f"the task's targets have stride {study.task.stride}",
                    got=f"a network with output stride {entrant.spec.output_stride}",
                    do="leave it out, or choose a stem or head that gives that stride",
                )
            )
    return problems
