"""``branchwork published``: the costs that papers print for our presets, recounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.options import AsJson, Blocks, Runs, open_store


def published(as_json: AsJson = False, runs: Runs = Path("runs"), blocks: Blocks = None) -> None:
    """Recount the parameters and FLOPs that papers and tools print for the presets.

    Says for each printed pair by which convention and in which unit it is reproduced: exactly, to
    rounding or not, and what our count lies above the printed figure.

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
    from analysis.published_costs import PARAMS_UNIT, PUBLISHED_COSTS, Figure

    rows = []
    for printed in PUBLISHED_COSTS:
        cost = measure_cost(printed.spec(), printed.input)
        params, flops = Figure(printed.params), Figure(printed.flops)
        counted = cost.conventions[printed.rule]
        rows.append(
            {
                "network": printed.preset,
                "name": printed.name,
                "changes": dict(printed.changes),
                "input": str(printed.input),
                "num_outputs": printed.num_outputs,
                "params": cost.params,
                "macs": cost.macs,
                "printed_params": printed.params,
                "params_agreement": params.agreement(cost.params, PARAMS_UNIT).value,
                "params_residual": float(params.residual(cost.params, PARAMS_UNIT)),
                "printed_flops": printed.flops,
                "convention": printed.rule,
                "unit": printed.unit,
                "counted": counted,
                "recounted_flops": printed.recount(cost),
                "is_reproduced": printed.recount(cost) == printed.flops,
                "flops_agreement": flops.agreement(counted, printed.unit).value,
                "flops_residual": float(flops.residual(counted, printed.unit)),
                "reproduced_by": [
                    {"convention": name, "unit": unit} for name, unit in printed.reproducing(cost)
                ],
                "source": printed.source,
                "note": printed.note,
            }
        )
    return rows


def print_published(rows: list[dict[str, Any]]) -> None:
    """Prints the rows as a table."""
    from analysis.published_costs import unit_text
    from cli.output import out, table

    shown = table(
        *("network", "input", "outputs", "params", "printed", "residual", "agrees"),
        *("printed FLOPs", "ours", "residual", "agrees", "rule", "unit"),
        title="Costs as they are printed elsewhere, and as Branchwork counts them (one image)",
    )
    for row in rows:
        shown.add_row(
            row["name"],
            row["input"],
            str(row["num_outputs"]),
            f"{row['params']:,}",
            row["printed_params"],
            f"{row['params_residual']:+.3f}",
            row["params_agreement"],
            row["printed_flops"],
            row["recounted_flops"],
            f"{row['flops_residual']:+.3f}",
            row["flops_agreement"],
            row["convention"],
            unit_text(row["unit"]),
        )
    console = out()
    console.print(shown)
    agreeing = sum(row["is_reproduced"] for row in rows)
    console.print(
        f"\n{agreeing} of {len(rows)} printed FLOPs are reproduced to the last printed digit. "
        "A residual is our count less the printed figure, in the figure's unit; agreement to "
        "rounding includes figures that were cut off after their last digit.",
        markup=False,
    )
    for row in rows:
        if not row["is_reproduced"]:
            others = [
                f"{each['convention']} in {unit_text(each['unit'])}"
                for each in row["reproduced_by"]
            ]
            console.print(
                f"{row['name']} at {row['input']}: {row['printed_flops']} is given by "
                f"{', '.join(others) or 'no convention in any unit'}.",
                markup=False,
            )
    for source in dict.fromkeys(row["source"] for row in rows):
        console.print(f"Source: {source}.", markup=False)
