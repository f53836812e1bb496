"""``branchwork profile``: what networks cost, by every counting convention."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, Networks, Runs, Task, open_store

if TYPE_CHECKING:
    from analysis.cost import By, Cost, Part
    from blocks import ImageSize
    from cli.networks import NamedNetwork

_BY_WORDS = "stage, slot, branch or layer"


def profile(
    networks: Networks,
    input_: Input = None,
    task: Task = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="PART", help=f"Break down by {_BY_WORDS}.")
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Count parameters, MACs and what other tools would print, from the spec alone.

    Nothing is built or run. `macs` is the headline: multiply-accumulates of convolutions and
    matrix products, each executed call once, one image. `paper` is the rule behind the published
    FLOPs of Lite-HRNet, `fvcore` and `thop` what those tools print for our module.

    Examples:

        branchwork profile lite_hrnet_18 lite_hrnet_30 --input 256x192

        branchwork profile hrnet_w32 --by slot

        branchwork profile lite_hrnet_18 --set block=naive_lite_hrnet --set branches=3 --json
    """
    store = open_store(runs, blocks)
    from cli.networks import find_networks, input_of
    from cli.output import print_json

    parts_by = _by(by)
    found = find_networks(networks, task=task, changes=changes, store=store)
    profiled = [_profile(each, input_of(input_, each.task), parts_by) for each in found]
    if as_json:
        print_json([_data(*row, parts_by) for row in profiled])
    else:
        _print(profiled)


Profiled = tuple["NamedNetwork", "Cost", "tuple[Part, ...]"]


def _by(word: str | None) -> By | None:
    from analysis.cost import By
    from blocks import BranchworkError, Problem, did_you_mean

    if word is None:
        return None
    if word not in set(By):
        raise BranchworkError(
            Problem(
                where="--by",
                rule=f"a cost is broken down by {_BY_WORDS}",
                got=repr(word),
                do=did_you_mean(word, [each.value for each in By]),
            )
        )
    return By(word)


def _profile(each: NamedNetwork, size: ImageSize, by: By | None) -> Profiled:
    from analysis.cost import break_down, measure_cost
    from blocks import BranchworkError

    try:
        cost = measure_cost(each.spec, size)
        parts = break_down(each.spec.operations(size), by) if by else ()
    except BranchworkError as error:
        raise BranchworkError([problem.under(each.name) for problem in error.problems]) from None
    return each, cost, parts


def _data(each: NamedNetwork, cost: Cost, parts: tuple[Part, ...], by: By | None) -> dict[str, Any]:
    from networks import spec_id

    data: dict[str, Any] = {
        "network": each.name,
        "spec_id": spec_id(each.spec),
        "task": each.task,
        "num_outputs": each.spec.num_outputs,
        "input": str(cost.input),
        "params": cost.params,
        "macs": cost.macs,
        "conventions": cost.conventions,
    }
    if by is not None:
        data["by"] = by.value
        data["parts"] = [
            {
                "name": part.name,
                "params": part.params,
                "macs": part.macs,
                "conventions": part.conventions,
            }
            for part in parts
        ]
    return data


def _print(profiled: list[Profiled]) -> None:
    from analysis.conventions import CONVENTIONS, convention_rule
    from cli.output import out, table
    from networks import spec_id

    console = out()
    others = [name for name in CONVENTIONS if name not in {"params", "macs"}]
    whole = table("network", "spec_id", "task", "outputs", "input", "params", "macs", *others)
    for each, cost, _ in profiled:
        whole.add_row(
            each.name,
            spec_id(each.spec),
            each.task,
            str(each.spec.num_outputs),
            str(cost.input),
            f"{cost.params:,}",
            f"{cost.macs:,}",
            *(f"{cost.conventions[name]:,}" for name in others),
        )
    console.print(whole)
    for each, cost, parts in profiled:
        if parts:
            broken = table("part", "params", "", "macs", "", *others, title=f"\n{each.name}")
            for part in parts:
                broken.add_row(
                    part.name,
                    f"{part.params:,}",
                    _share(part.params, cost.params),
                    f"{part.macs:,}",
                    _share(part.macs, cost.macs),
                    *(f"{part.conventions[name]:,}" for name in others),
                )
            console.print(broken)
    console.print("\nWhole numbers for one image, nothing rounded.", markup=False)
    for name in CONVENTIONS:
        console.print(f"  {name:7} {convention_rule(name)}", markup=False)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
