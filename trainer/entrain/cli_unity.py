"""The commands for those who come from ML-Agents: `learn` is mlagents-learn, with its flags."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from entrain.app.log_setup import log_every_detail, start_logging
from entrain.app.printing import write_text
from entrain.importing import interruptible
from entrain.unity.flags import DETERMINISTIC, ENV_ARGS, FLAGS

logger = logging.getLogger(__name__)

_AS_THEY_ARE: Final = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Leaves all arguments to `_parser`, which reads them as mlagents-learn does."""


def learn(context: typer.Context) -> None:
    """Train a game built with Unity's ML-Agents: the command, flags and YAML of mlagents-learn."""
    given = vars(_parser().parse_args(context.args))
    start_logging(verbose="--debug" in given, log_format=given["--log-format"])
    for flag in FLAGS:
        if flag.outdated and flag.name in given:
            logger.warning("%s %s", flag.name, flag.outdated)
    from entrain.unity.stock_file import load_stock

    flags = {flag.key: given[flag.name] for flag in FLAGS if flag.key and flag.name in given}
    if ENV_ARGS in given:
        flags["env_settings.env_args"] = given[ENV_ARGS]
    file = load_stock(given["config"], flags)
    if file.run.debug:
        log_every_detail()
    with interruptible():
        from entrain.app import learning

    own = {flag: given[flag.name] for flag in FLAGS if flag.option and flag.name in given}
    raise typer.Exit(learning.learn(file, deterministic=DETERMINISTIC in given, own=own))


def convert(
    file: Annotated[Path, typer.Argument(help="YAML file of mlagents-learn.")],
    behavior: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only the policy of this behavior. Any number of times."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.")
    ] = None,
) -> None:
    """Print what a YAML file of mlagents-learn means in entrain's options, for `entrain train`."""
    start_logging(verbose=False)
    from entrain.unity.conversion import native_yaml
    from entrain.unity.stock_file import load_stock
    from entrain.unity.translation import translate

    stock = load_stock(file, {})
    translation = translate(stock, behaviours=behavior or ())
    write_text(native_yaml(translation, stock), output)


def register(app: typer.Typer) -> None:
    """Add these commands to those of `app`."""
    app.command(context_settings=_AS_THEY_ARE, add_help_option=False)(learn)
    app.command()(convert)


def _parser() -> argparse.ArgumentParser:
    """Reads the arguments of `learn`. Flags that are not given are not in what it returns."""
    parser = argparse.ArgumentParser(
        prog="entrain learn",
        description="Train a game built with Unity's ML-Agents, as mlagents-learn would.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "config", nargs="?", type=Path, default=None, help="YAML file; without one, all defaults"
    )
    groups: dict[str, Any] = {"": parser}
    for flag in FLAGS:
        if flag.panel not in groups:
            groups[flag.panel] = parser.add_argument_group(flag.panel)
        more: dict[str, Any] = {"action": "store_true"} if flag.kind is bool else {}
        if flag.kind is not bool:
            more = {"type": flag.kind, "metavar": flag.metavar}
        groups[flag.panel].add_argument(flag.name, dest=flag.name, help=flag.help, **more)
    parser.add_argument(
        ENV_ARGS, dest=ENV_ARGS, nargs=argparse.REMAINDER, help="all that follows goes to the game"
    )
    parser.add_argument(
        "--log-format",
        dest="--log-format",
        choices=_LOG_FORMATS,
        default=_log_format(_LOG_FORMATS),
        help="log lines for people, or one JSON object a line",
    )
    return parser


_LOG_FORMATS: Final = ("text", "json")


def _log_format(known: Sequence[str]) -> str:
    named = os.environ.get("ENTRAIN_LOG_FORMAT", "")
    return named if named in known else known[0]
