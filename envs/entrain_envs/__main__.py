"""The `entrain-env` command: run a bundled, Gymnasium or PettingZoo environment as a simulator.

Exit codes: see `exit_codes`. An `EntrainEnvsError` is printed as one line.
"""

import argparse
import dataclasses
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrain_envs.errors import (
    EntrainEnvsError,
    MisfitError,
    MissingExtraError,
    OptionError,
    SpecError,
)
from entrain_envs.exit_codes import FAILURE, MISFIT, SUCCESS, USAGE
from entrain_envs.grpc_lines import silence

# Commands import everything heavy themselves, so that --help answers at once.
if TYPE_CHECKING:
    from types import FrameType

    from entrain_envs.client import TrainerClient
    from entrain_envs.environment import Environment, Report

logger = logging.getLogger("entrain_envs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    silence()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)-5s %(message)s")
    # A module named on the command line may be in the current folder.
    sys.path.insert(0, str(Path.cwd()))
    _interrupt_on_termination()
    try:
        _simulate(options)
    except KeyboardInterrupt:
        logger.info("interrupted; left the trainer")
    except (OptionError, MissingExtraError) as error:
        return _fail(error, USAGE)
    except MisfitError as error:
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


def _simulate(options: argparse.Namespace) -> None:
    try:
        environment: Environment = options.make(options)
    except SpecError as error:
        raise OptionError(f"this environment cannot be a simulator: {error}") from error
    try:
        _drive(environment, options)
    finally:
        environment.close()


def _drive(environment: "Environment", options: argparse.Namespace) -> None:
    from entrain_envs.environment import Driver  # noqa: PLC0415

    client = _client(environment, options)
    driver = Driver(environment, client, episodes=options.episodes, seed=options.seed)

    def interrupt(number: int, frame: "FrameType | None") -> None:
        if not client.leave():
            signal.default_int_handler(number, frame)

    _on_end_signals(interrupt)
    try:
        driver.run()
    finally:
        if options.ledger is not None:
            _write_ledger(options.ledger, options.name, driver.report)


def _write_ledger(path: Path, simulator: str, report: "Report") -> None:
    ledger = {"simulator": simulator, **dataclasses.asdict(report)}
    path.write_text(json.dumps(ledger, indent=2) + "\n", encoding="utf-8")


def _client(environment: "Environment", options: argparse.Namespace) -> "TrainerClient":
    from entrain_envs.client import TrainerClient  # noqa: PLC0415

    return TrainerClient(
        options.connect,
        environment.behaviours,
        simulator=options.name,
        token="" if options.token_file is None else _first_line(options.token_file),
        tls_ca=options.tls_ca,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        connect_s=options.connect_s,
        reconnect_s=options.reconnect_s,
        max_message_mib=options.max_message_mib,
    )


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OptionError(f"cannot read token file {path}: {error.strerror}") from error
    if not lines or not lines[0].strip():
        raise OptionError(f"token file {path} is empty; its first line must be the token")
    return lines[0].strip()


def _make_gymnasium(options: argparse.Namespace) -> "Environment":
    from entrain_envs.gymnasium_adapter import GymnasiumEnvironment, make  # noqa: PLC0415
    from entrain_envs.keep_observations import KeepObservations  # noqa: PLC0415

    wrappers = [_named(wrapper) for wrapper in options.wrapper]

    def make_one() -> Any:
        copy = make(options.environment, options.kwargs)
        for wrapper in wrappers:
            copy = wrapper(copy)
        return copy if options.keep is None else KeepObservations(copy, options.keep)

    behaviour = options.behaviour or options.environment.rpartition(":")[2].replace("/", "-")
    return GymnasiumEnvironment(make_one, behaviour=behaviour, count=options.count)


def _make_pettingzoo(options: argparse.Namespace) -> "Environment":
    from entrain_envs.pettingzoo_adapter import PettingZooEnvironment  # noqa: PLC0415

    factory = _named(options.environment, default="parallel_env")
    return PettingZooEnvironment(
        lambda: factory(**options.kwargs),
        behaviour=options.behaviour,
        one_each=options.one_each,
        count=options.count,
    )


def _make_balance_ball(options: argparse.Namespace) -> "Environment":
    from entrain_envs.simulators.balance_ball import BalanceBall  # noqa: PLC0415

    return BalanceBall(count=options.count, behaviour=options.behaviour)


def _make_cue_memory(options: argparse.Namespace) -> "Environment":
    from entrain_envs.simulators.cue_memory import CueMemory  # noqa: PLC0415

    return CueMemory(count=options.count, cues=options.cues, behaviour=options.behaviour)


def _named(text: str, *, default: str = "") -> Any:
    """The object named by MODULE:NAME."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name or default)
    except ModuleNotFoundError as error:
        if error.name == "pettingzoo":
            raise MissingExtraError(
                "PettingZoo is not installed; install it with: pip install pettingzoo "
                "(the extra entrain-envs[pettingzoo])"
            ) from error
        raise OptionError(
            f"'{text}': {error}; expected MODULE:NAME, importable from here "
            "(pip install what is missing, or run where the module lies)"
        ) from error
    except (AttributeError, ValueError) as error:
        raise OptionError(f"'{text}': {error}; expected MODULE:NAME") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="entrain-env",
        description="Run an environment as a simulator that an entrain trainer teaches.",
        epilog="Example: entrain-env gymnasium CartPole-v1 --count 8 --connect localhost:50051. "
        "Exit codes: 0 the trainer is done, or this was stopped; 1 something failed, such as the "
        "connection; 2 the command line is wrong, or the environment cannot be a simulator; "
        f"{MISFIT} the trainer refuses this simulator as it is. A trainer that launched it starts "
        f"it again after 1, and never after 2 or {MISFIT}.",
    )
    commands = parser.add_subparsers(required=True, metavar="KIND", title="kinds of environment")
    _add_gymnasium(commands)
    _add_pettingzoo(commands)
    _add_balance_ball(commands)
    _add_cue_memory(commands)
    return parser


def _add_gymnasium(commands: Any) -> None:
    command = commands.add_parser("gymnasium", help="any Gymnasium environment")
    command.add_argument(
        "environment", metavar="ENV_ID", help="such as CartPole-v1, or MODULE:ENV_ID"
    )
    command.add_argument(
        "--wrapper",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="wrap each copy, innermost first; may be given several times",
    )
    command.add_argument(
        "--keep",
        type=_indices,
        metavar="I,J,...",
        help="show only these numbers of a vector observation, counted from 0; hide the others",
    )
    _add_kwargs(command)
    _add_common(command, count=1, behaviour="", behaviour_help="default: the environment's id")
    command.set_defaults(make=_make_gymnasium)


def _add_pettingzoo(commands: Any) -> None:
    command = commands.add_parser("pettingzoo", help="any parallel PettingZoo environment")
    command.add_argument(
        "environment",
        metavar="MODULE[:FACTORY]",
        help="such as pettingzoo.butterfly.pistonball_v6; FACTORY is parallel_env if left out",
    )
    command.add_argument(
        "--one-each",
        action="store_true",
        help="a behaviour for each agent, instead of one for all with the same spaces",
    )
    _add_kwargs(command)
    _add_common(
        command,
        count=1,
        behaviour="",
        behaviour_help="default: agents' names without their numbers",
    )
    command.set_defaults(make=_make_pettingzoo)


def _add_balance_ball(commands: Any) -> None:
    command = commands.add_parser("balance-ball", help="bundled: keep balls on tilting platforms")
    _add_common(command, count=12, behaviour="ball", behaviour_help="default: ball")
    command.set_defaults(make=_make_balance_ball)


def _add_cue_memory(commands: Any) -> None:
    command = commands.add_parser(
        "cue-memory", help="bundled: remember a sign until the end of a corridor"
    )
    command.add_argument("--cues", type=_positive, default=4, help="signs, and doors (4)")
    _add_common(command, count=32, behaviour="walker", behaviour_help="default: walker")
    command.set_defaults(make=_make_cue_memory)


def _add_kwargs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kwargs",
        type=_json_object,
        default={},
        metavar="JSON",
        help="arguments of the environment, such as '{\"continuous\": true}'",
    )


def _add_common(
    command: argparse.ArgumentParser, *, count: int, behaviour: str, behaviour_help: str
) -> None:
    environ = os.environ
    address = environ.get("ENTRAIN_ADDRESS")
    add = command.add_argument
    add("--count", type=_positive, default=count, help=f"copies in one message ({count})")
    add("--behaviour", default=behaviour, metavar="NAME", help=behaviour_help)
    add(
        "--connect",
        default=address,
        required=address is None,
        metavar="ADDRESS",
        help="the trainer: HOST:PORT, [IPV6]:PORT or unix:PATH ($ENTRAIN_ADDRESS)",
    )
    add(
        "--name",
        default=environ.get("ENTRAIN_SIMULATOR", f"simulator-{os.getpid()}"),
        help="for the trainer's logs; in lockstep each needs its own ($ENTRAIN_SIMULATOR)",
    )
    for option, variable, text in (
        ("--token-file", "ENTRAIN_TOKEN_FILE", "file whose first line is the bearer token"),
        ("--tls-ca", "ENTRAIN_TLS_CA", "PEM of the trainer's authority; switches TLS on"),
        ("--tls-certificate", "ENTRAIN_TLS_CERTIFICATE", "PEM of this simulator's certificate"),
        ("--tls-key", "ENTRAIN_TLS_KEY", "PEM of its private key"),
    ):
        add(
            option, type=Path, default=_path(variable), metavar="FILE", help=f"{text} (${variable})"
        )
    add("--seed", type=int, metavar="N", help="instead of the seed that the trainer gives")
    add(
        "--connect-s",
        type=float,
        default=300.0,
        metavar="S",
        help="how long to wait for a trainer that is not up yet (300)",
    )
    add(
        "--reconnect-s",
        type=float,
        default=environ.get("ENTRAIN_RECONNECT_S", "60"),
        metavar="S",
        help="how long to wait for one that stopped or broke ($ENTRAIN_RECONNECT_S, or else 60)",
    )
    add("--max-message-mib", type=float, default=256.0, metavar="MIB", help="largest message (256)")
    add("--episodes", type=int, default=0, metavar="N", help="leave after N episodes (0: never)")
    add("--ledger", type=Path, metavar="FILE", help="write what was counted as JSON at the end")


def _path(variable: str) -> Path | None:
    return Path(os.environ[variable]) if os.environ.get(variable) else None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _indices(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(index) for index in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of indices, such as 0,2") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text} is no JSON object; write {{"name": value}}')
    return value


if __name__ == "__main__":
    sys.exit(main())
