"""The routes of a run's page, and the answers that all its readers share."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from entrain.page import answers, exposition
from entrain.page.access import Access, Right
from entrain.page.board import MOST_LINES, Board
from entrain.page.control import Controls
from entrain.page.entrance import Entrance
from entrain.page.events import EventStreams
from entrain.page.facts import Source
from entrain.page.guard import Guard, refused
from entrain.page.hosts import Hosts
from entrain.page.openapi import openapi
from entrain.page.scraping import Scraping
from entrain.page.simulator_rates import SimulatorRates
from entrain.page.snapshots import Snapshot

Answer = Callable[[Request], Awaitable[Response]]


class Site:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        board: Board,
        source: Source,
        access: Access,
        hosts: Hosts,
        *,
        is_secure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the page of these parts.

        Args:
            board: what is remembered of the run.
            source: how the run stands.
            access: who may read.
            hosts: the page's names.
            is_secure: whether it is served over TLS.
            clock: seconds.
        """
        self._board = board
        self._source = source
        self._entrance = Entrance(access, is_secure=is_secure, failed=self._failed)
        self._facts = Snapshot(source.run, clock=clock)
        self._rates = SimulatorRates(clock)
        self._status = Snapshot(self._make_status, clock=clock)
        self._exposition = exposition.Exposition(self._facts.get, board)
        self._metrics = Snapshot(self._exposition.render, clock=clock)
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

    def _renew(self) -> None:
        """Something was asked of the run: who asks how it stands is not told how it stood."""
        for each in (self._facts, self._status, self._metrics):
            each.forget()

    def _failed(self, peer: str) -> Response:
        return self._guard.failed(peer)

    def _routes(self) -> list[Route]:
        readers: Mapping[str, Answer] = {
            "/openapi.json": self._openapi,
            "/api/status": self._api_status,
            "/api/metrics": self._api_metrics,
            "/api/simulators": self._api_simulators,
            "/api/log": self._api_log,
            "/api/config": self._api_config,
            "/api/artefacts": self._api_artefacts,
            "/api/artefacts/{name:path}": self._download,
        }
        return [
            Route("/", self._page),
            *self._entrance.routes(),
            *Controls(self._source, asked=self._renew).routes(),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/api/events", self.streams),
            *(Route(path, answer) for path, answer in readers.items()),
        ]

    # What everyone may ask

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        if self._source.run().is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: it does not listen yet, or is ending\n", 503)

    async def _page(self, request: Request) -> Response:
        stop = self._entrance.stops(request)
        if stop is not None:
            return stop
        status, _ = self._status.get()
        lines = self._board.log.after(0, most=100)
        return self._entrance.render(
            200,
            "run.html",
            can_control=request.state.right >= Right.CONTROL,
            status=status,
            config=self._source.config(),
            lines=lines,
        )

    # What readers may ask

    def _make_status(self) -> tuple[Mapping[str, answers.Json], str]:
        facts = self._facts.get()
        status = answers.status(facts, self._board, self._rates.of(facts))
        return status, json.dumps(status, allow_nan=False)

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(openapi())

    async def _api_status(self, _request: Request) -> Response:
        return Response(self._status.get()[1], media_type="application/json")

    async def _api_simulators(self, _request: Request) -> Response:
        facts = self._facts.get()
        return JSONResponse({"simulators": answers.simulators(facts, self._rates.of(facts))})

    async def _api_metrics(self, request: Request) -> Response:
        query = request.query_params
        policy = query.get("policy", "")
        curves = self._board.curves(policy)
        if curves is None:
            there = ", ".join(self._board.policies[:20]) or "none"
            words = f"no policy {policy[:200]!r} has been updated yet; ?policy= is one of: {there}"
            return refused(404, words)
        try:
            after, points = int(query.get("after", "0")), int(query.get("points", "400"))
        except ValueError:
            return refused(400, "after and points are whole numbers")
        if not (0 <= after < 2**62 and 1 <= points <= answers.MOST_POINTS):
            return refused(400, f"after is 0 or more, points 1 to {answers.MOST_POINTS}")
        names = query.getlist("name")[: len(curves.names)]
        return JSONResponse(answers.metrics(policy, curves, names, after=after, points=points))

    async def _api_log(self, request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            return refused(400, "after is the number of a line")
        lines = [vars(line) for line in self._board.log.after(after, most=MOST_LINES)]
        return JSONResponse({"lines": lines})

    async def _api_config(self, _request: Request) -> Response:
        return PlainTextResponse(self._source.config())

    async def _api_artefacts(self, _request: Request) -> Response:
        # Of a full folder, listing takes a while.
        found = await asyncio.to_thread(self._source.artefacts)
        return JSONResponse({"artefacts": [vars(each) for each in found]})

    async def _download(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = await asyncio.to_thread(self._source.path_of, name)
        if path is None:
            return refused(404, "there is no such file; /api/artefacts lists them")
        return FileResponse(
            path, media_type="application/octet-stream", filename=name.replace("/", "-")
        )


def paths() -> Sequence[str]:
    """The paths that readers may ask for; tests compare them with the documentation."""
    return tuple(openapi()["paths"])
