"""The options of `entrain-env check`. Nothing heavy is imported here."""

import argparse
import math
import os
from pathlib import Path
from typing import Any


def add_check(commands: Any) -> None:
    """Add the command to those of `entrain-env`."""
    command = commands.add_parser(
        "check",
        help="drive a simulator through every rule of the wire contract, and report",
        description="A scripted trainer for whoever writes a client in another language: start it, "
        "let the simulator dial it, and read which rules the simulator kept, which it broke (what "
        "arrived, and the remedy) and which were not shown (docs/conformance.md).",
        epilog="Example: entrain-env check --listen localhost:50051 -- ./game --connect {address}. "
        "Exit codes: 0 no rule was broken; 1 one was, or one of --need was not shown, or nobody "
        "dialled; 2 the command line is wrong.",
    )
    _add_security(command)
    add = command.add_argument
    add(
        "--listen",
        default="localhost:50051",
        metavar="ADDRESS",
        help="where: HOST:PORT, [IPV6]:PORT or unix:PATH for gRPC (localhost:50051), or "
        "ws://HOST:PORT for WebSocket; port 0 is any free one",
    )
    add(
        "--timeout",
        type=_seconds,
        default=180.0,
        metavar="S",
        help="longest time for all of it (180); the rules about silence take 70 s",
    )
    add("--json", type=Path, metavar="FILE", help="write the findings for programs")
    add("--junit", type=Path, metavar="FILE", help="write them for continuous integration")
    need = "a rule that must be shown, such as mask; may be given several times"
    add("--need", action="append", default=[], metavar="RULE", help=need)
    add("--seed", type=int, default=1, metavar="N", help="of the actions (1)")
    add(
        "--insecure",
        action="store_true",
        help="listen on an address that other machines reach without TLS and token",
    )
    add(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="after --: starts the simulator, anew for each part of the check; {address} in it is "
        "what to dial, as are $ENTRAIN_ADDRESS and, for ws://, $ENTRAIN_WEBSOCKET. Without it, "
        "start the simulator by hand",
    )


def _add_security(command: argparse.ArgumentParser) -> None:
    for option, variable, text in (
        ("--token-file", "ENTRAIN_TOKEN_FILE", "its first line is the token that calls must show"),
        ("--tls-certificate", "", "PEM of the certificate chain that the check shows"),
        ("--tls-key", "", "PEM of its private key"),
        ("--tls-client-ca", "", "PEM of the authority whose certificates simulators must show"),
    ):
        usual = os.environ.get(variable) if variable else None
        hint = f"{text} (${variable})" if variable else text
        command.add_argument(
            option, type=Path, default=Path(usual) if usual else None, metavar="FILE", help=hint
        )


def _seconds(text: str) -> float:
    number = float(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number
