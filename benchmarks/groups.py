"""How each group of rows is measured: both sides of every row, in turns, a value for each pair."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks import beside_mlagents, contenders, exchange, updates
from benchmarks.beside_mlagents import OURS, Task
from benchmarks.contenders import Absence, Contender, Entrain, MissingError, Peer, alive
from entrain.config.policy import MemoryConfig

CONFIGS = Path(__file__).parent / "configs"
CHEETAH = CONFIGS / "halfcheetah_8x256.yaml"
LSTM = CONFIGS / "cartpole_lstm_8x256.yaml"
FOREVER = 10**9
MESSAGES = 1500
"""Of a turn, where processor time is counted in hundredths of a second."""

Values = Mapping[str, Sequence[float]]
Absent = Mapping[str, Absence]


@dataclass(frozen=True)
class Group:
    """Contenders that are measured together."""

    measure: Callable[[Collection[str], int], tuple[Values, Absent]]
    """Of (the contenders that are asked for, pairs): {contender: a value for each pair}, and
    {contender: why it has none}."""

    quick_pairs: int
    """Pairs that `--quick` has; 0 leaves the group out."""

    pair_s: float
    """About as many seconds as one pair of all contenders takes on two quiet cores."""

    start_s: float
    """And before the first one."""


def in_turns(
    starts: Mapping[str, Callable[[], Contender]], asked: Collection[str], pairs: int
) -> tuple[Values, Absent]:
    """Env steps/s of contenders that play one round a turn, or a little more."""
    values: dict[str, list[float]] = {}
    with alive({name: start for name, start in starts.items() if name in asked}) as (
        playing,
        absent,
    ):
        for _ in range(pairs):
            for name, contender in playing.items():
                rate = statistics.median(contender.play(rounds=1))
                values.setdefault(name, []).append(rate)
    return values, absent


def cheetahs(size: int, asked: Collection[str], pairs: int) -> tuple[Values, Absent]:
    """HalfCheetah 8 x 256."""
    policy = "policies.HalfCheetah-v5"
    settings = (f"{policy}.total_steps={FOREVER}", f"{policy}.algorithm.minibatch_size={size}")
    minibatch = ("--minibatch", str(size))
    starts: Mapping[str, Callable[[], Contender]] = {
        "exact": partial(Entrain, CHEETAH, *settings),
        "lag": partial(Entrain, CHEETAH, *settings, f"{policy}.policy_lag=1"),
        "sb3": partial(Peer, "sb3", *minibatch),
        "sbx": partial(Peer, "sbx", *minibatch),
        "skrl": partial(Peer, "skrl", *minibatch),
    }
    return in_turns(starts, asked, pairs)


def with_memory(kind: str, *settings: str) -> Entrain:
    """A run with this kind of memory; MissingError if entrain has none such."""
    kinds = get_args(MemoryConfig.model_fields["kind"].annotation)
    if kind not in kinds:
        raise MissingError(f"entrain has no memory of kind {kind}, but {', '.join(kinds)}")
    return Entrain(LSTM, *settings)


def memories(asked: Collection[str], pairs: int) -> tuple[Values, Absent]:
    """CartPole without velocities, with memory."""
    policy = "policies.CartPole-v1"
    settings = (f"{policy}.total_steps={FOREVER}",)
    shared = (*settings, f"{policy}.network.shared=true")
    mingru = (*shared, f"{policy}.network.memory.kind=mingru")
    lag = f"{policy}.policy_lag=1"
    starts: Mapping[str, Callable[[], Contender]] = {
        "lstm-own": partial(Entrain, LSTM, *settings),
        "lstm-shared": partial(Entrain, LSTM, *shared),
        "lstm-shared-lag": partial(Entrain, LSTM, *shared, lag),
        "mingru": partial(with_memory, "mingru", *mingru),
        "mingru-lag": partial(with_memory, "mingru", *mingru, lag),
        "sb3-contrib": partial(Peer, "sb3-contrib"),
        "rl_games": partial(Peer, "rl_games"),
    }
    return in_turns(starts, asked, pairs)


def gradient_steps(size: int, asked: Collection[str], pairs: int) -> tuple[Values, Absent]:
    """Processor time of an update beside a loop in numpy."""
    del asked
    taken = updates.compare(size, pairs, updates=("auto",))
    return {"loop": taken["loop"], "by hand": taken["auto"]}, {}


def exchanges(agents: int, asked: Collection[str], pairs: int) -> tuple[Values, Absent]:
    """Processor time of a trainer for a message, beside an echo's server."""
    del asked
    commands = Path(sys.executable).parent
    with exchange.echo(agents) as echo, exchange.trainer(commands, agents) as trainer:
        costs = {"echo": echo, "trainer": trainer}
        for cost in costs.values():
            cost(exchange.WARM)
        values: dict[str, list[float]] = {name: [] for name in costs}
        for _ in range(pairs):
            for name, cost in costs.items():
                values[name].append(cost(MESSAGES))
    return values, {}


def balls(
    task: Task, asked: Collection[str], pairs: int, *, threaded: bool = False
) -> tuple[Values, Absent]:
    """Whole runs of an ML-Agents game: stock's, and ours, which may be `threaded`."""
    del asked
    try:
        stock = stock_mlagents()
    except MissingError as error:
        return {}, {"mlagents-learn": Absence(str(error))}
    ours = replace(task, threaded=threaded)
    rates: dict[str, list[float]] = {"entrain": [], "mlagents-learn": []}
    for pair in range(pairs):
        rates["entrain"].append(beside_mlagents.run(OURS, ours, seed=pair + 1).rate)
        rates["mlagents-learn"].append(beside_mlagents.run((str(stock),), task, seed=pair + 1).rate)
    return rates, {}


def stock_mlagents() -> Path:
    """The program `mlagents-learn`; MissingError if it is not there, or slower than its users'."""
    python = contenders.PEERS / "mlagents" / "bin" / "python"
    if not python.exists():
        raise MissingError("mlagents is not installed; benchmarks/README.md says how")
    program = "from google.protobuf.internal import api_implementation as a; print(a.Type())"
    said = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if said.stdout.strip() == "python":
        raise MissingError(
            "mlagents' protobuf is the one in pure Python, which halves its rate; "
            "benchmarks/README.md says how to have the other"
        )
    return python.parent / "mlagents-learn"


GROUPS: dict[str, Group] = {
    "update-64": Group(partial(gradient_steps, 64), 8, pair_s=2.5, start_s=1),
    "update-512": Group(partial(gradient_steps, 512), 8, pair_s=0.8, start_s=1),
    "update-2048": Group(partial(gradient_steps, 2048), 8, pair_s=0.6, start_s=1),
    "cheetah-64": Group(partial(cheetahs, 64), 8, pair_s=6, start_s=25),
    "cheetah-512": Group(partial(cheetahs, 512), 8, pair_s=4, start_s=25),
    "memory": Group(memories, 2, pair_s=20, start_s=45),
    "exchange-1": Group(partial(exchanges, 1), 3, pair_s=2.5, start_s=7),
    "exchange-64": Group(partial(exchanges, 64), 3, pair_s=3, start_s=7),
    "mlagents-12": Group(partial(balls, Task(12, 48_000)), 0, pair_s=90, start_s=0),
    "mlagents-64": Group(partial(balls, Task(64, 72_000)), 0, pair_s=80, start_s=0),
    "mlagents-lstm": Group(partial(balls, Task(12, 36_000, memory=True)), 0, 120, start_s=0),
    "mlagents-64-lag": Group(
        partial(balls, Task(64, 72_000), threaded=True), 0, pair_s=80, start_s=0
    ),
}
