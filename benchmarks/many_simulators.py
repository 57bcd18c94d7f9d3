"""Messages/s of 64 simulators of one agent each, in C++, beside a bare gRPC byte-echo stream.

Each simulator has a connection of its own and waits for its Act before it sends the next Step. The
trainer serves an untrained policy and learns nothing; the echo is sent the same bytes. In turns.
The servers' processor time of a message, all threads, is the robust figure on a loaded machine.

    apt-get install g++ pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler
    python -m benchmarks.many_simulators --simulators 64 --rounds 8
"""

import argparse
import shutil
import statistics
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ECHO, Server, serving

HERE = Path(__file__).parent
SOURCE = HERE / "many_simulators.cc"
PROTO = HERE.parent / "proto" / "entrain" / "v1" / "trainer.proto"
BUILD = HERE.parent / ".build" / "many_simulators"
METHODS: Mapping[str, str] = {"entrain": "/entrain.v1.Trainer/Connect", "echo": ECHO}
NEEDED = ("g++", "pkg-config", "protoc")
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Measured:
    """What one server did for all simulators together."""

    rate: float
    """Messages answered in a second."""

    processor_us: float
    """The server's processor time of one."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulators", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="two rounds of a second")
    a = parser.parse_args()
    seconds, rounds = (1.0, 2) if a.quick else (a.seconds, a.rounds)
    program = built()
    measured: dict[str, list[Measured]] = {kind: [] for kind in METHODS}
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving(kind)) for kind in METHODS}
        for _ in range(rounds):
            for kind, server in servers.items():
                measured[kind].append(measure(program, server, kind, a.simulators, seconds))
            print(", ".join(f"{kind}: {shown(turns[-1])}" for kind, turns in measured.items()))
    pairs = list(zip(measured["entrain"], measured["echo"], strict=True))
    rates = [ours.rate / echo.rate for ours, echo in pairs]
    costs = [ours.processor_us / echo.processor_us for ours, echo in pairs]
    print(f"{a.simulators} simulators, medians: {statistics.median(rates):.2f} of the echo's rate")
    print(f"  {statistics.median(costs):.2f} of its server's processor time a message")


def shown(measured: Measured) -> str:
    """One measurement in words."""
    return f"{measured.rate:,.0f} messages/s, {measured.processor_us:.0f} us"


def built() -> Path:
    """The program, built anew if a source is newer."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise SystemExit(
            f"{', '.join(missing)} not found; install it: "
            "apt-get install g++ pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler"
        )
    program = BUILD / "many_simulators"
    newest = max(SOURCE.stat().st_mtime, PROTO.stat().st_mtime)
    if program.exists() and program.stat().st_mtime > newest:
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run(["protoc", f"-I{PROTO.parent}", f"--cpp_out={BUILD}", PROTO.name], check=True)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "grpc++", "protobuf"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    sources = [str(SOURCE), str(BUILD / "trainer.pb.cc")]
    command = ["g++", "-std=c++17", "-O2", f"-I{BUILD}", *sources, *flags, "-pthread"]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def measure(program: Path, server: Server, kind: str, simulators: int, seconds: float) -> Measured:
    """Let that many simulators ask this server."""
    arguments = [server.address, METHODS[kind], str(simulators), str(WARM_UP_S), str(seconds)]
    with subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        used_s = server.processor_seconds()
        last = process.stdout.readline().split()
        used_s = server.processor_seconds() - used_s
    if process.returncode or first != "begin\n" or len(last) != 2:
        raise SystemExit(f"{program} ended with {process.returncode}; see its error above")
    messages = int(last[1])
    return Measured(messages / seconds, 1e6 * used_s / max(1, messages))


if __name__ == "__main__":
    main()
