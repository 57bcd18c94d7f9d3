"""Answers `/metrics` before any route is looked at: it is what is asked for most often."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from entrain.page.exposition import CONTENT_TYPE

PATH = "/metrics"


class Scraping:
    """An ASGI application before another one. `text` gives what is scraped now."""

    def __init__(self, app: ASGIApp, text: Callable[[], bytes]) -> None:
        """`app` answers everything else."""
        self._app = app
        self._text = text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] != PATH or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        text = self._text()
        headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", str(len(text)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})
