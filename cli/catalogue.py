"""``branchwork catalogue``: every registered kind and preset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Runs, open_store

if TYPE_CHECKING:
    from blocks import Entry, FieldInfo, LayerSpec


def catalogue(
    slot: Annotated[
        str | None,
        typer.Option("--slot", help="Only stem, transition, block, fusion, aggregator or head."),
    ] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """List what networks are made of: every kind of every slot, and the presets.

    Examples:

        branchwork catalogue --slot block

        branchwork catalogue --blocks my_blocks --json
    """
    open_store(runs, blocks)
    from cli.output import print_json

    listed = _listed(slot)
    if as_json:
        print_json(listed)
    else:
        _print(listed)


def _listed(only: str | None) -> dict[str, Any]:
    from blocks import SLOTS, BranchworkError, Problem, did_you_mean
    from networks import PRESETS

    slots = [slot for slot in SLOTS if only is None or slot.value == only]
    if not slots:
        raise BranchworkError(
            Problem(
                where="--slot",
                rule=f"a slot is one of {', '.join(SLOTS)}",
                got=repr(only),
                do=did_you_mean(str(only), [slot.value for slot in SLOTS]),
            )
        )
    listed: dict[str, Any] = {
        "slots": {slot.value: [_kind(entry) for entry in SLOTS[slot]] for slot in slots}
    }
    if only is None:
        listed["presets"] = [
            {"name": preset.name, "summary": preset.summary} for preset in PRESETS.values()
        ]
    return listed


def _kind(entry: Entry[LayerSpec]) -> dict[str, Any]:
    from blocks import fields_of

    return {
        "kind": entry.name,
        "aliases": list(entry.aliases),
        "revision": entry.revision,
        "summary": entry.summary,
        "fields": [_field(info) for info in fields_of(entry.cls)],
    }


def _field(info: FieldInfo) -> dict[str, Any]:
    from blocks import plain_value

    is_required = info.default is dataclasses.MISSING
    return {
        "name": info.name,
        "default": None if is_required else plain_value(info.default),
        "is_required": is_required,
        "choices": [plain_value(value) for value in info.among],
        "help": info.help,
    }


def _short(field: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the default is
    """Returns a default as the table shows it: of a block its kind alone."""
    default = field["default"]
    return default["kind"] if isinstance(default, dict) else default


def _print(listed: dict[str, Any]) -> None:
    from cli.output import out, table

    console = out()
    for slot, kinds in listed["slots"].items():
        shown = table("kind", "fields and defaults", "what it is", title=f"\n{slot}", left=3)
        for kind in kinds:
            names = " or ".join([kind["kind"], *kind["aliases"]])
            fields = [
                field["name"] if field["is_required"] else f"{field['name']}={_short(field)}"
                for field in kind["fields"]
            ]
            shown.add_row(names, "\n".join(fields), kind["summary"])
        console.print(shown)
    if "presets" in listed:
        shown = table("preset", "what it is", title="\npresets", left=2)
        for preset in listed["presets"]:
            shown.add_row(preset["name"], preset["summary"])
        console.print(shown)
