"""Streams of server-sent events."""

import asyncio
import tracemalloc

import pytest
from starlette.types import Message, Receive

from entrain.page import events
from entrain.page.events import MOST_STREAMS, EventStreams

SCOPE = {"type": "http", "method": "GET", "path": "/api/events", "headers": []}


class Browser:
    """Reads one stream, and goes when told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_has_changed_is_sent_and_what_has_not_is_not() -> None:
    texts = ["{}"]
    streams = EventStreams(lambda: texts[-1], every_s=0.0)
    browser = Browser()
    task = asyncio.create_task(streams(SCOPE, browser.receive, browser.send))
    await turns()
    assert browser.text.count("event: status\ndata: {}\n\n") == 1
    texts.append('{"a": 1}')
    await turns()
    assert browser.text.endswith('event: status\ndata: {"a": 1}\n\n')
    browser.gone.set()
    await task
    assert len(streams) == 0


async def test_streams_are_bounded_and_end_with_the_run() -> None:
    streams = EventStreams(lambda: "{}", every_s=60.0)
    browsers = [Browser() for _ in range(MOST_STREAMS + 1)]

    async def nothing() -> Message:
        return {"type": "http.request"}

    tasks = [
        asyncio.create_task(streams(SCOPE, browser.receive, browser.send)) for browser in browsers
    ]
    await turns()
    assert len(streams) == MOST_STREAMS
    assert browsers[-1].sent[0]["status"] == 503
    # One that is gone makes room.
    browsers[0].gone.set()
    await turns()
    assert len(streams) == MOST_STREAMS - 1
    streams.close()
    await asyncio.gather(*tasks)
    late = Browser()
    receive: Receive = nothing
    await streams(SCOPE, receive, late.send)
    assert late.sent[0]["status"] == 503


async def test_a_browser_that_is_left_open_for_a_day_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    async def wait(over: asyncio.Event, seconds: float) -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    async def forget(message: Message) -> None:
        """The browser reads everything."""

    monkeypatch.setattr("entrain.page.events._wait", wait)
    streams = EventStreams(lambda: f'{{"at": {looks // 2}}}', every_s=15.0)
    task = asyncio.create_task(streams(SCOPE, Browser().receive, forget))
    day = 24 * 3600 // 15
    used = []
    # Of the page alone: what measures the tests' coverage takes memory, too.
    of_the_page = [tracemalloc.Filter(True, events.__file__)]
    tracemalloc.start()
    try:
        for until in (day // 4, day):
            while looks < until:
                await asyncio.sleep(0)
            held = tracemalloc.take_snapshot().filter_traces(of_the_page)
            used.append(sum(it.size for it in held.statistics("filename")))
    finally:
        tracemalloc.stop()
    streams.close()
    await task
    assert used[1] - used[0] < 4096
