"""Records for tests of what is shown: real networks and costs, invented scores and times."""

from __future__ import annotations

from typing import Any

from analysis.cost import measure_cost
from analysis.environment import Environment
from analysis.latency import Latency
from analysis.records import CurvePoint, Protocol, Record, Score, Status
from blocks import ImageSize
from networks import NetworkSpec, SpecSpace, lite_hrnet_18, spec_from_dict, spec_id, spec_to_dict

SIZE = ImageSize(64, 64)
ENVIRONMENT = Environment(
    cpu="Example CPU",
    num_cores=2,
    memory_bytes=8 * 2**30,
    system="Linux x86_64",
    python="3.11.0",
    packages={"torch": "2.13.0"},
)
SPACE = SpecSpace.resolve(
    lite_hrnet_18(),
    {
        "branches": [2, 3],
        "widths": [[8, 16, 32, 64], [16, 32, 64, 128]],
        "block": ["ccw", "conv1x1_shuffle"],
    },
)


def score_of(value: float, *, task: str = "synthetic_keypoints", steps: int = 150) -> Score:
    protocol = Protocol(
        task=task,
        data={"train": "aaaaaaaaaaaa", "val": "bbbbbbbbbbbb"},
        schedule={"steps": steps, "batch": 16},
        evaluation={"flip": True},
    )
    return Score(
        metric="AP",
        value=value,
        low=value - 0.03,
        high=value + 0.03,
        num_resamples=1000,
        num_images=400,
        metrics={"AP": value, "mean_oks": value + 0.1},
        protocol=protocol,
        protocol_id=protocol.protocol_id,
        seed=0,
    )


def segmentation_score_of(value: float) -> Score:
    """A score of street scenes."""
    protocol = Protocol(
        task="synthetic_segmentation",
        data={"train": "cccccccccccc", "val": "dddddddddddd"},
        schedule={"steps": 150, "batch": 16},
        evaluation={"inference": "fit", "metric": "mIoU"},
    )
    return Score(
        metric="mIoU",
        value=value,
        low=value - 0.02,
        high=value + 0.02,
        num_resamples=1000,
        num_images=200,
        metrics={"mIoU": value, "mAcc": value + 0.1, "aAcc": value + 0.3},
        protocol=protocol,
        protocol_id=protocol.protocol_id,
        seed=0,
    )


def latency_of(p50_ms: float, *, size: ImageSize = SIZE) -> Latency:
    return Latency(
        runtime="eager",
        input=size,
        batch=1,
        threads=1,
        dtype="float32",
        num_runs=40,
        p50_ms=p50_ms,
        p90_ms=p50_ms * 1.1,
        min_ms=p50_ms * 0.95,
    )


def record_of(
    spec: NetworkSpec, number: int, *, study: str = "poses", size: ImageSize = SIZE, **fields: Any
) -> Record:
    score = fields.get("score")
    defaults = {
        "status": Status.PROFILED if score is None else Status.TRAINED,
        "network": "lite_hrnet_18",
        "task": score.protocol.task if score else "synthetic_keypoints",
        "cost": measure_cost(spec, size),
        "environment": ENVIRONMENT,
        "spec": spec_to_dict(spec),
        "spec_id": spec_id(spec),
        "curve": curve_of(score.value) if score else (),
        "created": f"2026-01-01T00:00:{number:02}+00:00",
    }
    return Record(
        record_id=f"{number:05}",
        study=study,
        num_outputs=spec.num_outputs,
        input=size,
        trial=number,
        **(defaults | fields),
    )


def curve_of(last: float, num_points: int = 3) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            step=50 * (index + 1),
            loss=0.004 / (index + 1),
            score=last * (index + 1) / num_points,
            elapsed_s=10.0 * (index + 1),
        )
        for index in range(num_points)
    )


def search_records(study: str = "poses", *, steps: int = 150, start: int = 0) -> list[Record]:
    """Eight trained networks, one that is too large and one that diverged."""
    records = []
    for index, row in enumerate(SPACE.rows()):
        spec = SPACE.spec(row)
        choices = {
            dimension.address: dimension.choices[chosen]
            for dimension, chosen in zip(SPACE.dimensions, row, strict=True)
        }
        score = score_of(0.2 + 0.04 * (index * 5 % 8), steps=steps)
        latencies = (latency_of(10.0 + 3 * index),)
        records.append(
            record_of(
                spec, start + index, study=study, score=score, latencies=latencies, choices=choices
            )
        )
    first = spec_from_dict(records[0].spec)
    too_large = record_of(
        first, start + 8, study=study, status=Status.INFEASIBLE, reason="macs 6 M > 5 M"
    )
    diverged = record_of(
        first, start + 9, study=study, status=Status.FAILED, reason="the loss became NaN at step 7"
    )
    return [*records, too_large, diverged]
