"""``branchwork published``: the costs that papers print for our presets, recounted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import AsJson, Blocks, Runs, open_store

if TYPE_CHECKING:
    from analysis.published_recounts import Recount


def published(as_json: AsJson = False, runs: Runs = Path("runs"), blocks: Blocks = None) -> None:
    """Recount the parameters and FLOPs that papers and tools print for the presets.

    Says for each printed pair by which convention and in which unit it is reproduced: exactly, to
    rounding or not, and what our count lies above the printed figure.

    Example:

        branchwork published
    """
    open_store(runs, blocks)
    from analysis.published_recounts import recount_published
    from cli.output import print_json

    recounts = recount_published()
    if as_json:
        print_json([recount.data() for recount in recounts])
    else:
        print_published(recounts)


def print_published(recounts: Sequence[Recount]) -> None:
    """Prints recounts as a table."""
    from analysis.published_costs import unit_text
    from cli.output import out, table

    shown = table(
        *("network", "input", "outputs", "params", "printed", "residual", "agrees"),
        *("printed FLOPs", "ours", "residual", "agrees", "rule", "unit"),
        title="Costs as they are printed elsewhere, and as Branchwork counts them (one image)",
    )
    for recount in recounts:
        printed = recount.printed
        shown.add_row(
            printed.name,
            str(printed.input),
            str(printed.num_outputs),
            f"{recount.cost.params:,}",
            printed.params,
            f"{recount.params_residual:+.3f}",
            recount.params_agreement,
            printed.flops,
            recount.flops,
            f"{recount.flops_residual:+.3f}",
            recount.flops_agreement,
            printed.rule,
            unit_text(printed.unit),
        )
    console = out()
    console.print(shown)
    agreeing = sum(recount.is_reproduced for recount in recounts)
    console.print(
        f"\n{agreeing} of {len(recounts)} printed FLOPs are reproduced to the last printed digit. "
        "A residual is our count less the printed figure, in the figure's unit; agreement to "
        "rounding includes figures that were cut off after their last digit.",
        markup=False,
    )
    for recount in recounts:
        if not recount.is_reproduced:
            others = [f"{name} in {unit_text(unit)}" for name, unit in recount.reproduced_by]
            console.print(
                f"{recount.printed.name} at {recount.printed.input}: {recount.printed.flops} is "
                f"given by {', '.join(others) or 'no convention in any unit'}.",
                markup=False,
            )
    for source in dict.fromkeys(recount.printed.source for recount in recounts):
        console.print(f"Source: {source}.", markup=False)
