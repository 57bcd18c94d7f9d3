"""The command `entrain tune`, in a module of its own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from entrain.app.log_setup import start_logging
from entrain.cli_options import LogFormat, Settings, Verbose
from entrain.importing import interruptible

File = Annotated[
    Path,
    typer.Argument(
        help="YAML file of a run, with a section `search` that says which options are varied."
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Show how the tuning stands and write its report, and try nothing; at any time.",
    ),
]


def tune(
    file: File,
    report: Report = False,
    settings: Settings = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Find good values of options: try them in runs of their own, several at a time.

    The same command goes on after Ctrl+C, or after a crash.
    """
    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.config.variables import arguments_of
        from entrain.tune import service

    options = service.TuneOptions(
        file=file,
        overrides=[*arguments_of(os.environ), *(settings or ())],
    )
    raise typer.Exit(service.report(options) if report else service.tune(options))


def register(app: typer.Typer) -> None:
    """Add the command to those of `app`."""
    app.command()(tune)
