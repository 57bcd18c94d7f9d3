"""The commands that explain what can be set and what is measured: `entrain schema`, `metrics`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from entrain.app.printing import write_text


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/configuration.md instead.")
    ] = False,
) -> None:
    """Print the JSON schema of the YAML file, with which an editor completes and checks it."""
    if markdown:
        from entrain.config import reference

        text = reference.markdown()
    else:
        from entrain.config.load import json_schema

        text = json.dumps(json_schema(), indent=2) + "\n"
    write_text(text, output)


def metrics(
    names: Annotated[
        list[str] | None, typer.Argument(help="Such as policy/kl; without any, all of them.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write docs/metrics.md instead.")
    ] = False,
) -> None:
    """Explain the metrics of a run: what each means, and what to do when it looks wrong."""
    from entrain.app import metrics_page

    lines = metrics_page.explain(names or [])
    write_text(metrics_page.markdown() if markdown else "\n".join([*lines, ""]), output)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(schema)
    app.command()(metrics)
