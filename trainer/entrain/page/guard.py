"""Checks every request before it is answered: rate, host name, right. Adds security headers.

    too many requests   429     wrong name in Host   421     no right   401 (of a page: the form)
    a change            only POST, with JSON, by a control token, from this page or by a bearer

Nothing here knows what is served.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Self, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entrain.page.access import Access, Right, Shown
from entrain.page.hosts import Hosts
from entrain.page.rates import Rates

logger = logging.getLogger(__name__)

STALL_S = 20.0
"""How long a peer may leave a part of an answer unread before its connection is ended."""

HEALTH = ("/healthz", "/readyz")
"""Paths that reveal nothing of the run, for programs without a token."""

STATIC = "/static/"
LOGIN = "/login"

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
_RAW_NAMES = {name for name, _ in _RAW_HEADERS}
_CACHE = b"cache-control"

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


def _bound(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Those of an answer, names in lower case, and what binds the browser."""
    kept = [each for each in headers if each[0] not in _RAW_NAMES]
    if not any(name == _CACHE for name, _ in kept):
        kept.append((_CACHE, b"no-store"))
    return [*kept, *_RAW_HEADERS]


class Guard:
    """An ASGI application before the one that answers. Owned by the event loop."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        hosts: Hosts,
        *,
        requests: Rates,
        failures: Rates,
        stall_s: float = STALL_S,
    ) -> None:
        """Let through what may pass.

        Args:
            app: answers; finds the `Right` in the scope's state, as "right".
            access: knows tokens and cookies.
            hosts: the names of this page.
            requests: how many requests a peer may send.
            failures: how often it may show a wrong token.
            stall_s: how long it may read nothing.
        """
        self._app = app
        self._access = access
        self._hosts = hosts
        self._requests = requests
        self._failures = failures
        self._stall_s = stall_s

    @classmethod
    def of_page(
        cls, app: ASGIApp, access: Access, hosts: Hosts, *, clock: Callable[[], float]
    ) -> Self:
        """With the limits that every page has; `clock` tells seconds."""
        return cls(
            app,
            access,
            hosts,
            requests=Rates(per_s=50.0, burst=200.0, clock=clock),
            failures=Rates(per_s=1 / 6, burst=10.0, clock=clock),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises."""
        if scope["type"] != "http":
            return

        async def send_in_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _bound(message["headers"])
            async with asyncio.timeout(self._stall_s):
                await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal or self._app)(scope, receive, send_in_time)
        except TimeoutError:
            logger.debug("%s reads nothing: its connection is ended", _peer(scope))
            # Closing would wait until it has read what is on its way.
            scope["state"].get("abort", _nothing)()
        except OSError as error:
            logger.debug("%s is gone: %s", _peer(scope), error)
        except Exception:
            logger.exception("the page failed to answer %s", scope.get("path", "")[:200])

    def _refusal(self, scope: Scope) -> Response | None:
        """The refusal of a request; None if it may pass."""
        peer, headers = _peer(scope), Headers(scope=scope)
        if not self._requests.take(peer):
            return refused(429, "too many requests; wait a second")
        came_in_by = (scope.get("server") or ("", None))[0]
        if len(headers.getlist("host")) != 1 or not self._hosts.allow(
            headers["host"], came_in_by=came_in_by
        ):
            return refused(
                421,
                "this page does not answer to that name; ask for the address that the trainer "
                "printed, or add the name to http.hosts",
            )
        shown = self._access.shown(
            {name: headers[name] for name in headers if name == "authorization"},
            cookies_of(headers),
        )
        scope.setdefault("state", {})["right"] = shown.right
        if shown.is_wrong:
            return self.failed(peer)
        if scope["method"] in {"GET", "HEAD"}:
            return _reading(scope["path"], shown)
        return _changing(scope, headers, shown)

    def failed(self, peer: str) -> Response:
        """The answer to a wrong token or code: from the tenth in a minute on, it says to wait."""
        if not self._failures.take(peer):
            return refused(429, "too many wrong tokens; wait a minute")
        return refused(401, "that is no token of this run")


def _reading(path: str, shown: Shown) -> Response | None:
    is_public = path in HEALTH or path.startswith(STATIC) or path in {"/", LOGIN}
    if is_public or shown.right >= Right.READ:
        return None
    return refused(401, "show the run's token: Authorization: Bearer TOKEN")


def _changing(scope: Scope, headers: Headers, shown: Shown) -> Response | None:
    if scope["method"] != "POST":
        return refused(405, "only GET and POST are answered")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return refused(415, "send JSON, as application/json")
    if not shown.by_bearer and not _is_same_origin(headers, scope):
        return refused(403, "changes are taken from this page itself, or with a bearer token")
    if scope["path"] == LOGIN or shown.right >= Right.CONTROL:
        return None
    return refused(403 if shown.right else 401, "that needs the run's control token")


def _nothing() -> None:
    """There is no connection to end."""


def refused(status: int, words: str) -> Response:
    """A refusal as JSON, with the reason in words."""
    headers = {429: {"Retry-After": "10"}, 401: {"WWW-Authenticate": "Bearer"}}
    return JSONResponse({"error": words}, status, headers=headers.get(status))


def cookies_of(headers: Headers) -> Mapping[str, str]:
    """Returns {name: value}; malformed cookies are skipped."""
    if "cookie" not in headers:
        return {}
    cookies: SimpleCookie = SimpleCookie()
    for header in headers.getlist("cookie"):
        for part in header.split(";"):
            try:
                cookies.load(part)
            except CookieError:
                continue
    return {name: morsel.value for name, morsel in cookies.items()}


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown", 0))[0])


def _is_same_origin(headers: Headers, scope: Scope) -> bool:
    """Whether a browser sent this from the page itself; false without the header Origin."""
    return headers.get("origin", "").lower() == f"{scope['scheme']}://{headers['host']}".lower()
