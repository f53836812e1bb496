"""``branchwork dashboard``: opens the Streamlit pages over the run store."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Blocks, Runs, load_blocks


def dashboard(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to serve on.")] = 8501,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Browse studies: accuracy against cost, fronts, architectures, learning curves.

    Only reads. Ctrl-C ends it.

    Example:

        branchwork dashboard --runs runs --port 8501
    """
    folders = load_blocks(blocks)
    package = find_spec("dashboard")
    assert package is not None
    assert package.origin is not None
    environment = {
        **os.environ,
        "BRANCHWORK_RUNS": str(runs.resolve()),
        "BRANCHWORK_BLOCKS": os.pathsep.join(str(folder.resolve()) for folder in folders),
    }
    command = [
        *(sys.executable, "-m", "streamlit", "run"),
        str(Path(package.origin).with_name("app.py")),
        f"--server.port={port}",
        # Results are nobody else's business: this machine only.
        "--server.address=127.0.0.1",
        f"--server.headless={'true' if headless else 'false'}",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        # Nobody is asked for an address before the first page.
        "--server.showEmailPrompt=false",
    ]
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # A terminal sent it to Streamlit too.
        code = 0 if process.wait() in {0, -2, 130} else 1
    raise typer.Exit(code)
