"""``branchwork published``: the costs that papers print for our presets, recounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.options import AsJson, Blocks, Runs, open_store


def published(as_json: AsJson = False, runs: Runs = Path("runs"), blocks: Blocks = None) -> None:
    """Recount the parameters and FLOPs that papers print for the presets.

    Says for each printed figure by which convention and in which unit it is reproduced.

    Example:

        branchwork published
    """
    open_store(runs, blocks)
    from cli.output import print_json

    rows = published_rows()
    if as_json:
        print_json(rows)
    else:
        print_published(rows)


def published_rows() -> list[dict[str, Any]]:
    """Returns one row for each printed cost, with our own count beside it."""
    from analysis.cost import measure_cost
    from analysis.published import PUBLISHED_COSTS
    from networks import PRESETS

    rows = []
    for printed in PUBLISHED_COSTS:
        cost = measure_cost(PRESETS[printed.preset].make(printed.num_outputs), printed.input)
        rows.append(
            {
                "network": printed.preset,
                "input": str(printed.input),
                "num_outputs": printed.num_outputs,
                "params": cost.params,
                "macs": cost.macs,
                "printed_params": printed.params,
                "printed_flops": printed.flops,
                "convention": printed.rule,
                "unit": printed.unit,
                "counted": cost.conventions[printed.rule],
                "recounted_flops": printed.recount(cost),
                "is_reproduced": printed.recount(cost) == printed.flops,
                "note": printed.note,
            }
        )
    return rows


def print_published(rows: list[dict[str, Any]]) -> None:
    """Prints the rows as a table."""
    from cli.output import out, table

    shown = table(
        *("network", "input", "outputs", "params", "printed", "macs"),
        *("printed FLOPs", "ours by that rule", "rule", "unit", "agrees"),
        title="Costs as papers print them, and as Branchwork counts them (one image)",
    )
    for row in rows:
        shown.add_row(
            row["network"],
            row["input"],
            str(row["num_outputs"]),
            f"{row['params']:,}",
            row["printed_params"],
            f"{row['macs']:,}",
            row["printed_flops"],
            row["recounted_flops"],
            row["convention"],
            f"2^{row['unit'].bit_length() - 1}",
            ("yes" if row["is_reproduced"] else "no")
            + (f" ({row['note']})" if row["note"] else ""),
        )
    out().print(shown)
    agreeing = sum(row["is_reproduced"] for row in rows)
    out().print(
        f"\n{agreeing} of {len(rows)} printed FLOPs are reproduced to the last printed digit.",
        markup=False,
    )
