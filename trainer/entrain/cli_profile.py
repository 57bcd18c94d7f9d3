"""The command `entrain profile`, in a module of its own."""

import json
import shutil
from typing import Annotated

import typer

from entrain.app.log_setup import start_logging
from entrain.cli_options import AsJson, Run

MOST_WIDTH = 100
"""Of lines, on terminals that are wider."""


def profile(
    run: Run,
    updates: Annotated[
        int, typer.Option(min=1, help="How many of the newest updates are looked at.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show where the time of a run goes, what limits it, and which options change that."""
    start_logging(verbose=False)
    from entrain.app import profile

    found = profile.profile_of(run, updates=updates)
    if as_json:
        typer.echo(json.dumps(profile.profile_for_programs(found)))
        return
    width = min(shutil.get_terminal_size().columns, MOST_WIDTH)
    for line in profile.describe_profile(found, width=width):
        typer.echo(line)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(profile)
