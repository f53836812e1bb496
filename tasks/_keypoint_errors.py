"""What goes wrong with each key point: jitter, inversion, swap or miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._coco_entries import has_labelled_joints
from ._diagnosis import Diagnosis
from ._results import FloatArray

ERRORS = ("good", "jitter", "inversion", "swap", "miss")
"""What can be said of a key point, from right to wrong."""

_GOOD, _NEAR = 0.85, 0.5
_LEAST_MATCH = 0.1

OKS_SCALE = "COCO's similarity (OKS), the scale being the root of the person's area"
"""What errors are measured by where people have areas."""

Annotation = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KeypointErrors(Diagnosis):
    """How often each kind of error was made.

    Attributes:
        joints: The key points' names.
        counts: Labelled key points of matched people, by joint and kind in the order of
            ``ERRORS`` (K, 5).
        num_matched: People with a prediction.
        num_unmatched: Labelled people without one; their key points are in no count.
        scale: What distances are measured by.
    """

    joints: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    num_matched: int
    num_unmatched: int
    scale: str = OKS_SCALE

    @property
    def convention(self) -> str:
        """Which errors there are, and by what they are measured."""
        return (
            "Ronchi and Perona (ICCV 2017), labelled key points of people with a prediction; good "
            f"from a similarity of {_GOOD} on, jitter from {_NEAR} on, inversion: near the label "
            "of its mirror image, swap: near one of another person, miss: near none; by "
            f"{self.scale}"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The kinds of errors."""
        return ("key point", "labelled", *ERRORS)

    def rows(self) -> list[tuple[str | float, ...]]:
        """Returns a row a key point, and one for all of them."""
        report = self.report()
        named = {"all": report["all"], **report["per_joint"]}
        return [
            (name, row["num_labelled"], *(row[kind] for kind in ERRORS))
            for name, row in named.items()
        ]

    def parts(self) -> Sequence[tuple[str, dict[str, float]]]:
        """Returns how much of every labelled key point is of each kind."""
        return [
            (str(name), dict(zip(ERRORS, map(float, fractions), strict=True)))
            for name, whole, *fractions in self.rows()
            if whole
        ]

    def fractions(self) -> FloatArray:
        """Returns each kind's part of a joint's labelled key points (K, 5); NaN if there are none.

        The rows of joints that are labelled somewhere add up to 1.
        """
        with np.errstate(invalid="ignore"):
            parts: FloatArray = self.counts / self.counts.sum(axis=1, keepdims=True)
        return parts

    def report(self) -> dict[str, Any]:
        """Returns counts and fractions as plain values."""
        whole = self.counts.sum(axis=0)
        return {
            "convention": self.convention,
            "num_matched_people": self.num_matched,
            "num_unmatched_people": self.num_unmatched,
            "all": _row(whole),
            "per_joint": {
                name: _row(row) for name, row in zip(self.joints, self.counts, strict=True)
            },
        }


def diagnose(  # noqa: PLR0913 - a convention is all of these
    annotations: Sequence[Annotation],
    predictions: Sequence[Mapping[str, Any]],
    *,
    joints: tuple[str, ...],
    mirrored: Sequence[int],
    sigmas: FloatArray,
    scale: str = OKS_SCALE,
) -> KeypointErrors:
    """Sorts every labelled key point of every predicted person by what went wrong with it.

    With the similarity exp(-d^2 / (2 s^2 (2 sigma)^2)) of a predicted point to a labelled one, a
    key point is *good* from 0.85 on to its own label and a *jitter* from 0.5 on. Below, it is an
    *inversion* if it is at least 0.5 to the label of its mirror image on the same person, a
    *swap* if it is so to the same or the mirrored key point of another person of the image, and
    a *miss* otherwise.

    A prediction belongs to the person that its ``annotation_id`` names; one without is matched, the
    most confident first, to the person of its image that it is most similar to, from 0.1 on.

    Source: Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation
    (ICCV 2017), section 3.2.

    Args:
        annotations: The split's annotations.
        predictions: In COCO's results form.
        joints: The key points' names.
        mirrored: For each key point, its mirror image.
        sigmas: How far annotators disagree on each.
        scale: What the annotations' ``area`` stands for, in words.
    """
    people = [entry for entry in annotations if has_labelled_joints(entry)]
    by_image: dict[int, list[_Person]] = {}
    for entry in people:
        by_image.setdefault(entry["image_id"], []).append(_Person.of(entry))
    made_for: dict[int, list[Mapping[str, Any]]] = {}
    for each in predictions:
        made_for.setdefault(each["image_id"], []).append(each)
    counts = np.zeros((len(joints), len(ERRORS)), dtype=np.int64)
    num_matched = 0
    for image_id, present in by_image.items():
        for person, points in _matched(present, made_for.get(image_id, []), sigmas):
            num_matched += 1
            others = [each for each in present if each is not person]
            kinds = _kinds(person, others, points, mirrored, sigmas)
            labelled = np.flatnonzero(person.labelled)
            counts[labelled, kinds[labelled]] += 1
    return KeypointErrors(
        joints=joints,
        counts=counts,
        num_matched=num_matched,
        num_unmatched=len(people) - num_matched,
        scale=scale,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Person:
    """A labelled person."""

    annotation_id: int
    points: FloatArray
    labelled: npt.NDArray[np.bool_]
    area: float

    @classmethod
    def of(cls, entry: Annotation) -> _Person:
        rows = np.asarray(entry["keypoints"], dtype=np.float64).reshape(-1, 3)
        return cls(
            annotation_id=entry["id"],
            points=rows[:, :2],
            labelled=rows[:, 2] > 0,
            area=entry["area"],
        )

    def similarity(
        self, points: FloatArray, sigmas: FloatArray, order: Sequence[int] | None = None
    ) -> FloatArray:
        """Similarity of points to the labels of each joint, or of the joints in another order."""
        index = np.arange(len(self.points)) if order is None else np.asarray(order)
        squared = ((points - self.points[index]) ** 2).sum(axis=1)
        found: FloatArray = np.exp(
            -squared / (2 * (2 * sigmas[index]) ** 2 * (self.area + np.spacing(1)))
        )
        return np.where(self.labelled[index], found, 0.0)


def _matched(
    people: Sequence[_Person], made: Sequence[Mapping[str, Any]], sigmas: FloatArray
) -> list[tuple[_Person, FloatArray]]:
    free = list(people)
    found = []
    for prediction in sorted(made, key=lambda each: -each["score"]):
        points = np.asarray(prediction["keypoints"], dtype=np.float64).reshape(-1, 3)[:, :2]
        owner = prediction.get("annotation_id")
        if owner is not None:
            person = next((each for each in free if each.annotation_id == owner), None)
        else:
            person = _nearest(free, points, sigmas)
        if person is not None:
            free.remove(person)
            found.append((person, points))
    return found


def _nearest(people: Sequence[_Person], points: FloatArray, sigmas: FloatArray) -> _Person | None:
    means = [float(each.similarity(points, sigmas)[each.labelled].mean()) for each in people]
    if not means or max(means) < _LEAST_MATCH:
        return None
    return people[int(np.argmax(means))]


def _kinds(
    person: _Person,
    others: Sequence[_Person],
    points: FloatArray,
    mirrored: Sequence[int],
    sigmas: FloatArray,
) -> npt.NDArray[np.int64]:
    """Every joint's kind, as an index into ``ERRORS``."""
    own = person.similarity(points, sigmas)
    has_mirror = np.asarray(mirrored) != np.arange(len(points))
    is_inverted = has_mirror & (person.similarity(points, sigmas, mirrored) >= _NEAR)
    is_swapped = np.zeros(len(points), dtype=bool)
    for other in others:
        is_swapped |= other.similarity(points, sigmas) >= _NEAR
        is_swapped |= other.similarity(points, sigmas, mirrored) >= _NEAR
    return np.select(
        [own >= _GOOD, own >= _NEAR, is_inverted, is_swapped], [0, 1, 2, 3], default=4
    ).astype(np.int64)


def _row(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    whole = int(counts.sum())
    return {
        "num_labelled": whole,
        **{
            name: int(count) / whole if whole else float("nan")
            for name, count in zip(ERRORS, counts.tolist(), strict=True)
        },
    }
