"""``branchwork profile``: what networks cost, by every counting convention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.memory import AskMemory, check_memory, show_memory, tell_memory_problems, with_memory
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
    from analysis.cost import By
    from analysis.profiles import NetworkProfile
    from cli.networks import NamedNetwork
    from cli.reconciling import Reconciled

_BY_WORDS = "stage, slot, branch or layer"


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
    memory: AskMemory = False,
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
    pass over tensors without values. Or it is an ONNX file, `net.onnx`, whose nodes are counted.
    What was not counted is listed, and marked as partial.

    Examples:

        branchwork profile lite_hrnet_18 lite_hrnet_30 --input 256x192

        branchwork profile hrnet_w32 --by slot

        branchwork profile lite_hrnet_18 --set block=naive_lite_hrnet --set branches=3 --json

        branchwork profile lite_hrnet_18 --reconcile --between fvcore,thop

        branchwork profile my_package.my_module:MyNetwork --input 256x192 --by layer

        branchwork profile lite_hrnet_18 --memory --report profile.html

        branchwork profile net.onnx --json
    """
    store = open_store(runs, blocks)
    from analysis.any_module import is_import_path
    from analysis.onnx_file import is_onnx_file
    from analysis.profile_data import profile_data
    from analysis.profiles import profile_of_module
    from cli.networks import find_networks
    from cli.output import print_json
    from cli.reconciling import pairs_between

    parts_by = _by(by)
    check_reports(report)
    paths = [name for name in networks if is_import_path(name) or is_onnx_file(name)]
    _check_options(paths, parts_by, changes)
    if reconcile or between:
        _check_runnable([name for name in paths if is_onnx_file(name)])
    if memory:
        check_memory([name for name in paths if is_onnx_file(name)])
    pairs = pairs_between(between, modules=paths) if reconcile or between else ()
    specs = [name for name in networks if name not in paths]
    found = iter(find_networks(specs, task=task, changes=changes, store=store))
    modules = {name: _profile_module(name, input_, task or DEFAULT_TASK) for name in paths}
    profiles = [
        profile_of_module(name, modules[name]) if name in modules else _profile(next(found), input_)
        for name in networks
    ]
    if memory:
        profiles = [with_memory(each) for each in profiles]
    reconciled: list[Reconciled] = []
    if pairs:
        from cli.reconciling import reconcile_network

        reconciled = [
            reconcile_network(each, modules.get(each.name), pairs, blocks=tuple(blocks or ()))
            for each in profiles
        ]
    if as_json:
        data = [profile_data(profile, parts_by) for profile in profiles]
        for entry, each in zip(data, reconciled, strict=False):
            entry.update(each.data())
        print_json(data)
    else:
        _print(profiles, parts_by, reconciled, show_all=conventions)
    write_reports(profiles, report)
    tell_memory_problems(profiles)
    _tell_problems(profiles)


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
                rule="a network without a spec has layers, but no stages, slots and branches",
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


def _check_runnable(files: list[str]) -> None:
    """Refuses to run the counters on ONNX files."""
    from blocks import BranchworkError, Problem

    if files:
        raise BranchworkError(
            Problem(
                where="--reconcile",
                rule="fvcore and thop run PyTorch modules",
                got=files[0],
                do="name the module itself, package.module:Name",
            )
        )


def _profile_module(name: str, input_: str | None, task: str) -> ModuleProfile:
    from analysis.any_module import import_network, profile_module
    from analysis.onnx_file import is_onnx_file, profile_onnx
    from blocks import ImageSize
    from cli.networks import input_of

    if is_onnx_file(name):
        asked = ImageSize.parse(input_) if input_ else None
        return profile_onnx(Path(name), asked, input_of(None, task))
    return profile_module(import_network(name), input_of(input_, task), name)


def _profile(each: NamedNetwork, input_: str | None) -> NetworkProfile:
    from analysis.profiles import profile_network
    from blocks import BranchworkError
    from cli.networks import input_of

    try:
        return profile_network(each.name, each.spec, input_of(input_, each.task), each.task)
    except BranchworkError as error:
        raise BranchworkError([problem.under(each.name) for problem in error.problems]) from None


def _print(
    profiles: Sequence[NetworkProfile],
    by: By | None,
    reconciled: Sequence[Reconciled],
    *,
    show_all: bool,
) -> None:
    from analysis.profile_tables import HEADLINES, conventions_table
    from cli.output import out, table

    console = out()
    whole = table("network", "spec_id", "task", "outputs", "input", *HEADLINES)
    for profile in profiles:
        whole.add_row(
            profile.marked_name,
            profile.spec_id or "-",
            profile.task or "-",
            str(profile.spec.num_outputs) if profile.spec else "-",
            str(profile.cost.input),
            *(f"{profile.cost.conventions[name]:,}" for name in HEADLINES),
        )
    console.print(whole)
    if by is not None:
        for profile in profiles:
            _print_parts(console, profile, by)
    if show_all:
        names = [profile.marked_name for profile in profiles]
        every = conventions_table(profiles)
        shown = table("convention", *names, title="\nAll conventions")
        for name, _, *counts in every.rows:
            shown.add_row(name, *counts)
        console.print(shown)
        console.print(every.note, markup=False)
    for profile, each in zip(profiles, reconciled, strict=False):
        each.show(console, profile.marked_name)
    show_memory(console, profiles)
    _print_rules(console, show_all=show_all or bool(reconciled))


def _print_parts(console: Console, profile: NetworkProfile, by: By) -> None:
    from analysis.profile_tables import HEADLINES
    from analysis.profiles import parts_by
    from cli.output import table

    others = HEADLINES[2:]
    broken = table("part", "params", "", "macs", "", *others, title=f"\n{profile.marked_name}")
    for part in parts_by(profile, by):
        broken.add_row(
            part.name,
            f"{part.params:,}",
            _share(part.params, profile.cost.params),
            f"{part.macs:,}",
            _share(part.macs, profile.cost.macs),
            *(f"{part.conventions[name]:,}" for name in others),
        )
    console.print(broken)


def _print_rules(console: Console, *, show_all: bool) -> None:
    from analysis.conventions import CONVENTIONS, convention_rule
    from analysis.profile_tables import HEADLINES

    shown = [name for name in CONVENTIONS if show_all or name in HEADLINES]
    width = max(map(len, shown))
    console.print("\nWhole numbers for one image, nothing rounded.", markup=False)
    for name in shown:
        console.print(f"  {name:{width}} {convention_rule(name)}", markup=False)
    if not show_all:
        hidden = ", ".join(name for name in CONVENTIONS if name not in HEADLINES)
        console.print(f"--conventions prints {hidden} as well.", markup=False)


def _tell_problems(profiles: Sequence[NetworkProfile]) -> None:
    """Says what is missing from the numbers that were given.

    Raises:
        BranchworkError: If a module did not run to its end.
    """
    from analysis.profile_words import uncounted_text
    from blocks import BranchworkError
    from cli.output import say

    for profile in profiles:
        if profile.uncounted:
            say(uncounted_text(profile))
        for note in profile.notes:
            say(f"{profile.name}: {note}")
    problems = [profile.problem for profile in profiles if profile.problem]
    if problems:
        raise BranchworkError(problems)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
