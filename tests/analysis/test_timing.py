"""Things are warmed until stable and timed in turns; what hits all alike leaves their ratio."""

import itertools
import math
import statistics
from contextlib import contextmanager

import pytest

from analysis import timing
from analysis.timing import Effort, Turn, ratio, take_turns, warm

EFFORT = Effort(min_runs=7, min_duration_s=0.0, max_duration_s=9.0, max_warm_s=1.0, num_rounds=3)


class Thing:
    """Takes, by a clock of its own, the time that it is told to."""

    def __init__(self, clock, log, name, times_s):
        self._clock, self._log, self._name = clock, log, name
        self._times_s = iter(times_s)

    def run(self):
        self._log.append(self._name)
        self._clock.now_s += next(self._times_s)

    @contextmanager
    def turn(self):
        self._log.append(f"<{self._name}")
        yield
        self._log.append(f"{self._name}>")


class Clock:
    now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, time_s):
        self.now_s += time_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(timing, "time", made)
    return made


def turn_of(index, number, *times_ms):
    return Turn(
        index=index, round=number, times_ms=times_ms, elapsed_s=sum(times_ms) / 1e3, busy_cores=0.0
    )


def test_a_probe_is_made_before_every_turn(clock):
    log, numbers = [], itertools.count(1)

    def probe():
        log.append("?")
        return float(next(numbers))

    things = [Thing(clock, log, name, itertools.repeat(0.01)) for name in "ab"]
    turns = list(take_turns(things, EFFORT, probe))
    assert [turn.probed for turn in turns] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert "".join(log).startswith("?<a")
    assert "?<b" in "".join(log)
    assert {turn.probed for turn in take_turns(things, EFFORT)} == {None}


def test_rounds_go_through_things_to_and_fro(clock):
    log = []
    things = [Thing(clock, log, name, itertools.repeat(0.01)) for name in "abc"]
    turns = list(take_turns(things, EFFORT))
    assert [(turn.round, turn.index) for turn in turns] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 2), (1, 1), (1, 0)),
        *((2, 0), (2, 1), (2, 2)),
    ]
    # Three of seven runs a turn, and one before that nobody times.
    assert all(turn.times_ms == pytest.approx((10.0,) * 3) for turn in turns)
    assert log[:6] == ["<a", "a", "a", "a", "a", "a>"]


def test_a_first_slow_run_of_a_turn_is_not_timed(clock):
    thing = Thing(clock, [], "a", itertools.cycle([5.0, 0.01, 0.01, 0.01]))
    assert [turn.p50_ms for turn in take_turns([thing], EFFORT)] == pytest.approx([10.0] * 3)


@pytest.mark.parametrize(
    ("run_s", "min_duration_s", "count"),
    [
        (0.01, 0.0, 3),  # the number of runs decides
        (0.01, 3.0, 100),  # a second a turn
        (2.0, 0.0, 2),  # nine seconds in all are three a turn
        (50.0, 0.0, 1),  # one at least
    ],
)
def test_turns_last_as_long_as_the_effort_says(clock, run_s, min_duration_s, count):
    thing = Thing(clock, [], "a", itertools.repeat(run_s))
    effort = Effort(
        min_runs=7,
        min_duration_s=min_duration_s,
        max_duration_s=9.0,
        max_warm_s=1.0,
        num_rounds=3,
    )
    for turn in take_turns([thing], effort):
        assert abs(len(turn.times_ms) - count) <= (count == 100)


def test_warming_ends_when_two_windows_agree(clock):
    log = []
    times_s = itertools.chain([1.0] * 3, [0.5] * 3, [0.05] * 3, itertools.repeat(0.0505))
    assert warm(Thing(clock, log, "a", times_s), max_warm_s=60.0)
    assert log.count("a") == 12
    assert (log[0], log[-1]) == ("<a", "a>")


def test_warming_gives_up(clock):
    faster = (0.9**count for count in itertools.count())
    assert not warm(Thing(clock, [], "a", faster), max_warm_s=1.0)


def test_what_changes_for_all_leaves_the_ratio():
    base = [turn_of(0, number, 1.0 * 2**number) for number in range(4)]
    slower = [turn_of(1, number, 3.0 * 2**number) for number in range(4)]
    found = ratio(slower, base)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_the_interval_is_student_s_on_the_logarithms():
    ratios = [1.0, 2.0, 4.0]
    base = [turn_of(0, number, 9.0, 10.0, 11.0) for number in range(3)]
    other = [turn_of(1, number, 10.0 * each) for number, each in enumerate(ratios)]
    found = ratio(other, base)
    logs = [math.log(each) for each in ratios]
    half = 4.302653 * statistics.stdev(logs) / math.sqrt(3)
    assert found.value == pytest.approx(2.0)
    assert math.log(found.low) == pytest.approx(math.log(2.0) - half, rel=1e-6)
    assert math.log(found.high) == pytest.approx(math.log(2.0) + half, rel=1e-6)


def test_only_rounds_of_both_are_compared():
    base = [turn_of(0, 0, 1.0), turn_of(0, 1, 1.0)]
    other = [turn_of(1, 0, 2.0), turn_of(1, 1, 2.0), turn_of(1, 2, 900.0)]
    assert ratio(other, base).value == pytest.approx(2.0)
    assert ratio(other, base[:1]) is None
    assert ratio(other, []) is None
