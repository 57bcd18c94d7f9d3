"""Where a page listens, and what it shows of itself over TLS: checked before anything begins."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.native.address import TcpAddress, listening_sockets, parse_address
from entrain.native.credentials import check_pair, read_pem
from entrain.page.server import Certificate

logger = logging.getLogger(__name__)

OPTION = "http.address"


@dataclass(frozen=True)
class PagePlace:
    """Sockets that listen, and what their page is called."""

    address: TcpAddress
    """That was asked for."""

    sockets: Sequence[socket.socket]
    certificate: Certificate | None
    """None: without TLS."""

    @property
    def port(self) -> int:
        """The one that is listened on."""
        return int(self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where the page is, for who is on this machine."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{self.address.to_dial(self.port)}/"


@contextmanager
def listening(config: RunConfig) -> Iterator[PagePlace]:
    """Listens where `http.address` says, until the block ends.

    Raises:
        ConfigError: the address is wrong, or too exposed.
        ServeError: it cannot be listened on, or a file of the certificate is wrong.
    """
    address = _address(config)
    sockets = listening_sockets(address, option=OPTION)
    try:
        place = PagePlace(address, sockets, _certificate(config))
        if not address.is_local and place.certificate is None:
            logger.warning(
                "the page at %s is open to other machines without TLS: anyone who reads along "
                "learns its tokens",
                place.url,
            )
        yield place
    finally:
        for each in sockets:
            each.close()


def _address(config: RunConfig) -> TcpAddress:
    http = config.http
    address = parse_address(http.address or "", option=OPTION)
    if not isinstance(address, TcpAddress):
        raise ConfigError(f"{OPTION} is '{address}'; browsers need HOST:PORT")
    if address.is_local or config.server.tls_certificate is not None or http.insecure:
        return address
    raise ConfigError(
        f"{OPTION} is '{address}', which other machines reach, and there is no TLS. Either give "
        "server.tls_certificate and server.tls_key, or listen on localhost:8080 (and let others "
        "in through a tunnel), or accept that whoever reads along learns the page's tokens: "
        "http.insecure"
    )


def _certificate(config: RunConfig) -> Certificate | None:
    server = config.server
    if server.tls_certificate is None or server.tls_key is None:
        return None
    read_pem(server.tls_certificate, "server.tls_certificate")
    read_pem(server.tls_key, "server.tls_key")
    check_pair(server.tls_certificate, server.tls_key)
    return Certificate(server.tls_certificate, server.tls_key)
