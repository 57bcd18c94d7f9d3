"""Posts JSON to a web server from a thread of its own: callers never wait or fail.

    post --> bounded queue --> try, wait, try again ... --> taken, or given up and logged

Redirects are not followed, so that only the configured server gets messages. An address may hold a
secret: only scheme and host are ever logged.
"""

import json
import logging
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from entrain.app.background_queue import BackgroundQueue

logger = logging.getLogger(__name__)

MOST_WAITING = 64
"""Most messages that wait for a server; then a new one replaces the oldest."""

LONGEST_PAUSE_S = 60.0
"""Between two tries."""

MOST_ANSWER_BYTES = 4096

_TRY_AGAIN = frozenset({408, 425, 429})
"""Answers, beside those from 500 on, after which another try may succeed."""


class NotTakenError(Exception):
    """A server did not take a message."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        """Give the reason; `is_final` if another try cannot help."""
        super().__init__(reason)
        self.is_final = is_final


@dataclass(frozen=True, kw_only=True)
class Target:
    """The server of a message. Looked up before each try, so that a token may be renewed."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    """Certificates that are trusted; None: the system's."""


def shown(url: str) -> str:
    """Returns scheme and host of a URL, which may be logged."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "a URL that cannot be read"


Send = Callable[[Target, bytes, float], None]
"""Sends a message within so many seconds; raises NotTakenError."""


class Poster:
    """See the module. Any thread may post."""

    def __init__(
        self,
        target: Callable[[], Target],
        *,
        what: str,
        timeout_s: float,
        retries: int,
        retry_s: float = 1.0,
        most_waiting: int = MOST_WAITING,
        send: "Send | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send nothing yet, and begin no thread.

        Args:
            target: returns the server; OSError if it cannot be looked up now.
            what: names the messages in the log.
            timeout_s: of each wait for the server within one try.
            retries: tries after the first.
            retry_s: pause before the second try; each further one is twice as long.
            most_waiting: messages.
            send: sends.
            clock: seconds.
        """
        self._target = target
        self._what = what
        self._timeout_s = timeout_s
        self._retries = retries
        self._retry_s = retry_s
        self._send = send or send_json
        self._queue: BackgroundQueue[bytes] = BackgroundQueue(
            self._deliver, name="poster", most_waiting=most_waiting, clock=clock
        )
        self._is_failing = False
        self._where = "the server"

    def __repr__(self) -> str:
        return f"<Poster of {self._what}: {len(self._queue)} wait>"

    def post(self, message: Mapping[str, object]) -> None:
        """Queue a message. Returns at once, and never raises."""
        if not self._queue.put(json.dumps(message, default=str).encode()):
            logger.debug("%s: the oldest of %d messages is left out", self._what, len(self._queue))

    def close(self, *, within_s: float) -> None:
        """Send the waiting messages for at most `within_s`, and give up the rest."""
        if left := self._queue.close(within_s=within_s):
            logger.warning("%s: %s took %d messages no more", self._what, self._where, left)

    def _deliver(self, content: bytes) -> None:
        """Try until the server takes it, another try cannot help, or no retry is left."""
        for attempt in range(self._retries + 1):
            reason = self._try(content)
            if reason is None:
                if self._is_failing:
                    logger.info("%s: %s takes messages again", self._what, self._where)
                self._is_failing = False
                return
            is_last = reason.is_final or attempt == self._retries
            if is_last or not self._queue.pause(min(self._retry_s * 2**attempt, LONGEST_PAUSE_S)):
                break
        # One line, however many messages a server that is gone does not take.
        level = logging.DEBUG if self._is_failing else logging.WARNING
        logger.log(level, "%s: %s did not take a message: %s", self._what, self._where, reason)
        self._is_failing = True

    def _try(self, content: bytes) -> NotTakenError | None:
        try:
            target = self._target()
            self._where = shown(target.url)
            self._send(target, content, self._timeout_s)
        except NotTakenError as reason:
            return reason
        except OSError as error:
            return NotTakenError(str(error.strerror or error), is_final=False)
        except Exception as error:
            return NotTakenError(type(error).__name__, is_final=True)
        return None


def send_json(target: Target, content: bytes, timeout_s: float) -> None:
    """Send one message; NotTakenError if the server does not take it. See `Send`."""
    headers = {"Content-Type": "application/json", "User-Agent": "entrain", **target.headers}
    request = urllib.request.Request(target.url, content, headers, method="POST")
    context = ssl.create_default_context(cafile=target.ca_file)
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            answer.read(MOST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code) from None
    except urllib.error.URLError as error:
        reason = error.reason
        is_final = isinstance(reason, ssl.SSLCertVerificationError)
        words = str(reason.strerror or reason) if isinstance(reason, OSError) else str(reason)
        raise NotTakenError(words, is_final=is_final) from None
    except TimeoutError:
        raise NotTakenError(f"no answer within {timeout_s:g} s", is_final=False) from None
    except (HTTPException, ConnectionError) as error:
        # Its words may hold what the server sent.
        raise NotTakenError(f"no HTTP answer ({type(error).__name__})", is_final=False) from None


def _refusal(code: int) -> NotTakenError:
    if 300 <= code < 400:
        return NotTakenError(f"it answered {code}, and redirects are not followed", is_final=True)
    return NotTakenError(f"it answered {code}", is_final=code < 500 and code not in _TRY_AGAIN)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - urllib's signature
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: Message,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> Any:
        """None: the answer is an error like others."""
        return None
