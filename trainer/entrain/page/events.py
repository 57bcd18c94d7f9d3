"""Server-sent events: what the page shows is pushed to it once a second, if it has changed.

There are at most so many streams; a further one is told to ask again and again instead. One whose
reader is slow ends (see `Guard`), and a browser dials again by itself.
"""

import asyncio
from collections.abc import Callable

from starlette.types import Message, Receive, Scope, Send

from entrain.page.guard import refused

MOST_STREAMS = 32
EVERY_S = 1.0
SILENCE_S = 15.0
"""After so long without news, an empty line shows that the stream lives."""


class EventStreams:
    """All open streams of one page. An ASGI application. Owned by the event loop."""

    def __init__(self, text: Callable[[], str], *, every_s: float = EVERY_S) -> None:
        """Start without streams.

        Args:
            text: JSON of what is shown now.
            every_s: how often it is looked at.
        """
        self._text = text
        self._every_s = every_s
        self._open: set[asyncio.Event] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """End all streams, and take no more."""
        self._is_closed = True
        for over in self._open:
            over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry one stream until its reader is gone or the run ends."""
        if self._is_closed or len(self._open) >= MOST_STREAMS:
            response = refused(503, f"at most {MOST_STREAMS} streams; ask for /api/status instead")
            await response(scope, receive, send)
            return
        over = asyncio.Event()
        self._open.add(over)
        watching = asyncio.create_task(_until_gone(receive, over))
        try:
            await self._carry(send, over)
        finally:
            watching.cancel()
            self._open.discard(over)

    async def _carry(self, send: Send, over: asyncio.Event) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(_part("retry: 3000\n\n"))
        before, silent_s = "", 0.0
        while not over.is_set():
            text = self._text()
            if text != before:
                await send(_part(f"event: status\ndata: {text}\n\n"))
                before, silent_s = text, 0.0
            elif silent_s >= SILENCE_S:
                await send(_part(":\n\n"))
                silent_s = 0.0
            await _wait(over, self._every_s)
            silent_s += self._every_s
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait(over: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return


async def _until_gone(receive: Receive, over: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    over.set()


def _part(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
