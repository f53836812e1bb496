"""Rank studies for readers and programs: sentences, tables, a Markdown page with its picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.figures import figure_svg
from analysis.profile_tables import TextTable
from analysis.rank_agreement import HOLDS_AT, LEAST_IN_STRATUM, Agreement
from analysis.report import machine_line
from analysis.statistics import Interval
from analysis.table_formats import markdown_table, markdown_text
from search.rank_figure import rank_figure
from search.rank_results import RankedNetwork, RankFindings, RankResults
from training import Schedule

_SAME = "one of the schedules gives all networks the same score, which ranks nothing"


def rank_data(results: RankResults) -> dict[str, Any]:
    """Returns what a rank study found as plain data."""
    study = results.study
    return {
        "study": study.name,
        "task": study.task_name,
        "task_options": asdict(study.task),
        "input": str(study.input),
        "short": results.short.settings(),
        "long": results.long.settings(),
        "seeds": list(study.seeds),
        "num_train_items": results.num_train_items,
        "num_images": results.num_images,
        "networks": [
            {
                "name": network.name,
                "spec_id": network.spec_id,
                "macs": network.macs,
                "params": network.params,
                "choices": network.short[0].choices,
                "records": [r.reference for r in (*network.short, *network.long)],
            }
            for network in results.networks
        ],
        "left_out": results.left_out,
        "metrics": {name: _data(each, results) for name, each in results.findings.items()},
    }


def rank_sentences(results: RankResults) -> list[str]:
    """Says in words what was found by every metric, no more than the intervals allow."""
    sentences = []
    for findings in results.findings.values():
        if math.isnan(findings.overall.tau.value):
            sentences.append(f"{findings.metric}: {_SAME}.")
            continue
        sentences += [
            _order_sentence(findings),
            *_strata_sentences(findings),
            _regret_sentence(findings, results.networks),
            _stability_sentence(findings, results),
        ]
    if not next(iter(results.findings.values())).strata:
        sentences.append(
            f"{len(results.networks)} networks are too few for strata of cost with "
            f"{LEAST_IN_STRATUM} in each."
        )
    num_seeds = len(results.study.seeds)
    sentences.append(
        f"Each network was trained with {num_seeds} seeds; scores are means over them."
        if num_seeds > 1
        else "Each network was trained with one seed: how far the order moves from seed to seed is "
        "in none of these intervals."
    )
    return sentences


def scores_table(results: RankResults) -> TextTable:
    """Returns one row a network: its scores and ranks on both schedules by every metric."""
    found = list(results.findings.values())
    rows = []
    for index, network in enumerate(results.networks):
        cells = [str(index + 1), network.name, f"{network.macs:,}", f"{network.params:,}"]
        for findings in found:
            short, long = findings.short[index], findings.long[index]
            cells += [_write(short), _write(long), _ranks(findings, index)]
        rows.append(tuple(cells))
    head = ["no.", "network", "MACs", "params"]
    for findings in found:
        metric = findings.metric
        head += [f"{metric}, short", f"{metric}, long", f"rank by {metric}"]
    return TextTable(
        title="Networks",
        note=f"MACs and learnable values at {results.study.input}, one image. Scores on "
        f"{results.num_images:,} images with 95 % bootstrap intervals over images. Ranks: on the "
        "short and on the long schedule, 1 is the best; equal scores share the better rank.",
        head=tuple(head),
        rows=tuple(rows),
        num_text=2,
    )


def agreement_table(results: RankResults) -> TextTable:
    """Returns how well the orders agree: overall, and in every stratum."""
    rows = []
    for findings in results.findings.values():
        rows.append(_agreement_row(findings.metric, "all", findings.overall))
        rows += [
            _agreement_row(
                findings.metric,
                f"{stratum.macs[0] / 1e6:.1f} to {stratum.macs[1] / 1e6:.1f} M MACs",
                stratum.found,
            )
            for stratum in findings.strata
        ]
    return TextTable(
        title="Agreement of the two orders",
        note="Kendall tau-b with its 95 % bootstrap interval, drawn over networks and images; "
        "two-sided permutation p against no agreement. Strata hold equally many networks or one "
        f"more, and at least {LEAST_IN_STRATUM}.",
        head=("metric", "networks", "number", "tau", "95 % interval", "p", "orders counted"),
        rows=tuple(rows),
        num_text=2,
    )


def regret_table(results: RankResults) -> TextTable:
    """Returns what is lost by training only the short schedule's best on the long one."""
    return TextTable(
        title="Top-k regret",
        note="The best score of all on the long schedule less the best among the k networks that "
        "the short one puts first, with its 95 % bootstrap interval over images.",
        head=("metric", "k", "lost", "95 % interval"),
        rows=tuple(
            (
                findings.metric,
                str(regret.k),
                f"{regret.lost.value:.4f}",
                f"{regret.lost.low:.4f} to {regret.lost.high:.4f}",
            )
            for findings in results.findings.values()
            for regret in findings.regrets
        ),
        num_text=1,
    )


def stability_table(results: RankResults) -> TextTable:
    """Returns how the order at each evaluation of the long schedule agrees with its last."""
    return TextTable(
        title="When the order of the long schedule settles",
        note="Kendall tau-b to the order at the end, with its 95 % bootstrap interval over "
        "networks; the last evaluation agrees with itself.",
        head=("metric", "step", "epoch", "tau", "95 % interval"),
        rows=tuple(
            (
                findings.metric,
                str(each.step),
                f"{results.epoch(each.step):.2f}",
                _number(each.tau.value),
                _range(each.tau),
            )
            for findings in results.findings.values()
            for each in findings.stabilities
        ),
        num_text=1,
    )


def write_rank_report(results: RankResults, path: Path, command: str) -> tuple[Path, Path]:
    """Writes a Markdown page, and its picture beside it as SVG under the same name.

    Args:
        results: What was found.
        path: The page; an existing one is replaced, and so is the picture.
        command: What gave the results, as it is to be shown.

    Returns:
        The page and the picture.
    """
    picture = path.with_suffix(".svg")
    picture.write_text(figure_svg(rank_figure(results)), encoding="utf-8")
    study = results.study
    tables = [scores_table, agreement_table, regret_table, stability_table]
    parts = [
        f"# Rank study {markdown_text(study.name)}",
        "",
        _headline(results),
        "",
        *(f"- {markdown_text(sentence)}" for sentence in rank_sentences(results)),
        *(
            f"- Left out: {markdown_text(name)} ({markdown_text(why)})."
            for name, why in results.left_out.items()
        ),
        "",
        f"![Scores on both schedules, and the order over steps]({picture.name})",
    ]
    for make in tables:
        table = make(results)
        parts += ["", f"## {table.title}", "", markdown_table(table).rstrip()]
    parts += ["", "## Conditions", "", *(f"- {line}" for line in _conditions(results, command)), ""]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path, picture


def _headline(results: RankResults) -> str:
    study = results.study
    return (
        f"{len(results.networks)} networks, {markdown_text(study.task_name)} at {study.input}, "
        f"trained on {results.num_train_items:,} items: short, {_length(results.short, results)}; "
        f"long, {_length(results.long, results)}. Each schedule decays on its own, so the short "
        "one is not a prefix of the long one."
    )


def _data(findings: RankFindings, results: RankResults) -> dict[str, Any]:
    step = findings.holds_from_step
    return {
        "scores": [
            {"name": network.name, "short": asdict(short), "long": asdict(long)}
            for network, short, long in zip(
                results.networks, findings.short, findings.long, strict=True
            )
        ],
        **_agreement_data(findings.overall),
        "strata": [
            {
                "networks": list(stratum.names),
                "macs": list(stratum.macs),
                **_agreement_data(stratum.found),
            }
            for stratum in findings.strata
        ],
        "regrets": [{"k": each.k, **asdict(each.lost)} for each in findings.regrets],
        "stability": [
            {"step": each.step, "epoch": results.epoch(each.step), "tau": asdict(each.tau)}
            for each in findings.stabilities
        ],
        "holds_at_tau": HOLDS_AT,
        "holds_from_step": step,
        "holds_from_epoch": None if step is None else results.epoch(step),
    }


def _agreement_data(found: Agreement) -> dict[str, Any]:
    return {
        "num_networks": found.num_networks,
        "tau": asdict(found.tau),
        "interval_over": found.interval_over,
        **asdict(found.p),
    }


def _agreement_row(metric: str, networks: str, found: Agreement) -> tuple[str, ...]:
    how = "all" if found.p.is_exact else "random"
    return (
        metric,
        networks,
        str(found.num_networks),
        _number(found.tau.value),
        _range(found.tau),
        "-" if math.isnan(found.p.p) else f"{found.p.p:.2g}",
        f"{how} {found.p.num_permutations:,}" if found.p.num_permutations else "-",
    )


def _order_sentence(findings: RankFindings) -> str:
    found = findings.overall
    meaning = (
        "the short schedule orders these networks better than chance"
        if found.p.p <= 0.05 and found.tau.value > 0  # noqa: PLR2004 - the usual level
        else "this is not to be told from chance"
    )
    return (
        f"{findings.metric}: Kendall tau {found.tau.value:.2f} (95 % interval over "
        f"{found.interval_over} {found.tau.low:.2f} to {found.tau.high:.2f}), p {found.p.p:.2g} "
        f"({'exact' if found.p.is_exact else 'random orders'}); {meaning}."
    )


def _strata_sentences(findings: RankFindings) -> list[str]:
    if not findings.strata:
        return []
    taus = ", ".join(
        f"{_number(each.found.tau.value)} ({_range(each.found.tau)})" for each in findings.strata
    )
    return [f"{findings.metric}: within strata of MACs, the cheapest first, tau is {taus}."]


def _regret_sentence(findings: RankFindings, networks: tuple[RankedNetwork, ...]) -> str:
    best = max(range(len(networks)), key=lambda index: findings.long[index].value)
    lost = ", ".join(f"{each.lost.value:.3f} with k = {each.k}" for each in findings.regrets)
    return (
        f"{findings.metric}: the best on the long schedule is {networks[best].name} "
        f"({findings.long[best].value:.3f}); the short schedule's first k lose {lost or '-'}."
    )


def _stability_sentence(findings: RankFindings, results: RankResults) -> str:
    if not findings.stabilities:
        return f"{findings.metric}: the learning curves of records of older versions lack it."
    step = findings.holds_from_step
    if step is None:
        return (
            f"{findings.metric}: at no evaluation before the last is the order within tau "
            f"{HOLDS_AT} of the final one."
        )
    return (
        f"{findings.metric}: from step {step} of the long schedule on (epoch "
        f"{results.epoch(step):.2f}), the order stays within tau {HOLDS_AT} of the final one."
    )


def _conditions(results: RankResults, command: str) -> Iterable[str]:
    yield f"Command: `{command}`"
    records = [r for n in results.networks for r in (*n.short, *n.long)]
    for machine in dict.fromkeys(map(machine_line, records)):
        yield f"Machine: {machine}"
    days = sorted(record.created[:10] for record in records)
    yield f"Trained {days[0]} to {days[-1]}, page of {datetime.now(UTC):%Y-%m-%d}"
    yield f"Seeds: {', '.join(map(str, results.study.seeds))}"
    for name, schedule in (("short", results.short), ("long", results.long)):
        yield f"Schedule {name}: `{_json(schedule.settings())}`"
    yield f"Task options: `{_json(asdict(results.study.task))}`"
    for index, network in enumerate(results.networks, start=1):
        choices = network.short[0].choices
        if choices:
            name = f"{index} ({markdown_text(network.name)}, {network.spec_id})"
            yield f"Network {name}: `{_json(choices)}`"


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)


def _length(schedule: Schedule, results: RankResults) -> str:
    epochs = schedule.steps * schedule.batch / results.num_train_items
    return (
        f"{schedule.steps} steps of {schedule.batch} ({epochs:.2f} epochs, learning rate "
        f"{schedule.peak_lr:g})"
    )


def _ranks(findings: RankFindings, index: int) -> str:
    ranks = [
        1 + sum(other.value > each[index].value for other in each)
        for each in (findings.short, findings.long)
    ]
    return " / ".join(map(str, ranks))


def _write(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _range(interval: Interval) -> str:
    """Writes an interval of tau, a dash where it has none."""
    if math.isnan(interval.low):
        return "-"
    return f"{interval.low:.2f} to {interval.high:.2f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
