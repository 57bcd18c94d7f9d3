"""Exchanges/s of an ML-Agents game, beside a bare gRPC handler of the same messages.

One game sends the same records again and again: those of 12 or 64 agents that see 8 numbers each,
or of 16 that see an image each, as floats or as PNGs. What it takes to write them is not measured.
`bare` reads the bytes and answers as many as actions take: the limit that unary gRPC in Python
sets. `serving` is the trainer with an untrained policy that learns nothing, in turns with `bare`;
then the time of one exchange is split. `learning` is `entrain train`, with the shares that its
metrics.csv has.

    python -m benchmarks.unity_serving --seconds 5 --rounds 3 --steps 768
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from benchmarks.beside_mlagents import free_port
from benchmarks.unity_codec import records
from entrain_envs.unity import game_codec
from entrain_envs.unity.messages import STATUS_OK, BrainParameters, Initialization
from entrain_envs.unity.service import METHOD

KEY = "Eye?team=0"
NETWORK = "{image_encoder: simple, image_features: 64, hidden_sizes: [64]}"
ACTIONS_BYTES = 28
"""Of the answer to one agent with two continuous actions."""

SETTINGS = """
runs_directory: {folder}
server: {{address: "localhost:0"}}
simulators: {{expect: 1}}
unity: {{port: {port}}}
policies:
  Eye:
    total_steps: {steps}
    rollout_steps: 256
    network: {network}
    algorithm: {{minibatch_size: 64, num_epochs: 1}}
"""

WARM_UP = 5
"""Exchanges that are not counted."""

Exchange = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Form:
    """What agents see."""

    agents: int
    shape: tuple[int, ...]
    as_png: bool = False

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"{self.agents} agents, {size} {'PNG' if self.as_png else 'floats'}"

    def messages(self) -> tuple[bytes, bytes]:
        """The first records, which tell of the behaviour, and all that follow."""
        said = records(self.agents, self.shape, as_png=self.as_png)
        agents = {KEY: replace(said, done=said.interrupted)}
        brain = BrainParameters(KEY, num_continuous=2)
        first = game_codec.encode_records(agents, behaviours=[brain])
        return first, game_codec.encode_records(agents)


FORMS = (
    Form(12, (8,)),
    Form(64, (8,)),
    Form(16, (84, 84, 3)),
    Form(16, (256, 256, 3)),
    Form(16, (84, 84, 3), as_png=True),
    Form(16, (256, 256, 3), as_png=True),
)


@dataclass(frozen=True)
class Served:
    """Exchanges with one server, without those of the warm-up."""

    count: int
    seconds: float
    parts: Mapping[str, float]
    """Seconds of the server's time, and of its processor time under `processor`."""

    @property
    def rate(self) -> float:
        """Exchanges a second."""
        return self.count / self.seconds

    def each_ms(self, part: str) -> float:
        """Milliseconds of one exchange."""
        return 1e3 * self.parts[part] / self.count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each form, round and side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=768, help="to learn from; 0: none")
    parser.add_argument("--serve", choices=["serving", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        is_bare = arguments.serve == "bare"
        asyncio.run(serve_bare(arguments.answer) if is_bare else serve_policy())
        return
    compare(arguments.seconds, arguments.rounds)
    if arguments.steps:
        learn(arguments.steps)


def compare(seconds: float, rounds: int) -> None:
    """Print the trainer without learning beside the bare handler, and where its time goes."""
    print("| seen | MB | bare/s | MB/s | serving/s | MB/s | agent steps/s | ratio | processor |")
    print("|---|---|---|---|---|---|---|---|---|")
    splits = []
    for form in FORMS:
        mb = len(form.messages()[1]) / 1e6
        played: dict[str, list[Served]] = {"bare": [], "serving": []}
        for _ in range(rounds):
            for kind, each in played.items():
                each.append(served(kind, form, seconds))
        bare, ours = (
            statistics.median(one.rate for one in played[kind]) for kind in ("bare", "serving")
        )
        print(
            f"| {form} | {mb:.3f} | {bare:,.0f} | {mb * bare:,.1f} | {ours:,.0f} | "
            f"{mb * ours:,.1f} | {form.agents * ours:,.0f} | {ours / bare:.2f} | "
            f"{processor(played)} |",
            flush=True,
        )
        splits.append(f"| {form} | {split(played['serving'])} |")
    print("\n| seen | exchange | decode | act | record | encode | wire and the rest, ms |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(splits))


def processor(played: Mapping[str, Sequence[Served]]) -> str:
    """Processor time of one exchange with each server, which other programs hardly change."""
    bare, serving = (
        statistics.median(each.each_ms("processor") for each in rounds)
        for rounds in played.values()
    )
    return f"{bare:.1f} ms, {serving:.1f} ms"


def split(rounds: Sequence[Served]) -> str:
    """Milliseconds of an exchange, by what the server did."""
    middle = sorted(rounds, key=lambda each: each.rate)[len(rounds) // 2]
    exchange = 1e3 / middle.rate
    parts = [middle.each_ms(name) for name in ("decode", "act", "record", "encode")]
    return " | ".join(f"{each:.2f}" for each in (exchange, *parts, exchange - sum(parts)))


def served(kind: str, form: Form, seconds: float) -> Served:
    """Exchange for so long with a server in a process of its own."""
    messages, answer = form.messages(), str(ACTIONS_BYTES * form.agents)
    command = [sys.executable, "-m", "benchmarks.unity_serving", "--serve", kind]
    command += ["--answer", answer]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with dialled(int(process.stdout.readline())) as exchange:
            begin(exchange, messages[0])
            for _ in range(WARM_UP):
                exchange(messages[1])
            process.stdin.write("count\n")
            process.stdin.flush()
            times = timed(exchange, messages[1], seconds)
            process.stdin.close()
            return Served(len(times), sum(times), json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def dialled(port: int) -> Iterator[Exchange]:
    """A game's connection."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        raw: Any = channel
        call = raw.unary_unary(METHOD)
        yield lambda message: call(message, wait_for_ready=True)


def begin(exchange: Exchange, first: bytes) -> None:
    """Say who the game is, and send its first records."""
    exchange(game_codec.encode_hello(Initialization("Cameras", "1.5.0", "2.0.0")))
    exchange(game_codec.encode_nothing())
    exchange(first)


def timed(exchange: Exchange, message: bytes, seconds: float) -> list[float]:
    """Seconds of each exchange."""
    times = []
    before = time.perf_counter()
    end = before + seconds
    while before < end:
        exchange(message)
        after = time.perf_counter()
        times.append(after - before)
        before = after
    return times


async def serve_bare(size: int) -> None:
    """Read the bytes of each message, and answer so many."""
    answer = bytes(size)

    async def exchange(_message: bytes, _context: object) -> bytes:
        return answer

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.unary_unary_rpc_method_handler(exchange)
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began_s = time.process_time()
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"processor": time.process_time() - began_s}), flush=True)


async def serve_policy() -> None:
    """Serve an untrained policy; nothing is collected or learned."""
    import torch
    import yaml
    from threadpoolctl import threadpool_limits

    from benchmarks.in_process import NothingToLearn
    from entrain.app.build import make_actor
    from entrain.config.policy import PolicyConfig
    from entrain.config.run import ServerConfig
    from entrain.config.unity import UnityConfig
    from entrain.policy.actor_critic import ActorCritic
    from entrain.policy_loop import PolicyLoop
    from entrain.rollout.collector import EpisodeCollector
    from entrain.rollout.episodes import EpisodeLog
    from entrain.serving.behaviours import Behaviour, Behaviours
    from entrain.serving.participants import Participants
    from entrain.unity.front import UnityFront

    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    config = ServerConfig(address="localhost:0")
    policy = PolicyConfig.model_validate({"network": yaml.safe_load(NETWORK)})
    loops: list[PolicyLoop[Any]] = []

    def serve_all(new: Sequence[Behaviour]) -> None:
        for behaviour in new:
            actor = make_actor(ActorCritic(behaviour.spec, policy, seed=1), seed=1)
            loops.append(PolicyLoop(actor, EpisodeCollector(EpisodeLog()), NothingToLearn()))
            serving.append(asyncio.create_task(loops[-1].run(behaviour.batcher)))

    serving: list[asyncio.Task[None]] = []
    participants = Participants(
        config,
        Behaviours(config, accepts=lambda _: True, policies=("*",), on_new=serve_all),
        seed=1,
        expect=1,
        environment_parameters={},
    )
    front = UnityFront(participants, UnityConfig(port=0), seed=1)
    await front.start()
    print(front.ports[0].port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    watch, before = loops[0].stopwatch, replace(participants.timings)
    watch.metrics(0)
    began_s, processor_s = time.perf_counter(), time.process_time()
    await asyncio.to_thread(sys.stdin.read)
    seconds, shares = time.perf_counter() - began_s, watch.metrics(0)
    parts = {
        "processor": time.process_time() - processor_s,
        "decode": participants.timings.decode - before.decode,
        "encode": participants.timings.encode - before.encode,
        "act": seconds * (shares["time/observe"] + shares["time/act"]),
        "record": seconds * shares["time/record"],
    }
    print(json.dumps(parts), flush=True)


def learn(steps: int) -> None:
    """Print how fast a run learns, and where its time goes."""
    parts = ("wait", "decode", "observe", "act", "record", "learn", "encode")
    print(f"\n| seen | agent steps/s | MB/s | {' | '.join(parts)} |")
    print(f"|{'---|' * (3 + len(parts))}")
    for form in FORMS:
        messages = form.messages()
        rate, shares = learned(form, messages, steps)
        told = " | ".join(f"{shares[part]:.1%}" for part in parts)
        mb = rate / form.agents * len(messages[1]) / 1e6
        print(f"| {form} | {rate:,.0f} | {mb:,.1f} | {told} |", flush=True)


def learned(
    form: Form, messages: tuple[bytes, bytes], steps: int
) -> tuple[float, Mapping[str, float]]:
    """Agent steps a second of a whole run, and which share of its time was spent on what."""
    from entrain.run.table import read_metrics

    with tempfile.TemporaryDirectory() as scratch:
        folder, port = Path(scratch), free_port()
        settings = folder / "eye.yaml"
        settings.write_text(SETTINGS.format(folder=folder, port=port, steps=steps, network=NETWORK))
        command = [sys.executable, "-m", "entrain", "train", str(settings), "--name", "run"]
        with (folder / "log.txt").open("w") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                times = play(port, messages)
                code = process.wait(120)
            finally:
                process.kill()
        if code:
            sys.exit((folder / "log.txt").read_text()[-3000:])
        (series,) = read_metrics(folder / "run" / "metrics.csv").values()
        seconds = series.columns["time/seconds"]
        weights = [after - before for before, after in zip((0.0, *seconds), seconds, strict=False)]
        shares = {
            name.removeprefix("time/"): sum(
                share * weight for share, weight in zip(values, weights, strict=True)
            )
            / sum(weights)
            for name, values in series.columns.items()
            if name.startswith("time/")
        }
    return form.agents * len(times) / sum(times), shares


def play(port: int, messages: tuple[bytes, bytes]) -> list[float]:
    """Seconds of each exchange until the trainer is done."""
    times: list[float] = []
    with dialled(port) as exchange, contextlib.suppress(grpc.RpcError):
        begin(exchange, messages[0])
        before = time.perf_counter()
        while game_codec.decode_reply(exchange(messages[1])).status == STATUS_OK:
            after = time.perf_counter()
            times.append(after - before)
            before = after
    return times


if __name__ == "__main__":
    main()
