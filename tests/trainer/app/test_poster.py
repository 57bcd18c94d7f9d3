"""Messages to a web server that fails, hangs, refuses or leads elsewhere."""

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from entrain.app.poster import Poster, Target, shown

SECRET = "T0/B0/secret"


class Inbox:
    """A server that answers with these codes, the last again and again; 0 does not answer."""

    def __init__(self, codes: Sequence[int]) -> None:
        self._codes = list(codes)
        self.taken: list[dict[str, Any]] = []
        self.tries = 0
        self.arrived = threading.Event()
        self.released = threading.Event()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox.tries += 1
                code = inbox._codes.pop(0) if len(inbox._codes) > 1 else inbox._codes[0]
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if 200 <= code < 300:
                    inbox.taken.append(json.loads(content))
                inbox.arrived.set()
                if code == 0:
                    inbox.released.wait(20.0)
                    return
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", f"{inbox.url}elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}/"


@contextmanager
def inbox(*codes: int) -> Iterator[Inbox]:
    made = Inbox(codes)
    thread = threading.Thread(target=lambda: made.server.serve_forever(0.01))
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()


def poster(url: str, *, retries: int = 3, timeout_s: float = 5.0, **options: Any) -> Poster:
    return Poster(
        lambda: Target(url=url),
        what="notify",
        timeout_s=timeout_s,
        retries=retries,
        retry_s=0.01,
        **options,
    )


def test_messages_arrive_in_their_order() -> None:
    with inbox(200) as there:
        sender = poster(there.url)
        for number in range(3):
            sender.post({"number": number})
        sender.close(within_s=10.0)
    assert there.taken == [{"number": 0}, {"number": 1}, {"number": 2}]


@pytest.mark.parametrize(("codes", "tries"), [((500, 503, 429, 204), 4), ((500,), 4), ((400,), 1)])
def test_what_may_succeed_later_is_tried_again_and_nothing_else(
    codes: tuple[int, ...], tries: int
) -> None:
    with inbox(*codes) as there:
        sender = poster(there.url)
        sender.post({"a": 1})
        sender.close(within_s=10.0)
    assert there.tries == tries
    assert bool(there.taken) == (codes[-1] == 204)


def test_a_redirect_is_not_followed_and_no_secret_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with inbox(307) as there:
        sender = poster(there.url)
        sender.post({"a": 1})
        sender.close(within_s=10.0)
    assert there.tries == 1
    (record,) = caplog.records
    assert "answered 307, and redirects are not followed" in record.getMessage()
    assert shown(there.url) in record.getMessage()
    assert "secret" not in caplog.text


def test_a_server_that_hangs_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with inbox(0) as there:
        sender = poster(there.url)
        sender.post({"a": 1})
        assert there.arrived.wait(10.0)
        began_s = time.monotonic()
        for _ in range(1000):
            sender.post({"b": 2})
        sender.close(within_s=0.1)
        assert time.monotonic() - began_s < 2.0
        there.released.set()
        assert sender._queue._thread is not None
        sender._queue._thread.join(10.0)
    # 64 wait, and one is under way.
    assert "took 65 messages no more" in caplog.text


def test_a_server_that_is_away_for_long_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with inbox(500, 500, 500, 500, 200) as there:
        sender = poster(there.url, retries=0)
        for _ in range(5):
            sender.post({"a": 1})
        sender.close(within_s=10.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert len(there.taken) == 1


def test_a_target_is_looked_up_for_each_try_and_may_be_missing_for_a_while() -> None:
    looked: list[int] = []
    with inbox(200) as there:

        def target() -> Target:
            looked.append(1)
            if len(looked) < 3:
                raise FileNotFoundError(2, "No such file or directory")
            return Target(url=there.url)

        sender = Poster(target, what="notify", timeout_s=5.0, retries=3, retry_s=0.01)
        sender.post({"a": 1})
        sender.close(within_s=10.0)
    assert there.taken == [{"a": 1}]


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with inbox(200) as there:
        url = there.url
    sender = poster(url, retries=1)
    sender.post({"a": 1})
    sender.close(within_s=10.0)
    assert "Connection refused" in caplog.text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://hooks.example:8443/T0/secret?x", "https://hooks.example:8443"),
        ("https://user:secret@hooks.example/", "https://hooks.example"),
        ("http://[secret", "a URL that cannot be read"),
        ("http://host:secret/", "a URL that cannot be read"),
    ],
)
def test_no_more_than_scheme_and_host_of_a_url_is_shown(url: str, words: str) -> None:
    assert shown(url) == words


def test_the_oldest_message_makes_room_and_nothing_is_taken_after_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    sent, begun, released = list[bytes](), threading.Event(), threading.Event()

    def send(_: Target, content: bytes, timeout_s: float) -> None:
        assert timeout_s == 5.0
        begun.set()
        released.wait(10.0)
        sent.append(content)

    sender = poster("http://there", send=send, most_waiting=2)
    sender.post({"a": 0})
    assert begun.wait(10.0)
    for number in range(1, 4):
        sender.post({"a": number})
    assert repr(sender) == "<Poster of notify: 2 wait>"
    assert "notify: the oldest of 2 messages is left out" in caplog.text
    released.set()
    sender.close(within_s=10.0)
    sender.post({"a": 4})
    assert repr(sender) == "<Poster of notify: 0 wait>"
    assert [json.loads(content)["a"] for content in sent] == [0, 2, 3]


def test_a_failure_of_ours_is_said_by_its_kind_alone_and_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[int] = []

    def send(*_: object) -> None:
        tries.append(1)
        raise ZeroDivisionError(SECRET)

    sender = poster("http://there", send=send)
    sender.post({"a": 1})
    sender.close(within_s=10.0)
    assert tries == [1]
    assert "http://there did not take a message: ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text
