"""What a rank study found: how well the short schedule's order of networks is the long one's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.image_results_store import ImageResultsStore
from analysis.rank_agreement import (
    NUM_RESAMPLES,
    Agreement,
    FloatArray,
    Stability,
    agreement,
    cost_strata,
    holds_from,
    stabilities,
    top_k_regret,
)
from analysis.records import CurvePoint, Record, Status
from analysis.statistics import Interval
from analysis.store import RunStore
from blocks import Problem, StudyError, did_you_mean
from search.rank_study import RankStudy, Run, runs_of
from search.trial import open_split
from tasks import ImageResults
from training import Schedule

KS = (1, 3, 5)
"""How many networks are taken on from the short schedule, for the regrets."""
_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class RankedNetwork:
    """A network with its runs.

    Attributes:
        name: What it is called.
        spec_id: Its id.
        macs: Its MACs at the study's input size.
        params: Its learnable values.
        short: Its records on the short schedule, one a seed.
        long: Its records on the long schedule, one a seed.
    """

    name: str
    spec_id: str
    macs: int
    params: int
    short: tuple[Record, ...]
    long: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class Regret:
    """What is lost by taking the short schedule's best networks only.

    Attributes:
        k: How many are taken.
        lost: The best long score less the best among those taken; its interval is over images.
    """

    k: int
    lost: Interval


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Networks of about one cost.

    Attributes:
        names: The networks, by rising MACs.
        macs: The least and the most MACs.
        found: How well the two orders agree among them.
    """

    names: tuple[str, ...]
    macs: tuple[int, int]
    found: Agreement


@dataclass(frozen=True, kw_only=True)
class RankFindings:
    """What a rank study found by one metric.

    Attributes:
        metric: The metric.
        short: Every network's score on the short schedule, a mean over seeds, with its 95 %
            bootstrap interval over images.
        long: The same on the long schedule.
        overall: How well the two orders agree.
        strata: The same within strata of MACs; none where they would be too small.
        regrets: What is lost by taking the short schedule's best.
        stabilities: How the order at each evaluation of the long schedule agrees with its last;
            none where learning curves do not hold the metric.
        holds_from_step: The step from which on it does so until the end, None if never before.
    """

    metric: str
    short: tuple[Interval, ...]
    long: tuple[Interval, ...]
    overall: Agreement
    strata: tuple[Stratum, ...]
    regrets: tuple[Regret, ...]
    stabilities: tuple[Stability, ...]
    holds_from_step: int | None


@dataclass(frozen=True, kw_only=True)
class RankResults:
    """What a rank study found.

    Attributes:
        study: The study.
        short: The short schedule, in steps.
        long: The long schedule, in steps.
        num_train_items: Items of the training data, a pass over which is an epoch.
        num_images: Images that scores rest on.
        networks: The networks that have all their scores.
        left_out: Why the others have not, by name.
        findings: What was found, by metric.
    """

    study: RankStudy
    short: Schedule
    long: Schedule
    num_train_items: int
    num_images: int
    networks: tuple[RankedNetwork, ...]
    left_out: dict[str, str]
    findings: dict[str, RankFindings]

    def epoch(self, step: int) -> float:
        """Returns how many passes over the training data the long schedule has done at a step."""
        return step * self.long.batch / self.num_train_items


def rank_results(
    study: RankStudy, store: RunStore, metrics: Sequence[str] = (), *, seed: int = 0
) -> RankResults:
    """Returns what the records of a study say; nothing is trained.

    Args:
        study: The study.
        store: Where its records are.
        metrics: What to rank by; none stands for the task's headline.
        seed: Seed of resampling and permutations.

    Raises:
        StudyError: If fewer than two networks have all their scores, or a metric is unknown.
        BranchworkError: If the per-image results of a record cannot be read.
    """
    runs = runs_of(study)
    records = {record.record_id: record for record in store.load(study.name).records}
    networks, left_out = _networks(study, runs, records)
    if len(networks) < _LEAST:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise StudyError(
            Problem(
                where=study.name,
                rule="an order needs two networks that have all their scores",
                got=f"{len(networks)} ({reasons})",
                do="give the same command again, or name other networks or a smaller --lr",
            )
        )
    metrics = tuple(metrics) or (study.task.metric,)
    _check_metrics(metrics, networks[0].long[0])
    results = _image_results(networks, store, study)
    val_data = open_split(study.task, study.data, "val", study.input)
    weights = np.random.default_rng(seed).multinomial(
        val_data.num_images,
        np.full(val_data.num_images, 1 / val_data.num_images),
        size=NUM_RESAMPLES,
    )
    return RankResults(
        study=study,
        short=runs[0].schedule,
        long=runs[1].schedule,
        num_train_items=len(open_split(study.task, study.data, "train", study.input)),
        num_images=val_data.num_images,
        networks=networks,
        left_out=left_out,
        findings={
            metric: _findings(networks, results, weights.astype(np.float64), metric, seed)
            for metric in metrics
        },
    )


def _networks(
    study: RankStudy, runs: Sequence[Run], records: Mapping[str, Record]
) -> tuple[tuple[RankedNetwork, ...], dict[str, str]]:
    networks: list[RankedNetwork] = []
    left_out: dict[str, str] = {}
    for entrant in study.networks:
        own = [run for run in runs if run.entrant is entrant]
        found = [records[run.record_id] for run in own if run.record_id in records]
        failed = [record for record in found if record.status is not Status.TRAINED]
        if failed:
            left_out[entrant.name] = failed[0].reason
        elif len(found) < len(own):
            left_out[entrant.name] = f"{len(own) - len(found)} of {len(own)} runs are not done"
        else:
            cost = found[0].cost
            assert cost is not None
            networks.append(
                RankedNetwork(
                    name=entrant.name,
                    spec_id=found[0].spec_id,
                    macs=cost.macs,
                    params=cost.params,
                    # Runs come in pairs: the short one before the long one.
                    short=tuple(found[::2]),
                    long=tuple(found[1::2]),
                )
            )
    return tuple(networks), left_out


def _check_metrics(metrics: Sequence[str], record: Record) -> None:
    assert record.score is not None
    known = list(record.score.metrics)
    unknown = [metric for metric in metrics if metric not in known]
    if unknown:
        raise StudyError(
            [
                Problem(
                    where="--metric",
                    rule=f"networks are ranked by a metric of the task: {', '.join(known)}",
                    got=repr(metric),
                    do=did_you_mean(metric, known),
                )
                for metric in unknown
            ]
        )


def _image_results(
    networks: Sequence[RankedNetwork], store: RunStore, study: RankStudy
) -> dict[str, ImageResults]:
    """Returns the per-image results of all runs, by the records' references."""
    kept = ImageResultsStore(store)
    return {
        record.reference: study.task.results.from_arrays(kept.read(record))
        for network in networks
        for record in (*network.short, *network.long)
    }


def _findings(
    networks: Sequence[RankedNetwork],
    results: Mapping[str, ImageResults],
    weights: FloatArray,
    metric: str,
    seed: int,
) -> RankFindings:
    short, short_resampled = _scores([n.short for n in networks], results, weights, metric)
    long, long_resampled = _scores([n.long for n in networks], results, weights, metric)
    resampled = (short_resampled, long_resampled)
    strata = cost_strata([network.macs for network in networks])
    held = _stabilities(networks, metric, seed)
    return RankFindings(
        metric=metric,
        short=_intervals(short, short_resampled),
        long=_intervals(long, long_resampled),
        overall=agreement(short, long, resampled=resampled, seed=seed),
        strata=tuple(
            Stratum(
                names=tuple(networks[index].name for index in members),
                macs=(networks[members[0]].macs, networks[members[-1]].macs),
                found=agreement(
                    short[[*members]],
                    long[[*members]],
                    resampled=(short_resampled[:, members], long_resampled[:, members]),
                    seed=seed,
                ),
            )
            for members in strata
        ),
        regrets=tuple(
            Regret(
                k=k,
                lost=_intervals(
                    top_k_regret(short[None], long[None], k),
                    top_k_regret(short_resampled, long_resampled, k)[:, None],
                )[0],
            )
            for k in KS
            if k < len(networks)
        ),
        stabilities=held,
        holds_from_step=holds_from(held),
    )


def _scores(
    records: Sequence[Sequence[Record]],
    results: Mapping[str, ImageResults],
    weights: FloatArray,
    metric: str,
) -> tuple[FloatArray, FloatArray]:
    """Returns every network's mean score over its runs, on all images and on resampled ones.

    Shape:
        (n,) and (R, n).
    """
    every = np.concatenate([np.ones((1, weights.shape[1])), weights])
    means = [
        np.mean([results[run.reference].score(every, metric) for run in runs], axis=0)
        for runs in records
    ]
    scores = np.stack(means, axis=1)
    return scores[0], scores[1:]


def _intervals(values: FloatArray, resampled: FloatArray) -> tuple[Interval, ...]:
    lows, highs = np.percentile(resampled, [2.5, 97.5], axis=0)
    return tuple(
        Interval(value=value, low=low, high=high, num_resamples=len(resampled))
        for value, low, high in zip(values.tolist(), lows.tolist(), highs.tolist(), strict=True)
    )


def _stabilities(
    networks: Sequence[RankedNetwork], metric: str, seed: int
) -> tuple[Stability, ...]:
    """Returns none where an older record's learning curve does not hold the metric."""
    steps = [point.step for point in networks[0].long[0].curve]
    scores = np.full((len(steps), len(networks)), np.nan)
    for column, network in enumerate(networks):
        curves = [
            [_at_point(point, record, metric) for point in record.curve] for record in network.long
        ]
        if any(len(curve) != len(steps) for curve in curves):
            return ()
        scores[:, column] = np.mean(curves, axis=0)
    return () if np.isnan(scores).any() else stabilities(steps, scores, seed=seed)


def _at_point(point: CurvePoint, record: Record, metric: str) -> float:
    assert record.score is not None
    if metric in point.metrics:
        return point.metrics[metric]
    if metric != record.score.metric or point.score is None:
        return math.nan
    return point.score
