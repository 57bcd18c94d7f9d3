"""A run that serves its page: over real sockets on loopback, while it trains."""

import asyncio
import csv
import errno
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from entrain.app import commands
from entrain.app.run_page import RunPage, open_page
from entrain.app.training import TrainingRun
from entrain.cli import main
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, ServeError
from entrain.run.folder import RunFolder
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import config_from, simulators, train
from trainer.app.test_poster import SECRET, inbox

RUN = """
seed: 3
server: {{address: "unix:{socket}"}}
http: {{address: "127.0.0.1:0"}}
policies:
  "*":
    total_steps: {steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 128
    algorithm: {{minibatch_size: 64, num_epochs: 1}}
"""


def config_of(folder: Path, steps: int = 1024) -> RunConfig:
    return config_from(RUN.format(socket=folder / "s", steps=steps), folder)


@contextmanager
def a_page(tmp_path: Path) -> Iterator[tuple[RunConfig, RunFolder, RunPage]]:
    config, folder = config_of(tmp_path), RunFolder.create(tmp_path, "ball")
    with open_page(config, folder) as page:
        yield config, folder, page


async def test_what_the_page_says_is_what_the_run_wrote(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    with a_page(tmp_path) as (config, folder, page):

        async def look(client: httpx.AsyncClient) -> None:
            for path in ("/api/status", "/api/metrics?policy=ball", "/readyz", "/metrics"):
                answer = await client.get(path)
                seen[path] = answer.text

        def attach(run: TrainingRun) -> bool:
            page.attach(run)
            return False

        async with page.serving(), httpx.AsyncClient(base_url=page.url) as client:
            assert (await client.get("/readyz")).status_code == 503
            with simulators(f"unix:{tmp_path / 's'}", {"ball-0": BalanceBall(count=8)}):
                await train(config, folder, observer=page, stop_at=attach)
                await look(client)
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    status = json.loads(seen["/api/status"])
    curves = json.loads(seen["/api/metrics?policy=ball"])
    assert curves["updates"] == len(rows) == 8
    assert curves["env_steps"] == [int(row["env_steps"]) for row in rows]
    for name, curve in curves["metrics"].items():
        written = [float(row[name]) if row[name] else None for row in rows]
        for shown, exact in zip(curve["mean"], written, strict=True):
            if exact is not None and exact == exact:  # noqa: PLR0124 - of NaN alone
                assert shown == pytest.approx(exact, rel=1e-9), name
    (policy,) = status["policies"]
    assert (status["phase"], policy["env_steps"], policy["total_steps"]) == ("ending", 1024, 1024)
    assert status["seconds_left"] == 0.0
    assert 'entrain_env_steps_total{policy="ball"} 1024.0' in seen["/metrics"]
    assert "entrain_exchange_latency_seconds_count" in seen["/metrics"]


async def test_a_resumed_run_has_the_curves_of_before(tmp_path: Path) -> None:
    config, folder = config_of(tmp_path), RunFolder.create(tmp_path, "ball")

    def half(run: TrainingRun) -> bool:
        return run.env_steps >= 500

    with simulators(f"unix:{tmp_path / 's'}", {"ball-0": BalanceBall(count=8)}):
        await train(config, folder, stop_at=half)
        with open_page(config, folder) as page:
            await train(config, folder, resumed=True, observer=page)
    curves = page.board.curves("ball")
    assert curves is not None
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert curves.updates == len(rows) == 8
    everything = curves.rows_after(0, most=99)
    assert curves.env_steps(everything).tolist() == [int(row["env_steps"]) for row in rows]


def test_a_port_that_is_taken_is_said_before_anything_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = config_from(f"http: {{address: 127.0.0.1:{port}}}", tmp_path)
        folder = RunFolder.create(tmp_path, "ball")
        with (
            pytest.raises(ServeError, match=rf":{port} is in use .*--set http\.address=127"),
            open_page(config, folder),
        ):
            pass


def test_a_port_that_is_taken_ends_the_command_with_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(f"runs_directory: {tmp_path / 'runs'}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["train", str(tmp_path / "run.yaml"), "--http", where]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"entrain: {where} is in use by another program (")
    assert not list((tmp_path / "runs").glob("*"))


async def test_a_full_disk_is_an_alarm_on_a_page_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with a_page(tmp_path) as (config, folder, page):

        def fill(run: TrainingRun) -> bool:
            page.attach(run)
            if run.env_steps >= 256:
                monkeypatch.setattr("entrain.run.table._append_file", no_room)
            return False

        async with page.serving(), httpx.AsyncClient(base_url=page.url) as client:
            with simulators(f"unix:{tmp_path / 's'}", {"ball-0": BalanceBall(count=8)}):
                await train(config, folder, observer=page, stop_at=fill)
            status = (await client.get("/api/status")).json()
            curves = (await client.get("/api/metrics?policy=ball")).json()
    assert "No space left" in "".join(alarm["message"] for alarm in status["alarms"])
    assert curves["updates"] == 8


def test_beyond_loopback_a_page_needs_tls_or_a_word(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "ball")
    exposed = config_from('http: {address: "0.0.0.0:0"}', tmp_path)
    with (
        pytest.raises(ConfigError, match=r"http\.address is '0\.0\.0\.0:0'.*http\.insecure"),
        open_page(exposed, folder),
    ):
        pass
    allowed = config_from('http: {address: "0.0.0.0:0", insecure: true}', tmp_path)
    with open_page(allowed, folder) as page:
        assert page.url.startswith("http://localhost:")


async def test_requests_that_never_end_or_are_too_long_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entrain.page.connection.HEAD_S", 0.2)
    with a_page(tmp_path) as (_, _, page):
        async with page.serving():
            silent, half, *long = [await dialled(page) for _ in range(6)]
            half[1].write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for (_, writer), request in zip(long, ENDLESS, strict=True):
                writer.write(request + b"x" * 40_000)
            for each in long:
                assert b"HTTP/1.1 400 " in await read_to_end(*each)
            assert await read_to_end(*silent) == await read_to_end(*half) == b""


_POST = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
ENDLESS = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    b"GET /",
    _POST + b"Content-Length: 99999\r\n\r\n",
    # What comes behind a body is more headers.
    _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
)
"""Beginnings of requests."""


async def test_one_connection_carries_many_answers_with_and_without_a_body(tmp_path: Path) -> None:
    requests = b"".join(
        b"%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n" % (line, end)
        for line, end in [
            (b"HEAD /metrics", b""),
            (b"GET /healthz", b""),
            (b"HEAD /healthz", b""),
            (b"GET /api/events", b"Connection: close\r\n"),
        ]
    )
    with a_page(tmp_path) as (_, _, page):
        async with page.serving():
            reader, writer = await dialled(page)
            writer.write(requests)
            said = await reader.readuntil(b"event: status")
            writer.close()
    answers = [each.partition(b"\r\n\r\n")[::2] for each in said.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [body[:5] for _, body in answers] == [b"", b"ok\n", b"", b"d\r\nre"]
    assert b"text/plain; version=0.0.4" in answers[0][0]


async def test_requests_that_wait_for_their_answers_are_bounded(tmp_path: Path) -> None:
    with a_page(tmp_path) as (_, _, page):
        async with page.serving():
            many = await dialled(page)
            many[1].write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2000)
            said = await read_to_end(*many)
            # The others are answered as before.
            one = await dialled(page)
            one[1].write(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await read_to_end(*one)).startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 200 ") <= 1
    assert said.count(b"HTTP/1.1 400 ") <= 1


async def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain.page.connection.MOST_CONNECTIONS", 2)
    with a_page(tmp_path) as (_, _, page):
        async with page.serving():
            held = [await dialled(page) for _ in range(2)]
            assert await read_to_end(*await dialled(page)) == b""
            for _, writer in held:
                writer.write(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            for each in held:
                assert (await read_to_end(*each)).startswith(b"HTTP/1.1 200 ")


async def dialled(page: RunPage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", httpx.URL(page.url).port)


async def read_to_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What came until the page closed the connection."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_a_browser_is_let_in_once_and_does_not_keep_a_run_from_ending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "entrain")
    told: list[str] = []
    with inbox(200) as there:
        config = load_config(
            None,
            [
                f"runs_directory={json.dumps(str(tmp_path))}",
                f"server.address=unix:{tmp_path / 's'}",
                "http.address=localhost:0",
                f"notify.url={there.url}",
            ],
        )
        browser = threading.Thread(target=lambda: browse(capsys, told))
        browser.start()
        assert commands.train(config) == 0
        browser.join(30.0)
    assert [(it["event"], it["outcome"]) for it in there.taken] == [("end", "stopped")]
    folder = tmp_path / "run"
    about = json.loads((folder / "page.json").read_text())
    url, code, *events = told
    assert url == about["url"]
    assert "event: status" in events
    log = (folder / "log.txt").read_text() + (folder / "report.html").read_text()
    assert f"the page of this run: {url}" in log
    for secret in (code, about["read_token"], about["control_token"], SECRET):
        assert secret not in log


def browse(capsys: pytest.CaptureFixture[str], told: list[str]) -> None:
    """Follow the address that a run prints, stop the run, and stay until its page ends."""
    printed = ""
    try:
        while "?code=" not in printed:
            time.sleep(0.01)
            printed += capsys.readouterr().out
        url, _, code = printed.split("in, once:")[1].split()[0].partition("?code=")
        told += [url, code]
        with httpx.Client(base_url=url) as client:
            assert client.get("/", params={"code": code}).status_code == 303
            assert client.get("/").status_code == 200
            with client.stream("GET", "/api/events") as events:
                lines = events.iter_lines()
                told.append(next(line for line in lines if line.startswith("event")))
                # The cookie is sent by the page itself, with the header that browsers add.
                origin = {"Origin": url.rstrip("/")}
                assert client.post("/api/stop", json={}, headers=origin).status_code == 202
                told.extend(lines)
    except Exception:
        os.kill(os.getpid(), signal.SIGTERM)
        raise


async def test_over_tls_a_renewed_certificate_is_shown_to_who_connects_next(tmp_path: Path) -> None:
    certificate, key = tmp_path / "trainer.pem", tmp_path / "trainer.key"
    make_certificate(certificate, key)
    options = f"server: {{tls_certificate: {certificate}, tls_key: {key}}}\n"
    config = config_from(options + 'http: {address: "127.0.0.1:0"}', tmp_path)
    with open_page(config, RunFolder.create(tmp_path, "ball")) as page:
        assert page.url.startswith("https://")
        async with page.serving():
            shown = [await certificate_of(page)]
            make_certificate(certificate, key)
            shown.append(await certificate_of(page))
            certificate.write_text("damaged")
            shown.append(await certificate_of(page))
    assert shown[0] != shown[1] == shown[2]


def make_certificate(certificate: Path, key: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    files = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)


async def certificate_of(page: RunPage) -> bytes:
    """What the page shows of itself, in an exchange that works."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = httpx.URL(page.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    connection = writer.get_extra_info("ssl_object")
    shown: bytes = connection.getpeercert(binary_form=True)
    assert b" 200 OK" in await read_to_end(reader, writer)
    return shown
