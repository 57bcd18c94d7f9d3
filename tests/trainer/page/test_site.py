"""What a page and its API answer."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from entrain.page.facts import ControlFacts
from entrain.page.openapi import openapi
from support.served_page import CONTROL, NAN, READ, MadeUp, Served, policy, run_facts, simulator

CONTROLS = {"Authorization": f"Bearer {CONTROL}"}
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>{{ 7*7 }}\u2028&lt;"


async def answered(served: Served, path: str) -> httpx.Response:
    async with served.client() as client:
        return await client.get(path)


def measured(served: Served, kl: float = 0.25) -> None:
    values = {
        "policy/kl": kl,
        "rollout/episode_return_last_100": 12.5,
        "policy/entropy": kl,
        "time/seconds": 50.0,
    }
    served.board.note_update("walker", values, {"coins": 3.0}, env_steps=1000, wall_time=50.0)


async def test_health_is_that_of_the_process_and_readiness_that_of_the_run() -> None:
    served = Served()
    assert (await answered(served, "/healthz")).status_code == 200
    assert (await answered(served, "/readyz")).status_code == 200
    served.source.facts = run_facts(is_ready=False)
    # At once: a simulator that is sent to a run that ends is lost.
    assert (await answered(served, "/readyz")).status_code == 503
    assert (await answered(served, "/healthz")).status_code == 200


async def test_the_status_says_how_far_the_run_is() -> None:
    served = Served()
    measured(served)
    served.board.note_update("walker", {"time/seconds": 60.0}, {}, env_steps=1100, wall_time=60.0)
    status = (await answered(served, "/api/status")).json()
    assert (status["run"], status["phase"], status["num_agents"]) == ("walk", "training", 4)
    (walker,) = status["policies"]
    # 10 steps a second, and 1,000 are left.
    assert walker["seconds_left"] == status["seconds_left"] == 100.0
    assert (walker["statistics"], walker["statistics_left_out"]) == ({"coins": 3.0}, 0)
    assert status["simulators"][0]["latency_p99_s"] is None


async def test_a_rate_is_known_from_the_second_look_on() -> None:
    served = Served()
    served.now_s = 10.0
    (before,) = (await answered(served, "/api/simulators")).json()["simulators"]
    assert before["steps_per_second"] is None
    served.now_s = 14.0
    served.source.facts = run_facts(simulators=[simulator(steps=300)])
    (after,) = (await answered(served, "/api/simulators")).json()["simulators"]
    assert after["steps_per_second"] == 50.0


async def test_curves_are_read_whole_or_from_where_a_reader_is() -> None:
    served = Served()
    for update in range(3):
        served.board.note_update(
            "walker", {"policy/kl": 0.1 * update}, {}, env_steps=update, wall_time=1.0
        )
    whole = (await answered(served, "/api/metrics?policy=walker")).json()
    assert whole["metrics"]["policy/kl"]["mean"] == [0.0, 0.1, 0.2]
    assert whole["first_update"] == [0, 1, 2]
    assert "policy/kl" in whole["names"]
    newer = (await answered(served, "/api/metrics?policy=walker&after=2")).json()
    assert newer["metrics"]["policy/kl"]["mean"] == [0.2]
    two = (await answered(served, "/api/metrics?policy=walker&points=2")).json()
    assert two["env_steps"] == [0, 2]
    named = (await answered(served, "/api/metrics?policy=walker&name=value/loss")).json()
    assert named["metrics"] == {}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("policy=cat", 404),
        ("", 404),
        ("policy=walker&after=-1", 400),
        ("policy=walker&after=x", 400),
        ("policy=walker&points=0", 400),
        ("policy=walker&points=100000", 400),
        ("policy=walker&after=99999999999999999999999", 400),
    ],
)
async def test_a_wrong_question_is_told_what_is_right(query: str, code: int) -> None:
    served = Served()
    measured(served)
    answer = await answered(served, f"/api/metrics?{query}")
    assert (answer.status_code, "error" in answer.json()) == (code, True)


async def test_what_simulators_report_is_a_curve_and_no_series_of_metrics() -> None:
    served = Served()
    measured(served)
    coins = (await answered(served, "/api/metrics?policy=walker&name=statistics/coins")).json()
    assert coins["metrics"]["statistics/coins"]["mean"] == [3.0]
    # Their number has no end that Prometheus would like.
    assert "coins" not in (await answered(served, "/metrics")).text


async def test_what_is_no_number_is_null() -> None:
    served = Served()
    measured(served, NAN)
    for path in ("/api/status", "/api/metrics?policy=walker"):
        text = (await answered(served, path)).text
        json.loads(text, parse_constant=pytest.fail)


async def test_many_readers_cost_what_one_does() -> None:
    served = Served()
    async with served.client() as client:
        for _ in range(50):
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.get("/api/status")).status_code == 200
        assert served.source.asked == 1
        served.now_s = 3.0
        await client.get("/metrics")
        assert served.source.asked == 2


async def test_files_that_are_listed_are_downloaded_and_no_others(tmp_path: Path) -> None:
    secret, model = tmp_path / "page.json", tmp_path / "walker.onnx"
    secret.write_text("secret")
    model.write_text("model")
    served = Served(MadeUp(files={"policies/walker.onnx": str(model)}))
    answer = await answered(served, "/api/artefacts/policies/walker.onnx")
    assert (answer.text, answer.headers["content-type"]) == ("model", "application/octet-stream")
    assert answer.headers["content-disposition"].startswith("attachment;")
    for name in ("page.json", "../page.json", "..%2fpage.json", str(secret), "", "policies"):
        assert (await answered(served, f"/api/artefacts/{name}")).status_code in {200, 404}
        assert "secret" not in (await answered(served, f"/api/artefacts/{name}")).text


async def test_every_path_of_the_description_is_answered() -> None:
    served = Served()
    measured(served)
    described = (await answered(served, "/openapi.json")).json()
    assert described == json.loads(json.dumps(openapi()))
    for path in described["paths"]:
        if "post" in described["paths"][path]:
            async with served.client() as client:
                asked = {"set": ["a=1"]} if path == "/api/change" else {}
                answer = await client.post(path, json=asked, headers=CONTROLS)
            assert answer.status_code == 202
        elif path not in {"/api/events", "/api/artefacts/{name}"}:
            answer = await answered(served, f"{path}?policy=walker")
            assert answer.status_code == 200, path
            content = next(iter(described["paths"][path]["get"]["responses"]["200"]["content"]))
            assert answer.headers["content-type"].startswith(content)


async def test_who_has_the_control_token_saves_and_stops_and_nobody_else() -> None:
    served = Served()
    async with served.client() as client:
        posts = [path for path, it in openapi()["paths"].items() if "post" in it]
        assert len(posts) == 6
        for path in posts:
            reads = {"Authorization": f"Bearer {READ}"}
            assert (await client.get(path, headers=CONTROLS)).status_code == 405
            assert (await client.post(path, json={}, headers=reads)).status_code == 403
            own = {"Origin": "http://127.0.0.1"}
            assert (await client.post(path, json={}, headers=own)).status_code == 403
            assert served.source.told == []
        assert "data-ask" not in (await client.get("/")).text
        await client.get("/", params={"code": served.access.code})
        assert "data-ask" in (await client.get("/")).text
        foreign = {"Origin": "http://evil.example"}
        assert (await client.post("/api/stop", json={}, headers=foreign)).status_code == 403
        assert served.source.told == []
        for path in ("/api/checkpoint", "/api/stop"):
            assert (await client.post(path, json={}, headers=own)).status_code == 202
    assert served.source.told == ["save", "stop"]


@pytest.mark.parametrize(
    ("path", "asked", "code", "told"),
    [
        ("pause", {}, 202, ["pause"]),
        ("go-on", {}, 202, ["go on"]),
        ("export", {}, 202, ["export onnx"]),
        ("export", {"format": "unity"}, 202, ["export unity"]),
        ("export", {"format": "exe"}, 400, []),
        ("export", [], 400, []),
        ("change", {"set": ["a=1"]}, 202, ["change ['a=1'] None"]),
        ("change", {"set": ["a=1"], "from_update": 7}, 202, ["change ['a=1'] 7"]),
        ("change", {"set": ["a=1"], "from_update": True}, 400, []),
        ("change", {"set": ["a=1"], "from_update": 0}, 400, []),
        ("change", {"set": ["wrong=1"]}, 400, []),
        ("change", {"set": [1]}, 400, []),
        ("change", {"set": []}, 400, []),
        ("change", {"set": ["a=1"] * 21}, 400, []),
        ("change", {"set": ["a=" + "1" * 5000]}, 400, []),
        ("change", {}, 400, []),
    ],
)
async def test_what_is_asked_of_a_run_is_checked(
    path: str, asked: object, code: int, told: list[str]
) -> None:
    served = Served()
    async with served.client() as client:
        answer = await client.post(f"/api/{path}", json=asked, headers=CONTROLS)
    assert (answer.status_code, served.source.told) == (code, told)
    assert ("asked" if code == 202 else "error") in answer.json()


async def test_after_a_request_nobody_is_told_how_the_run_stood_before() -> None:
    served = Served()
    async with served.client() as client:
        assert (await client.get("/api/status")).json()["phase"] == "training"
        served.source.facts = run_facts(phase="paused")
        assert (await client.get("/api/status")).json()["phase"] == "training"
        await client.post("/api/pause", json={}, headers=CONTROLS)
        assert (await client.get("/api/status")).json()["phase"] == "paused"


async def test_a_page_says_what_was_asked_for() -> None:
    control = ControlFacts(paused_since=5.0, changes=["a=1 before update 7"], export="running")
    served = Served(MadeUp(run_facts(phase="paused", control=control)))
    assert (await answered(served, "/api/status")).json()["control"]["paused_since"] == 5.0
    assert "entrain_paused 1.0" in (await answered(served, "/metrics")).text
    assert (await answered(served, "/readyz")).status_code == 200
    async with served.client() as client:
        await client.get("/", params={"code": served.access.code})
        text = (await client.get("/")).text
    assert "a=1 before update 7" in text
    assert 'data-ask="/api/go-on">Go on<' in text


class Tags(HTMLParser):
    """Collects elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


async def test_no_name_becomes_part_of_the_page() -> None:
    facts = run_facts(
        name=HOSTILE,
        address=HOSTILE,
        limit=HOSTILE,
        policies=[policy(HOSTILE)],
        simulators=[simulator(HOSTILE, peer=HOSTILE, behaviours=(HOSTILE,))],
        sessions={HOSTILE: 1},
        control=ControlFacts(changes=[HOSTILE], exported=HOSTILE),
    )
    served = Served(MadeUp(facts, text=HOSTILE))
    plain = Served(MadeUp(run_facts(control=ControlFacts(changes=["fine"], exported="fine"))))
    for each in (served, plain):
        words = HOSTILE if each is served else "fine"
        each.board.log.emit(_record(words))
        each.board.note_update(
            words if each is served else "walker", {}, {words: 1.0}, env_steps=1, wall_time=1.0
        )
    tags, expected = Tags(), Tags()
    text = (await answered(served, "/")).text
    tags.feed(text)
    expected.feed((await answered(plain, "/")).text)
    assert tags.found == expected.found
    assert text.count("&lt;script&gt;alert(1)") >= 6
    assert "49" not in text
    for tag, attributes in tags.found:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        source = attributes.get("src") or attributes.get("href") or ""
        assert source.startswith(("/static/", "#")) or not source
        assert tag != "script" or source


async def test_who_waits_for_whom_is_shown_where_there_is_a_replay() -> None:
    words = "1 gradient step for each env step; collecting waits for learning 40% of the time"
    for pace in (words, ""):
        served = Served(MadeUp(run_facts(pace=pace)))
        tags, text = Tags(), (await answered(served, "/")).text
        tags.feed(text)
        (row,) = [attributes for _, attributes in tags.found if attributes.get("id") == "pace-row"]
        assert ("hidden" in row) is not bool(pace)
        assert (words in text) is bool(pace)
        assert (await answered(served, "/api/status")).json()["pace"] == pace


async def test_hostile_names_are_only_data_in_json_and_metrics() -> None:
    facts = run_facts(name=HOSTILE, policies=[policy(HOSTILE + "\nentrain_ready 0\n")])
    served = Served(MadeUp(facts))
    for path in ("/api/status", "/api/simulators", "/api/log"):
        answer = await answered(served, path)
        assert answer.headers["content-type"] == "application/json"
        answer.json()
    lines = (await answered(served, "/metrics")).text.splitlines()
    assert "entrain_ready 1.0" in lines
    assert "entrain_ready 0" not in lines


def _record(words: str) -> Any:
    import logging

    return logging.LogRecord("entrain", logging.WARNING, "", 0, "%s", (words,), None)


@pytest.mark.parametrize("count", [0, 1, 5, 50])
async def test_any_number_of_policies_is_shown(count: int) -> None:
    names = [f"policy-{number}" for number in range(count)]
    served = Served(MadeUp(run_facts(policies=[policy(name) for name in names])))
    text = (await answered(served, "/")).text
    assert all(f">{name}<" in text for name in names)
