"""``branchwork profile``: what networks cost, by every counting convention."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    DEFAULT_TASK,
    AsJson,
    Blocks,
    Changes,
    Input,
    Networks,
    Runs,
    Task,
    open_store,
)
from cli.profile_report import Report, check_reports, write_reports

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.any_module import ModuleProfile
    from analysis.cost import By, Cost, Part
    from blocks import ImageSize
    from cli.networks import NamedNetwork
    from cli.reconciling import Reconciled
    from networks import NetworkSpec

_BY_WORDS = "stage, slot, branch or layer"
_HEADLINES = ("params", "macs", "paper", "fvcore", "thop")


def profile(
    networks: Networks,
    input_: Input = None,
    task: Task = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="PART", help=f"Break down by {_BY_WORDS}.")
    ] = None,
    conventions: Annotated[
        bool, typer.Option("--conventions", help="Print the numbers of all conventions.")
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option(
            "--reconcile",
            help="Run fvcore and thop themselves, and account for every difference to macs.",
        ),
    ] = False,
    between: Annotated[
        str | None,
        typer.Option(
            "--between",
            metavar="A,B",
            help="Account for the difference between these two conventions only.",
        ),
    ] = None,
    changes: Changes = None,
    report: Report = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Count parameters, MACs and what other tools would print, from the spec alone.

    Nothing is built or run. `macs` is the headline: multiply-accumulates of convolutions and
    matrix products, each executed call once, one image. `paper` is the rule behind the published
    FLOPs of Lite-HRNet, `fvcore`, `thop`, `ptflops` and `torch` what those tools print for our
    module.

    NETWORK may also be the import path of any module, `package.module:Name`: it is recorded in one
    pass over tensors without values. What was not counted is listed, and marked as partial.

    Examples:

        branchwork profile lite_hrnet_18 lite_hrnet_30 --input 256x192

        branchwork profile hrnet_w32 --by slot

        branchwork profile lite_hrnet_18 --set block=naive_lite_hrnet --set branches=3 --json

        branchwork profile lite_hrnet_18 --reconcile --between fvcore,thop

        branchwork profile my_package.my_module:MyNetwork --input 256x192 --by layer
    """
    store = open_store(runs, blocks)
    from analysis.any_module import is_import_path
    from cli.networks import find_networks, input_of
    from cli.output import print_json
    from cli.reconciling import pairs_between

    parts_by = _by(by)
    check_reports(report)
    pairs = pairs_between(between) if reconcile or between else ()
    paths = [name for name in networks if is_import_path(name)]
    _check_options(paths, parts_by, changes)
    specs = [name for name in networks if name not in paths]
    found = iter(find_networks(specs, task=task, changes=changes, store=store))
    rows = [
        _profile_module(name, input_of(input_, task or DEFAULT_TASK), parts_by)
        if name in paths
        else _profile(next(found), input_, parts_by)
        for name in networks
    ]
    if pairs:
        from cli.reconciling import reconcile_network

        for row in rows:
            row.reconciled = reconcile_network(
                row.network, row.cost, row.module, pairs, blocks=tuple(blocks or ())
            )
    if as_json:
        print_json([_data(row, parts_by) for row in rows])
    else:
        _print(rows, show_all=conventions)
    write_reports(rows, report)
    _tell_problems(rows)


@dataclass(kw_only=True)
class _Row:
    """One network, profiled.

    Attributes:
        name: As the user wrote it.
        network: Its spec, or the import path of a module.
        task: Its task, None for a module.
        cost: Its cost.
        parts: Its parts, none if they were not asked for.
        module: What was recorded, None for a spec.
        reconciled: What became of the reconciliation, None if it was not asked for.
    """

    name: str
    network: NetworkSpec | str
    task: str | None
    cost: Cost
    parts: tuple[Part, ...]
    module: ModuleProfile | None = None
    reconciled: Reconciled | None = None

    @property
    def marked_name(self) -> str:
        """Its name, marked if something is missing from its numbers."""
        return f"{self.name} (partial)" if self.module and self.module.is_partial else self.name

    @property
    def uncounted(self) -> dict[str, int]:
        """Operations that could not be counted, with their calls."""
        return self.module.recording.uncounted if self.module else {}

    @property
    def labels(self) -> tuple[str | None, int | None]:
        """Its spec_id and number of outputs, which a module does not have."""
        from networks import spec_id

        if isinstance(self.network, str):
            return None, None
        return spec_id(self.network), self.network.num_outputs


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


def _check_options(paths: list[str], by: By | None, changes: list[str] | None) -> None:
    """Refuses what a module that is none of ours does not have."""
    from blocks import BranchworkError, Problem

    if not paths:
        return
    problems = []
    if by is not None and by != "layer":
        problems.append(
            Problem(
                where="--by",
                rule="a module of your own has layers, but no stages, slots and branches",
                got=f"{by.value!r} for {paths[0]}",
                do="write --by layer",
            )
        )
    if changes:
        problems.append(
            Problem(
                where="--set",
                rule="only a network of ours can be changed by address",
                got=f"{changes[0]!r} for {paths[0]}",
                do="leave --set out",
            )
        )
    if problems:
        raise BranchworkError(problems)


def _profile(each: NamedNetwork, input_: str | None, by: By | None) -> _Row:
    from analysis.cost import break_down, measure_cost, unread_operations
    from blocks import BranchworkError
    from cli.networks import input_of

    size = input_of(input_, each.task)
    try:
        cost = measure_cost(each.spec, size)
        unread = unread_operations(each.spec)
        parts = break_down(each.spec.operations(size), by, unread) if by else ()
    except BranchworkError as error:
        raise BranchworkError([problem.under(each.name) for problem in error.problems]) from None
    return _Row(name=each.name, network=each.spec, task=each.task, cost=cost, parts=parts)


def _profile_module(name: str, size: ImageSize, by: By | None) -> _Row:
    from analysis.any_module import import_network, profile_module

    profiled = profile_module(import_network(name), size, name)
    return _Row(
        name=name,
        network=name,
        task=None,
        cost=profiled.cost,
        parts=profiled.parts if by else (),
        module=profiled,
    )


def _data(row: _Row, by: By | None) -> dict[str, Any]:
    spec_id, num_outputs = row.labels
    data: dict[str, Any] = {
        "network": row.name,
        "spec_id": spec_id,
        "task": row.task,
        "num_outputs": num_outputs,
        "input": str(row.cost.input),
        "params": row.cost.params,
        "macs": row.cost.macs,
        "conventions": row.cost.conventions,
        "is_partial": row.module is not None and row.module.is_partial,
        "uncounted": row.uncounted,
    }
    if row.module is not None and row.module.problem is not None:
        data["stopped_by"] = str(row.module.problem)
    if by is not None:
        data["by"] = by.value
        data["parts"] = [
            {
                "name": part.name,
                "params": part.params,
                "macs": part.macs,
                "conventions": part.conventions,
            }
            for part in row.parts
        ]
    if row.reconciled is not None:
        data |= row.reconciled.data()
    return data


def _print(rows: list[_Row], *, show_all: bool) -> None:
    from analysis.conventions import CONVENTIONS
    from cli.output import out, table

    console = out()
    whole = table("network", "spec_id", "task", "outputs", "input", *_HEADLINES)
    for row in rows:
        spec_id, num_outputs = row.labels
        whole.add_row(
            row.marked_name,
            spec_id or "-",
            row.task or "-",
            str(num_outputs or "-"),
            str(row.cost.input),
            *(f"{row.cost.conventions[name]:,}" for name in _HEADLINES),
        )
    console.print(whole)
    for row in rows:
        if row.parts:
            _print_parts(console, row)
    if show_all:
        every = table("convention", *(row.marked_name for row in rows), title="\nAll conventions")
        for name in CONVENTIONS:
            every.add_row(name, *(f"{row.cost.conventions[name]:,}" for row in rows))
        console.print(every)
    for row in rows:
        if row.reconciled is not None:
            row.reconciled.show(console, row.marked_name)
    _print_rules(console, show_all=show_all or rows[0].reconciled is not None)


def _print_parts(console: Console, row: _Row) -> None:
    from cli.output import table

    others = _HEADLINES[2:]
    broken = table("part", "params", "", "macs", "", *others, title=f"\n{row.marked_name}")
    for part in row.parts:
        broken.add_row(
            part.name,
            f"{part.params:,}",
            _share(part.params, row.cost.params),
            f"{part.macs:,}",
            _share(part.macs, row.cost.macs),
            *(f"{part.conventions[name]:,}" for name in others),
        )
    console.print(broken)


def _print_rules(console: Console, *, show_all: bool) -> None:
    from analysis.conventions import CONVENTIONS, convention_rule

    shown = [name for name in CONVENTIONS if show_all or name in _HEADLINES]
    width = max(map(len, shown))
    console.print("\nWhole numbers for one image, nothing rounded.", markup=False)
    for name in shown:
        console.print(f"  {name:{width}} {convention_rule(name)}", markup=False)
    if not show_all:
        hidden = ", ".join(name for name in CONVENTIONS if name not in _HEADLINES)
        console.print(f"--conventions prints {hidden} as well.", markup=False)


def _tell_problems(rows: list[_Row]) -> None:
    """Says what is missing from the numbers that were given.

    Raises:
        BranchworkError: If a module did not run to its end.
    """
    from blocks import BranchworkError
    from cli.output import say

    for row in rows:
        if row.uncounted:
            kinds = ", ".join(f"{kind} ({calls})" for kind, calls in row.uncounted.items())
            say(f"{row.name}: partial, not counted: {kinds}")
    problems = [row.module.problem for row in rows if row.module and row.module.problem]
    if problems:
        raise BranchworkError(problems)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
