"""``branchwork train``: trains one network and leaves its checkpoint and its record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_TASK, AsJson, Blocks, Changes, Input, OneNetwork, Runs, open_store

if TYPE_CHECKING:
    from analysis.records import Record
    from analysis.store import RunStore
    from search import Job, Outcome
    from training import StepReport

CHECKPOINT_FILE = "last.ckpt"
RECORD_FILE = "record.json"
_STUDY = "train"


def train(
    network: OneNetwork,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="coco_keypoints, mpii_keypoints, cityscapes, camvid, synthetic_keypoints, or "
            "synthetic_segmentation.",
        ),
    ] = DEFAULT_TASK,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="BRANCHWORK_DATA", help="The data set's folder."),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            metavar="NAME[,KEY=VALUE...]",
            help="smoke, tiny, short, medium, or a published recipe: coco_210, mpii_210, "
            "cityscapes_poly; perhaps with changes: tiny,steps=300,lr=0.01,ema=0.99.",
        ),
    ] = "tiny",
    input_: Input = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where checkpoint and record go [default: a folder in the run store].",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of the task: train_split=train, val_split=val, flip_test=false, "
            "num_train=1200; may be given several times.",
        ),
    ] = None,
    changes: Changes = None,
    accelerator: Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            min=1,
            help="Devices of each node [default: 1, or what torchrun says].",
            show_default=False,
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes",
            min=1,
            help="Nodes; several are started by torchrun [default: 1, or what torchrun says].",
            show_default=False,
        ),
    ] = None,
    loaders: Annotated[
        int, typer.Option("--loaders", min=0, help="Extra processes that prepare batches.")
    ] = 0,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Train one network on a schedule; a run that was stopped goes on where it stopped.

    Ctrl-C saves the run. The same command continues it, with the losses that it would have had.

    Examples:

        branchwork train lite_hrnet_18 --task synthetic_keypoints --input 128x96 --out out/lite18

        branchwork train lite_hrnet_18 --data coco --schedule short --input 256x192 --seed 1

        branchwork train lite_hrnet_18 --data lsp --option train_split=train --option val_split=val

        branchwork train lite_hrnet_18 --data coco --schedule coco_210,batch=64,precision=bf16-mixed

        torchrun --nproc-per-node 4 --no-python branchwork train lite_hrnet_18 --data coco
    """
    store = open_store(runs, blocks)
    from cli.networks import find_networks, input_of
    from cli.output import print_json, say
    from cli.settings import read_pairs, read_schedule
    from networks import spec_id, spec_to_dict
    from search import Job
    from tasks import find_task, make_task
    from training import Hardware, current_launch

    launch = current_launch()
    made_task = make_task(find_task(task), read_pairs(options or [], "--option"), "--option ")
    found = find_networks([network], task=task, changes=changes, store=store)[0]
    size = input_of(input_, task)
    folder = out or store.root / _STUDY / "runs" / f"{spec_id(found.spec)}-{size}-seed{seed}"
    _check_folder(folder)
    hardware = Hardware(
        accelerator=accelerator,
        devices=devices or (launch.devices if launch else 1),
        nodes=nodes or (launch.nodes if launch else 1),
        num_loaders=loaders,
        block_folders=tuple(blocks or ()),
    )
    job = Job(
        spec=spec_to_dict(found.spec),
        task_name=task,
        task=made_task,
        data=data,
        input=size,
        schedule=read_schedule(schedule, "--schedule"),
        seed=seed,
        checkpoint=folder / CHECKPOINT_FILE,
        hardware=hardware,
    )
    # What a run has to say is said by one of its processes.
    speaks = launch is None or launch.rank == 0
    job = _resolved(job, speaks=speaks)
    if speaks:
        say(
            f"training {found.name} [{spec_id(found.spec)}] for {task} at {size}: "
            f"{job.schedule.steps:,} steps of {job.schedule.batch}, seed {seed}, into {folder}"
        )
        say(f"learning rate {job.schedule.lr_rule}; warm-up {job.schedule.warmup_steps} steps")
    outcome = _train(job, speaks=speaks)
    if not speaks:
        return
    record = _record(job, found.name, outcome)
    _keep(record, outcome, folder / RECORD_FILE, store)
    if as_json:
        from analysis.records import record_to_dict

        data_out = record_to_dict(record)
        print_json(
            {**data_out, "checkpoint": str(job.checkpoint), "resumed_from": outcome.resumed_from}
        )
    else:
        _print(record, folder)


def _check_folder(folder: Path) -> None:
    """Checks before the work begins that its results will have a place."""
    from blocks import BranchworkError, Problem

    if folder.exists() and not folder.is_dir():
        raise BranchworkError(
            Problem(
                where="--out",
                rule="checkpoint and record go into a folder",
                got=f"{str(folder)!r}, which is a file",
                do="name a folder",
            )
        )


def _resolved(job: Job, *, speaks: bool) -> Job:
    """Opens the data, which say how long a schedule in epochs is."""
    from cli.output import say
    from search import open_split

    splits = [open_split(job.task, job.data, name, job.input) for name in ("train", "val")]
    for split in splits:
        if split.skipped and speaks:
            shown = "; ".join(split.skipped[:3])
            say(f"skipped {len(split.skipped)} unreadable images of {split.name}: {shown}")
    return replace(job, schedule=job.schedule.resolved(len(splits[0])))


def _train(job: Job, *, speaks: bool) -> Outcome:
    from blocks import Problem, StudyError
    from cli.progress import progress
    from search import run_job
    from training import RunFailedError

    with progress(job.schedule.steps, "step") as reporter, _interruption() as interrupted:

        def report(step: StepReport) -> None:
            text = f"loss {step.loss:.5f}, {step.samples_per_s:.0f} samples/s"
            if speaks:
                reporter.update(step.step, f"{text}, {step.message}" if step.message else text)
            if speaks and step.compile_s and not step.message:
                reporter.note(f"torch.compile: the first step took {step.compile_s:.1f} s")
            if interrupted.is_set():
                raise KeyboardInterrupt

        try:
            return run_job(job, on_step=report)
        except KeyboardInterrupt:
            reporter.note("stopped; what was done is kept: the same command goes on from there")
            raise
        except RunFailedError as error:
            raise StudyError(
                Problem(
                    where="training",
                    rule="the loss must stay finite and the run must fit the memory",
                    got=str(error),
                    do="use a smaller learning rate or batch: --schedule tiny,lr=0.001,batch=8",
                )
            ) from None


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into a wish to stop after the step; the second one stops at once."""
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        del number, frame
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _record(job: Job, name: str, outcome: Outcome) -> Record:
    from analysis.latency import measure_latency
    from analysis.records import Status
    from networks import spec_from_dict, spec_id
    from search import make_record

    spec = spec_from_dict(job.spec)
    protocol = outcome.score.protocol_id
    return make_record(
        record_id=f"{spec_id(spec)}-{protocol}-{job.input}-seed{job.seed}",
        study=_STUDY,
        status=Status.TRAINED,
        network=name,
        spec=spec,
        task_name=job.task_name,
        size=job.input,
        outcome=outcome,
        latencies=(measure_latency(spec, job.input),),
    )


def _keep(record: Record, outcome: Outcome, path: Path, store: RunStore) -> None:
    """Writes the record beside the checkpoint, and into the run store unless it has one."""
    from analysis.image_results_store import ImageResultsStore
    from analysis.store import record_text

    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(record_text(record), encoding="utf-8")
    temporary.replace(path)
    if not (store.study_folder(_STUDY) / "records" / f"{record.record_id}.json").is_file():
        ImageResultsStore(store).write(_STUDY, record.record_id, outcome.results.arrays())
        store.write(record)


def _print(record: Record, folder: Path) -> None:
    from analysis.axes import write_score
    from cli.output import out

    assert record.score is not None
    assert record.cost is not None
    console = out()
    console.print(
        f"{write_score(record.score)} on {record.score.num_images:,} images "
        f"(95 % bootstrap interval over images; protocol {record.score.protocol_id})",
        markup=False,
    )
    latency = record.latencies[0]
    console.print(
        f"{record.cost.macs:,} MACs, {record.cost.params:,} params, "
        f"{latency.p50_ms:.1f} ms median ({latency.runtime}, {latency.threads} thread, batch 1, "
        f"{latency.verdict})",
        markup=False,
    )
    console.print(f"checkpoint and record in {folder}", markup=False)
