"""From choices to a network that may be tried, judged in closed form before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.cost import measure_cost
from analysis.latency import Latency
from blocks import BranchworkError, Problem, SpecError, StudyError, check_image_size
from networks import NetworkSpec, apply_choices, spec_id, spec_to_dict
from search.feasible import MAX_ENUMERATED, feasible_rows
from search.study import Study

_NUM_LOOKED_AT = 2_000
"""So many rows of a space that is too large to be looked through."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial before it begins.

    Attributes:
        number: The trial's number.
        choices: The study's choices, by address.
        data: What the choices lead to, as plain data.
        spec: The network, None if the choices do not fit together.
        spec_id: Its id, "" without a network.
        has_cost: Whether its cost can be stated.
        misfit: Why it cannot be tried, "" if it can.
    """

    number: int
    choices: dict[str, Any]
    data: dict[str, Any]
    spec: NetworkSpec | None
    spec_id: str
    has_cost: bool
    misfit: str


class Proposer:
    """Judges networks against a study's input size, task and limits.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._base = spec_to_dict(study.space.base)
        self._verdicts: dict[str, tuple[bool, str]] = {}

    def proposal(self, number: int, choices: Mapping[str, Any]) -> Proposal:
        """Returns what choices propose."""
        try:
            spec = self._study.space.spec(self._study.row(choices))
        except SpecError as error:
            return Proposal(
                number=number,
                choices=dict(choices),
                data=self._data(choices),
                spec=None,
                spec_id="",
                has_cost=False,
                misfit=str(error.problems[0]),
            )
        has_cost, misfit = self._judge(spec)
        return Proposal(
            number=number,
            choices=dict(choices),
            data=spec_to_dict(spec),
            spec=spec,
            spec_id=spec_id(spec),
            has_cost=has_cost,
            misfit=misfit,
        )

    def fresh(self, is_known: Callable[[str], bool], seed: int) -> tuple[int, ...] | None:
        """Returns a row that leads to a network that fits and is not known, None if none is found.

        Args:
            is_known: Tells whether a network of some ``spec_id`` is known.
            seed: Seed of the order in which rows are looked at.
        """
        for row in self._rows(seed):
            try:
                spec = self._study.space.spec(row)
            except SpecError:
                continue
            if not is_known(spec_id(spec)) and self.fits(spec):
                return row
        return None

    def fits(self, spec: NetworkSpec) -> bool:
        """Tells whether a network suits the input size and the task, and keeps to the limits."""
        return not self._judge(spec)[1]

    def check_any_fits(self) -> None:
        """Checks that the space holds a network that may be tried at all.

        Raises:
            StudyError: If none was found; the first row's misfit is told.
        """
        if self.fresh(lambda _: False, self._study.seed) is not None:
            return
        first = {d.address: d.choices[0] for d in self._study.space.dimensions}
        raise StudyError(
            Problem(
                where=self._study.name,
                rule="some network of the space fits the input size, the task and the limits",
                got=f"none; the first: {self.proposal(0, first).misfit}",
                do="loosen [limits], change study.input, or add choices under [free]",
            )
        )

    def _rows(self, seed: int) -> Iterator[tuple[int, ...]]:
        """Yields rows within the limits in random order: all, or the first of many drawn."""
        study = self._study
        kept = feasible_rows(study.space, study.input, study.count_limits, seed)
        order = np.random.default_rng(seed).permutation(len(kept))
        if study.space.size > MAX_ENUMERATED:
            order = order[:_NUM_LOOKED_AT]
        for row in kept[order].tolist():
            yield tuple(row)

    def _judge(self, spec: NetworkSpec) -> tuple[bool, str]:
        """Whether a network's cost can be stated, and why it cannot be tried, "" if it can."""
        identity = spec_id(spec)
        if identity not in self._verdicts:
            self._verdicts[identity] = self._judge_anew(spec)
        return self._verdicts[identity]

    def _judge_anew(self, spec: NetworkSpec) -> tuple[bool, str]:
        study = self._study
        try:
            check_image_size("study.input", study.input, spec.coarsest_stride)
        except BranchworkError as error:
            return False, str(error.problems[0])
        if study.needs_score and study.task.stride not in {None, spec.output_stride}:
            misfit = (
                f"the task's targets have stride {study.task.stride}, "
                f"the network's output has stride {spec.output_stride}"
            )
            return True, misfit
        counted = measure_cost(spec, study.input).conventions
        over = [
            f"{limit.objective.name} {counted[limit.objective.name]:,} is over the limit "
            f"{limit.largest:,.0f}"
            for limit in study.limits
            if counted.get(limit.objective.name, 0) > limit.largest
        ]
        return True, "; ".join(over)

    def _data(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what choices that do not fit together lead to, or the base if to nothing."""
        try:
            return apply_choices(self._base, choices)
        except SpecError:
            return self._base


def over_latency(study: Study, latencies: Sequence[Latency]) -> str:
    """Says which latency is over a study's limits, "" if none is."""
    over = [
        f"{limit.objective.name} {latency.p50_ms:.2f} ms is over the limit {limit.largest:g} ms"
        for limit in study.limits
        if (latency := limit.objective.latency(latencies)) and latency.p50_ms > limit.largest
    ]
    return "; ".join(over)
