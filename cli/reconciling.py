"""What ``branchwork profile --reconcile`` does: run the counters, account for the differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.any_module import ModuleProfile
from analysis.conventions import CONVENTIONS, OF_PUBLISHED_CODE
from analysis.counter_runs import CounterRun, run_counters
from analysis.profiles import NetworkProfile
from analysis.reconciling import Reconciliation, reconcile
from blocks import BranchworkError, Problem, did_you_mean, record
from blocks.testing import first_difference
from cli.output import table

if TYPE_CHECKING:
    from rich.console import Console

_HEADLINE = "macs"


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """Counts of one network, accounted for.

    Attributes:
        counters: The runs of the counters themselves.
        emulated: What their emulations say.
        num_unread: Operations that the output does not depend on.
        pairs: The accounts.
    """

    counters: dict[str, CounterRun]
    emulated: dict[str, int]
    num_unread: int
    pairs: tuple[Reconciliation, ...]

    def data(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {
            "tools": {name: run.count for name, run in self.counters.items()},
            "tool_failures": {
                name: run.failure for name, run in self.counters.items() if run.failure
            },
            "reconciliation": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "first_count": pair.first_count,
                    "second_count": pair.second_count,
                    "difference": pair.difference,
                    "unexplained": pair.unexplained,
                    "rows": [
                        {
                            "op_type": row.op_type,
                            "calls": row.calls,
                            "first": row.first,
                            "second": row.second,
                            "difference": row.difference,
                        }
                        for row in pair.rows
                        if row.first or row.second
                    ],
                }
                for pair in self.pairs
            ],
        }

    def show(self, console: Console, name: str) -> None:
        """Prints it: a line for each counter, then a table for each pair."""
        console.print(f"\n{name}, reconciled", style="bold", markup=False)
        for counter, run in self.counters.items():
            if run.count is None:
                said = f"failed ({run.failure}); its emulation stands below"
            else:
                said = f"prints {run.count:,}"
            console.print(
                f"  {counter} itself {said}; its emulation says {self.emulated[counter]:,}.",
                markup=False,
            )
        if self.num_unread:
            console.print(
                f"  The output does not depend on {self.num_unread} of the operations; fvcore "
                "leaves them out, its emulation counts what runs.",
                markup=False,
            )
        for pair in self.pairs:
            shown = table(
                *("type of operation", "calls", pair.first, pair.second, "difference"),
                title=f"\n{pair.first} and {pair.second}",
            )
            equal = [row for row in pair.rows if not row.difference]
            for row in pair.rows:
                if row.difference:
                    shown.add_row(
                        row.op_type,
                        str(row.calls or ""),
                        f"{row.first:,}",
                        f"{row.second:,}",
                        f"{row.difference:+,}",
                    )
            shown.add_row(
                "all that count the same",
                str(sum(row.calls for row in equal)),
                f"{sum(row.first for row in equal):,}",
                f"{sum(row.second for row in equal):,}",
                "0",
                end_section=True,
            )
            shown.add_row(
                "whole",
                str(sum(row.calls for row in pair.rows)),
                f"{pair.first_count:,}",
                f"{pair.second_count:,}",
                f"{pair.difference:+,}" if pair.difference else "0",
                style="bold",
            )
            console.print(shown)


def pairs_between(text: str | None, modules: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """Returns the pairs of conventions to account for, ``macs`` with every other by default.

    Args:
        text: Two names, ``fvcore,thop``.
        modules: Import paths among the networks.

    Raises:
        BranchworkError: If the text does not name two conventions, or one that a module that is
            none of ours does not have.
    """
    if text is None:
        return tuple((_HEADLINE, name) for name in CONVENTIONS if name != _HEADLINE)
    names = [name.strip() for name in text.split(",")]
    unknown = next((name for name in names if name not in CONVENTIONS), None)
    if unknown is not None or len(names) != 2 or names[0] == names[1]:  # noqa: PLR2004 - a pair
        raise BranchworkError(
            Problem(
                where="--between",
                rule="a difference is that between two conventions, A,B",
                got=repr(text),
                do="write fvcore,thop, for example"
                if unknown is None
                else did_you_mean(unknown, CONVENTIONS),
            )
        )
    if modules and not OF_PUBLISHED_CODE.isdisjoint(names):
        raise BranchworkError(
            Problem(
                where="--between",
                rule=f"{' and '.join(sorted(OF_PUBLISHED_CODE))} count published code, of which "
                "only networks of ours know",
                got=f"{text!r} for {modules[0]}",
                do="write macs,fvcore, for example",
            )
        )
    return ((names[0], names[1]),)


def reconcile_network(
    profile: NetworkProfile,
    module: ModuleProfile | None,
    pairs: tuple[tuple[str, str], ...],
    *,
    blocks: tuple[Path, ...],
) -> Reconciled:
    """Runs the counters on a network and accounts for the differences between counts.

    Args:
        profile: The network; a module's name is its import path.
        module: What was recorded of a module, None for a spec.
        pairs: The pairs of conventions to account for; a module is left without those of which it
            has no count.
        blocks: Folders with the user's blocks.
    """
    import torch

    cost, network = profile.cost, profile.spec
    counters = run_counters(network or profile.name, cost.input, blocks=blocks)
    if network is None:
        assert module is not None
        recording = module.recording
        ops = recording.ops
    else:
        # The closed form knows more than an execution (branches, published runs); only what the
        # output depends on has to be seen.
        with torch.device("meta"):
            built = network.build()
        image = torch.empty(1, 3, cost.input.height, cost.input.width, device="meta")
        recording = record(built, [image])
        ops = network.operations(cost.input)
        if ops != recording.ops:
            raise BranchworkError(
                Problem(
                    where="--reconcile",
                    rule="a network's closed form is what its module executes",
                    got=first_difference(ops, recording.ops),
                    do="mend the layer's trace; blocks.testing.check_block says more",
                )
            )
    printed = {name: run.count for name, run in counters.items() if run.count is not None}
    accounts = tuple(
        reconcile(
            ops, *pair, printed=printed | {"params": cost.params}, are_read=recording.are_read
        )
        for pair in pairs
        if cost.conventions.keys() >= set(pair)
    )
    emulated = {name: cost.conventions[name] for name in counters}
    return Reconciled(
        counters=counters,
        emulated=emulated,
        num_unread=recording.are_read.count(False),
        pairs=accounts,
    )
