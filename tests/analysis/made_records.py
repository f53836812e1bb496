"""Makes records for tests: any field can be given, the rest is small and whole."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from analysis.cost import measure_cost
from analysis.environment import Environment
from analysis.latency import Latency
from analysis.records import Protocol, Record, Score, Status
from blocks import ImageSize
from networks import PRESETS, NetworkSpec, spec_id, spec_to_dict

SIZE = ImageSize(64, 64)
ENVIRONMENT = Environment(
    cpu="A CPU", num_cores=2, memory_bytes=2**33, system="Linux", python="3.11", packages={}
)
PROTOCOL = Protocol(
    task="coco_keypoints",
    data={"train": "a", "val": "b"},
    schedule={"steps": 2},
    evaluation={"boxes": "ground truth"},
)


@cache
def network(preset: str = "lite_hrnet_18") -> NetworkSpec:
    return PRESETS[preset].make(17)


@cache
def cost(preset: str, size: ImageSize):
    return measure_cost(network(preset), size)


def score(value, low, high, *, protocol=PROTOCOL, seed=0, num_images=50):
    return Score(
        metric="AP",
        value=value,
        low=low,
        high=high,
        num_resamples=1000,
        num_images=num_images,
        metrics={"AP": value, "mean_oks": value / 2},
        protocol=protocol,
        protocol_id=protocol.protocol_id,
        seed=seed,
    )


def latency(p50_ms, *, runtime="eager", threads=1, batch=1, dtype="float32", verdict="quiet"):
    return Latency(
        runtime=runtime,
        input=SIZE,
        batch=batch,
        threads=threads,
        dtype=dtype,
        num_runs=20,
        p50_ms=p50_ms,
        p90_ms=p50_ms * 1.1,
        min_ms=p50_ms * 0.9,
        verdict=verdict,
    )


def record(record_id, preset="lite_hrnet_18", *, size=SIZE, cpu="A CPU", scored=None, **fields):
    spec = network(preset)
    status = Status.TRAINED if scored else Status.PROFILED
    return Record(
        **{
            "record_id": record_id,
            "study": "s",
            "status": status,
            "network": preset,
            "spec": spec_to_dict(spec),
            "spec_id": spec_id(spec),
            "task": "coco_keypoints",
            "num_outputs": 17,
            "input": size,
            "cost": cost(preset, size),
            "environment": replace(ENVIRONMENT, cpu=cpu),
            "score": scored,
            "created": "2025-01-01T00:00:00+00:00",
            **fields,
        }
    )
