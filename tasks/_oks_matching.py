"""Matches predictions to people by similarity: COCO's rules, for all images at once.

The rules are pycocotools' to the last tie (https://cocodataset.org/#keypoints-eval): the 20 most
confident predictions of an image choose, the most confident first, the most similar person who is
still free and similar enough; of equally similar ones the later. Who does not count (crowds, people
without key points or of another size) is chosen only where nobody else can be, and a prediction
that chose such a one counts for nothing. Images with about as many people are stacked, and the n-th
predictions of all of them choose together, at all thresholds and among people of all sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ._average_precision import Ranking
from ._keypoint_arrays import BoolArray, Detections, IntArray, People
from ._oks_similarity import Similarity
from ._results import FloatArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The similarities from which on COCO says that a prediction found a person."""

AREAS_PX: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""The sizes of people that COCO scores apart."""

MAX_PER_IMAGE = 20
"""How many predictions of an image count at all."""

# As pycocotools has it, so that a perfect prediction passes a threshold of 1.
_ALMOST_ONE = 1 - 1e-10
_CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """The predictions that count, by image and falling score.

    Attributes:
        index: Which prediction each is (D,).
        place: Its image's place among all (D,).
        rank: Its number among those of its image (D,).
    """

    index: IntArray
    place: IntArray
    rank: IntArray


def match(
    image_ids: IntArray, people: People, detections: Detections, similarity: Similarity
) -> dict[str, Ranking]:
    """Returns the predictions of a split matched among people of all, medium and large areas.

    Args:
        image_ids: The split's images, rising (I,).
        people: All its annotations, crowds included.
        detections: Predictions for these images.
        similarity: How similar a prediction is to a person.
    """
    num_images, lows, highs = len(image_ids), *np.array([*AREAS_PX.values()]).T[:, :, None]
    person_place = np.searchsorted(image_ids, people.image_ids)
    person_order = np.argsort(person_place, kind="stable")
    num_people = np.bincount(person_place, minlength=num_images)
    ranked = _ranked(np.searchsorted(image_ids, detections.image_ids), detections.scores)
    uncounted = (people.crowds | (people.num_labelled == 0)) | _outside(
        people.areas_px, lows, highs
    )
    shape = (len(AREAS_PX), len(THRESHOLDS), len(ranked.index))
    found, ignored = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    first = np.concatenate([[0], np.cumsum(num_people)])
    for rows, columns in _stacks(num_people, ranked.place):
        numbers = first[rows][:, None] + np.arange(columns)
        exists = np.arange(columns) < num_people[rows][:, None]
        persons = person_order[np.where(exists, numbers, 0)]
        chosen = np.isin(ranked.place, rows, assume_unique=False)
        at = (np.searchsorted(rows, ranked.place[chosen]), ranked.rank[chosen])
        similar = np.full((len(rows), int(at[1].max(initial=-1)) + 1, columns), -1.0)
        row, column = np.nonzero(exists[at[0]])
        similar[at[0][row], at[1][row], column] = similarity.of_pairs(
            people, detections, persons[at[0][row], column], ranked.index[chosen][row]
        )
        matched, uncounted_match = _choose(similar, people.crowds[persons], uncounted[:, persons])
        found[:, :, chosen] = matched[:, at[0], at[1]].transpose(0, 2, 1)
        ignored[:, :, chosen] = uncounted_match[:, at[0], at[1]].transpose(0, 2, 1)
    # Nobody was to be found by a prediction of another size: it is no mistake.
    outside = _outside(detections.areas_px[ranked.index], lows, highs)
    ignored |= ~found & outside[:, None]
    scores = detections.scores[ranked.index]
    order = np.argsort(-scores, kind="stable")
    return {
        area: Ranking(
            image_index=ranked.place[order],
            scores=scores[order],
            found=found[index][:, order],
            counted=~ignored[index][:, order],
            num_people=np.bincount(
                person_place, weights=~uncounted[index], minlength=num_images
            ).astype(np.float64),
            empty=not len(people.ids) and not len(detections),
        )
        for index, area in enumerate(AREAS_PX)
    }


def _outside(areas_px: FloatArray, lows: FloatArray, highs: FloatArray) -> BoolArray:
    """Shape: (N,), (A, 1), (A, 1) -> (A, N)."""
    outside: BoolArray = (areas_px < lows) | (areas_px > highs)
    return outside


def _ranked(place: IntArray, scores: FloatArray) -> _Ranked:
    order = np.lexsort((-scores, place))
    sorted_place = place[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_place, sorted_place)
    counted = rank < MAX_PER_IMAGE
    return _Ranked(index=order[counted], place=sorted_place[counted], rank=rank[counted])


def _stacks(num_people: IntArray, detection_place: IntArray) -> Iterator[tuple[IntArray, int]]:
    """Yields images that are matched together, and for how many people there must be room."""
    shown = np.zeros(len(num_people), dtype=np.bool_)
    shown[detection_place] = True
    rooms = np.where(num_people > 0, 2 ** np.ceil(np.log2(np.maximum(num_people, 1))), 0)
    for room in np.unique(rooms[rooms > 0]):
        rows = np.flatnonzero(shown & (rooms == room))
        if not len(rows):
            continue
        columns = int(num_people[rows].max())
        num_together = max(1, int(_CHUNK_ELEMENTS / (len(AREAS_PX) * MAX_PER_IMAGE * columns)))
        for start in range(0, len(rows), num_together):
            yield rows[start : start + num_together], columns


def _choose(
    similar: FloatArray, crowds: BoolArray, uncounted: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Lets predictions choose people, in turn.

    Args:
        similar: Similarity of R ranks of predictions to P people in I images, below 0 where there
            is no such prediction or person (I, R, P).
        crowds: Who can be chosen again and again (I, P).
        uncounted: Who is chosen only where nobody else can be, by area (A, I, P).

    Returns:
        By area, image, rank and threshold, whether someone was chosen, and whether that one does
        not count (A, I, R, T).
    """
    num_areas, num_images, num_people = uncounted.shape
    num_ranks, num_thresholds = similar.shape[1], len(THRESHOLDS)
    # Preference as whole numbers, which have no ties: similarity, then place, and who counts first.
    by_similarity = np.argsort(np.argsort(similar, axis=2, kind="stable"), axis=2)
    taken = np.zeros((num_areas, num_images, num_thresholds, num_people), dtype=np.bool_)
    found = np.zeros((num_areas, num_images, num_ranks, num_thresholds), dtype=np.bool_)
    ignored = np.zeros_like(found)
    thresholds = np.minimum(THRESHOLDS, _ALMOST_ONE)[:, None]
    areas, images, levels = np.ogrid[:num_areas, :num_images, :num_thresholds]
    for rank in range(num_ranks):
        preference = by_similarity[:, rank] + num_people * ~uncounted
        enough = similar[:, rank, None] >= thresholds
        wish = np.where(enough & ~taken, preference[:, :, None], -1)
        best = wish.argmax(axis=3)
        chosen = np.take_along_axis(wish, best[..., None], axis=3)[..., 0] >= 0
        found[:, :, rank] = chosen
        ignored[:, :, rank] = chosen & uncounted[areas, images, best]
        taken[areas, images, levels, best] |= chosen & ~crowds[images, best]
    return found, ignored
