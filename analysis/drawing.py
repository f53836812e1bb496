"""A network drawn as a table: branches downward, stem to head from left to right, as HTML.

The drawing needs nothing but itself: no script, no font, no picture. Its colours are those of
``SLOT_COLOURS`` over whatever the page's text and background are, so light and dark pages do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from analysis.figures import SLOT_COLOURS
from blocks import IMAGE, SLOTS, BranchworkError, CrossBranchBlock, Ins, Slot
from networks import NetworkSpec, spec_from_dict, spec_to_dict

_SLOT_STYLE = "".join(f".bw-{slot}{{--slot:{colour}}}" for slot, colour in SLOT_COLOURS.items())

STYLE = (
    """
<style>
.bw-net{display:flex;gap:6px;overflow-x:auto;scrollbar-width:thin;
  scrollbar-color:color-mix(in srgb,currentColor 35%,transparent) transparent;
  padding:2px 2px 10px;font-size:12px;
  line-height:1.25;color:inherit;align-items:flex-start}
.bw-part{border:1px solid color-mix(in srgb,currentColor 20%,transparent);border-radius:8px;
  padding:5px 7px 7px;flex:none}
.bw-part>b{display:block;height:18px;white-space:nowrap}
.bw-names{border-color:transparent;padding-left:0;padding-right:0;font-weight:600}
.bw-cols{display:flex;gap:5px}
.bw-col>small{display:block;height:18px;white-space:nowrap;opacity:.75;font-size:11px}
.bw-cells{display:grid;gap:5px;grid-auto-rows:42px}
.bw-cell{border-radius:5px;padding:2px 6px;display:flex;flex-direction:column;
  justify-content:center;border-left:4px solid var(--slot,transparent);white-space:nowrap;
  background:color-mix(in srgb,var(--slot,transparent) 16%,transparent);min-width:48px}
.bw-cell small{font-size:11px;opacity:.8}
.bw-names .bw-cell{padding:0;min-width:0}
.bw-key{font-size:12px;margin:2px 0 0;line-height:1.6}
.bw-key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px;
  background:var(--slot)}
"""
    + _SLOT_STYLE
    + "\n</style>\n"
)
"""The drawing's look; needed once a page."""

_SHAPE_FIELDS = frozenset({"width", "widths", "stride"})
"""Fields that the drawing shows as the branches' channels and strides."""

_MAX_VALUES = 6
_MAX_BRANCHES = 32


def read_network(spec: Mapping[str, Any]) -> NetworkSpec | None:
    """Returns a record's network, None if one of its kinds is not registered here."""
    try:
        return spec_from_dict(spec)
    except BranchworkError:
        return None


def network_drawing(spec: Mapping[str, Any]) -> str:
    """Returns a network's drawing as HTML, without ``STYLE``.

    Channels and strides are drawn where all kinds are registered; otherwise the drawing holds
    what the data says by itself. Equal units that follow each other are drawn once.

    Args:
        spec: The network as plain data.
    """
    network = read_network(spec)
    data = spec_to_dict(network) if network else spec
    stages = _objects(data.get("stages"))
    shapes = network.stage_shapes if network else ((),) * len(stages)
    pen = _Pen(varying=_varying_fields(data))
    parts = [_part("stem", [_layer_column(data, Slot.STEM, pen, _stem_shapes(network))])]
    heights = [1]
    for index, (stage, branches) in enumerate(zip(stages, shapes, strict=True)):
        heights.append(len(branches) or _written_branches(stage))
        parts.append(_part(f"stages.{index}", _stage_columns(stage, branches, heights[-1], pen)))
    gathered = _aggregated_shapes(network)
    height = len(gathered) or heights[-1]
    aggregator = _cell(pen, Slot.AGGREGATOR, data.get("aggregator"), num_rows=height)
    parts.append(_part("aggregator", [_Column(cells=(aggregator,))]))
    maps = network.out_shapes(IMAGE) if network else ()
    parts.append(_part("head", [_layer_column(data, Slot.HEAD, pen, maps)]))
    names = [_Cell(slot="name", title=f"branch {row}", row=row) for row in range(max(heights))]
    parts.insert(0, _part("", [_Column(cells=tuple(names))], "bw-part bw-names"))
    return f'<div class="bw-net">{"".join(parts)}</div>{_key(data)}'


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One coloured field of the drawing.

    Attributes:
        slot: What colours it.
        title: Its first line.
        note: Its second line.
        row: The first branch that it lies on.
        num_rows: The number of branches that it covers.
        tip: Everything that is known of it, shown under the pointer.
    """

    slot: str
    title: str
    note: str = ""
    row: int = 0
    num_rows: int = 1
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class _Column:
    """Cells below each other, with a caption."""

    cells: tuple[_Cell, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class _Pen:
    """Knows which fields differ between a network's layers of one kind.

    Attributes:
        varying: Their names, by slot and kind.
    """

    varying: Mapping[tuple[str, str], frozenset[str]]

    def note(self, slot: Slot, layer: Mapping[str, Any]) -> str:
        """Returns the fields by which this layer differs from others of its kind."""
        names = self.varying.get((slot, _kind(layer)), frozenset())
        return ", ".join(f"{name} {_value(layer[name])}" for name in sorted(names & layer.keys()))


def _layer_column(data: Mapping[str, Any], slot: Slot, pen: _Pen, outs: Ins) -> _Column:
    """Returns the column of a stem or a head: its one output, or its kind if that is not known."""
    layer = data.get(slot.value)
    if not outs:
        return _Column(cells=(_cell(pen, slot, layer),))
    return _Column(cells=_shape_cells(pen, slot, layer, outs), caption=_kind(layer))


def _stage_columns(
    stage: Mapping[str, Any], branches: Ins, num_branches: int, pen: _Pen
) -> list[_Column]:
    transition = stage.get("transition")
    if branches:
        cells = _shape_cells(pen, Slot.TRANSITION, transition, branches)
        columns = [_Column(cells=cells, caption=_kind(transition))]
    else:
        cell = _cell(pen, Slot.TRANSITION, transition, num_rows=num_branches)
        columns = [_Column(cells=(cell,))]
    for _, run in groupby(_objects(stage.get("units")), key=_canonical):
        units = list(run)
        caption = "1 unit" if len(units) == 1 else f"{len(units)} units, each"
        columns.append(_Column(cells=tuple(_body_cells(units[0], pen)), caption=caption))
        fusion = _cell(pen, Slot.FUSION, units[0].get("fusion"), num_rows=num_branches)
        columns.append(_Column(cells=(fusion,)))
    return columns


def _body_cells(unit: Mapping[str, Any], pen: _Pen) -> Iterator[_Cell]:
    """Yields a cell a branch, or one over all branches that a block sees at once."""
    for group in _objects(unit.get("body")):
        branches, block = _branches(group), group.get("block")
        runs = [[branch] for branch in branches]
        if _sees_all(block):
            runs = [[b for _, b in run] for _, run in groupby(enumerate(branches), _offset)]
        depth = group.get("depth", 1)
        title = _kind(block) if depth == 1 else f"{_kind(block)} \N{MULTIPLICATION SIGN} {depth}"
        apart = f"branches {', '.join(map(str, branches))} together"
        for run in runs:
            together = apart if _sees_all(block) and len(runs) > 1 else ""
            yield _cell(
                pen,
                Slot.BLOCK,
                block,
                title=title,
                note=together,
                row=run[0],
                num_rows=len(run),
            )


def _offset(place: tuple[int, int]) -> int:
    """Is equal for branches that follow each other."""
    index, branch = place
    return branch - index


def _shape_cells(pen: _Pen, slot: Slot, layer: object, outs: Ins) -> tuple[_Cell, ...]:
    """Returns a cell for every branch that a layer puts out, with channels and stride."""
    unit = "maps" if slot is Slot.HEAD else "channels"
    return tuple(
        _cell(
            pen,
            slot,
            layer,
            title=f"{shape.channels} {unit}",
            note=f"stride {shape.stride}",
            row=row,
        )
        for row, shape in enumerate(outs)
    )


def _cell(  # noqa: PLR0913 - one argument a part of the cell
    pen: _Pen,
    slot: Slot,
    layer: object,
    *,
    title: str = "",
    note: str = "",
    row: int = 0,
    num_rows: int = 1,
) -> _Cell:
    data = layer if isinstance(layer, Mapping) else {}
    return _Cell(
        slot=slot.value,
        title=title or _kind(layer),
        note=", ".join(text for text in (note, pen.note(slot, data)) if text),
        row=row,
        num_rows=num_rows,
        tip=f"{slot.value}: {_canonical(layer)}",
    )


def _part(title: str, columns: Sequence[_Column], classes: str = "bw-part") -> str:
    drawn = "".join(
        f'<div class="bw-col"><small>{escape(column.caption)}</small>'
        f'<div class="bw-cells">{"".join(map(_cell_html, column.cells))}</div></div>'
        for column in columns
    )
    return f'<div class="{classes}"><b>{escape(title)}</b><div class="bw-cols">{drawn}</div></div>'


def _cell_html(cell: _Cell) -> str:
    note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    return (
        f'<div class="bw-cell bw-{cell.slot}" title="{escape(cell.tip)}" '
        f'style="grid-row:{cell.row + 1} / span {cell.num_rows}">'
        f"<span>{escape(cell.title)}</span>{note}</div>"
    )


def _key(data: Mapping[str, Any]) -> str:
    """Writes what every kind in the drawing is, and how its fields are set."""
    kinds: dict[tuple[Slot, str], list[Mapping[str, Any]]] = {}
    for slot, layer in _layers(data):
        kinds.setdefault((slot, _kind(layer)), []).append(layer)
    lines = []
    for (slot, kind), layers in kinds.items():
        registered = kind in SLOTS[slot]
        summary = SLOTS[slot].get(kind).summary if registered else "A kind not registered here."
        fields = _settings(layers)
        lines.append(
            f'<div class="bw-{slot.value}"><i></i><b>{escape(kind)}</b> ({slot.value}): '
            f"{escape(summary)} {escape(fields)}</div>"
        )
    return f'<div class="bw-key">{"".join(lines)}</div>'


def _settings(layers: Sequence[Mapping[str, Any]]) -> str:
    """Writes the fields of one kind, each with all the values that it has in the network."""
    parts = []
    for name in dict.fromkeys(name for layer in layers for name in layer):
        if name == "kind" or name in _SHAPE_FIELDS:
            continue
        values = list(dict.fromkeys(_value(layer[name]) for layer in layers if name in layer))
        shown = " or ".join(values[:_MAX_VALUES]) + (" ..." if len(values) > _MAX_VALUES else "")
        parts.append(f"{name} {shown}")
    return f"[{', '.join(parts)}]" if parts else ""


def _varying_fields(data: Mapping[str, Any]) -> dict[tuple[str, str], frozenset[str]]:
    values: dict[tuple[str, str], dict[str, set[str]]] = {}
    for slot, layer in _layers(data):
        fields = values.setdefault((slot.value, _kind(layer)), {})
        for name, value in layer.items():
            fields.setdefault(name, set()).add(_value(value))
    return {
        kind: frozenset(
            name for name, found in fields.items() if len(found) > 1 and name not in _SHAPE_FIELDS
        )
        for kind, fields in values.items()
    }


def _layers(data: Mapping[str, Any]) -> Iterator[tuple[Slot, Mapping[str, Any]]]:
    """Yields every layer of a network that is plain data, in order."""
    found: list[tuple[Slot, object]] = [(Slot.STEM, data.get("stem"))]
    for stage in _objects(data.get("stages")):
        found.append((Slot.TRANSITION, stage.get("transition")))
        for unit in _objects(stage.get("units")):
            found += [(Slot.BLOCK, group.get("block")) for group in _objects(unit.get("body"))]
            found.append((Slot.FUSION, unit.get("fusion")))
    found += [(Slot.AGGREGATOR, data.get("aggregator")), (Slot.HEAD, data.get("head"))]
    for slot, layer in found:
        if isinstance(layer, Mapping):
            yield slot, layer


def _stem_shapes(network: NetworkSpec | None) -> Ins:
    return network.stem.out_shapes(IMAGE) if network else ()


def _aggregated_shapes(network: NetworkSpec | None) -> Ins:
    """Returns the branches that reach the aggregator."""
    shapes = _stem_shapes(network)
    for stage in network.stages if network else ():
        shapes = stage.out_shapes(shapes)
    return shapes


def _written_branches(stage: Mapping[str, Any]) -> int:
    """Returns how many branches a stage's groups name, 1 if it has none."""
    groups = [g for unit in _objects(stage.get("units")) for g in _objects(unit.get("body"))]
    return 1 + max((branch for group in groups for branch in _branches(group)), default=0)


def _branches(group: Mapping[str, Any]) -> list[int]:
    written = group.get("branches")
    named = written if isinstance(written, list) else []
    return [branch for branch in named if isinstance(branch, int) and 0 <= branch < _MAX_BRANCHES]


def _objects(value: object) -> list[Mapping[str, Any]]:
    """Returns the objects of a list, nothing of anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _sees_all(block: object) -> bool:
    kind, registry = _kind(block), SLOTS[Slot.BLOCK]
    if kind in registry and issubclass(registry.get(kind).cls, CrossBranchBlock):
        return True
    # A block within a block sees what that one sees.
    return isinstance(block, Mapping) and "block" in block and _sees_all(block["block"])


def _kind(layer: object) -> str:
    return str(layer.get("kind", "?")) if isinstance(layer, Mapping) else "?"


def _value(value: object) -> str:
    return value if isinstance(value, str) else _canonical(value)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)
