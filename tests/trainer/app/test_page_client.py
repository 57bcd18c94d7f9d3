"""Why a page that is asked gives no answer, in one line, and `entrain ctl` of a run elsewhere."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from entrain.app.page_client import PageClient, Place, find_place
from entrain.cli import main
from entrain.errors import ConfigError, ControlError

Answers = Mapping[str, tuple[int, Any]]


class _Page(BaseHTTPRequestHandler):
    """Answers what it is told to, and notes what it was sent."""

    def __init__(self, answers: Answers, heard: list[str], *arguments: Any) -> None:
        self._answers, self._heard = answers, heard
        super().__init__(*arguments)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._heard.append(f"{self.headers['Authorization']} {self.path} {body}".strip())
        status, answer = self._answers[self.path]
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def page_that_answers(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """A page with these answers: where it is, and what it is asked."""
    heard: list[str] = []
    with ThreadingHTTPServer(("localhost", 0), partial(_Page, answers, heard)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"localhost:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


def client(address: str, tmp_path: Path) -> PageClient:
    """A page's client with a token."""
    url = f"http://{address}/"
    return PageClient(Place(url=url, token="secret", token_from=tmp_path / "page.json"))


@pytest.mark.parametrize(
    ("status", "answer", "error", "words"),
    [
        (400, {"error": "no such option"}, ConfigError, "^no such option$"),
        (401, {"error": "no"}, ControlError, "does not take the token in .*page.json"),
        (403, b"", ControlError, "that of another run, or lets one read only"),
        (503, {"error": "draining"}, ControlError, "answers 503: draining"),
        (200, b"<html>", ControlError, "answers 200: nothing that is understood; is it the page"),
        (500, {"error": "x" * 10_000}, ControlError, "answers 500: x"),
    ],
)
def test_an_answer_that_is_none_is_said_in_one_line(
    tmp_path: Path, status: int, answer: Any, error: type[Exception], words: str
) -> None:
    with (
        page_that_answers({"/api/status": (status, answer)}) as (address, _),
        pytest.raises(error, match=words) as raised,
    ):
        client(address, tmp_path).read("/api/status")
    assert len(str(raised.value)) < 2500


def test_what_is_no_page_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="does not answer"):
        client("localhost:1", tmp_path).read("/api/status")
    with pytest.raises(ConfigError, match="is no address; give HOST:PORT"):
        client("localhost:x", tmp_path)
    with pytest.raises(ConfigError, match="is no address"):
        PageClient(Place(url="ftp://localhost/", token="", token_from=tmp_path))
    with page_that_answers({}) as (address, _):
        place = Place(url=f"https://{address}/", token="secret", token_from=tmp_path)
        with pytest.raises(ControlError, match=r"speaks no TLS that is known here|does not answer"):
            PageClient(place).read("/api/status")
        missing = Place(
            url=place.url, token="secret", token_from=tmp_path, ca_file=tmp_path / "none.pem"
        )
        with pytest.raises(ConfigError, match=r"--tls-ca .*none.pem cannot be used: No such file"):
            PageClient(missing).read("/api/status")


def test_a_token_file_must_hold_a_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    find = partial(find_place, tmp_path, address="host:1", token_file=token, ca_file=None)
    with pytest.raises(ConfigError, match=r"--token-file .*token cannot be read"):
        find()
    token.write_text("\n")
    with pytest.raises(ConfigError, match="its first line is no token"):
        find()
    token.write_text("secret\nmore\n")
    place = find()
    assert (place.url, place.token, place.checks_name) == ("http://host:1/", "secret", True)
    authority = find(ca_file=tmp_path / "ca.pem")
    assert authority.url == "https://host:1/"


@pytest.mark.usefixtures("logging_as_before")
def test_ctl_asks_a_run_of_another_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    stopping = {"asked": "the run stops, and saves"}
    change = {"asked": "changes before the next update"}
    answers = {
        "/api/stop": (200, stopping),
        "/api/change": (200, change),
        "/api/status": (503, {"error": "ended"}),
    }
    with page_that_answers(answers) as (address, heard):
        ask = ["ctl", str(tmp_path / "away"), "--address", address, "--token-file", str(token)]
        assert main([*ask, "set", "policies.*.policy_lag=1", "--from-update", "7"]) == 0
        assert capsys.readouterr().out == "changes before the next update\n"
        assert main([*ask, "stop", "--wait"]) == 0
        assert capsys.readouterr().out == "the run has stopped\n"
        assert main([*ask, "stop", "--wait", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
    assert said == {**stopping, "done": "the run has stopped"}
    settings = {"set": ["policies.*.policy_lag=1"], "from_update": 7}
    assert heard[0] == f"Bearer secret /api/change {json.dumps(settings)}"
    assert heard[1] == "Bearer secret /api/stop {}"
