"""Findings claim no more than the intervals allow: the sentences, word for word."""

import math
import re
from dataclasses import replace

from made_records import PROTOCOL, latency, record, score

from analysis import findings as module
from analysis.records import Status

BEST = record("best", trial=0, scored=score(0.6, 0.5, 0.7), latencies=(latency(3.0),))
RIVAL = record("rival", "naive_lite_hrnet_18", trial=1, scored=score(0.55, 0.45, 0.65))
BEATEN = record("beaten", "small_hrnet_w16", trial=2, scored=score(0.2, 0.1, 0.3))
CAVEAT = (
    "Every interval is a 95 % bootstrap interval over images, of these trained weights; not over "
    "training runs, since each network was trained once."
)


def findings(records):
    """The sentences, every spec_id written as 1b2c."""
    return [re.sub(r"\[[0-9a-f]{12}\]", "[1b2c]", text) for text in module.findings(records)]


def test_without_records_nothing_is_found():
    assert findings([]) == ["There are no records yet."]


def test_without_scores_nothing_is_said_of_accuracy():
    over = replace(record("x"), status=Status.INFEASIBLE)
    assert findings([record("a"), over]) == [
        "2 records: 1 profiled, 1 infeasible.",
        "No network has been scored, so nothing can be said of accuracy.",
    ]


def test_overlapping_intervals_cannot_be_told_apart():
    assert findings([BEST, RIVAL, BEATEN]) == [
        "3 records: 3 trained.",
        (
            "Best by score: trial 0: lite_hrnet_18 [1b2c] with AP 0.600 (0.500 to 0.700) on 50 "
            "images, at 16.6 M MACs and 1.13 M params."
        ),
        (
            "Of the 2 others, 1 cannot be told apart from it: its interval overlaps (without "
            "per-image results there is no paired test, which may still tell some apart)."
        ),
        (
            "The cheapest that cannot be told apart from it is trial 1: naive_lite_hrnet_18 [1b2c] "
            "with AP 0.550 (0.450 to 0.650), at 15.5 M MACs and 0.76 M params: 93% of its MACs."
        ),
        CAVEAT,
    ]


def test_intervals_that_do_not_overlap_stand_apart():
    assert findings([BEST, BEATEN])[2:] == [
        (
            "No interval of the 1 other overlaps that of trial 0: lite_hrnet_18 [1b2c], which "
            "stands apart."
        ),
        CAVEAT,
    ]


def test_intervals_that_touch_cannot_be_told_apart():
    touching = replace(BEATEN, score=score(0.45, 0.4, 0.5))
    assert "cannot be told apart" in findings([BEST, touching])[2]


def test_the_fastest_is_named_with_its_conditions_and_disturbances():
    fast = replace(RIVAL, latencies=(latency(2.0, verdict="busy"),))
    assert findings([BEST, fast])[4] == (
        "The fastest of these is trial 1: naive_lite_hrnet_18 [1b2c] with AP 0.550 (0.450 to "
        "0.650): a median of 2.0 ms where the best takes 3.0 ms (eager, 1 thread, batch 1, "
        "float32, on A CPU; disturbed measurements: 1)."
    )
    slow = replace(RIVAL, latencies=(latency(4.0),))
    assert findings([BEST, slow])[4] == (
        "None of these is faster than it (eager, 1 thread, batch 1, float32, on A CPU)."
    )
    elsewhere = replace(fast, environment=replace(fast.environment, cpu="Another CPU"))
    assert not any("ms" in sentence.split() for sentence in findings([BEST, elsewhere]))


def test_protocols_are_spoken_of_apart():
    other = replace(RIVAL, score=score(0.9, 0.8, 1.0, protocol=replace(PROTOCOL, task="other")))
    found = findings([BEST, BEATEN, other])
    assert found[-1] == (
        "The scores stand under 2 combinations of protocol and input size, which are not compared "
        "with each other."
    )
    best = [sentence for sentence in found if "Best by score" in sentence]
    assert [sentence.partition(":")[0] for sentence in best] == [
        "AP on coco_keypoints at 64x64 (protocol 25d75c648f95)",
        "AP on other at 64x64 (protocol 9454ff6537d0)",
    ]


def test_repeats_are_counted_and_not_compared_with_themselves():
    again = replace(BEST, record_id="again", reused_from="s/best")
    assert findings([BEST, again]) == [
        "2 records: 2 trained (1 of them repeats an equal network).",
        (
            "Best by score: trial 0: lite_hrnet_18 [1b2c] with AP 0.600 (0.500 to 0.700) on 50 "
            "images, at 16.6 M MACs and 1.13 M params."
        ),
        CAVEAT,
    ]


def test_replicates_say_how_far_seeds_move_a_score():
    second = replace(BEST, record_id="seed1", score=score(0.56, 0.46, 0.66, seed=1))
    assert findings([BEST, second])[-1].endswith(
        "; 1 of 1 networks were trained with several seeds, which moved a score by up to 0.040."
    )


def test_a_score_that_is_no_number_is_nobody_s_rival():
    broken = replace(BEATEN, score=score(math.nan, math.nan, math.nan))
    assert findings([BEST, broken])[1:] == [
        (
            "Best by score: trial 0: lite_hrnet_18 [1b2c] with AP 0.600 (0.500 to 0.700) on 50 "
            "images, at 16.6 M MACs and 1.13 M params."
        ),
        CAVEAT,
    ]
    assert findings([broken])[1] == ("No score is a number, so nothing can be said of accuracy.")
