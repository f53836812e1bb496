"""Records: everything that is known of one network after one trial, as one immutable file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from analysis.cost import Cost
from analysis.environment import Environment
from analysis.latency import Latency
from blocks import BranchworkError, ImageSize, Problem

FORMAT = 1
"""Version of the files' layout; a reader refuses versions that it does not know."""


class Status(StrEnum):
    """How a trial ended."""

    PROFILED = "profiled"
    TRAINED = "trained"
    INFEASIBLE = "infeasible"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that must be equal for two scores to be comparable.

    Seed and input size are not part of it: they are a replicate and a coordinate.

    Attributes:
        task: The task's name.
        data: Fingerprints of the training and validation data.
        schedule: The training schedule, field by field.
        evaluation: The evaluation settings (boxes, flip test, decoding, ...).
    """

    task: str
    data: dict[str, str]
    schedule: dict[str, Any]
    evaluation: dict[str, Any]

    @property
    def protocol_id(self) -> str:
        """The first 12 hex digits of the SHA-256 of all of it."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A network's accuracy under one protocol.

    Attributes:
        metric: The headline metric, such as ``AP`` (a fraction).
        value: Its value.
        low: Lower end of the 95 % bootstrap interval over images.
        high: Upper end.
        num_resamples: Bootstrap resamples behind the interval.
        num_images: Images that the score rests on.
        metrics: The task's other numbers, by name.
        protocol: What the score is comparable under.
        protocol_id: Its id.
        seed: Seed of initialisation, order and augmentation.
    """

    metric: str
    value: float
    low: float
    high: float
    num_resamples: int
    num_images: int
    metrics: dict[str, float]
    protocol: Protocol
    protocol_id: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes:
        step: Optimiser steps done.
        loss: Mean training loss since the last point.
        score: The headline metric on the validation data, None where it was not evaluated.
        elapsed_s: Seconds of training so far.
        metrics: All of the task's metrics there, by name; older records have none.
    """

    step: int
    loss: float
    score: float | None
    elapsed_s: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One network with its cost, latencies and score: one file, never changed.

    Attributes:
        record_id: Name of its file.
        study: The study that it belongs to.
        status: How the trial ended.
        network: What people call the network: a preset, a file, or its spec_id.
        spec: The network as plain data.
        spec_id: Its id.
        task: The task's name.
        num_outputs: Number of maps that it puts out.
        input: The image's size.
        cost: Its cost, None only if the spec is impossible.
        latencies: What was measured.
        score: Its accuracy, if it was trained.
        curve: Its learning curve.
        environment: Where it was measured.
        created: When, in UTC, ISO 8601.
        trial: The trial's number in the study, None outside of a search.
        choices: The study's choices that led to the network, by address.
        reason: Why it failed or is infeasible, "" otherwise.
        reused_from: The reference of the record that this one repeats, or whose score it took
            over, "" otherwise.
        train_s: Seconds of training and evaluation.
        num_skipped_images: Unreadable images that were left out, training and validation.
    """

    record_id: str
    study: str
    status: Status
    network: str
    spec: dict[str, Any]
    spec_id: str
    task: str
    num_outputs: int
    input: ImageSize
    cost: Cost | None
    environment: Environment
    latencies: tuple[Latency, ...] = ()
    score: Score | None = None
    curve: tuple[CurvePoint, ...] = ()
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    trial: int | None = None
    choices: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    reused_from: str = ""
    train_s: float = 0.0
    num_skipped_images: int = 0

    @property
    def reference(self) -> str:
        """How other records refer to this one: ``STUDY/RECORD_ID``."""
        return f"{self.study}/{self.record_id}"


def record_to_dict(record: Record) -> dict[str, Any]:
    """Returns a record as plain data that JSON can hold."""
    data = _plain(record)
    assert isinstance(data, dict)
    return {"format": FORMAT, **data}


def record_from_dict(data: object, where: str) -> Record:
    """Makes a record from plain data.

    Args:
        data: What was read.
        where: The file, for messages.

    Raises:
        BranchworkError: If it is no record of a known format.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        got = data.get("format") if isinstance(data, Mapping) else type(data).__name__
        raise BranchworkError(
            Problem(
                where=where,
                rule=f"a record is an object of format {FORMAT}",
                got=repr(got),
                do="read it with the version of Branchwork that wrote it",
            )
        )
    try:
        record = _typed(Record, {key: value for key, value in data.items() if key != "format"})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BranchworkError(
            Problem(
                where=where,
                rule="a record holds the fields of docs/results.md",
                got=f"{type(error).__name__}: {error}",
                do="restore the file, or delete it",
            )
        ) from None
    assert isinstance(record, Record)
    return record


def _plain(value: Any) -> Any:  # noqa: ANN401 - a tree of data
    if isinstance(value, ImageSize | StrEnum):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _typed(expected: Any, value: Any) -> Any:  # noqa: ANN401, PLR0911 - one line a type
    """Turns plain data back into the type that a field declares."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is types.UnionType:
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _typed(inner, value)
    if origin is tuple:
        _of_type(value, list)
        return tuple(_typed(arguments[0], item) for item in value)
    if origin is dict:
        return {key: _typed(arguments[1], item) for key, item in value.items()}
    if expected is ImageSize:
        return ImageSize.parse(value)
    if isinstance(expected, type) and issubclass(expected, StrEnum):
        return expected(value)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        hints = typing.get_type_hints(expected)
        return expected(**{name: _typed(hints[name], item) for name, item in value.items()})
    if expected is float:
        # JSON has no NaN, and writes whole numbers without a point.
        return math.nan if value is None else float(_of_type(value, float, int))
    return value if expected is Any else _of_type(value, expected)


def _of_type(value: Any, *expected: type) -> Any:  # noqa: ANN401
    if type(value) in expected:
        return value
    message = f"{expected[0].__name__} expected, got {value!r}"
    raise TypeError(message)
