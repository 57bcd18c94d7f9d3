"""Where simulators that speak WebSocket dial a run, as those that it launches are told."""

from collections.abc import Mapping

from entrain.app.launcher import Launcher
from entrain.config.run import RunConfig
from entrain.native.address import TcpAddress, parse_address
from entrain.native.front import NativeFront
from entrain.serving.front import Front
from entrain.serving.fronts import Fronts

VARIABLE = "ENTRAIN_WEBSOCKET"

SIMULATE = "/simulate"


def tell_where_sockets_are(launcher: Launcher, config: RunConfig, front: Front) -> None:
    """Have all that is launched from now on find the address in its environment.

    Args:
        launcher: has started nothing yet.
        config: of the run.
        front: of the run; it listens.
    """
    url = web_socket_url(config, front)
    told: Mapping[str, str] = {VARIABLE: url} if url else {}
    launcher.environment = {**launcher.environment, **told}


def web_socket_url(config: RunConfig, front: Front) -> str:
    """The URL that WebSocket simulators dial; "" if there is none.

    On the page's server the page says so to the front; else, the configuration.
    """
    native = front.named("native") if isinstance(front, Fronts) else front
    own = native.websocket_url if isinstance(native, NativeFront) else ""
    if own or not config.is_websocket_on_page:
        return own
    address = parse_address(config.http.address or "", option="http.address")
    if not isinstance(address, TcpAddress) or not address.port:
        return ""
    scheme = "ws" if config.server.tls_certificate is None else "wss"
    return f"{scheme}://{address.to_dial(address.port)}{SIMULATE}"
