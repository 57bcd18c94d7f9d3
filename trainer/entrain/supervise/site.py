"""The routes of the page of several runs. It only shows: nobody submits anything over HTTP."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, get_args

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
from entrain.supervise import facts
from entrain.supervise.exposition import Exposition
from entrain.supervise.following import COMPARED
from entrain.supervise.openapi import openapi
from entrain.supervise.standings import Axis

MOST_CHARTS = 64
"""That are kept for a second for all who ask."""

CHART_S = 2.0

Answer = Callable[[Request], Awaitable[Response]]


class RunsSite:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        log: LogLines,
        source: facts.Source,
        access: Access,
        hosts: Hosts,
        *,
        is_secure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from these.

        Args:
            log: what the supervisor logs.
            source: how the runs stand.
            access: who may read.
            hosts: the page's names.
            is_secure: whether it is served over TLS.
            clock: seconds.
        """
        self._log = log
        self._source = source
        self._clock = clock
        self._entrance = Entrance(
            access,
            is_secure=is_secure,
            failed=self._failed,
            folders=(Path(__file__).parent, PAGE),
        )
        self._facts = Snapshot(source.facts, clock=clock)
        self._status = Snapshot(self._make_status, clock=clock)
        exposition = Exposition(self._facts.get)
        self._metrics = Snapshot(exposition.render, clock=clock)
        self._charts: dict[tuple[str, str, str], tuple[float, str]] = {}
        self._charting = asyncio.Lock()
        self.streams = EventStreams(lambda: self._status.get()[1])
        answers = Scraping(Starlette(routes=self._routes()), self._metrics.get)
        self._guard = Guard.of_page(answers, access, hosts, clock=clock)

    @property
    def application(self) -> Guard:
        """Answers every request."""
        return self._guard

    def close(self) -> None:
        """End all event streams."""
        self.streams.close()

    def _failed(self, peer: str) -> Response:
        return self._guard.failed(peer)

    def _routes(self) -> list[Route]:
        answers: Mapping[str, Answer] = {
            "/": self._page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/openapi.json": self._openapi,
            "/api/runs": self._api_runs,
            "/api/curves": self._api_curves,
            "/api/log": self._api_log,
        }
        return [
            *self._entrance.routes(),
            Route("/api/events", self.streams),
            *(Route(path, answer) for path, answer in answers.items()),
        ]

    async def _page(self, request: Request) -> Response:
        stop = self._entrance.stops(request)
        if stop is not None:
            return stop
        status, _ = self._status.get()
        lines = self._log.after(0, most=100)
        return self._entrance.render(200, "runs.html", status=status, lines=lines, metrics=COMPARED)

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        if self._source.facts().is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: the directory cannot be read, or it is ending\n", 503)

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(openapi())

    def _make_status(self) -> tuple[Mapping[str, Any], str]:
        status = facts.status(self._facts.get(), self._log)
        return status, json.dumps(status, allow_nan=False)

    async def _api_runs(self, _request: Request) -> Response:
        return Response(self._status.get()[1], media_type="application/json")

    async def _api_curves(self, request: Request) -> Response:
        query = request.query_params
        metric, policy = query.get("metric", COMPARED[0]), query.get("policy", "")
        axis = query.get("axis", "env_steps")
        if metric not in COMPARED or axis not in get_args(Axis):
            return refused(
                400, f"metric is one of {', '.join(COMPARED)}; axis one of {get_args(Axis)}"
            )
        text = await self._chart(metric, policy[:1000], axis)
        return Response(text, media_type="application/json")

    async def _chart(self, metric: str, policy: str, axis: str) -> str:
        key = (metric, policy, axis)
        # One after the other: the next one that asks for the same finds it made.
        async with self._charting:
            made_s, text = self._charts.pop(key, (-CHART_S, ""))
            if self._clock() - made_s >= CHART_S:
                text = await asyncio.to_thread(self._make_chart, *key)
                made_s = self._clock()
            self._charts[key] = (made_s, text)
            if len(self._charts) > MOST_CHARTS:
                del self._charts[next(iter(self._charts))]
        return text

    def _make_chart(self, metric: str, policy: str, axis: str) -> str:
        over: Axis = "seconds" if axis == "seconds" else "env_steps"
        chart = self._source.chart(metric, policy, over)
        return json.dumps(facts.chart_answer(chart), allow_nan=False)

    async def _api_log(self, request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            return refused(400, "after is the number of a line")
        lines = [vars(line) for line in self._log.after(after, most=MOST_LINES)]
        return JSONResponse({"lines": lines})
