"""The search: asks for networks, rules out, repeats or trains them, and keeps every record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analysis.cost import measure_cost
from analysis.latency import BRIEF, RUNTIMES, THOROUGH, Latency, measure_latency
from analysis.records import Record, Status
from analysis.store import RunStore
from blocks import BranchworkError, Problem, StudyError
from search.engine import Engine, Finished, reason_of
from search.feasible import MAX_ENUMERATED
from search.journal import Journal
from search.ledger import Ledger, Progress
from search.lock import study_lock
from search.predicting import StudyPredictions
from search.proposing import Proposal, Proposer, over_latency
from search.samplers import SAMPLERS
from search.stratifying import StratifiedDraws
from search.study import Study
from search.trial import Job, open_split, protocol_of
from training import Hardware

ENDED_FILE = "ended.txt"
"""Says why a search ended before it had tried as many networks as it should."""

_MAX_STALE = 5
_POLL_S = 0.5


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
        StudyError: If the study is being searched by another process, if it is not the one that
            was started, if none of its networks fits, or if its data are unusable.
        DataError: If its data cannot be read.
        KeyboardInterrupt: After Ctrl-C, when everything is put away.
    """
    folder = store.study_folder(study.name)
    with study_lock(folder):
        ledger = Ledger(study, store)
        if not ledger.num_left:
            on_progress(ledger.progress())
            return
        search = _Search(study, ledger, folder, on_progress)
        engine = make_engine()
        try:
            search.run(engine)
        finally:
            engine.stop()


def default_workers(study: Study) -> int:
    """Returns how many processes train at the same time: one a core unless the study says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return study.workers or max(1, min(cores or 1, study.trials))


def _check_runtimes(study: Study) -> None:
    """Checks that what latencies are measured in is here, before any network is tried."""
    missing = [problem for name in study.runtimes if (problem := RUNTIMES[name].missing())]
    if missing:
        raise StudyError(missing)


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A network in training, and the trials that proposed the same one meanwhile."""

    proposal: Proposal
    latencies: tuple[Latency, ...]
    followers: list[Proposal] = field(default_factory=list)


class _Search:
    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        folder: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._study = study
        self._ledger = ledger
        self._folder = folder
        self._on_progress = on_progress
        _check_runtimes(study)
        self._predictions = StudyPredictions(study.calibrations, study.input)
        self._proposer = Proposer(study)
        self._proposer.check_any_fits()
        self._protocol_id = self._open_data() if study.needs_score else ""
        self._journal = Journal(study, folder, ledger.by_trial)
        self._draws = StratifiedDraws(study, self._proposer) if study.strata else None
        self._running: dict[int, _Running] = {}
        self._num_stale = 0
        self._end = ""
        self._tidy()

    def _tidy(self) -> None:
        """Removes what an earlier process had no time to remove."""
        (self._folder / ENDED_FILE).unlink(missing_ok=True)
        for checkpoint in (self._folder / "checkpoints").glob("*"):
            if self._ledger.known(checkpoint.name.partition("-")[0]):
                shutil.rmtree(checkpoint, ignore_errors=True)

    def run(self, engine: Engine) -> None:
        """Proposes and collects until the budget is spent or no network is left."""
        while True:
            self._fill(engine)
            if not self._running:
                break
            # What ended well is kept before an error of the user's ends the search.
            for finished in sorted(engine.poll(_POLL_S), key=lambda each: each.is_user_error):
                self._collect(finished)
            self._on_progress(self._ledger.progress(running=engine.progress()))
        if self._ledger.num_left:
            (self._folder / ENDED_FILE).write_text(f"{self._end}\n", encoding="utf-8")
        self._on_progress(self._ledger.progress(self._end))

    def _open_data(self) -> str:
        """Opens the data once, so that a wrong folder is one clear line and not many trials."""
        study = self._study
        splits = [open_split(study.task, study.data, s, study.input) for s in ("train", "val")]
        protocol = protocol_of(study.task_name, study.task, study.schedule, splits[0], splits[1])
        self._ledger.check_protocol(protocol.protocol_id)
        skipped = [name for split in splits for name in split.skipped]
        if skipped:
            shown = "; ".join(skipped[:3])
            message = f"skipped {len(skipped)} unreadable images: {shown}"
            self._on_progress(self._ledger.progress(message))
        return protocol.protocol_id

    def _fill(self, engine: Engine) -> None:
        """Finds a network for every free worker, and only then lets them begin.

        Latencies are measured while networks are found: what begins later disturbs none of them.
        """
        ready: list[Proposal] = []
        while (
            len(ready) < engine.num_free
            and len(self._running) < self._ledger.num_left
            and not self._end
        ):
            proposal = self._propose(engine)
            if proposal is not None:
                ready.append(proposal)
        for proposal in ready:
            engine.submit(proposal.number, self._job(proposal))

    def _propose(self, engine: Engine) -> Proposal | None:
        """Takes one proposal as far as it goes without training; returns it if it is to train."""
        if self._num_stale >= _MAX_STALE and not self._enqueue_fresh():
            return None
        self._enqueue_stratified()
        asked = self._journal.ask()
        proposal = self._proposer.proposal(asked.number, asked.choices)
        self._num_stale += 1
        if proposal.misfit:
            self._told(self._ledger.rule_out(proposal, proposal.misfit))
            return None
        known = self._ledger.known(proposal.spec_id)
        if known is not None:
            self._told(self._ledger.repeat(proposal, known))
            return None
        for running in self._running.values():
            if running.proposal.spec_id == proposal.spec_id:
                running.followers.append(proposal)
                return None
        return self._begin(engine, proposal)

    def _begin(self, engine: Engine, proposal: Proposal) -> Proposal | None:
        """Builds a network that is new to the study and measures its latency."""
        assert proposal.spec is not None
        predicted = self._predictions.latencies(proposal.spec)
        over = over_latency(self._study, predicted)
        if over:
            self._told(self._ledger.rule_out(proposal, over, predicted))
            return None
        try:
            latencies = (*predicted, *self._measure_latency(engine, proposal))
        except (MemoryError, RuntimeError, BranchworkError) as error:
            self._told(self._ledger.finish(proposal, (), reason=reason_of(error)))
            return None
        over = over_latency(self._study, latencies)
        if over:
            self._told(self._ledger.rule_out(proposal, over, latencies))
            return None
        self._num_stale = 0
        if not self._study.needs_score:
            self._told(self._ledger.finish(proposal, latencies))
            return None
        scored = self._ledger.score_of_another_study(proposal, self._protocol_id, latencies)
        if scored is not None:
            self._told(scored)
            return None
        self._running[proposal.number] = _Running(proposal=proposal, latencies=latencies)
        return proposal

    def _measure_latency(self, engine: Engine, proposal: Proposal) -> tuple[Latency, ...]:
        assert proposal.spec is not None
        with engine.quiet() as verdict:
            return tuple(
                measure_latency(
                    proposal.spec,
                    self._study.input,
                    runtime=runtime,
                    verdict=verdict,
                    effort=THOROUGH if self._study.compared_runtimes else BRIEF,
                )
                for runtime in self._study.runtimes
            )

    def _enqueue_stratified(self) -> None:
        """Proposes a network of the study's strata where the sampler would draw at random."""
        num_random = SAMPLERS[self._study.sampler].num_random
        num_begun = len(self._ledger.tried) + len(self._running)
        is_random = num_random is None or num_begun < num_random
        if self._draws is None or not is_random or self._journal.has_waiting:
            return
        row = self._draws.draw(self._costs_begun(), self._is_known)
        if row is not None:
            self._journal.enqueue(row)

    def _costs_begun(self) -> Iterator[int]:
        assert self._study.strata is not None
        by = self._study.strata.by
        for record in self._ledger.tried:
            if record.cost is not None:
                yield record.cost.conventions[by]
        for running in self._running.values():
            assert running.proposal.spec is not None
            yield measure_cost(running.proposal.spec, self._study.input).conventions[by]

    def _is_known(self, spec_id: str) -> bool:
        """Whether a network was tried, is in training or has been ruled out by its latency."""
        return self._ledger.known(spec_id) is not None or any(
            running.proposal.spec_id == spec_id for running in self._running.values()
        )

    def _enqueue_fresh(self) -> bool:
        """Proposes some network that was not tried, when the sampler keeps repeating itself."""
        row = self._proposer.fresh(self._is_known, self._study.seed + len(self._ledger.by_trial))
        if row is None:
            found_all = self._study.space.size <= MAX_ENUMERATED
            self._end = (
                "every network of the space that fits has been tried"
                if found_all
                else "no other network that fits was found among many drawn from the space"
            )
            return False
        self._journal.enqueue(row)
        self._num_stale = 0
        return True

    def _collect(self, finished: Finished) -> None:
        if finished.is_user_error:
            # The next network would fail alike: say it once, and leave this one to be resumed.
            raise StudyError(
                Problem(
                    where=f"trial {finished.key}",
                    rule="the data and settings serve every network",
                    got=finished.reason,
                    do=f"mend that, then 'branchwork search resume {self._study.name}'",
                )
            )
        running = self._running.pop(finished.key)
        record = self._ledger.finish(
            running.proposal, running.latencies, finished.outcome, finished.reason
        )
        self._told(record)
        for follower in running.followers:
            self._told(self._ledger.repeat(follower, record))
        shutil.rmtree(self._checkpoint(running.proposal).parent, ignore_errors=True)

    def _told(self, record: Record) -> None:
        self._journal.tell(record)
        failed = record.reason if record.status is Status.FAILED and not record.reused_from else ""
        message = f"trial {record.trial} failed: {failed}" if failed else ""
        self._on_progress(self._ledger.progress(message))

    def _job(self, proposal: Proposal) -> Job:
        study = self._study
        return Job(
            spec=proposal.data,
            task_name=study.task_name,
            task=study.task,
            data=study.data,
            input=study.input,
            schedule=study.schedule,
            seed=study.seed,
            checkpoint=self._checkpoint(proposal),
            hardware=Hardware(),
        )

    def _checkpoint(self, proposal: Proposal) -> Path:
        name = f"{proposal.spec_id}-{self._protocol_id}"
        return self._folder / "checkpoints" / name / "last.ckpt"
