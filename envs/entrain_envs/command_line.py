"""The options of the `entrain-env` command.

Nothing heavy is imported here, so that --help answers at once.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from entrain_envs.command_line_values import (
    copies,
    indices,
    json_object,
    name_and_kind,
    positive,
    speed,
    subtraction,
)
from entrain_envs.conformance.options import add_check
from entrain_envs.exit_codes import MISFIT
from entrain_envs.observation_kinds import KINDS, SINGLE_NAME
from entrain_envs.wrapper_text import EXAMPLE, WrapperText, read_wrapper

_MOST_SHOWN = 200
"""Characters of what was typed that a message repeats."""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line. `kind` of what it returns names the environment's."""
    parser = argparse.ArgumentParser(
        prog="entrain-env",
        description="Run an environment as a simulator that an entrain trainer teaches.",
        epilog="Example: entrain-env gymnasium CartPole-v1 --count 8 --connect localhost:50051. "
        "Exit codes: 0 the trainer is done, or this was stopped; 1 something failed, such as the "
        "connection; 2 the command line is wrong, or the environment cannot be a simulator; "
        f"{MISFIT} the trainer refuses this simulator as it is, or the environment fails before "
        "its first step is done. A trainer that launched it starts "
        f"it again after 1, and never after 2 or {MISFIT}.",
    )
    commands = parser.add_subparsers(
        dest="kind", required=True, metavar="KIND", title="kinds of environment"
    )
    _add_gymnasium(commands)
    _add_pettingzoo(commands)
    _add_balance_ball(commands)
    _add_cue_memory(commands)
    _add_bridge(commands)
    add_check(commands)
    return parser


def _add_gymnasium(commands: Any) -> None:
    command = commands.add_parser("gymnasium", help="any Gymnasium environment")
    command.add_argument(
        "environment", metavar="ENV_ID", help="such as CartPole-v1, or MODULE:ENV_ID"
    )
    _add_wrapper(command)
    command.add_argument(
        "--preset",
        choices=("atari",),
        help="atari: frame skip, grey 84 x 84, four frames stacked, a lost life ends an episode, "
        "FIRE at the start, signs of rewards (the extra entrain-envs[atari])",
    )
    command.add_argument(
        "--keep",
        type=indices,
        metavar="I,J,...",
        help="show only these numbers of a vector observation, counted from 0; hide the others",
    )
    _add_about_environment(command)
    _add_info(command)
    _add_subtract(command)
    _add_groups(command)
    _add_common(command, count=1, behaviour="", behaviour_help="default: the environment's id")


def _add_pettingzoo(commands: Any) -> None:
    command = commands.add_parser(
        "pettingzoo", help="any PettingZoo environment, parallel or turn-based (AEC)"
    )
    command.add_argument(
        "environment",
        metavar="MODULE[:FACTORY]",
        help="such as pettingzoo.butterfly.pistonball_v6 or pettingzoo.classic.connect_four_v3; "
        "if left out, FACTORY is parallel_env, or else env",
    )
    command.add_argument(
        "--one-each",
        action="store_true",
        help="a behaviour for each agent, instead of one for all with the same spaces",
    )
    _add_wrapper(command)
    _add_about_environment(command)
    _add_info(command)
    _add_subtract(command)
    _add_groups(command)
    _add_common(
        command,
        count=1,
        behaviour="",
        behaviour_help="default: agents' names without their numbers",
    )


def _add_balance_ball(commands: Any) -> None:
    command = commands.add_parser("balance-ball", help="bundled: keep balls on tilting platforms")
    _add_common(command, count=12, behaviour="ball", behaviour_help="default: ball")


def _add_cue_memory(commands: Any) -> None:
    command = commands.add_parser(
        "cue-memory", help="bundled: remember a sign until the end of a corridor"
    )
    command.add_argument("--cues", type=positive, default=4, help="signs, and doors (4)")
    _add_common(command, count=32, behaviour="walker", behaviour_help="default: walker")


def _add_bridge(commands: Any) -> None:
    command = commands.add_parser(
        "bridge",
        help="games of Unity's ML-Agents on this machine, for a trainer on another one",
        description="Speaks ML-Agents' wire with games on this machine, and the native one (TLS, "
        "token, resume) with a trainer that may be anywhere.",
    )
    add = command.add_argument
    _add_trainer(command)
    add("--port", type=int, default=5004, help="of the first game; the Unity Editor dials 5004")
    add("--games", type=positive, default=1, metavar="N", help="game i dials port + i (1)")
    add(
        "--host",
        default="localhost",
        help="where to listen (localhost); games show no token, so others let everyone join",
    )
    add("--seed", type=int, default=1, metavar="N", help="game i is given N + i (1)")
    add("--num-areas", type=positive, default=1, metavar="N", help="training areas in a game (1)")
    for name, kind, default in (
        ("width", positive, 84),
        ("height", positive, 84),
        ("quality-level", int, 5),
        ("time-scale", float, 20.0),
        ("target-frame-rate", int, -1),
        ("capture-frame-rate", int, 60),
    ):
        add(f"--{name}", type=kind, default=default, help=f"of the engine ({default:g})")


def _add_wrapper(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--wrapper",
        dest="wrappers",
        type=_wrapper,
        action="append",
        default=[],
        metavar="MODULE:CLASS(KEY=LITERAL, ...)",
        help=f"wrap each copy, innermost first, such as '{EXAMPLE}'; without arguments "
        "MODULE:CLASS is enough; may be given several times",
    )


def _wrapper(text: str) -> WrapperText:
    try:
        return read_wrapper(text)
    except ValueError as error:
        shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
        raise argparse.ArgumentTypeError(f"'{shown}': {error}") from None


def _add_about_environment(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kwargs",
        type=json_object,
        default={},
        metavar="JSON",
        help="arguments of the environment, such as '{\"continuous\": true}'",
    )
    command.add_argument(
        "--kind",
        dest="kinds",
        type=name_and_kind,
        action="append",
        default=[],
        metavar="NAME=KIND",
        help=f"what an observation is ({', '.join(KINDS)}), if it is not what the trainer's log "
        f"says; one without a name is '{SINGLE_NAME}'; may be given several times",
    )


def _add_info(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--info",
        type=_info_key,
        action="append",
        default=[],
        metavar="KEY[@end][=HOW]",
        help="report values of info[KEY] to the trainer, which shows them beside the return; "
        "HOW is mean (without it), last, sum or histogram, of the values between two updates; "
        "@end takes only those of an episode's last step; episode/r is info['episode']['r']; "
        "may be given several times",
    )


def _info_key(text: str) -> tuple[str, str, bool]:
    from entrain_envs.errors import SpecError  # noqa: PLC0415
    from entrain_envs.statistics import check_statistic  # noqa: PLC0415

    key, _, how = text.partition("=")
    name = key.removesuffix("@end")
    try:
        check_statistic(name, how if "=" in text else "mean")
    except SpecError as error:
        raise argparse.ArgumentTypeError(
            f"'{text[:_MOST_SHOWN]}': {error}; write KEY, KEY=HOW or KEY@end=HOW, such as "
            "is_success@end=mean"
        ) from None
    return name, how or "mean", name != key


def _add_subtract(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--subtract",
        type=subtraction,
        action="append",
        default=[],
        metavar="NAME[I]=VALUE",
        help="subtract VALUE from an observation in float64, before it is rounded to float32 (from "
        "its number I, or from all without [I]): for numbers that vary little about a far origin, "
        "such as time stamps; all simulators of a run need the same; may be given several times",
    )


def _add_groups(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--groups",
        type=int,
        choices=(1, 2),
        default=1,
        help="2: simulate one half of the copies while the trainer chooses the other half's "
        "actions, so that both are busy at the same time; in messages of half the size (1)",
    )
    command.add_argument(
        "--processes",
        type=positive,
        default=1,
        metavar="N",
        help="divide the copies among N processes, for copies whose steps take more than some 3 ms "
        "together: one for each core, and at least N copies in each group (1)",
    )


def _add_common(
    command: argparse.ArgumentParser, *, count: int, behaviour: str, behaviour_help: str
) -> None:
    add = command.add_argument
    if command.get_default("groups") is None:
        command.set_defaults(groups=1, processes=1)
    add(
        "--count",
        type=copies,
        default=str(count),
        help=f"copies in one message ({count}); never more than $ENTRAIN_MAX_COUNT, if that is set",
    )
    add("--behaviour", default=behaviour, metavar="NAME", help=behaviour_help)
    _add_trainer(command)
    add("--seed", type=int, metavar="N", help="instead of the seed that the trainer gives")
    add("--episodes", type=int, default=0, metavar="N", help="leave after N episodes (0: never)")
    add(
        "--deadline-ms",
        type=positive,
        default=0,
        metavar="MS",
        help="wait so long for actions; then --fallback acts, and the world goes on (no deadline)",
    )
    add(
        "--fallback",
        choices=("last", "neutral"),
        default="last",
        help="what acts then: the last action again, or none (last)",
    )
    _add_recording(command)
    add("--ledger", type=Path, metavar="FILE", help="write what was counted as JSON at the end")


def _add_trainer(command: argparse.ArgumentParser) -> None:
    """How the trainer is reached, and who dials it."""
    environ = os.environ
    address = environ.get("ENTRAIN_ADDRESS")
    add = command.add_argument
    add(
        "--connect",
        default=address,
        required=address is None,
        metavar="ADDRESS",
        help="the trainer: HOST:PORT, [IPV6]:PORT or unix:PATH, or over WebSocket ws://HOST:PORT "
        "or wss://HOST:PORT ($ENTRAIN_ADDRESS)",
    )
    add(
        "--name",
        default=environ.get("ENTRAIN_SIMULATOR", f"simulator-{os.getpid()}"),
        help="for the trainer's logs; in lockstep each needs its own ($ENTRAIN_SIMULATOR)",
    )
    add(
        "--role",
        choices=("training", "evaluation"),
        default=environ.get("ENTRAIN_ROLE") or "training",
        help="evaluation: take part in the run's evaluations alone, of which nothing is learned "
        "($ENTRAIN_ROLE, or else training)",
    )
    _add_credentials(command)
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


def _add_credentials(command: argparse.ArgumentParser) -> None:
    for option, variable, text in (
        ("--token-file", "ENTRAIN_TOKEN_FILE", "file whose first line is the bearer token"),
        (
            "--tls-ca",
            "ENTRAIN_TLS_CA",
            "PEM of the trainer's authority; TLS on, but as ws(s):// says",
        ),
        ("--tls-certificate", "ENTRAIN_TLS_CERTIFICATE", "PEM of this simulator's certificate"),
        ("--tls-key", "ENTRAIN_TLS_KEY", "PEM of its private key"),
    ):
        command.add_argument(
            option, type=Path, default=_path(variable), metavar="FILE", help=f"{text} (${variable})"
        )


def _add_recording(command: argparse.ArgumentParser) -> None:
    add, environ = command.add_argument, os.environ
    add(
        "--record",
        type=Path,
        default=_path("ENTRAIN_RECORD"),
        metavar="FILE.gif|FILE.html",
        help="record the first episodes of the first copy as an animation ($ENTRAIN_RECORD)",
    )
    add(
        "--record-episodes",
        type=positive,
        default=environ.get("ENTRAIN_RECORD_EPISODES", "1"),
        metavar="N",
        help="how many ($ENTRAIN_RECORD_EPISODES, or else 1)",
    )
    add(
        "--record-fps",
        type=speed,
        default=environ.get("ENTRAIN_RECORD_FPS"),
        metavar="N",
        help="steps that it shows in a second ($ENTRAIN_RECORD_FPS, or else what the environment "
        "says)",
    )


def _path(variable: str) -> Path | None:
    return Path(os.environ[variable]) if os.environ.get(variable) else None
