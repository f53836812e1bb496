"""The ``branchwork`` command: its verbs, and what happens to a user's mistake."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.atlas import atlas
from cli.calibrate import calibrate
from cli.catalogue import catalogue
from cli.compare import compare
from cli.dashboard import dashboard
from cli.demo import demo
from cli.evaluate import evaluate
from cli.export import export
from cli.latency import latency
from cli.predict import predict
from cli.predict_latency import predict_latency
from cli.profile import profile
from cli.published import published
from cli.rank_study import rank_study
from cli.report import report
from cli.roofline import roofline
from cli.search import search_app
from cli.show import show
from cli.train import train

app = typer.Typer(
    name="branchwork",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _command(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and those of the main libraries.")
    ] = False,
) -> None:
    """Design, measure, train, search and compare multi-branch, high-resolution networks."""
    if version:
        from analysis.environment import current_environment

        packages = current_environment().packages
        typer.echo(", ".join(f"{name} {number}" for name, number in packages.items()))
        raise typer.Exit


for verb in (
    profile,
    show,
    catalogue,
    published,
    atlas,
    latency,
    calibrate,
    predict_latency,
    roofline,
    export,
    train,
    evaluate,
    predict,
    compare,
    rank_study,
    report,
    dashboard,
    demo,
):
    app.command()(verb)
app.add_typer(search_app)

USER_ERROR = 2
INTERRUPTED = 130


def main() -> None:
    """Runs the command; a user's mistake is a line on standard error and exit code 2."""
    try:
        app()
    except SystemExit as ended:
        # Typer makes this of Ctrl-C, and says nothing.
        if ended.code == INTERRUPTED:
            print("interrupted", file=sys.stderr)  # noqa: T201 - the command's own output
        raise
    except ValueError as error:
        from blocks import BranchworkError

        if not isinstance(error, BranchworkError):
            raise
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(USER_ERROR)
    except OSError as error:
        from blocks import Problem

        problem = Problem(
            where=str(error.filename or ""),
            rule="files and folders that are named must be usable",
            got=error.strerror or type(error).__name__,
            do="check the path, its rights and the free space",
        )
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(USER_ERROR)
