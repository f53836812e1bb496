"""Latency of networks: how long a forward pass takes, under conditions that are all named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from analysis.handover import handover_slowdown
from analysis.other_load import usable_cores
from analysis.output_check import Difference, compare_outputs
from analysis.runtimes import RUNTIMES, Conditions, Prepared
from analysis.runtimes.node_names import longest_beginning
from analysis.timing import BRIEF, THOROUGH, Effort, Ratio, Turn, ratio, take_turns, warm
from analysis.verdicts import Circumstances
from blocks import BranchworkError, ImageSize, Problem
from networks import NetworkSpec, rewrite

__all__ = [
    "BRIEF",
    "RUNTIMES",
    "THOROUGH",
    "Latency",
    "Measured",
    "Measurements",
    "Subject",
    "measure_latencies",
    "measure_latency",
    "random_module",
]


_BOTH = 2
"""Cores of a machine that uses both: a host can move them apart."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one forward pass takes, with everything it depends on.

    What has a default was added later: older records do not say it.

    Attributes:
        runtime: What executed it.
        input: The image's size.
        batch: Images a pass.
        threads: Threads that the runtime may use.
        dtype: Number format of weights and activations.
        num_runs: Passes that were timed.
        p50_ms: Their median, in milliseconds.
        p90_ms: Their 90th percentile, in milliseconds.
        min_ms: The fastest, in milliseconds.
        verdict: ``quiet``, or what disturbed the measurement.
        rewritten: Whether the network was rewritten for deployment first.
        p99_ms: Their 99th percentile, in milliseconds.
        cv: Their standard deviation, divided by their mean.
        max_abs_diff: Largest difference of an output from that of eager float32.
        kernels: Operators that a pass executes, None where the runtime does not tell.
        version: Name and version of the runtime's package.
    """

    runtime: str
    input: ImageSize
    batch: int
    threads: int
    dtype: str
    num_runs: int
    p50_ms: float
    p90_ms: float
    min_ms: float
    verdict: str = "quiet"
    rewritten: bool = False
    p99_ms: float | None = None
    cv: float | None = None
    max_abs_diff: float | None = None
    kernels: int | None = None
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: a network, a runtime, and the conditions.

    Attributes:
        name: What people call the network.
        module: The network; it is left as it is.
        runtime: A name in ``RUNTIMES``.
        conditions: Image size, batch, threads, number format.
        rewritten: Whether it is rewritten for deployment first.
    """

    name: str
    module: nn.Module
    runtime: str
    conditions: Conditions
    rewritten: bool = False

    @property
    def label(self) -> str:
        """The subject in words, for messages."""
        asked = self.conditions
        return (
            f"{self.name}{' rewritten' if self.rewritten else ''} in {self.runtime}, "
            f"batch {asked.batch}, threads {asked.threads}, {asked.dtype}"
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found of one subject.

    Attributes:
        subject: The subject.
        latency: Its latency.
        is_right: Whether its outputs are those of the network.
        ratio: How many times as long as the first subject it takes, None where that is not known.
        layer_times_ms: Time by address of the network's modules; "" is what belongs to none.
            None where it was not asked for, or the runtime does not tell.
    """

    subject: Subject
    latency: Latency
    is_right: bool
    ratio: Ratio | None
    layer_times_ms: Mapping[str, float] | None


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What was found of several subjects that were measured in turns.

    Attributes:
        measured: Those that could be measured, in the order given.
        problems: Why others could not be.
        is_interrupted: Whether Ctrl-C ended it; what there was by then is kept.
    """

    measured: tuple[Measured, ...]
    problems: tuple[Problem, ...]
    is_interrupted: bool


def measure_latency(  # noqa: PLR0913 - its conditions
    spec: NetworkSpec,
    size: ImageSize,
    *,
    runtime: str = "eager",
    threads: int = 1,
    verdict: str = "quiet",
    effort: Effort = BRIEF,
) -> Latency:
    """Measures the latency of a network with random weights, batch 1, float32.

    Args:
        spec: The network.
        size: The image's size.
        runtime: A name in ``RUNTIMES``.
        threads: Threads that the runtime may use.
        verdict: What the caller knows of other load on the machine.
        effort: How long is measured.

    Raises:
        BranchworkError: If the runtime is not there, or cannot run the network.
    """
    subject = Subject(
        name="the network",
        module=random_module(spec),
        runtime=runtime,
        conditions=Conditions(size=size, threads=threads),
    )
    found = measure_latencies([subject], effort=effort, verdict=verdict)
    if found.is_interrupted:
        raise KeyboardInterrupt
    if found.problems:
        raise BranchworkError(found.problems)
    return found.measured[0].latency


def random_module(spec: NetworkSpec) -> nn.Module:
    """Returns a network with the random weights of seed 0, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return spec.build().eval()


def measure_latencies(
    subjects: Sequence[Subject],
    *,
    effort: Effort = THOROUGH,
    with_layers: bool = False,
    verdict: str = "quiet",
    on_progress: Callable[[float, str], None] = lambda _done, _text: None,
) -> Measurements:
    """Measures subjects beside each other: all are warmed, then take turns.

    Before a subject is timed, its outputs are compared with those that the network has in eager
    PyTorch and float32. One that cannot be measured is no reason not to measure the others.

    Args:
        subjects: What is measured; the first is what the others are compared with.
        effort: How long each is measured.
        with_layers: Whether to say where time goes, where a runtime tells.
        verdict: What the caller knows of other load on the machine.
        on_progress: Is told how many subjects' worth of work is done, out of twice their number,
            and what comes next.
    """
    bench = _Bench(effort, verdict, with_layers=with_layers)
    is_interrupted = False
    try:
        for index, subject in enumerate(subjects):
            on_progress(index, f"preparing {subject.label}")
            bench.admit(index, subject)
        for done in bench.turns():
            on_progress(len(subjects) * (1 + done), "measuring in turns")
        bench.observe()
    except KeyboardInterrupt:
        is_interrupted = True
    return bench.results(is_interrupted=is_interrupted)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A subject that is ready."""

    index: int
    subject: Subject
    prepared: Prepared
    difference: Difference
    circumstances: Circumstances


class _Bench:
    """Everything that is measured together."""

    def __init__(self, effort: Effort, known: str, *, with_layers: bool) -> None:
        self._effort = effort
        self._known = known
        self._with_layers = with_layers
        self._entries: list[_Entry] = []
        self._problems: dict[str, Problem] = {}
        self._turns: dict[int, list[Turn]] = {}
        self._kernels: dict[int, int | None] = {}
        self._layers: dict[int, Mapping[str, float] | None] = {}
        self._references: dict[tuple[nn.Module, ImageSize, int], tuple[Tensor, ...]] = {}
        self._rewritten: dict[tuple[nn.Module, ImageSize, int], nn.Module] = {}

    def admit(self, index: int, subject: Subject) -> None:
        """Prepares, checks and warms a subject, or notes why it cannot be measured."""
        try:
            self._entries.append(self._entry(index, subject))
        except BranchworkError as error:
            # A runtime that is not there is said once, however many networks wait for it.
            self._problems |= {str(problem): problem for problem in error.problems}
        except (MemoryError, RuntimeError) as error:
            (problem,) = RUNTIMES[subject.runtime].cannot_run(error).problems
            problem = replace(problem, where=subject.label)
            self._problems[str(problem)] = problem

    def turns(self) -> Iterator[float]:
        """Lets all subjects take their turns; yields the part that is done."""
        total = len(self._entries) * self._effort.num_rounds
        things = [entry.prepared for entry in self._entries]
        for count, turn in enumerate(take_turns(things, self._effort, self._probe()), start=1):
            self._turns.setdefault(turn.index, []).append(turn)
            yield count / total

    def _probe(self) -> Callable[[], float] | None:
        """Returns what tells whether two cores share a cache, if anything uses both."""
        uses_both = any(entry.circumstances.used_both_cores for entry in self._entries)
        return handover_slowdown if uses_both else None

    def observe(self) -> None:
        """Asks every runtime what it executed, now that nothing is timed any more."""
        for place, entry in enumerate(self._entries):
            self._kernels[place] = entry.prepared.num_kernels()
            if self._with_layers:
                times_ms = entry.prepared.layer_times_ms()
                self._layers[place] = times_ms and _by_module(times_ms, entry.subject.module)

    def results(self, *, is_interrupted: bool) -> Measurements:
        """Returns what is known by now."""
        base = self._base()
        return Measurements(
            measured=tuple(
                self._measured(place, entry, turns, base)
                for place, entry in enumerate(self._entries)
                if (turns := self._turns.get(place))
            ),
            problems=tuple(self._problems.values()),
            is_interrupted=is_interrupted,
        )

    def _entry(self, index: int, subject: Subject) -> _Entry:
        runtime = RUNTIMES[subject.runtime]
        # What cannot run here need not be rewritten first.
        runtime.check(subject.conditions)
        prepared = runtime.prepare(self._as_measured(subject), subject.conditions)
        difference = compare_outputs(
            prepared.outputs(), self._reference(subject), subject.conditions.dtype
        )
        is_settled = warm(prepared, self._effort.max_warm_s)
        return _Entry(
            index=index,
            subject=subject,
            prepared=prepared,
            difference=difference,
            circumstances=Circumstances(
                known=self._known,
                outputs=difference.objection,
                is_settled=is_settled,
                used_both_cores=runtime.uses_cores
                and subject.conditions.threads == len(usable_cores()) == _BOTH,
            ),
        )

    def _as_measured(self, subject: Subject) -> nn.Module:
        """Returns the network, rewritten once for all runtimes if that is asked for."""
        if not subject.rewritten:
            return subject.module
        asked = subject.conditions
        key = subject.module, asked.size, asked.batch
        if key not in self._rewritten:
            self._rewritten[key] = rewrite(subject.module, asked.size, batch=asked.batch)
        return self._rewritten[key]

    def _reference(self, subject: Subject) -> tuple[Tensor, ...]:
        """Returns what the network puts out in eager PyTorch, as it is written, in float32."""
        asked = subject.conditions
        key = subject.module, asked.size, asked.batch
        if key not in self._references:
            plain = replace(asked, dtype="float32")
            self._references[key] = RUNTIMES["eager"].prepare(subject.module, plain).outputs()
        return self._references[key]

    def _base(self) -> Sequence[Turn]:
        """Returns the turns of the first subject that was given, none if it was not measured."""
        is_there = bool(self._entries) and self._entries[0].index == 0
        return self._turns.get(0, ()) if is_there else ()

    def _measured(
        self, place: int, entry: _Entry, turns: Sequence[Turn], base: Sequence[Turn]
    ) -> Measured:
        times_ms = np.concatenate([turn.times_ms for turn in turns])
        p50_ms, p90_ms, p99_ms = (float(each) for each in np.percentile(times_ms, (50, 90, 99)))
        subject, asked = entry.subject, entry.subject.conditions
        return Measured(
            subject=subject,
            latency=Latency(
                runtime=subject.runtime,
                input=asked.size,
                batch=asked.batch,
                threads=asked.threads,
                dtype=asked.dtype,
                num_runs=len(times_ms),
                p50_ms=p50_ms,
                p90_ms=p90_ms,
                min_ms=float(times_ms.min()),
                verdict=entry.circumstances.verdict(turns, asked.threads, self._effort),
                rewritten=subject.rewritten,
                p99_ms=p99_ms,
                cv=float(times_ms.std() / times_ms.mean()),
                max_abs_diff=entry.difference.max_abs,
                kernels=self._kernels.get(place),
                version=RUNTIMES[subject.runtime].version,
            ),
            is_right=not entry.difference.objection,
            ratio=ratio(turns, base),
            layer_times_ms=self._layers.get(place),
        )


def _by_module(times_ms: Mapping[str, float], module: nn.Module) -> Mapping[str, float]:
    """Joins what a runtime timed to the addresses of the network's modules."""
    addresses = {name for name, _ in module.named_modules()}
    sums: dict[str, float] = {}
    for name, time_ms in times_ms.items():
        address = longest_beginning(name, addresses)
        sums[address] = sums.get(address, 0.0) + time_ms
    return sums
