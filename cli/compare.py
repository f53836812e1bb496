"""``branchwork compare``: which networks score higher, and which cannot be told apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Runs

if TYPE_CHECKING:
    from analysis.comparison import Comparison, Pair
    from analysis.permutation import ImageComparison
    from analysis.seeds import SeedComparison
    from analysis.statistics import Interval
    from cli.compared import Compared

_FEWEST = 2


def compare(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Records (STUDY/RECORD_ID), networks of a study with all their seeds "
            "(STUDY/NETWORK or STUDY/SPEC_ID), or prediction files.",
            show_default=False,
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", help="The task; needed for prediction files."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option("--annotations", help="What prediction files are scored on."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option("--metric", help="What to compare, such as mean_oks [default: the task's]."),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resampling.")] = 0,
    permutations: Annotated[
        int,
        typer.Option("--permutations", min=100, help="Most swaps to try for a pair of networks."),
    ] = 10_000,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Compare networks: paired differences, their intervals, p values, and who forms one group.

    Networks with one training run each are compared over images, by a paired permutation test: the
    claims are about these trained networks. Where one has runs with several seeds, networks are
    compared over seeds: the claims are about architectures. Scores of different protocols, input
    sizes or images are refused. P values are adjusted for the number of pairs (Holm).

    Examples:

        branchwork compare lsp/00000-51b00c725b2e lsp/00001-5ee41dd0e827

        branchwork compare train/lite_hrnet_18 train/naive_lite_hrnet_18 --metric mean_oks

        branchwork compare a.json b.json --task coco_keypoints --annotations person_keypoints.json
    """
    from analysis.store import RunStore
    from blocks import BranchworkError, Problem
    from cli.compared import find_compared
    from cli.output import print_json

    if len(networks) < _FEWEST:
        raise BranchworkError(
            Problem(
                where="A B...",
                rule="a comparison needs two networks",
                got=str(len(networks)),
                do="name another one",
            )
        )
    compared = find_compared(
        networks, task=task, annotations=annotations, metric=metric, store=RunStore(runs)
    )
    comparison = _compare(compared, seed, permutations)
    if as_json:
        print_json(_data(compared, comparison, seed))
    else:
        _print(compared, comparison)


def _compare(compared: Compared, seed: int, permutations: int) -> Comparison[Any, Any]:
    from analysis.comparison import compare_architectures, compare_trained

    if compared.scores:
        return compare_architectures(compared.scores)
    return compare_trained(
        compared.results, metric=compared.metric, seed=seed, num_permutations=permutations
    )


def _data(compared: Compared, comparison: Comparison[Any, Any], seed: int) -> dict[str, Any]:
    from dataclasses import asdict

    from analysis.comparison import sentence

    return {
        "task": compared.task,
        "metric": compared.metric,
        "protocol_id": compared.protocol_id,
        "rests_on": comparison.rests_on,
        "claim": comparison.claim,
        "seed": seed,
        "networks": [{"name": name, **asdict(each)} for name, each in comparison.scores.items()],
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                **_pair_data(pair.found),
                "p_adjusted": pair.p,
                "differs": pair.differs,
                "sentence": sentence(pair),
            }
            for pair in comparison.pairs
        ],
        "groups": [list(group) for group in comparison.groups],
    }


def _pair_data(found: ImageComparison | SeedComparison) -> dict[str, Any]:
    from analysis.permutation import ImageComparison

    if isinstance(found, ImageComparison):
        return {
            "difference": found.difference.value,
            "low": found.difference.low,
            "high": found.difference.high,
            "p": found.p,
            "num_permutations": found.num_permutations,
            "is_exact": found.is_exact,
            "num_images": found.num_images,
            "num_resamples": found.difference.num_resamples,
            "detectable_with_power_80": found.detectable,
        }
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "num_more_seeds": found.num_more_seeds,
    }


def _print(compared: Compared, comparison: Comparison[Any, Any]) -> None:
    from analysis.comparison import sentence
    from cli.output import out, table

    console = out()
    protocol = f", protocol {compared.protocol_id}" if compared.protocol_id else ""
    console.print(f"{compared.metric} on {compared.task}{protocol}", markup=False)
    console.print(f"{comparison.claim}\n", markup=False)
    letters = _letters(comparison.groups)
    if comparison.rests_on == "images":
        scores = table("network", compared.metric, "95 % interval over images", "group")
        for name, each in comparison.scores.items():
            scores.add_row(name, f"{each.value:.4f}", _interval(each), letters[name])
    else:
        scores = table(
            "network", "seeds", f"mean {compared.metric}", "sd", "95 % interval", "group"
        )
        for name, each in comparison.scores.items():
            scores.add_row(
                name,
                str(each.num_seeds),
                f"{each.mean:.4f}",
                _number(each.sd),
                _interval(each),
                letters[name],
            )
    console.print(scores)
    pairs = table("first", "second", "difference", "95 % interval", "p", "adjusted", "how", left=2)
    for pair in comparison.pairs:
        pairs.add_row(*_pair_row(pair))
    console.print(pairs)
    console.print()
    for pair in comparison.pairs:
        console.print(sentence(pair), markup=False)
    console.print("\nNetworks that share a letter cannot be told apart at 5 %.", markup=False)


def _pair_row(pair: Pair[Any]) -> tuple[str, ...]:
    data = _pair_data(pair.found)
    how = "Welch's t test"
    if "num_permutations" in data:
        how = f"{'all' if data['is_exact'] else 'random'} {data['num_permutations']:,} swaps"
    interval = "-" if math.isnan(data["low"]) else f"{data['low']:+.4f} to {data['high']:+.4f}"
    return (
        pair.first,
        pair.second,
        f"{data['difference']:+.4f}",
        interval,
        _number(data["p"]),
        _number(pair.p),
        how,
    )


def _letters(groups: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    """The letters of every network's groups; numbers where the alphabet does not do."""
    found: dict[str, str] = {}
    for index, group in enumerate(groups):
        letter = chr(ord("a") + index) if index < 26 else f"({index})"  # noqa: PLR2004
        for name in group:
            found[name] = found.get(name, "") + letter
    return found


def _interval(each: Interval) -> str:
    return "-" if math.isnan(each.low) else f"{each.low:.4f} to {each.high:.4f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
