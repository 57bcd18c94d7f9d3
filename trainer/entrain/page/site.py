"""The routes of a run's page, and what is made for all who ask at once."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from entrain.page import answers, exposition
from entrain.page.access import Access, Right
from entrain.page.board import MOST_LINES, Board
from entrain.page.events import EventStreams
from entrain.page.facts import Source
from entrain.page.guard import Guard, refused
from entrain.page.hosts import Hosts
from entrain.page.openapi import openapi
from entrain.page.rates import Rates
from entrain.page.simulator_rates import SimulatorRates
from entrain.page.snapshots import Snapshot

_HERE = Path(__file__).parent
_STATIC = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}

MOST_BODY_BYTES = 4096
COOKIE_S = 30 * 24 * 3600

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
        """Answer from these.

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
        self._access = access
        self._is_secure = is_secure
        self._facts = Snapshot(source.run, clock=clock)
        self._rates = SimulatorRates(clock)
        self._status = Snapshot(self._make_status, clock=clock)
        self._exposition = exposition.Exposition(self._facts.get, board)
        self._metrics = Snapshot(self._exposition.render, clock=clock)
        self.streams = EventStreams(lambda: self._status.get()[1])
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._guard = Guard(
            Starlette(routes=self._routes()),
            access,
            hosts,
            requests=Rates(per_s=50.0, burst=200.0, clock=clock),
            failures=Rates(per_s=1 / 6, burst=10.0, clock=clock),
        )

    @property
    def application(self) -> Guard:
        """Answers every request."""
        return self._guard

    def close(self) -> None:
        """End all event streams."""
        self.streams.close()

    def _routes(self) -> list[Route]:
        readers: Mapping[str, Answer] = {
            "/metrics": self._scrape,
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
            Route("/login", self._login, methods=["POST"]),
            Route("/api/checkpoint", self._checkpoint, methods=["POST"]),
            Route("/api/stop", self._stop, methods=["POST"]),
            Route("/static/{name}", self._static),
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

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return refused(404, "there is no such file")
        path = _HERE / "static" / name
        return FileResponse(path, media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})

    async def _page(self, request: Request) -> Response:
        code = request.query_params.get("code")
        if code is not None:
            return self._redeem(request, code)
        if request.state.right < Right.READ:
            return self._render(401, "login.html", is_spent="spent" in request.query_params)
        status, _ = self._status.get()
        lines = self._board.log.after(0, most=100)
        return self._render(
            200,
            "run.html",
            can_control=request.state.right >= Right.CONTROL,
            status=status,
            config=self._source.config(),
            lines=lines,
        )

    def _render(self, code: int, template: str, **values: object) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values), code)

    # Tokens for cookies

    def _redeem(self, request: Request, code: str) -> Response:
        right = self._access.redeem(code)
        # Whoever has a cookie already loses nothing by a code that is spent.
        response = RedirectResponse("/" if right or request.state.right else "/?spent=1", 303)
        if right:
            self._set_cookie(response, right)
        elif not request.state.right:
            failed = self._guard.failed(request.client.host if request.client else "unknown")
            return failed if failed.status_code == 429 else response
        return response

    async def _login(self, request: Request) -> Response:
        asked = await _body(request)
        token = asked.get("token") if isinstance(asked, dict) else None
        right = self._access.of_token(token) if isinstance(token, str) else Right.NOTHING
        if not right:
            return self._guard.failed(request.client.host if request.client else "unknown")
        response = JSONResponse({"right": right.name.lower()})
        self._set_cookie(response, right)
        return response

    def _set_cookie(self, response: Response, right: Right) -> None:
        response.set_cookie(
            self._access.cookie_name,
            self._access.cookie_for(right),
            max_age=COOKIE_S,
            httponly=True,
            secure=self._is_secure,
            samesite="strict",
        )

    # What who controls the run may ask; `Guard` lets nobody else through

    async def _checkpoint(self, _request: Request) -> Response:
        self._source.save()
        return JSONResponse({"asked": "a checkpoint is written as soon as no update runs"}, 202)

    async def _stop(self, _request: Request) -> Response:
        self._source.stop()
        return JSONResponse({"asked": "the run saves and stops"}, 202)

    # What readers may ask

    def _make_status(self) -> tuple[Mapping[str, answers.Json], str]:
        facts = self._facts.get()
        status = answers.status(facts, self._board, self._rates.of(facts))
        return status, json.dumps(status, allow_nan=False)

    async def _scrape(self, _request: Request) -> Response:
        return Response(self._metrics.get(), media_type=exposition.CONTENT_TYPE)

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
            return refused(404, f"no policy {policy[:200]!r} has been updated yet")
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


async def _body(request: Request) -> object:
    """What a request holds as JSON; None if it is none, or too long."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BODY_BYTES:
            return None
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed


def paths() -> Sequence[str]:
    """What readers may ask, for tests of what is documented."""
    return tuple(openapi()["paths"])
