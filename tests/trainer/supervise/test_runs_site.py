"""What the page of several runs answers, and to whom."""

import json
import logging
import math
from html.parser import HTMLParser
from typing import Any

import httpx
import numpy as np
import pytest

from entrain.page.access import Access, Tokens
from entrain.page.board import LogLines
from entrain.page.hosts import Hosts
from entrain.supervise.charts import Line, groups
from entrain.supervise.facts import Chart, ServiceFacts
from entrain.supervise.openapi import openapi
from entrain.supervise.site import RunsSite
from entrain.supervise.standings import Axis, PolicyStanding, RunStanding

READ, CONTROL = "read-token-of-this-page", "control-token-of-this-page"
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>{{ 7*7 }}\u2028&lt;"


def run(name: str = "walk", **changed: Any) -> RunStanding:
    values: dict[str, Any] = {
        "name": name,
        "state": "running",
        "words": "",
        "address": "localhost:50100",
        "page_port": 8081,
        "is_page_secure": False,
        "process": 4711,
        "restarts": 2,
        "again_in_s": math.nan,
        "seconds": 60.0,
        "policies": [
            PolicyStanding(
                name="ball",
                env_steps=500,
                total_steps=1000,
                return_last=math.nan,
                env_steps_per_second=10.0,
            )
        ],
    }
    return RunStanding(**{**values, **changed})


class MadeUp:
    """A source whose facts a test sets."""

    def __init__(self, *runs: RunStanding) -> None:
        self.is_ready = True
        self.runs = list(runs)
        self.charted: list[tuple[str, str, Axis]] = []

    def facts(self) -> ServiceFacts:
        return ServiceFacts(
            directory="lab", is_ready=self.is_ready, ports="1-2", at_once=2, runs=self.runs
        )

    def chart(self, metric: str, policy: str, axis: Axis) -> Chart:
        self.charted.append((metric, policy, axis))
        x = np.arange(1000.0)
        lines = [Line(f"walk-{seed}", x, x * seed) for seed in (1, 3)]
        return Chart(
            metric=metric,
            policy=policy or "ball",
            policies=["ball"],
            lines=lines,
            groups=groups(lines, {"walk-1": "a", "walk-3": "a"}),
        )


class Served:
    """A page over them, asked without a socket."""

    def __init__(self, *runs: RunStanding, is_open: bool = True) -> None:
        self.now_s = 0.0
        self.source = MadeUp(*runs)
        self.log = LogLines(lambda record: (record.levelname, record.getMessage()))
        self.site = RunsSite(
            self.log,
            self.source,
            Access(Tokens(read=READ, control=CONTROL), port=8080, is_open=is_open),
            Hosts("localhost", ()),
            is_secure=False,
            clock=lambda: self.now_s,
        )

    async def get(self, path: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.site.application, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)


async def test_all_runs_are_told_with_their_states() -> None:
    served = Served(run(), run("hop", state="failed", again_in_s=3.2, words="exit code 7"))
    answer = (await served.get("/api/runs")).json()
    assert answer["states"] == {"running": 1, "failed": 1}
    assert (answer["restarts"], answer["num_runs"]) == (4, 2)
    walk, hop = answer["runs"]
    assert (walk["dial"], walk["page_port"], walk["again_in_s"]) == ("localhost:50100", 8081, None)
    assert walk["policies"][0]["return_last_100"] is None
    assert (hop["again_in_s"], hop["words"]) == (4, "exit code 7")


async def test_curves_are_of_all_runs_with_the_mean_of_those_that_differ_in_their_seed() -> None:
    served = Served(run())
    answer = (await served.get("/api/curves?metric=policy/kl&axis=seconds")).json()
    assert [line["run"] for line in answer["lines"]] == ["walk-1", "walk-3"]
    (group,) = answer["groups"]
    assert (group["label"], group["runs"]) == ("walk (2 seeds)", ["walk-1", "walk-3"])
    assert group["mean"][-1] == 2 * 999
    assert answer["lines"][0]["x"][-1] == 999
    assert served.source.charted == [("policy/kl", "", "seconds")]


async def test_a_chart_is_made_once_for_all_who_ask_within_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("entrain.supervise.site.MOST_CHARTS", 4)
    served = Served(run())
    for _ in range(5):
        await served.get("/api/curves")
    assert len(served.source.charted) == 1
    served.now_s = 2.0
    await served.get("/api/curves")
    assert len(served.source.charted) == 2
    for index in range(9):
        served.now_s += 1.0
        await served.get(f"/api/curves?policy=p{index}")
    assert len(served.site._charts) == 4


@pytest.mark.parametrize("query", ["metric=nothing", "axis=colour", "metric=policy/kl&axis="])
async def test_a_chart_of_what_there_is_not_is_refused(query: str) -> None:
    assert (await Served().get(f"/api/curves?{query}")).status_code == 400


async def test_readiness_is_that_of_the_supervisor_at_once() -> None:
    served = Served()
    assert (await served.get("/healthz")).status_code == 200
    assert (await served.get("/readyz")).status_code == 200
    served.source.is_ready = False
    assert (await served.get("/readyz")).status_code == 503


async def test_beyond_loopback_readers_show_a_token() -> None:
    served = Served(run(), is_open=False)
    for path in openapi()["paths"]:
        wanted = 200 if path in {"/healthz", "/readyz"} else 401
        assert (await served.get(path)).status_code == wanted, path
    assert (await served.get("/api/runs", authorization=f"Bearer {READ}")).status_code == 200
    form = await served.get("/")
    assert form.status_code == 401
    assert "walk" not in form.text


async def test_nobody_submits_anything_and_other_names_are_refused() -> None:
    served = Served(run())
    assert (await served.get("/api/runs", host="evil.example")).status_code == 421
    transport = httpx.ASGITransport(served.site.application, client=("127.0.0.1", 1))
    control = {"Authorization": f"Bearer {CONTROL}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers=control
    ) as client:
        for path in ("/", "/api/runs", "/api/curves", "/api/log"):
            assert (await client.post(path, json={})).status_code == 405
            assert (await client.put(path, json={})).status_code == 405


async def test_every_route_is_described() -> None:
    served = Served(run())
    described = openapi()["paths"]
    assert (await served.get("/openapi.json")).json()["paths"].keys() == described.keys()
    for path in described.keys() - {"/api/events"}:
        assert (await served.get(path)).status_code == 200, path


class Found(HTMLParser):
    """Elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]


async def test_hostile_names_and_words_stay_text() -> None:
    served = Served(run(HOSTILE, words=HOSTILE, state="failed", address=HOSTILE))
    record = logging.LogRecord("x", logging.ERROR, "", 0, HOSTILE, None, None)
    served.log.emit(record)
    page = await served.get("/")
    found = Found(page.text)
    assert found.tags.count("script") == 2
    assert (found.handlers, found.tags.count("img")) == ([], 0)
    assert "49" not in page.text
    assert json.loads((await served.get("/api/runs")).text)["runs"][0]["name"] == HOSTILE
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for script in ("page.js", "runs.js"):
        assert (await served.get(f"/static/{script}")).status_code == 200
    assert (await served.get("/static/nothing.js")).status_code == 404


async def test_prometheus_learns_runs_by_state_and_restarts() -> None:
    served = Served(run(), run("hop", state="given up"), *(run(f"r{i}") for i in range(300)))
    text = (await served.get("/metrics")).text
    assert 'entrain_serve_runs{state="running"} 301.0' in text
    assert 'entrain_serve_runs{state="given up"} 1.0' in text
    assert "entrain_serve_restarts_total 604.0" in text
    assert 'entrain_serve_run_lives{run="hop"} 0.0' in text
    assert 'entrain_serve_run_env_steps_total{policy="ball",run="walk"} 500.0' in text
    assert "entrain_serve_runs_left_out 46.0" in text
    assert text.count("entrain_serve_run_restarts_total{") == 256
