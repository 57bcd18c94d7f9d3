"""The command `entrain serve`, in a module of its own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from entrain.app.log_setup import start_logging
from entrain.cli_options import LogFormat, Settings, Verbose
from entrain.importing import interruptible

PORTS = "50100-50199"
PAGE = "localhost:8080"


def serve(  # noqa: PLR0917 - read by typer, which passes them by name
    directory: Annotated[
        Path, typer.Argument(help="Every settings file (*.yaml) in it is a run that should exist.")
    ],
    ports: Annotated[
        str, typer.Option(metavar="FIRST-LAST", help="That simulators of the runs dial.")
    ] = PORTS,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs that live at a time; without it, as many as there are processors."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where runs listen for simulators.")] = "localhost",
    http: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="The page of all runs; each run's own page is at that host."
        ),
    ] = PAGE,
    page_ports: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST-LAST",
            help="Of the runs' own pages; without it, any that are free.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Whether there are pages.")] = True,
    runs_directory: Annotated[
        Path | None,
        typer.Option(help="Where run folders are made; without it, DIRECTORY/runs."),
    ] = None,
    settings: Settings = None,
    restart: Annotated[
        bool, typer.Option("--restart/--no-restart", help="Whether a run that died is resumed.")
    ] = True,
    stop_s: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds in which a run may save and stop; then it is killed."),
    ] = 120.0,
    keep_last: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of runs that are completed, or whose file is gone, delete all but the newest.",
            show_default=False,
        ),
    ] = None,
    quota_gib: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Delete the oldest of those while all runs take more GiB on the disk.",
            show_default=False,
        ),
    ] = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Keep a directory of runs going: start, resume and stop them, and show all on one page."""
    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.supervise.cleaning import Limits
        from entrain.supervise.ports import parse_ports
        from entrain.supervise.service import ServeOptions
        from entrain.supervise.service import serve as serve_runs
        from entrain.supervise.supervisor import Rules

    options = ServeOptions(
        directory=directory,
        runs_directory=runs_directory,
        host=host,
        page=http if page else None,
        settings=tuple(settings or ()),
        rules=Rules(
            ports=parse_ports(ports, option="--ports"),
            page_ports=parse_ports(page_ports, option="--page-ports") if page_ports else None,
            at_once=at_once or _processors(),
            restarts=restart,
            stop_s=stop_s,
        ),
        limits=Limits(
            keep_last=keep_last,
            quota_bytes=None if quota_gib is None else round(quota_gib * 2**30),
        ),
    )
    raise typer.Exit(serve_runs(options))


def register(app: typer.Typer) -> None:
    """Add the command to those of `app`."""
    app.command()(serve)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
