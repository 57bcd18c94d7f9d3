"""Runs `entrain-env check`: listens, serves the script, writes the report."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from entrain_envs.conformance.launching import ProcessLauncher
from entrain_envs.conformance.listening import Access, Place, read_place
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.report import as_json, as_junit, in_lines
from entrain_envs.conformance.results import Finding, Verdict
from entrain_envs.conformance.rules import BY_NAME
from entrain_envs.conformance.script import Script
from entrain_envs.errors import MissingExtraError, OptionError
from entrain_envs.exit_codes import FAILURE, SUCCESS

if TYPE_CHECKING:
    from entrain_envs.conformance.grpc_port import GrpcPort
    from entrain_envs.conformance.websocket_port import WebSocketPort

logger = logging.getLogger("entrain_envs")


def check(options: argparse.Namespace, *, pace: Pace | None = None) -> int:
    """Check one simulator; returns the exit code, or raises OptionError if an option is wrong.

    Args:
        options: see `conformance.options`.
        pace: how long to wait for what; the usual one if None.
    """
    for name in options.need:
        if name not in BY_NAME:
            raise OptionError(f"--need {name}: no such rule; there are {', '.join(BY_NAME)}")
    place = read_place(options.listen, option="--listen")
    access = Access.read(
        token_file=options.token_file,
        certificate=options.tls_certificate,
        key=options.tls_key,
        client_ca=options.tls_client_ca,
    )
    access.check_exposure(place, insecure=options.insecure)
    with _port(place, access) as port:
        launcher = ProcessLauncher(options.command, port.address) if options.command else None
        logger.info("waiting for a simulator to dial %s (Ctrl+C reports)", port.address)
        script = Script(
            port,
            pace=pace or Pace(),
            timeout_s=options.timeout,
            seed=options.seed,
            token=access.token,
            launcher=launcher,
        )
        try:
            script.run()
        except KeyboardInterrupt:
            logger.info("interrupted; this is what was found")
        finally:
            if launcher is not None:
                launcher.stop()
    return _report(script.results.findings(), script.simulator, options)


def _port(place: Place, access: Access) -> "GrpcPort | WebSocketPort":
    """Listen over the transport that the place names."""
    if not place.is_websocket:
        from entrain_envs.conformance.grpc_port import GrpcPort  # noqa: PLC0415

        return GrpcPort(place, access)
    if find_spec("websockets") is None:
        raise MissingExtraError(
            f"{place.text} is listened on with a package more; install it with: "
            "pip install 'entrain-envs[websocket]'"
        )
    from entrain_envs.conformance.websocket_port import WebSocketPort  # noqa: PLC0415

    return WebSocketPort(place, access)


def _report(findings: Sequence[Finding], simulator: str, options: argparse.Namespace) -> int:
    sys.stdout.write(in_lines(findings, simulator=simulator))
    for path, text in (
        (options.json, as_json(findings, simulator=simulator)),
        (options.junit, as_junit(findings, simulator=simulator)),
    ):
        if path is not None:
            _write(path, text)
    missing = [
        each.rule.name
        for each in findings
        if each.rule.name in options.need and each.verdict is Verdict.NOT_SHOWN
    ]
    if missing:
        sys.stderr.write(f"entrain-env: needed and not shown: {', '.join(missing)}\n")
    if not simulator:
        sys.stderr.write(
            "entrain-env: no simulator dialled; does it dial this address, with TLS only if the "
            "check has it?\n"
        )
    failed = any(each.verdict is Verdict.FAILED for each in findings)
    return FAILURE if failed or missing or not simulator else SUCCESS


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}") from error
