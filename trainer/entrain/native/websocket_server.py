"""Listens for simulators that speak WebSocket, unless the run's page does that for it."""

import logging
from contextlib import AsyncExitStack

from entrain.config.run import ServerConfig
from entrain.errors import ConfigError
from entrain.native.address import (
    TcpAddress,
    check_exposure,
    listening_sockets,
    parse_address,
)
from entrain.native.connection import Connections
from entrain.native.credentials import TokenCheck, authority_in, check_pair, read_pem
from entrain.native.hello import MAX_HELLO_BYTES
from entrain.native.inquiry import Inquiries
from entrain.native.websocket_transport import SIMULATE, Simulators
from entrain.page.server import Certificate, PageServer
from entrain.page.sockets import SocketLimits, WebSockets
from entrain.serving.limits import max_message_bytes

logger = logging.getLogger(__name__)

OPTION = "server.websocket"


class WebSocketServer:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        connections: Connections,
        inquiries: Inquiries,
        *,
        is_on_page: bool,
    ) -> None:
        """Nothing is listened on yet. ConfigError if the address is wrong or too exposed.

        Args:
            config: address, certificates, origins.
            connections: carries the streams.
            inquiries: answers questions about a Step.
            is_on_page: whether the page's server, at the same address, hands sockets to
                `simulators`.
        """
        address = parse_address(config.websocket or "", option=OPTION)
        if not isinstance(address, TcpAddress):
            raise ConfigError(f"{OPTION} is '{address}'; expected HOST:PORT")
        check_exposure(address, config, option=OPTION)
        self._config = config
        self._address = address
        self._is_on_page = is_on_page
        self.simulators = Simulators(config, connections, inquiries)
        """The application that answers them."""
        self._listening = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<WebSocketServer {self._address}>"

    async def start(self, token: TokenCheck | None) -> None:
        """Let simulators in; ServeError if the address cannot be listened on."""
        if not self._is_on_page:
            await self._listen()
        self.simulators.open(token)

    async def _listen(self) -> None:
        certificate = certificate_of(self._config)
        sockets = listening_sockets(self._address, option=OPTION)
        port = int(sockets[0].getsockname()[1])
        answering = WebSockets(self.simulators, socket_limits(self._config))
        server = PageServer(self.simulators, sockets, certificate, answering)
        await self._listening.enter_async_context(server.serving())
        if certificate is None and not self._address.is_local:
            logger.warning(
                "%s %s is open to other machines without TLS: anyone who reaches it can read along",
                OPTION,
                self._address,
            )
        scheme = "ws" if certificate is None else "wss"
        url = self.simulators.url = f"{scheme}://{self._address.to_dial(port)}{SIMULATE}"
        logger.info("simulators that speak WebSocket dial %s", url)

    def pause(self) -> None:
        """Let no more simulators in."""
        self.simulators.close()

    async def stop(self) -> None:
        """Close the port."""
        self.simulators.close()
        await self._listening.aclose()


def socket_limits(config: ServerConfig) -> SocketLimits:
    """How long simulators' messages may be."""
    most = max_message_bytes(config)
    return SocketLimits(first_bytes=min(MAX_HELLO_BYTES, most), most_bytes=most)


def certificate_of(config: ServerConfig) -> Certificate | None:
    """The configured certificate; ServeError if a file is missing or wrong."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    read_pem(config.tls_certificate, "server.tls_certificate")
    read_pem(config.tls_key, "server.tls_key")
    check_pair(config.tls_certificate, config.tls_key)
    if config.tls_client_ca is not None:
        authority_in(config.tls_client_ca)
    return Certificate(config.tls_certificate, config.tls_key, config.tls_client_ca)
