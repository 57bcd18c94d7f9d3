"""The page's HTTP server: uvicorn as a task of the run's own event loop, bounded in every way.

Its sockets listen before the run begins, so that a port that is taken is known at once. A failure
of the page is logged and never ends the run. Nothing here knows what is served.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from entrain.page.connection import BoundedConnection
from entrain.page.sockets import WebSockets, WithSockets, socket_options

logger = logging.getLogger(__name__)

IDLE_S = 15
"""How long a connection without a request stays open."""

CLOSE_S = 2
"""How long answers that are on their way may take when the run ends."""


@dataclass(frozen=True)
class Certificate:
    """The certificate that the server shows over TLS."""

    chain: Path
    key: Path
    client_ca: Path | None = None
    """Signs the certificates that clients must show; None: they need none."""


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_config(
    app: ASGIApp, certificate: Certificate | None, sockets: WebSockets | None = None
) -> uvicorn.Config:
    """Returns uvicorn's configuration; OSError or ssl.SSLError if the certificate is no good."""
    options = socket_options(sockets)
    if certificate is not None:
        options |= {"ssl_certfile": certificate.chain, "ssl_keyfile": certificate.key}
        if certificate.client_ca is not None:
            options |= {"ssl_ca_certs": certificate.client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    config = uvicorn.Config(
        app if sockets is None else WithSockets(app, sockets.app),
        http=BoundedConnection,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # What fails is logged by the application itself, in words of ours.
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=CLOSE_S,
        backlog=128,
        **options,
    )
    config.load()
    if certificate is not None and config.ssl is not None:
        config.ssl.sni_callback = _Renewal(certificate).choose
    return config


class _Renewal:
    """Reads a renewed certificate, and shows it to later connections."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self._seen = self._stamp()
        self._context: ssl.SSLContext | None = None

    def choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Called in each handshake, before the certificate is shown."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._renew()
        if self._context is not None:
            connection.context = self._context

    def _stamp(self) -> Sequence[tuple[int, int]]:
        """Changes when one of the files does."""
        it = self._certificate
        files = [file for file in (it.chain, it.key, it.client_ca) if file is not None]
        with contextlib.suppress(OSError):
            return [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        return []

    def _renew(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(
                self._certificate.chain, self._certificate.key, password=_no_password
            )
            if self._certificate.client_ca is not None:
                context.load_verify_locations(cafile=self._certificate.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError, ValueError) as error:
            logger.warning("the page goes on with the certificate from before: %s", error)
        else:
            logger.info("the page shows the certificate that is in %s now", self._certificate.chain)
            self._context = context


def _no_password() -> str:
    raise ValueError("the private key is encrypted")


class PageServer:
    """Serves one application on sockets that listen already. Owned by the event loop."""

    def __init__(
        self,
        app: ASGIApp,
        sockets: Sequence[socket.socket],
        certificate: Certificate | None,
        web_sockets: WebSockets | None = None,
    ) -> None:
        """Do not answer yet.

        Args:
            app: answers requests.
            sockets: listen already; they are closed when the server ends.
            certificate: None: without TLS.
            web_sockets: None: requests for one are refused.
        """
        self._config = make_config(app, certificate, web_sockets)
        self._sockets = list(sockets)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Within the block, answer requests."""
        server = _Uvicorn(self._config)
        task = asyncio.create_task(self._serve(server), name="page")
        try:
            yield
        finally:
            server.should_exit = True
            # A second request to stop must not leave the port open.
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _serve(self, server: uvicorn.Server) -> None:
        try:
            await server.serve(self._sockets)
        except (Exception, SystemExit) as error:
            logger.error("the page is not served any more: %s", error)
        finally:
            for each in self._sockets:
                each.close()
