"""Who cannot be told apart from the best network: by paired tests, else by intervals."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from made_records import latency, record, score

from analysis.findings import findings
from analysis.image_results_store import ImageResultsStore
from analysis.report import write_study_report
from analysis.rivals import MAX_TESTS, NUM_SWAPS, find_rivals
from analysis.store import RunStore
from blocks import BranchworkError

NUM_IMAGES = 50
SEEN = np.random.default_rng(0).uniform(0.3, 0.9, NUM_IMAGES)


class Mean:
    """Results whose score is a mean over images."""

    def __init__(self, values, first=0):
        self.values = np.asarray(values, dtype=np.float64)
        self.image_names = tuple(map(str, range(first, first + len(self.values))))

    @property
    def num_images(self):
        return len(self.values)

    def score(self, image_weights, metric=""):
        del metric
        return image_weights @ self.values / image_weights.sum(axis=1)

    def beside(self, other):
        return Mean(np.concatenate([self.values, other.values]))

    @classmethod
    def from_arrays(cls, arrays):
        return cls(arrays["values"])


BEST = record("best", trial=0, scored=score(0.6, 0.5, 0.7))
# A little worse on every image, though its interval overlaps.
WORSE = record("worse", "naive_lite_hrnet_18", trial=1, scored=score(0.58, 0.48, 0.68))
# As good: better on one image, worse on the next.
EQUAL = record("equal", "small_hrnet_w16", trial=2, scored=score(0.59, 0.49, 0.69))
RESULTS = {
    "s/best": Mean(SEEN),
    "s/worse": Mean(SEEN - 0.02),
    "s/equal": Mean(SEEN + 0.1 * (-1.0) ** np.arange(NUM_IMAGES) - 0.001),
}


def read(one):
    return RESULTS.get(one.reference)


def sentences(records, read):
    """What is said after the count and the best."""
    found = findings(records, read)[2:-1]
    return [re.sub(r"\[[0-9a-f]{12}\]", "[1b2c]", text) for text in found]


def test_a_paired_test_tells_apart_what_intervals_do_not():
    found = find_rivals(BEST, [WORSE, EQUAL], read)
    assert (found.tested, found.by_interval, found.left_out) == ((WORSE, EQUAL), (), ())
    assert found.equal == (EQUAL,)
    assert (found.num_swaps, found.is_exact) == (NUM_SWAPS, False)
    assert find_rivals(BEST, [WORSE, EQUAL], lambda _: None).equal == (WORSE, EQUAL)


def test_the_sentences_say_how_and_of_what():
    assert sentences([BEST, WORSE, EQUAL], read)[:2] == [
        (
            "Of the 2 others tested against it on the same images, 1 cannot be told apart from it "
            "(paired permutation test, random 2,000 swaps a pair, p adjusted for all 3 pairs of "
            "them (Holm), level 5%)."
        ),
        (
            "This is said of these trained networks, over images; not of their architectures: one "
            "seed each."
        ),
    ]
    assert sentences([BEST, WORSE], read)[0] == (
        "It is told apart from the other tested against it on the same images (paired permutation "
        "test, random 2,000 swaps a pair, level 5%)."
    )


def test_with_several_seeds_the_claim_says_who_speaks_of_architectures():
    again = replace(WORSE, record_id="seed1", score=score(0.57, 0.47, 0.67, seed=1))
    assert sentences([BEST, WORSE, again], read)[1] == (
        "This is said of these trained networks, over images; not of their architectures: "
        "branchwork compare takes all seeds of a network."
    )


def test_of_equally_good_networks_the_luckiest_is_seldom_told_apart():
    generator = np.random.default_rng(3)
    others = [replace(WORSE, record_id=f"other{index}") for index in range(6)]
    false = 0
    for _ in range(60):
        values = SEEN + 0.1 * generator.standard_normal((7, NUM_IMAGES))
        values = values[np.argsort(-values.mean(axis=1))]
        made = {"s/best": values[0], **{f"s/other{i}": values[i + 1] for i in range(6)}}
        found = find_rivals(BEST, others, lambda one, made=made: Mean(made[one.reference]))
        assert (len(found.tested), found.num_pairs) == (6, 21)
        false += len(found.equal) < 6
    # Adjusted for the 6 pairs with the best alone, it would be about one of eight.
    assert false / 60 <= 0.08


def test_p_values_are_adjusted_for_their_number():
    # Six images and one sign: one of 32 swaps is as extreme: p is 0.031.
    few = {name: Mean(SEEN[:6] - lost) for name, lost in zip(RESULTS, (0, 0.02, 0.02), strict=True)}

    def read_few(one):
        return few[one.reference]

    alone = find_rivals(BEST, [WORSE], read_few)
    assert (alone.equal, alone.num_swaps, alone.is_exact) == ((), 32, True)
    assert find_rivals(BEST, [WORSE, EQUAL], read_few).equal == (WORSE, EQUAL)
    said = sentences([BEST, WORSE, EQUAL], read_few)[0]
    assert "all 32 swaps a pair, p adjusted for all 3 pairs" in said


@pytest.mark.parametrize("results", [None, Mean(SEEN, first=1)])
def test_who_has_no_results_on_these_images_is_judged_by_the_interval(results):
    others = {**RESULTS, "s/worse": results}
    found = find_rivals(BEST, [WORSE, EQUAL], lambda one: others[one.reference])
    assert (found.tested, found.by_interval) == ((EQUAL,), (WORSE,))
    assert found.equal == (WORSE, EQUAL)


def test_the_front_is_tested_first():
    base = replace(BEST, cost=replace(BEST.cost, macs=1000))
    # As dear as the best and not much worse, all of them off the front.
    many = [
        replace(base, record_id=f"off{index}", score=score(0.59 - index / 1000, 0.4, 0.7))
        for index in range(MAX_TESTS + 2)
    ]
    cheap = replace(WORSE, cost=replace(WORSE.cost, macs=10))
    fast = replace(base, record_id="fast", score=score(0.2, 0.1, 0.3), latencies=(latency(1.0),))
    timed = replace(base, latencies=(latency(3.0),))
    found = find_rivals(timed, [*many, cheap, fast], lambda _: Mean(SEEN))
    assert found.tested == (*many[: MAX_TESTS - 2], cheap, fast)
    assert found.left_out == tuple(many[MAX_TESTS - 2 :])
    said = sentences([timed, *many, cheap, fast], lambda _: Mean(SEEN))[0]
    assert said.endswith("4 more, off the front or with lower scores, were not tested.")


def test_a_report_uses_what_is_stored(tmp_path):
    store = RunStore(tmp_path)
    kept = ImageResultsStore(store)
    for each in (BEST, WORSE):
        kept.write("s", each.record_id, {"values": RESULTS[each.reference].values})
        store.write(each)
    page = write_study_report(store, "s", tmp_path / "s.html", kept.reader(lambda _: Mean))
    assert "It is told apart from the other tested against it" in page.read_text()
    without = write_study_report(store, "s", tmp_path / "t.html")
    assert "without per-image results there is no paired test" in without.read_text()


def test_results_that_lack_a_part_are_one_line(tmp_path):
    kept = ImageResultsStore(RunStore(tmp_path))
    kept.write("s", "best", {"others": SEEN})
    with pytest.raises(BranchworkError, match="got no array 'values'; train") as caught:
        kept.results(BEST, Mean)
    assert "\n" not in str(caught.value)
    assert kept.reader(lambda _: Mean)(BEST) is None
    assert kept.reader(lambda _: Mean)(WORSE) is None
