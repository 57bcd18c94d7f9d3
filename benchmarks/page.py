"""What a run's page costs the trainer: processor time of scrapes, and of timing an exchange.

    PYTHONPATH=tests python -m benchmarks.page [--policies 1 5 50] [--seconds 10]

The page is that of made-up facts, served over a socket as in a run; who asks is another process.
"""

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import time

from entrain.metrics import METRICS
from entrain.page.access import Access, Tokens
from entrain.page.board import Board, LogLines
from entrain.page.facts import PolicyFacts
from entrain.page.hosts import Hosts
from entrain.page.server import PageServer
from entrain.page.site import Site
from entrain.serving.measures import Measures
from support.served_page import MadeUp, policy, run_facts

SCRAPES_PER_S = 1000 / 60

CLIENT = """
import http.client, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
begin = time.monotonic()
for number in range(int(sys.argv[2])):
    time.sleep(max(0.0, begin + number * float(sys.argv[3]) - time.monotonic()))
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    size = len(answer.read())
print(size)
"""


def served(count: int) -> tuple[PageServer, int]:
    """The page of a run with so many policies, and its port."""
    board = Board(LogLines(lambda record: (record.levelname, record.getMessage())))
    policies: list[PolicyFacts] = [policy(f"policy-{number}") for number in range(count)]
    metrics = {it.of("0") if it.is_family else it.name: 1.25 for it in METRICS}
    for each in policies:
        board.note_update(each.name, metrics, {}, env_steps=1000, wall_time=1.0)
    sockets = [socket.create_server(("127.0.0.1", 0))]
    port = int(sockets[0].getsockname()[1])
    access = Access(Tokens(read="r" * 32, control="c" * 32), port=port, is_open=True)
    source = MadeUp(run_facts(policies=policies))
    site = Site(board, source, access, Hosts("localhost"), is_secure=False)
    return PageServer(site.application, sockets, None), port


async def share_of(count: int, seconds: float) -> tuple[float, float, int]:
    """(share of a processor while nobody asks, the same at 1,000 scrapes a minute, bytes)."""
    server, port = served(count)
    async with server.serving():
        await asyncio.sleep(0.5)
        idle_s = time.process_time()
        await asyncio.sleep(seconds)
        begin_s = time.process_time()
        arguments = [str(port), str(int(seconds * SCRAPES_PER_S)), str(1 / SCRAPES_PER_S)]
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, *arguments, stdout=subprocess.PIPE
        )
        out, _ = await client.communicate()
        end_s = time.process_time()
    return (begin_s - idle_s) / seconds, (end_s - begin_s) / seconds, int(out)


def microseconds_to_time_an_exchange() -> float:
    """Processor time, median of nine times 50,000."""
    measures = Measures()
    timer, took = measures.timer(), []
    for _ in range(9):
        begin_s = time.thread_time()
        for _ in range(50_000):
            timer.begin()
            timer.end()
            measures.batch_rows.note(64)
        took.append((time.thread_time() - begin_s) / 50_000 * 1e6)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, nargs="+", default=[1, 5, 50])
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    print(f"timing an exchange: {microseconds_to_time_an_exchange():.2f} us")
    for count in asked.policies:
        idle, busy, size = asyncio.run(share_of(count, asked.seconds))
        print(
            f"{count} policies: {100 * idle:.2f}% of a processor while nobody asks, "
            f"{100 * busy:.2f}% at 1,000 scrapes a minute, {size:,} bytes each"
        )


if __name__ == "__main__":
    main()
