"""The routes of a run's page, and the answers that all its readers share."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from entrain.page import answers, exposition
from entrain.page.access import Access, Right
from entrain.page.board import Board
from entrain.page.control import Controls
from entrain.page.facts import Source
from entrain.page.frame import Answer, Frame, Subject
from entrain.page.guard import Guard, refused
from entrain.page.hosts import Hosts
from entrain.page.openapi import openapi
from entrain.page.simulator_rates import SimulatorRates
from entrain.page.snapshots import Snapshot


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
        self._facts = Snapshot(source.run, clock=clock)
        self._rates = SimulatorRates(clock)
        subject = Subject(
            template="run.html",
            values=self._values,
            status_path="/api/status",
            status=self._status,
            metrics=exposition.Exposition(self._facts.get, board).render,
            why_not_ready=self._why_not_ready,
            log=board.log,
            openapi=openapi,
            routes=self._routes(),
        )
        self._frame = Frame(subject, access, hosts, is_secure=is_secure, clock=clock)

    @property
    def application(self) -> Guard:
        """Answers every request."""
        return self._frame.application

    def close(self) -> None:
        """End all event streams."""
        self._frame.close()

    def _renew(self) -> None:
        """Something was asked of the run: who asks how it stands is not told how it stood."""
        self._facts.forget()
        self._frame.renew()

    def _routes(self) -> list[Route]:
        readers: Mapping[str, Answer] = {
            "/api/metrics": self._api_metrics,
            "/api/simulators": self._api_simulators,
            "/api/config": self._api_config,
            "/api/artefacts": self._api_artefacts,
            "/api/artefacts/{name:path}": self._download,
        }
        return [
            *Controls(self._source, asked=self._renew).routes(),
            *(Route(path, answer) for path, answer in readers.items()),
        ]

    def _why_not_ready(self) -> str:
        # As it is now: a simulator that is sent to a run that ends is lost.
        return "" if self._source.run().is_ready else "it does not listen yet, or is ending"

    def _values(self, request: Request) -> Mapping[str, object]:
        can_control = request.state.right >= Right.CONTROL
        return {"can_control": can_control, "config": self._source.config()}

    def _status(self) -> Mapping[str, answers.Json]:
        facts = self._facts.get()
        return answers.status(facts, self._board, self._rates.of(facts))

    # What readers may ask

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
