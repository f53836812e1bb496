"""The ledger of a search: its records, what they rule out, and how far they bring it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from analysis.environment import current_environment
from analysis.image_results_store import ImageResultsStore
from analysis.latency import Latency
from analysis.records import Record, Status
from analysis.store import RunStore
from blocks import Problem, StudyError
from search.proposing import Proposal, over_latency
from search.study import Study
from search.trial import Outcome, make_record


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a search is.

    Attributes:
        num_done: Networks tried (trained, or profiled where nothing is trained, or failed).
        num_trials: Networks to try.
        num_infeasible: Networks over the limits, and choices that do not fit together.
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


class Ledger:
    """Keeps the records of one study, each on disk before anything else is done with it.

    Args:
        study: The study.
        store: Where its records are.
    """

    def __init__(self, study: Study, store: RunStore) -> None:
        self._study = study
        self._store = store
        self._by_trial: dict[int, Record] = {}
        self._tried: dict[str, Record] = {}
        self._ruled_out: dict[str, Record] = {}
        for record in store.load(study.name).records:
            self._remember(record)

    @property
    def by_trial(self) -> Mapping[int, Record]:
        """The records by trial."""
        return self._by_trial

    @property
    def num_left(self) -> int:
        """Networks still to be tried."""
        return max(0, self._study.trials - len(self._tried))

    @property
    def tried(self) -> Collection[Record]:
        """One record of every network that was tried."""
        return self._tried.values()

    def known(self, spec_id: str) -> Record | None:
        """Returns the first record of a network that was tried, or whose latency is too high."""
        if spec_id in self._tried:
            return self._tried[spec_id]
        record = self._ruled_out.get(spec_id)
        return record if record and over_latency(self._study, record.latencies) else None

    def check_protocol(self, protocol_id: str) -> None:
        """Checks that new scores will be comparable with those that the study has.

        Raises:
            StudyError: If they stand under another protocol.
        """
        for record in self._by_trial.values():
            if record.score is not None and record.score.protocol_id != protocol_id:
                raise StudyError(
                    Problem(
                        where=self._study.name,
                        rule="all scores of a study stand under one protocol",
                        got=f"protocol {protocol_id} where {record.record_id} has "
                        f"{record.score.protocol_id}: other data, or another version of the task",
                        do="name the data that the study began with, or start a new study",
                    )
                )

    def progress(self, message: str = "", running: dict[int, float] | None = None) -> Progress:
        """Returns how far the search is."""
        records = self._by_trial.values()
        own = [record for record in records if not record.reused_from]
        first = self._study.objectives[0]
        valued = [
            (value if first.maximise else -value, -number)
            for number, record in self._by_trial.items()
            if record.status in {Status.TRAINED, Status.PROFILED}
            and (value := first.value(record)) == value
        ]
        return Progress(
            num_done=len(self._tried),
            num_trials=self._study.trials,
            num_infeasible=sum(r.status is Status.INFEASIBLE for r in own),
            num_reused=len(records) - len(own),
            num_failed=sum(r.status is Status.FAILED for r in own),
            running=running or {},
            best=self._by_trial[-max(valued)[1]] if valued else None,
            message=message,
        )

    def rule_out(
        self, proposal: Proposal, reason: str, latencies: tuple[Latency, ...] = ()
    ) -> Record:
        """Writes the record of a network that is over the limits, or of none at all."""
        known = self._ruled_out.get(proposal.spec_id)
        if known is not None and known.reason == reason:
            return self.repeat(proposal, known)
        if proposal.spec is not None and proposal.has_cost:
            return self._write(
                self._record(proposal, Status.INFEASIBLE, reason=reason, latencies=latencies)
            )
        return self._write(
            Record(
                record_id=_record_id(proposal),
                study=self._study.name,
                status=Status.INFEASIBLE,
                network=proposal.spec_id or "invalid",
                spec=proposal.data,
                spec_id=proposal.spec_id,
                task=self._study.task_name,
                num_outputs=self._study.task.num_outputs,
                input=self._study.input,
                cost=None,
                environment=current_environment(),
                trial=proposal.number,
                choices=proposal.choices,
                reason=reason,
            )
        )

    def repeat(self, proposal: Proposal, known: Record) -> Record:
        """Writes the record of a network that this study has tried or ruled out before."""
        return self._write(
            replace(
                known,
                record_id=_record_id(proposal),
                trial=proposal.number,
                choices=proposal.choices,
                reused_from=known.reference,
                created=_now(),
                train_s=0.0,
            )
        )

    def score_of_another_study(
        self, proposal: Proposal, protocol_id: str, latencies: tuple[Latency, ...]
    ) -> Record | None:
        """Writes the record of a network that was trained elsewhere in the store, if there is one.

        Score and learning curve are taken over; cost and latencies are this machine's.
        """
        study = self._study
        known = self._store.find_score(proposal.spec_id, protocol_id, str(study.input), study.seed)
        if known is None:
            return None
        own = self._record(proposal, Status.TRAINED, latencies=latencies)
        return self._write(
            replace(
                own,
                score=known.score,
                curve=known.curve,
                reused_from=known.reference,
                num_skipped_images=known.num_skipped_images,
            )
        )

    def finish(
        self,
        proposal: Proposal,
        latencies: tuple[Latency, ...],
        outcome: Outcome | None = None,
        reason: str = "",
    ) -> Record:
        """Writes the record of a network that was trained, that failed, or that was profiled."""
        status = Status.TRAINED if outcome else Status.FAILED if reason else Status.PROFILED
        if outcome:
            # Before the record: a killed process leaves no record without them.
            kept = ImageResultsStore(self._store)
            kept.write(self._study.name, _record_id(proposal), outcome.results.arrays())
        return self._write(
            self._record(proposal, status, outcome=outcome, reason=reason, latencies=latencies)
        )

    def _record(
        self,
        proposal: Proposal,
        status: Status,
        *,
        outcome: Outcome | None = None,
        reason: str = "",
        latencies: tuple[Latency, ...] = (),
    ) -> Record:
        assert proposal.spec is not None
        return make_record(
            record_id=_record_id(proposal),
            study=self._study.name,
            status=status,
            network=proposal.spec_id,
            spec=proposal.spec,
            task_name=self._study.task_name,
            size=self._study.input,
            outcome=outcome,
            latencies=latencies,
            trial=proposal.number,
            choices=proposal.choices,
            reason=reason,
        )

    def _write(self, record: Record) -> Record:
        self._store.write(record)
        self._remember(record)
        return record

    def _remember(self, record: Record) -> None:
        if record.trial is not None:
            self._by_trial[record.trial] = record
        if record.status is not Status.INFEASIBLE:
            self._tried.setdefault(record.spec_id, record)
        elif record.spec_id:
            self._ruled_out[record.spec_id] = record


def _record_id(proposal: Proposal) -> str:
    return f"{proposal.number:05d}-{proposal.spec_id or 'invalid'}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
