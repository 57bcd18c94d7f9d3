"""What stands before every request to a page."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from entrain.page.guard import Guard, cookies_of
from entrain.page.hosts import Hosts
from entrain.page.rates import Rates
from support.served_page import CONTROL, READ, Served

PATHS = ("/", "/metrics", "/api/status", "/api/config", "/api/log", "/healthz", "/static/page.js")


@pytest.mark.parametrize("path", PATHS)
async def test_another_name_is_misdirected_on_loopback_too(path: str) -> None:
    async with Served().client() as client:
        for host in ("evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example"):
            assert (await client.get(path, headers={"Host": host})).status_code == 421
        assert (await client.get(path)).status_code == 200


async def test_beyond_loopback_only_health_and_what_holds_nothing_is_open() -> None:
    async with Served(is_open=False).client() as client:
        codes = {path: (await client.get(path)).status_code for path in PATHS}
    closed = dict.fromkeys(("/", "/metrics", "/api/status", "/api/config", "/api/log"), 401)
    assert codes == {**closed, "/healthz": 200, "/static/page.js": 200}


async def test_the_form_that_stands_for_a_closed_page_says_nothing_of_the_run() -> None:
    async with Served(is_open=False).client() as client:
        text = (await client.get("/")).text
    assert 'id="login"' in text
    assert "walk" not in text


async def test_either_token_reads() -> None:
    async with Served(is_open=False).client() as client:
        for token in (READ, CONTROL):
            bearer = {"Authorization": f"Bearer {token}"}
            assert (await client.get("/api/status", headers=bearer)).status_code == 200


async def test_a_code_becomes_a_cookie_that_scripts_and_other_sites_cannot_use() -> None:
    served = Served(is_open=False)
    async with served.client() as client:
        answer = await client.get("/", params={"code": served.access.code})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert CONTROL not in cookie
        assert (await client.get("/api/status")).status_code == 200
        again = await client.get("/", params={"code": "spent"})
        assert again.headers["location"] == "/"
    async with served.client() as other:
        refused = await other.get("/", params={"code": "spent"})
        assert refused.headers["location"] == "/?spent=1"
        assert "set-cookie" not in refused.headers
        assert "was used already" in (await other.get("/?spent=1")).text


async def test_a_token_that_is_typed_becomes_a_cookie() -> None:
    origin = {"Origin": "http://127.0.0.1"}
    async with Served(is_open=False).client() as client:
        wrong = await client.post("/login", json={"token": "wrong"}, headers=origin)
        assert wrong.status_code == 401
        right = await client.post("/login", json={"token": READ}, headers=origin)
        assert (right.status_code, right.json()) == (200, {"right": "read"})
        assert (await client.get("/api/status")).status_code == 200
        others: list[Any] = [{"token": ["x"]}, [], "x"]
        for other in others:
            answer = await client.post("/login", json=other, headers=origin)
            assert answer.status_code == 401


async def test_a_change_is_taken_from_the_page_itself_or_with_a_bearer() -> None:
    async with Served().client() as client:

        async def code(headers: dict[str, str], path: str = "/login", **sent: Any) -> int:
            return (await client.post(path, headers=headers, **sent)).status_code

        body = {"token": READ}
        assert await code({}, json=body) == 403
        assert await code({"Origin": "http://evil.example"}, json=body) == 403
        assert await code({"Origin": "null"}, json=body) == 403
        assert await code({"Origin": "http://127.0.0.1:81"}, json=body) == 403
        assert await code({"Origin": "https://127.0.0.1"}, json=body) == 403
        assert await code({"Origin": "http://127.0.0.1"}, json=body) == 200
        assert await code({"Authorization": f"Bearer {READ}"}, json=body) == 200
        # A form of another site may be sent without asking, so a form is never taken.
        assert await code({"Origin": "http://127.0.0.1"}, data=body) == 415
        reads = {"Authorization": f"Bearer {READ}"}
        assert await code(reads, "/api/status", json={}) == 403
        assert (await client.put("/login")).status_code == 405


async def test_wrong_tokens_are_slowed_down_and_a_right_one_is_not() -> None:
    served = Served(is_open=False)
    async with served.client() as client:
        wrong, right = ({"Authorization": f"Bearer {token}"} for token in ("wrong", READ))
        codes = [(await client.get("/metrics", headers=wrong)).status_code for _ in range(12)]
        assert codes == [401] * 10 + [429] * 2
        assert (await client.get("/metrics", headers=right)).status_code == 200
        served.now_s = 6.0
        assert (await client.get("/metrics", headers=wrong)).status_code == 401


async def test_a_flood_of_requests_is_answered_with_a_request_to_wait() -> None:
    served = Served()
    async with served.client() as client:
        codes = [(await client.get("/healthz")).status_code for _ in range(201)]
        assert codes == [200] * 200 + [429]
        served.now_s = 1.0
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/api/metrics"])
async def test_every_answer_binds_the_browser(path: str) -> None:
    async with Served().client() as client:
        headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    if not path.startswith("/static/"):
        assert headers["cache-control"] == "no-store"


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    served, aborted = Served(), []
    guard = Guard(
        served.site.application,
        served.access,
        Hosts("localhost"),
        requests=Rates(per_s=1.0, burst=9.0),
        failures=Rates(per_s=1.0, burst=9.0),
        stall_s=0.01,
    )

    async def never(_message: Message) -> None:
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1234),
        "state": {"abort": lambda: aborted.append(True)},
    }
    await guard(scope, receive, never)
    assert aborted == [True]


async def test_who_was_let_in_stays_so_for_a_day_and_in_the_next_sitting() -> None:
    served = Served(is_open=False)
    async with served.client() as browser:
        await browser.get("/", params={"code": served.access.code})
        served.now_s += 24 * 3600.0
        assert (await browser.get("/api/status")).status_code == 200
        # The run is resumed with the tokens of before.
        cookies = browser.cookies
    again = Served(is_open=False)
    async with again.client(cookies=cookies) as browser:
        assert (await browser.get("/api/status")).status_code == 200


def guard_of(app: ASGIApp) -> Guard:
    served = Served()
    few = Rates(per_s=1.0, burst=9.0)
    return Guard(app, served.access, Hosts("localhost"), requests=few, failures=few)


def scope_of(**more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1234),
        "state": {},
        **more,
    }


async def _unused(*_: object) -> Any:
    raise AssertionError("nothing is read or sent")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), "127.0.0.1 is gone: [Errno 32] Broken pipe"),
        (ZeroDivisionError("of ours"), "the page failed to answer /healthz"),
    ],
)
async def test_an_answer_that_fails_is_logged_and_ends_nothing(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def fail(*_: object) -> None:
        raise error

    await guard_of(fail)(scope_of(), _unused, _unused)
    assert words in caplog.text
    assert any(record.levelname == "ERROR" for record in caplog.records) == (
        not isinstance(error, OSError)
    )


async def test_what_is_no_request_is_not_handed_on() -> None:
    handed: list[object] = []

    async def note(scope: object, *_: object) -> None:
        handed.append(scope)

    guard = guard_of(note)
    await guard(scope_of(type="lifespan"), _unused, _unused)
    assert handed == []
    await guard(scope_of(), _unused, _unused)
    assert len(handed) == 1


def test_a_cookie_that_cannot_be_read_hides_no_other() -> None:
    headers = Headers({"cookie": "a=1; b(=2; c=3"})
    assert cookies_of(headers) == {"a": "1", "c": "3"}
    assert cookies_of(Headers({})) == {}
