"""The stand-in game as a program, started like a build of the engine.

    python -m support.unity_player --mlagents-port 5005 -logFile FILE [--balls 12] [--seconds 5]

It balances balls, with the shapes of 3DBall: 8 numbers seen, 2 continuous actions.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from entrain_envs.simulators.balance_ball import BalanceBall
from support.unity_game import Exchange, Style, UnityGame

METHOD = "/communicator_objects.UnityToExternalProto/Exchange"


def dialled(port: int, *, host: str = "localhost") -> tuple[Exchange, Callable[[], None]]:
    """The way to the trainer on that port, as the engine's package dials it, and how to end it."""
    channel = grpc.insecure_channel(f"{host}:{port}")
    call = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
    return lambda request: bytes(call(request, wait_for_ready=True)), channel.close


def main(words: Sequence[str]) -> int:
    """Play until the trainer ends it; returns an exit code like a player's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlagents-port", type=int)
    parser.add_argument("-logFile", type=Path, dest="log")
    parser.add_argument("-nographics", action="store_true")
    parser.add_argument("-batchmode", action="store_true")
    parser.add_argument("--balls", type=int, default=12)
    parser.add_argument("--exchanges", type=int, default=None)
    parser.add_argument("--package-version", default="3.0.0")
    arguments = parser.parse_args(words)
    if arguments.mlagents_port is None:
        return 0
    exchange, hang_up = dialled(arguments.mlagents_port)
    game = UnityGame(
        BalanceBall(count=arguments.balls, behaviour="3DBall"),
        exchange,
        style=Style(package_version=arguments.package_version),
    )
    lines = [f"started with {list(words)}"]
    try:
        ledger = game.play(exchanges=arguments.exchanges)
        lines.append(f"ended: {ledger}")
    except grpc.RpcError as error:
        lines.append(f"lost the trainer: {error.code()}: {error.details()}")
        return 1
    finally:
        hang_up()
        if arguments.log is not None:
            arguments.log.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
