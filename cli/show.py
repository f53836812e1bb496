"""``branchwork show``: a network as text, or as the JSON of a spec file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.options import AsJson, Blocks, Changes, OneNetwork, Runs, Task, open_store

if TYPE_CHECKING:
    from blocks import Ins
    from networks import NetworkSpec


def show(
    network: OneNetwork,
    task: Task = None,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Show how a network is made; with --json as a spec file to edit.

    Examples:

        branchwork show lite_hrnet_18

        branchwork show lite_hrnet_18 --set branches=3 --json > my_network.json
    """
    store = open_store(runs, blocks)
    from cli.networks import find_networks
    from cli.output import out, print_json
    from networks import spec_to_dict

    found = find_networks([network], task=task, changes=changes, store=store)[0]
    if as_json:
        print_json(spec_to_dict(found.spec))
        return
    console = out()
    for line in _outline(found.name, found.spec):
        console.print(line, markup=False)


def _outline(name: str, spec: NetworkSpec) -> list[str]:
    from blocks import IMAGE
    from networks import spec_id, spec_to_dict

    data = spec_to_dict(spec)
    lines = [f"{name} [{spec_id(spec)}], branches written channels@stride"]
    ins: Ins = spec.stem.out_shapes(IMAGE)
    lines.append(f"stem        {_layer(data['stem'])} -> {_branches(ins)}")
    for index, stage in enumerate(data["stages"]):
        ins = spec.stage_shapes[index]
        lines.append(f"stages.{index}    {_layer(stage['transition'])} -> {_branches(ins)}")
        lines += [f"  {line}" for line in _units(stage["units"])]
    lines.append(f"aggregator  {_layer(data['aggregator'])}")
    lines.append(f"head        {_layer(data['head'])}")
    return lines


def _units(units: list[dict[str, Any]]) -> list[str]:
    """Writes a stage's units; equal ones that follow each other are written once."""
    lines: list[str] = []
    start = 0
    while start < len(units):
        end = start + 1
        while end < len(units) and units[end] == units[start]:
            end += 1
        which = f"units.{start}" + (f" to {end - 1}" if end > start + 1 else "")
        groups = "; ".join(
            f"{_layer(group['block'])} x {group['depth']} on branches "
            f"{', '.join(map(str, group['branches']))}"
            for group in units[start]["body"]
        )
        lines.append(f"{which:12} {groups}; fusion {_layer(units[start]['fusion'])}")
        start = end
    return lines


def _layer(data: dict[str, Any]) -> str:
    fields = ", ".join(
        f"{key}={json.dumps(value)}" for key, value in data.items() if key not in {"kind", "widths"}
    )
    return f"{data['kind']}({fields})" if fields else str(data["kind"])


def _branches(shapes: Ins) -> str:
    return " ".join(f"{shape.channels}@{shape.stride}" for shape in shapes)
