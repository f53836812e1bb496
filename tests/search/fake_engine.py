"""An engine that trains nothing: outcomes come from a function, at once and in this process."""

from __future__ import annotations

from contextlib import nullcontext

from analysis.latency import Latency
from analysis.records import CurvePoint, Score
from blocks import ImageSize
from networks import spec_from_dict, spec_id
from search import Engine, Finished, Outcome, open_split, protocol_of


def score_of(job):
    """A score that depends on the network alone."""
    return int(spec_id(spec_from_dict(job.spec)), 16) % 1000 / 1000


def outcome(job, value):
    splits = [open_split(job.task, job.data, name, job.input) for name in ("train", "val")]
    protocol = protocol_of(job.task_name, job.task, job.schedule, *splits)
    score = Score(
        metric="AP",
        value=value,
        low=value,
        high=value,
        num_resamples=1,
        num_images=splits[1].num_images,
        metrics={"AP": value, "mean_oks": value},
        protocol=protocol,
        protocol_id=protocol.protocol_id,
        seed=job.seed,
    )
    point = CurvePoint(step=job.schedule.steps, loss=1.0, score=value, elapsed_s=1.0)
    return Outcome(
        score=score,
        results=job.task.score(splits[1], []),
        curve=(point,),
        elapsed_s=1.0,
        num_skipped_images=0,
        resumed_from=0,
    )


class FakeEngine(Engine):
    """Finishes all jobs at the next poll.

    Args:
        finish: Makes the Finished of a key and a job; by default, every network gets its score.
        num_workers: How many jobs run at once.
    """

    def __init__(self, finish=None, num_workers=1):
        self._finish = finish or (
            lambda key, job: Finished(key=key, outcome=outcome(job, score_of(job)))
        )
        self._num_workers = num_workers
        self._jobs = {}
        self.submitted = []
        self.num_quiet = 0
        self.stopped = False

    @property
    def num_free(self):
        return self._num_workers - len(self._jobs)

    def submit(self, key, job):
        assert self.num_free > 0
        self._jobs[key] = job
        self.submitted.append(job)

    def poll(self, timeout_s):
        jobs, self._jobs = self._jobs, {}
        return [self._finish(key, job) for key, job in jobs.items()]

    def progress(self):
        return dict.fromkeys(self._jobs, 0.5)

    def quiet(self):
        self.num_quiet += 1
        return nullcontext("quiet")

    def stop(self):
        self.stopped = True


def fake_latency(
    spec, size: ImageSize, *, verdict="quiet", runtime="eager", threads=1, effort=None
) -> Latency:
    """More for wider networks: the stem's width decides."""
    p50_ms = float(spec.stage_shapes[-1][0].channels)
    return Latency(
        runtime=runtime,
        input=size,
        batch=1,
        threads=threads,
        dtype="float32",
        num_runs=1,
        p50_ms=p50_ms,
        p90_ms=p50_ms,
        min_ms=p50_ms,
        verdict=verdict,
    )
