"""Which records may be compared: one protocol, one input size, one set of latency conditions.

Every table and chart that ranks networks goes through here, so that no two scores or latencies
that do not compare can meet in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.latency import Latency
from analysis.objectives import latency_name
from analysis.records import Protocol, Record, Score
from blocks import BranchworkError, ImageSize, Problem


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """Scored records that may be compared: equal protocol, equal input size.

    Attributes:
        protocol: What their scores were made under.
        protocol_id: Its id.
        metric: The headline metric.
        input: The image's size.
        records: The records, in the order given.
    """

    protocol: Protocol
    protocol_id: str
    metric: str
    input: ImageSize
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """One line for a chart or a menu."""
        where = f"{self.protocol.task} at {self.input}"
        return f"{self.metric} on {where} (protocol {self.protocol_id})"


def protocols(records: Sequence[Record]) -> tuple[Comparable, ...]:
    """Groups scored records into those that may be compared, the largest group first."""
    groups: dict[tuple[str, str, str], list[tuple[Record, Score]]] = {}
    for record in records:
        if record.score is not None:
            key = (record.score.protocol_id, str(record.input), record.score.metric)
            groups.setdefault(key, []).append((record, record.score))
    ordered = sorted(groups.values(), key=len, reverse=True)
    return tuple(
        Comparable(
            protocol=scored[0][1].protocol,
            protocol_id=scored[0][1].protocol_id,
            metric=scored[0][1].metric,
            input=scored[0][0].input,
            records=tuple(record for record, _ in scored),
        )
        for scored in ordered
    )


def originals(records: Sequence[Record]) -> tuple[Record, ...]:
    """Returns the records that repeat none of the others: each trained network once a seed."""
    known = {record.reference for record in records}
    return tuple(record for record in records if record.reused_from not in known)


def require_one_protocol(records: Sequence[Record]) -> Comparable:
    """Returns the scored ones among records, all of which may be compared.

    Raises:
        BranchworkError: If there is no score, or if protocols or input sizes differ.
    """
    groups = protocols(records)
    if len(groups) == 1:
        return groups[0]
    raise BranchworkError(
        Problem(
            where="records",
            rule="scores are compared only under one protocol and at one input size",
            got="; ".join(group.label for group in groups) if groups else "no scores",
            do="choose one of them" if groups else "train some networks first",
        )
    )


@dataclass(frozen=True, order=True, kw_only=True)
class LatencyConditions:
    """Everything that a latency depends on but the network and its input size.

    Attributes:
        runtime: What executed the network.
        threads: Threads that it might use.
        batch: Images a pass.
        dtype: Number format.
        machine: The processor that it ran on.
    """

    runtime: str
    threads: int
    batch: int
    dtype: str
    machine: str

    @property
    def objective(self) -> str:
        """All but the machine, as an objective's name: ``latency.eager.t1.b1.float32``."""
        return f"{latency_name(self.runtime)}.t{self.threads}.b{self.batch}.{self.dtype}"

    @property
    def label(self) -> str:
        """The conditions in words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.runtime}, {threads}, batch {self.batch}, {self.dtype}, on {self.machine}"

    def fits(self, objective: str) -> bool:
        """Tells whether an objective such as ``latency.eager`` speaks of these conditions."""
        return objective in (self.objective, latency_name(self.runtime))


def conditions_of(record: Record, latency: Latency) -> LatencyConditions:
    """Returns the conditions of one of a record's latencies."""
    machine = record.environment.cpu
    if record.environment.accelerator and "cuda" in latency.runtime:
        machine = record.environment.accelerator
    return LatencyConditions(
        runtime=latency.runtime,
        threads=latency.threads,
        batch=latency.batch,
        dtype=latency.dtype,
        machine=machine,
    )


def latency_conditions(records: Sequence[Record]) -> tuple[LatencyConditions, ...]:
    """Returns all conditions under which latencies of the records were measured, in order."""
    return tuple(
        sorted({conditions_of(record, each) for record in records for each in record.latencies})
    )


def latency_under(record: Record, conditions: LatencyConditions) -> Latency | None:
    """Returns a record's latency under some conditions, None if it was not measured."""
    return next(
        (each for each in record.latencies if conditions_of(record, each) == conditions), None
    )


def require_one_conditions(records: Sequence[Record], objective: str) -> LatencyConditions:
    """Returns the conditions that a latency objective speaks of.

    Args:
        records: The records to be compared.
        objective: ``latency.RUNTIME``, or a whole ``LatencyConditions.objective``.

    Raises:
        BranchworkError: If there are none, or more than one.
    """
    fitting = [each for each in latency_conditions(records) if each.fits(objective)]
    if len(fitting) == 1:
        return fitting[0]
    known = sorted({each.objective for each in latency_conditions(records)})
    advice = f"choose among {', '.join(known)}, of one machine" if known else "measure some first"
    raise BranchworkError(
        Problem(
            where=objective,
            rule="latencies are compared only under one set of conditions",
            got="; ".join(each.label for each in fitting) if fitting else "no such latency",
            do=advice,
        )
    )


def require_one_input(records: Sequence[Record]) -> ImageSize:
    """Returns the input size that all records share.

    Raises:
        BranchworkError: If there is none, or more than one.
    """
    sizes = sorted({str(record.input) for record in records})
    if len(sizes) == 1:
        return ImageSize.parse(sizes[0])
    raise BranchworkError(
        Problem(
            where="records",
            rule="networks are compared only at one input size",
            got=", ".join(sizes) or "no records",
            do="choose the records of one input size",
        )
    )
