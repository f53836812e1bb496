"""Our own counts beside the costs that are printed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.cost import Cost, measure_cost
from analysis.published_costs import PARAMS_UNIT, PUBLISHED_COSTS, Agreement, Figure, PublishedCost


@dataclass(frozen=True, kw_only=True)
class Recount:
    """A printed cost with our own count of the same network beside it.

    Attributes:
        printed: What is printed.
        cost: What we count, at the printed input and number of outputs.
    """

    printed: PublishedCost
    cost: Cost

    @property
    def counted(self) -> int:
        """Our count by the printed figure's rule."""
        return self.cost.conventions[self.printed.rule]

    @property
    def flops(self) -> str:
        """Our count written as the printed FLOPs are."""
        return self.printed.recount(self.cost)

    @property
    def is_reproduced(self) -> bool:
        """Whether that gives the printed FLOPs, digit by digit."""
        return self.flops == self.printed.flops

    @property
    def params_agreement(self) -> Agreement:
        """How our parameters agree with the printed ones."""
        return Figure(self.printed.params).agreement(self.cost.params, PARAMS_UNIT)

    @property
    def params_residual(self) -> float:
        """Our parameters less the printed ones, in the figure's unit."""
        return float(Figure(self.printed.params).residual(self.cost.params, PARAMS_UNIT))

    @property
    def flops_agreement(self) -> Agreement:
        """How our count agrees with the printed FLOPs."""
        return Figure(self.printed.flops).agreement(self.counted, self.printed.unit)

    @property
    def flops_residual(self) -> float:
        """Our count less the printed FLOPs, in the figure's unit."""
        return float(Figure(self.printed.flops).residual(self.counted, self.printed.unit))

    @cached_property
    def reproduced_by(self) -> tuple[tuple[str, int], ...]:
        """Every convention and unit that round to the printed FLOPs."""
        return self.printed.reproducing(self.cost)

    def data(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {
            "network": self.printed.preset,
            "name": self.printed.name,
            "changes": dict(self.printed.changes),
            "input": str(self.printed.input),
            "num_outputs": self.printed.num_outputs,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "printed_params": self.printed.params,
            "params_agreement": self.params_agreement.value,
            "params_residual": self.params_residual,
            "printed_flops": self.printed.flops,
            "convention": self.printed.rule,
            "unit": self.printed.unit,
            "counted": self.counted,
            "recounted_flops": self.flops,
            "is_reproduced": self.is_reproduced,
            "flops_agreement": self.flops_agreement.value,
            "flops_residual": self.flops_residual,
            "reproduced_by": [
                {"convention": name, "unit": unit} for name, unit in self.reproduced_by
            ],
            "source": self.printed.source,
            "note": self.printed.note,
        }


def recount_published() -> tuple[Recount, ...]:
    """Returns all printed costs, recounted."""
    return tuple(
        Recount(printed=printed, cost=measure_cost(printed.spec(), printed.input))
        for printed in PUBLISHED_COSTS
    )
