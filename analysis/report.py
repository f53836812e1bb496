"""A study as one HTML page that opens offline: findings, plots, fronts, architectures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from analysis.axes import INTERVAL_MEANING, score_label, write_score
from analysis.comparing import Comparable, conditions_of, latency_conditions, protocols
from analysis.conventions import CONVENTIONS, convention_rule
from analysis.drawing import STYLE as DRAWING_STYLE
from analysis.drawing import network_drawing, read_network
from analysis.figures import (
    cost_figure,
    curves_figure,
    figure_svg,
    published_figure,
    tradeoff_figure,
)
from analysis.findings import findings
from analysis.published import CAVEAT, MARK, published_protocols
from analysis.records import Record, Status
from analysis.store import RunStore
from analysis.tables import front, record_label
from blocks import Problem, StudyError

_MAX_DRAWN = 6

_STYLE = """
<style>
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;background:#fff;max-width:1080px;
  margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.7rem;margin:0 0 .2rem} h2{font-size:1.25rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
.sub,.note{color:#52606d;font-size:.86rem}
ul.found{padding-left:1.1rem} ul.found li{margin:.3rem 0}
table{border-collapse:collapse;font-size:.86rem;margin:.4rem 0;width:100%}
th,td{padding:.3rem .55rem;border-bottom:1px solid #e4e7eb;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.n{white-space:nowrap}
th{max-width:11rem}
.scroll{overflow-x:auto}
svg{max-width:100%;height:auto}
details{border:1px solid #e4e7eb;border-radius:8px;padding:.5rem .9rem;margin:.7rem 0}
summary{cursor:pointer;font-weight:600}
code{font-size:.84rem;background:#f0f2f5;padding:.05rem .3rem;border-radius:4px}
</style>
"""


def write_study_report(store: RunStore, study: str, path: Path) -> Path:
    """Writes a study's report.

    Args:
        store: The run store.
        study: The study's name.
        path: The page to write; an existing one is replaced.

    Returns:
        The page.

    Raises:
        StudyError: If there is no such study, or it has no records.
    """
    store.require_study(study)
    loaded = store.load(study)
    if not loaded.records:
        raise StudyError(
            Problem(
                where=str(store.study_folder(study)),
                rule="a report needs records",
                got="none yet",
                do="run the study first",
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(study_report(study, loaded.records, loaded.broken), encoding="utf-8")
    return path


def study_report(study: str, records: Sequence[Record], broken: Sequence[str] = ()) -> str:
    """Returns a study's report as HTML.

    Args:
        study: The study's name.
        records: Its records.
        broken: Lines on files that could not be read.
    """
    groups = protocols(records)
    parts = [
        f"<h1>Study {escape(study)}</h1>",
        f'<p class="sub">{escape(_subtitle(records))}</p>',
        "<h2>What was found</h2>",
        _list(findings(records), "found"),
        *(_group(group) for group in groups),
        _published(records[0].task),
        _all_records(records, broken),
        _conditions(records, groups),
    ]
    title = escape(f"Branchwork: {study}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>{_STYLE}{DRAWING_STYLE}</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _subtitle(records: Sequence[Record]) -> str:
    inputs = sorted({str(record.input) for record in records})
    days = sorted({record.created[:10] for record in records})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{records[0].task} at {', '.join(inputs)}; {len(records)} records, {span}"


def _group(group: Comparable) -> str:
    best = front(group.records, ["score", "macs"])
    parts = [
        f"<h2>Accuracy against cost: {escape(score_label(group))}</h2>",
        figure_svg(tradeoff_figure(group.records)),
        "<h3>The front: no other network is better in both</h3>",
        _front_table(best),
    ]
    if any(record.curve for record in group.records):
        parts += ["<h3>Learning curves</h3>", figure_svg(curves_figure(group.records))]
    parts.append("<h3>Networks of the front</h3>")
    parts += [_network(record) for record in reversed(best[-_MAX_DRAWN:])]
    return "\n".join(parts)


def _front_table(records: Sequence[Record]) -> str:
    conditions = latency_conditions(records)
    head = ["network", "choices", "score and 95 % interval", "MACs", "params"]
    head += [f"median latency, ms ({each.label})" for each in conditions]
    rows = []
    for record in records:
        assert record.score is not None
        latencies = {conditions_of(record, each): each.p50_ms for each in record.latencies}
        cost = record.cost
        rows.append(
            [
                record_label(record),
                _choices(record),
                write_score(record.score),
                f"{cost.macs:,}" if cost else "",
                f"{cost.params:,}" if cost else "",
                *(f"{latencies[each]:.2f}" if each in latencies else "" for each in conditions),
            ]
        )
    return _table(head, rows, num_text=3)


def _network(record: Record) -> str:
    title = escape(record_label(record))
    parts = [network_drawing(record.spec)]
    if read_network(record.spec) is not None:
        parts.append(figure_svg(cost_figure(record)))
    return f"<details><summary>{title}</summary>{''.join(parts)}</details>"


def _published(task: str) -> str:
    known = published_protocols(task)
    if not known:
        return ""
    return "\n".join(
        [
            f"<h2>Published results of the task ({escape(MARK)})</h2>",
            f'<p class="note">{escape(CAVEAT)} They stand apart: their protocols are not ours.</p>',
            figure_svg(published_figure(task, known[0])),
        ]
    )


def _all_records(records: Sequence[Record], broken: Sequence[str]) -> str:
    rows = [
        [
            record.record_id,
            record.status.value,
            _choices(record),
            write_score(record.score) if record.score else "",
            record.reason or (f"score of {record.reused_from}" if record.reused_from else ""),
            f"{record.cost.macs:,}" if record.cost else "",
        ]
        for record in records
    ]
    failed = sum(record.status is Status.FAILED for record in records)
    summary = f"All {len(records)} records" + (f", {failed} failed" if failed else "")
    head = ["record", "status", "choices", "score and 95 % interval", "remark", "MACs"]
    named = _list(broken, "found") if broken else ""
    return (
        f"<h2>Records</h2><details><summary>{escape(summary)}</summary>"
        f"{_table(head, rows, num_text=5)}</details>{named}"
    )


def _conditions(records: Sequence[Record], groups: Sequence[Comparable]) -> str:
    lines = [f"Intervals: {INTERVAL_MEANING}."]
    lines += [f"{name}: {convention_rule(name)}" for name in CONVENTIONS]
    for machine in dict.fromkeys(_machine(record) for record in records):
        lines.append(f"Machine: {machine}")
    for group in groups:
        settings = {
            "schedule": group.protocol.schedule,
            "evaluation": group.protocol.evaluation,
            "data": group.protocol.data,
        }
        text = json.dumps(settings, sort_keys=True)
        lines.append(f"Protocol {group.protocol_id} ({group.protocol.task}): {text}")
    return f"<h2>Conventions and conditions</h2>{_list(lines, 'found note')}"


def _machine(record: Record) -> str:
    environment = record.environment
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    memory = f"{environment.memory_bytes / 2**30:.0f} GiB"
    accelerator = f", {environment.accelerator}" if environment.accelerator else ""
    return (
        f"{environment.cpu}, {environment.num_cores} cores, {memory}{accelerator}, "
        f"{environment.system}, Python {environment.python}, {packages}"
    )


def _choices(record: Record) -> str:
    return ", ".join(
        f"{address} = {value if isinstance(value, str) else json.dumps(value)}"
        for address, value in record.choices.items()
    )


def _list(items: Iterable[str], name: str) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, num_text: int) -> str:
    """Writes a table whose first columns hold text and whose others hold numbers."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{'' if index < num_text else ' class=n'}>{escape(text)}</{tag}>"
            for index, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
