"""The parts of every page: login, guard, health, metrics, status, log, events."""

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from entrain.page.access import Access
from entrain.page.board import MOST_LINES, LogLines
from entrain.page.entrance import PAGE, Entrance
from entrain.page.events import EventStreams
from entrain.page.guard import Guard, refused
from entrain.page.hosts import Hosts
from entrain.page.scraping import Scraping
from entrain.page.snapshots import Snapshot

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]
Status: TypeAlias = Mapping[str, Any]
"""Values that JSON can say."""

MOST_LINES_AT_FIRST = 100
"""Lines of the log that the page itself holds; the others are asked for."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The content of one page. Its functions are called on the event loop at each request."""

    template: str
    """Of the page; it is given `status`, `lines` of the log, and `values`."""

    values: Callable[[Request], Mapping[str, object]]
    """Further ones, for the browser that asks."""

    status_path: str
    status: Callable[[], Status]
    metrics: Callable[[], bytes]
    """As Prometheus scrapes them."""

    why_not_ready: Callable[[], str]
    """Returns "" if it is ready."""

    log: LogLines
    openapi: Callable[[], Status]
    routes: Sequence[Route]
    """Those that only this page has."""

    folders: Sequence[Path] = (PAGE,)
    """See `Entrance`."""


class Frame:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        subject: Subject,
        access: Access,
        hosts: Hosts,
        *,
        is_secure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put it around a subject.

        Args:
            subject: what is shown.
            access: who may read.
            hosts: the page's names.
            is_secure: whether it is served over TLS.
            clock: seconds.
        """
        self._subject = subject
        self._entrance = Entrance(
            access,
            is_secure=is_secure,
            failed=self._failed,
            folders=subject.folders,
        )
        self._status = Snapshot(self._make_status, clock=clock)
        self._metrics = Snapshot(subject.metrics, clock=clock)
        self._streams = EventStreams(lambda: self._status.get()[1])
        answers = Scraping(Starlette(routes=self._routes()), self._metrics.get)
        self.application = Guard.of_page(answers, access, hosts, clock=clock)
        """Answers every request."""

    def close(self) -> None:
        """End all event streams."""
        self._streams.close()

    def renew(self) -> None:
        """Tell who asks from now on how it stands now."""
        self._status.forget()
        self._metrics.forget()

    def _routes(self) -> list[Route]:
        answers: Mapping[str, Answer] = {
            "/": self._page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/openapi.json": self._openapi,
            self._subject.status_path: self._api_status,
            "/api/log": self._api_log,
        }
        return [
            *self._entrance.routes(),
            Route("/api/events", self._streams),
            *(Route(path, answer) for path, answer in answers.items()),
            *self._subject.routes,
        ]

    def _failed(self, peer: str) -> Response:
        return self.application.failed(peer)

    def _make_status(self) -> tuple[Status, str]:
        status = self._subject.status()
        return status, json.dumps(status, allow_nan=False)

    async def _page(self, request: Request) -> Response:
        stop = self._entrance.stops(request)
        if stop is not None:
            return stop
        status, _ = self._status.get()
        lines = self._subject.log.after(0, most=MOST_LINES_AT_FIRST)
        values = self._subject.values(request)
        return self._entrance.render(
            200, self._subject.template, status=status, lines=lines, **values
        )

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        why_not = self._subject.why_not_ready()
        if why_not:
            return PlainTextResponse(f"not ready: {why_not}\n", 503)
        return PlainTextResponse("ready\n")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(self._subject.openapi())

    async def _api_status(self, _request: Request) -> Response:
        return Response(self._status.get()[1], media_type="application/json")

    async def _api_log(self, request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            return refused(400, "after is the number of a line")
        lines = [vars(line) for line in self._subject.log.after(after, most=MOST_LINES)]
        return JSONResponse({"lines": lines})
