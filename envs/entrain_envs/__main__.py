"""The `entrain-env` command: run a bundled, Gymnasium or PettingZoo environment as a simulator.

Exit codes: see `exit_codes`. An `EntrainEnvsError` is printed as one line.
"""

import argparse
import dataclasses
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from entrain_envs import command_line
from entrain_envs.errors import (
    CertainFaultError,
    EntrainEnvsError,
    FaultyEnvironmentError,
    MisfitError,
    MissingExtraError,
    OptionError,
    SpecError,
)
from entrain_envs.exit_codes import FAILURE, MISFIT, SUCCESS, USAGE
from entrain_envs.grpc_lines import silence
from entrain_envs.log_lines import log_to_stderr

# Commands import everything heavy themselves, so that --help answers at once.
if TYPE_CHECKING:
    from types import FrameType

    from entrain_envs.client import TrainerClient
    from entrain_envs.environment import Environment, Report
    from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger("entrain_envs")

_SEASONED = 2
"""Exchanges of each group after which a reset and a step have worked, so that a fault may be one of
many."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    silence()
    return run(command_line.parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Do what a command line asks for, of which these are the options; returns the exit code."""
    log_to_stderr()
    # A module named on the command line may be in the current folder.
    sys.path.insert(0, str(Path.cwd()))
    _interrupt_on_termination()
    try:
        if options.kind == "check":
            return _check(options)
        if options.kind == "bridge":
            _bridge(options)
        else:
            _simulate(options)
    except KeyboardInterrupt:
        logger.info("interrupted; left the trainer")
    except (OptionError, MissingExtraError) as error:
        return _fail(error, USAGE)
    except (MisfitError, CertainFaultError) as error:
        return _fail(error, MISFIT)
    except EntrainEnvsError as error:
        return _fail(error, FAILURE)
    return SUCCESS


def _fail(error: EntrainEnvsError, code: int) -> int:
    sys.stderr.write(f"entrain-env: {error}\n")
    return code


def _interrupt_on_termination() -> None:
    """Let SIGTERM (and Ctrl+Break on Windows) end the run as Ctrl+C does."""
    _on_end_signals(signal.default_int_handler)


def _on_end_signals(handler: "Callable[[int, FrameType | None], None]") -> None:
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)


def _check(options: argparse.Namespace) -> int:
    from entrain_envs.conformance.command import check  # noqa: PLC0415

    return check(options)


def _bridge(options: argparse.Namespace) -> None:
    import asyncio  # noqa: PLC0415

    from entrain_envs.unity.bridge import BridgedGame, GameSettings  # noqa: PLC0415
    from entrain_envs.unity.bridging import bridge  # noqa: PLC0415
    from entrain_envs.unity.side_channels import write_engine  # noqa: PLC0415

    engine = write_engine(
        width=options.width,
        height=options.height,
        quality_level=options.quality_level,
        time_scale=options.time_scale,
        target_frame_rate=options.target_frame_rate,
        capture_frame_rate=options.capture_frame_rate,
    )
    names = [
        options.name if options.games == 1 else f"{options.name}-{index}"
        for index in range(options.games)
    ]
    is_over = threading.Event()

    def sleep(seconds: float) -> None:
        if is_over.wait(seconds):
            raise KeyboardInterrupt

    # What cannot be read is refused now, and not when the first game dials.
    _require_readable(options)
    games = [
        BridgedGame(
            partial(_client_of, name, options, sleep=sleep),
            GameSettings(seed=options.seed + index, num_areas=options.num_areas, engine=engine),
            name=name,
        )
        for index, name in enumerate(names)
    ]
    limit = int(options.max_message_mib * 2**20)

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()

        def end(_number: int, _frame: "FrameType | None") -> None:
            is_over.set()
            loop.call_soon_threadsafe(over.set)

        _on_end_signals(end)
        place = {"host": options.host, "port": options.port}
        await bridge(games, over=over, **place, max_message_bytes=limit)

    asyncio.run(serve())


def _simulate(options: argparse.Namespace) -> None:
    from entrain_envs.making import make_groups  # noqa: PLC0415

    try:
        groups = make_groups(options)
    except SpecError as error:
        raise OptionError(f"this environment cannot be a simulator: {error}") from error
    try:
        _drive(groups, options)
    finally:
        for group in groups:
            group.close()


def _drive(groups: "Sequence[Environment]", options: argparse.Namespace) -> None:
    from entrain_envs.environment import Driver  # noqa: PLC0415
    from entrain_envs.real_time import in_real_time  # noqa: PLC0415

    behaviours = in_real_time(
        groups[0].behaviours, deadline_ms=options.deadline_ms, fallback=options.fallback
    )
    client = _client_of(options.name, options, behaviours, max_unanswered_steps=len(groups))
    driver = Driver(groups, client, episodes=options.episodes, seed=options.seed)

    def interrupt(number: int, frame: "FrameType | None") -> None:
        if not client.leave():
            signal.default_int_handler(number, frame)

    _on_end_signals(interrupt)
    try:
        driver.run()
    except (SpecError, FaultyEnvironmentError) as error:
        is_new = driver.report.exchanges < _SEASONED * len(groups)
        raise (_certain(error) if is_new else error) from error
    finally:
        if options.ledger is not None:
            _write_ledger(options.ledger, options.name, driver.report)


def _certain(error: EntrainEnvsError) -> EntrainEnvsError:
    """`error`, as one that every start would meet unless it depends on the machine."""
    from entrain_envs.faults import may_pass  # noqa: PLC0415

    return error if may_pass(error.__cause__) else CertainFaultError(str(error))


def _write_ledger(path: Path, simulator: str, report: "Report") -> None:
    ledger = {"simulator": simulator, **dataclasses.asdict(report)}
    path.write_text(json.dumps(ledger, indent=2) + "\n", encoding="utf-8")


def _client_of(
    name: str,
    options: argparse.Namespace,
    behaviours: "Sequence[BehaviourSpec]",
    *,
    max_unanswered_steps: int = 1,
    sleep: "Callable[[float], None]" = time.sleep,
) -> "TrainerClient":
    from entrain_envs.client import TrainerClient  # noqa: PLC0415

    return TrainerClient(
        options.connect,
        behaviours,
        simulator=name,
        token=options.token_file or "",
        tls_ca=options.tls_ca,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        connect_s=options.connect_s,
        reconnect_s=options.reconnect_s,
        max_message_mib=options.max_message_mib,
        max_unanswered_steps=max_unanswered_steps,
        role=options.role,
        sleep=sleep,
    )


def _require_readable(options: argparse.Namespace) -> None:
    """OptionError if a file that a client needs cannot be read."""
    from entrain_envs.connection import Destination  # noqa: PLC0415

    Destination(
        address=options.connect,
        token=options.token_file or "",
        tls_ca=options.tls_ca,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
    )


if __name__ == "__main__":
    sys.exit(main())
