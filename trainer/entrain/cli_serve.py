"""The command `entrain serve`, in a module of its own."""

from pathlib import Path
from typing import Annotated

import typer

from entrain.app.log_setup import start_logging
from entrain.cli_options import LogFormat, Settings, Verbose
from entrain.importing import interruptible

PORTS = "50100-50199"
PAGE = "localhost:8080"


Directory = Annotated[
    Path, typer.Argument(help="Every settings file (*.yaml) in it is a run that should exist.")
]
Ports = Annotated[str, typer.Option(metavar="FIRST-LAST", help="That simulators of the runs dial.")]
AtOnce = Annotated[
    int | None,
    typer.Option(
        min=1, help="Runs that live at a time; without it, as many as there are processors."
    ),
]
Host = Annotated[str, typer.Option(help="Where runs listen for simulators.")]
Page = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT", help="The page of all runs; each run's own page is at that host."
    ),
]
PagePorts = Annotated[
    str | None,
    typer.Option(
        metavar="FIRST-LAST",
        help="Of the runs' own pages; without it, any that are free.",
    ),
]
HasPages = Annotated[bool, typer.Option("--page/--no-page", help="Whether there are pages.")]
RunsDirectory = Annotated[
    Path | None,
    typer.Option(help="Where run folders are made; without it, DIRECTORY/runs."),
]
Restart = Annotated[
    bool, typer.Option("--restart/--no-restart", help="Whether a run that died is resumed.")
]
StopSeconds = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds in which a run may save and stop; then it is killed."),
]
KeepLast = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Of runs that are completed, or whose file is gone, delete all but the newest.",
    ),
]
Quota = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Delete the oldest of those while all runs take more GiB on the disk.",
    ),
]


def serve(  # noqa: PLR0917 - read by typer, which passes them by name
    directory: Directory,
    ports: Ports = PORTS,
    at_once: AtOnce = None,
    host: Host = "localhost",
    http: Page = PAGE,
    page_ports: PagePorts = None,
    page: HasPages = True,
    runs_directory: RunsDirectory = None,
    settings: Settings = None,
    restart: Restart = True,
    stop_s: StopSeconds = 120.0,
    keep_last: KeepLast = None,
    quota_gib: Quota = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Keep a directory of runs going: start, resume and stop them, and show all on one page."""
    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.app.processors import available_processors
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
            at_once=at_once or available_processors(),
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
