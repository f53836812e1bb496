"""One run on several devices: a process for each, which this process starts and listens to."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from blocks import BranchworkError, load_block_folder
from training.reports import RunFailedError, StepReport, TrainedRun

OnStep = Callable[[StepReport], None]

_HOST = "127.0.0.1"


def run_in_processes(
    function: Callable[[OnStep], TrainedRun],
    num_processes: int,
    block_folders: Sequence[Path],
    on_step: OnStep,
) -> TrainedRun:
    """Runs a function in several new processes at once, each knowing its rank.

    The ranks are told by the variables that Lightning Fabric reads. What the first process says
    is passed on; when one fails, all are ended, and so they are when this process is interrupted.

    Args:
        function: What each process runs; it is pickled, so it must not hold layer specs, whose
            classes a new process knows only after it loaded the block folders.
        num_processes: How many.
        block_folders: Folders of blocks to load first.
        on_step: Is told, in this process, what the first one reports.

    Raises:
        BranchworkError: If the function raised one.
        RunFailedError: If the function raised one, or a process died.
    """
    context = get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(num_processes)]
    port = _free_port()
    processes = [
        context.Process(
            target=_work,
            args=(writer, rank, num_processes, port, tuple(block_folders), function),
            name=f"device {rank}",
        )
        for rank, (_, writer) in enumerate(pipes)
    ]
    try:
        for process in processes:
            process.start()
        for _, writer in pipes:
            # The process holds the only other end now: when it dies, reading says so.
            writer.close()
        return _listen([reader for reader, _ in pipes], on_step)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _listen(readers: Sequence[Connection], on_step: OnStep) -> TrainedRun:
    waiting = dict(zip(readers, range(len(readers)), strict=True))
    result: TrainedRun | None = None
    while waiting:
        for reader in wait(list(waiting)):
            assert isinstance(reader, Connection)
            try:
                message = reader.recv()
            except EOFError:
                text = f"the process of device {waiting[reader]} died (out of memory, or killed)"
                raise RunFailedError(text) from None
            if isinstance(message, Exception):
                raise message
            if isinstance(message, StepReport):
                on_step(message)
                continue
            result = message if waiting.pop(reader) == 0 else result
    assert result is not None
    return result


def _work(  # noqa: PLR0913, PLR0917 - all that a new process must know
    writer: Connection,
    rank: int,
    num_processes: int,
    port: int,
    block_folders: tuple[Path, ...],
    function: Callable[[OnStep], TrainedRun],
) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
    }
    try:
        for folder in block_folders:
            load_block_folder(folder)
        result = function(writer.send if rank == 0 else _say_nothing)
        writer.send(result if rank == 0 else None)
    except (BranchworkError, RunFailedError) as error:
        writer.send(error)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _say_nothing(report: StepReport) -> None:
    del report


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
