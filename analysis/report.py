"""A study as one HTML page that opens offline: findings, plots, fronts, architectures."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from analysis.findings import findings, read_nothing
from analysis.html_page import html_list, html_page, html_table
from analysis.image_results_store import ReadResults
from analysis.published import CAVEAT, MARK, published_protocols
from analysis.records import Record, Status
from analysis.store import RunStore
from analysis.tables import front, record_label
from blocks import Problem, StudyError

_MAX_DRAWN = 6


def write_study_report(
    store: RunStore, study: str, path: Path, read: ReadResults = read_nothing
) -> Path:
    """Writes a study's report.

    Args:
        store: The run store.
        study: The study's name.
        path: The page to write; an existing one is replaced.
        read: Gives the per-image results of a record.

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
    text = study_report(study, loaded.records, loaded.broken, read)
    path.write_text(text, encoding="utf-8")
    return path


def study_report(
    study: str,
    records: Sequence[Record],
    broken: Sequence[str] = (),
    read: ReadResults = read_nothing,
) -> str:
    """Returns a study's report as HTML.

    Args:
        study: The study's name.
        records: Its records.
        broken: Lines on files that could not be read.
        read: Gives the per-image results of a record.
    """
    groups = protocols(records)
    parts = [
        f"<h1>Study {escape(study)}</h1>",
        f'<p class="sub">{escape(_subtitle(records))}</p>',
        "<h2>What was found</h2>",
        html_list(findings(records, read), "found"),
        *(_group(group) for group in groups),
        *(_published(task) for task in _tasks(records)),
        _all_records(records, broken),
        _conditions(records, groups),
    ]
    return html_page(study, parts, styles=DRAWING_STYLE)


def _subtitle(records: Sequence[Record]) -> str:
    inputs = sorted({str(record.input) for record in records})
    days = sorted({record.created[:10] for record in records})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{', '.join(_tasks(records))} at {', '.join(inputs)}; {len(records)} records, {span}"


def _tasks(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.task for record in records))


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
    return html_table(head, rows, num_text=3)


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
            f"<h2>Published results of {escape(task)} ({escape(MARK)})</h2>",
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
    named = html_list(broken, "found") if broken else ""
    return (
        f"<h2>Records</h2><details><summary>{escape(summary)}</summary>"
        f"{html_table(head, rows, num_text=5)}</details>{named}"
    )


def _conditions(records: Sequence[Record], groups: Sequence[Comparable]) -> str:
    lines = [f"Intervals: {INTERVAL_MEANING}."]
    lines += [f"{name}: {convention_rule(name)}" for name in CONVENTIONS]
    for machine in dict.fromkeys(machine_line(record) for record in records):
        lines.append(f"Machine: {machine}")
    for group in groups:
        settings = {
            "schedule": group.protocol.schedule,
            "evaluation": group.protocol.evaluation,
            "data": group.protocol.data,
        }
        text = json.dumps(settings, sort_keys=True)
        lines.append(f"Protocol {group.protocol_id} ({group.protocol.task}): {text}")
    return f"<h2>Conventions and conditions</h2>{html_list(lines, 'found note')}"


def machine_line(record: Record) -> str:
    """Returns where a record was made: processor, memory, system, versions."""
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
