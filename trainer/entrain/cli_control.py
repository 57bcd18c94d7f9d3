"""The commands that look after a run from another terminal: `entrain ctl` and `entrain watch`."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrain.app.log_setup import start_logging
from entrain.cli_options import AsJson, Run

Command = Annotated[
    Literal["status", "metrics", "checkpoint", "stop", "pause", "go-on", "export", "set"],
    typer.Argument(help="What to ask of the run."),
]
NewSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH=VALUE]...", help="Of set: as --set takes them."),
]
PageAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of the run's page; without it, what the run's folder says.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="Whose first line is the control token; without it, the folder's."),
]
PageAuthority = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        help="PEM file of the authority that signed the page's certificate; without it, that "
        "of ENTRAIN_TLS_CA, or the run's own certificate.",
    ),
]
FromUpdate = Annotated[
    int | None,
    typer.Option(min=1, help="Of set: the update before which it changes; else the next."),
]
ExportFormat = Annotated[
    Literal["onnx", "unity", "json"], typer.Option("--format", help="Of export.")
]
PolicyName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of metrics; without it, all policies.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Of pause, export and stop: until that is done.")
]


def ctl(  # noqa: PLR0917 - read by typer, which passes them by name
    run: Run,
    command: Command,
    settings: NewSettings = None,
    address: PageAddress = None,
    token_file: TokenFile = None,
    tls_ca: PageAuthority = None,
    from_update: FromUpdate = None,
    form: ExportFormat = "onnx",
    policy: PolicyName = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Ask a run that goes on how it stands, or to save, stop, pause, change: docs/control.md."""
    start_logging(verbose=False)
    from entrain.app import ctl, page_client
    from entrain.run.folder import RunFolder
    from entrain.run.lock_probe import Hold, look_at

    place = page_client.find_place(run, address=address, token_file=token_file, ca_file=tls_ca)
    page = page_client.PageClient(place)
    answer = ctl.control(
        page, command, settings or [], from_update=from_update, form=form, policy=policy
    )
    done = ""
    if wait:
        lock = RunFolder(run).lock_file
        is_here = address is None
        done = ctl.wait_for(
            page,
            command,
            is_running=(lambda: look_at(lock).hold is Hold.HELD) if is_here else None,
        )
    if as_json:
        typer.echo(json.dumps({**answer, "done": done} if done else dict(answer)))
        return
    for line in [done] if done else ctl.words_of(command, answer):
        typer.echo(line)


def watch(
    run: Run,
    linger: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long a run that was stopped, failed or was killed may take to be resumed.",
        ),
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Follow a run from another terminal until it ends, by its folder; ends with its exit code."""
    start_logging(verbose=False)
    from rich.console import Console

    from entrain.app import watch

    try:
        code = watch.watch(
            run, as_json=as_json, linger_s=linger, console=Console(), write=typer.echo
        )
    except KeyboardInterrupt:
        code = 0  # the run goes on
    raise typer.Exit(code)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(ctl)
    app.command()(watch)
