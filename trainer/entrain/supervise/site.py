"""The routes of the page of several runs. It only shows: nobody submits anything over HTTP."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from entrain.page.access import Access
from entrain.page.board import LogLines
from entrain.page.entrance import PAGE
from entrain.page.frame import Frame, Subject
from entrain.page.guard import Guard, refused
from entrain.page.hosts import Hosts
from entrain.page.snapshots import Snapshot
from entrain.supervise import facts
from entrain.supervise.exposition import Exposition
from entrain.supervise.following import COMPARED
from entrain.supervise.openapi import openapi
from entrain.supervise.standings import Axis

MOST_CHARTS = 64
"""That are kept for a second for all who ask."""

CHART_S = 2.0


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
        self._facts = Snapshot(source.facts, clock=clock)
        self._charts: dict[tuple[str, str, str], tuple[float, str]] = {}
        self._charting = asyncio.Lock()
        subject = Subject(
            template="runs.html",
            values=lambda _request: {"metrics": COMPARED},
            status_path="/api/runs",
            status=self._status,
            metrics=Exposition(self._facts.get).render,
            why_not_ready=self._why_not_ready,
            log=log,
            openapi=openapi,
            routes=[Route("/api/curves", self._api_curves)],
            folders=(Path(__file__).parent, PAGE),
        )
        self._frame = Frame(subject, access, hosts, is_secure=is_secure, clock=clock)

    @property
    def application(self) -> Guard:
        """Answers every request."""
        return self._frame.application

    def close(self) -> None:
        """End all event streams."""
        self._frame.close()

    def _why_not_ready(self) -> str:
        is_ready = self._source.facts().is_ready
        return "" if is_ready else "the directory cannot be read, or it is ending"

    def _status(self) -> Mapping[str, Any]:
        return facts.status(self._facts.get(), self._log)

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
