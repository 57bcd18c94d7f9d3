"""Simulators that a run launches are told where those that speak WebSocket dial."""

from pathlib import Path

import pytest

from entrain.app.launcher import Launcher
from entrain.app.socket_address import tell_where_sockets_are, web_socket_url
from entrain.config.run import RunConfig
from entrain.serving.front import Ending
from entrain.serving.fronts import Fronts
from support.native_server import NativeServer


def config_of(**options: object) -> RunConfig:
    return RunConfig.model_validate({"name": "run", "runs_directory": Path("runs"), **options})


async def test_the_port_that_was_taken_is_in_their_environment() -> None:
    config = config_of(server={"address": "localhost:0", "websocket": "127.0.0.1:0"})
    server = NativeServer(config.server)
    await server.start()
    launcher = Launcher([], environment={"ENTRAIN_ADDRESS": "localhost:1"})
    tell_where_sockets_are(launcher, config, Fronts({"native": server.front}))
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)
    url = launcher.environment["ENTRAIN_WEBSOCKET"]
    assert url.startswith("ws://127.0.0.1:")
    assert url.endswith("/simulate")
    assert ":0/" not in url
    assert launcher.environment["ENTRAIN_ADDRESS"] == "localhost:1"


@pytest.mark.parametrize(
    ("address", "url"),
    [("0.0.0.0:8080", "wss://localhost:8080/simulate"), ("localhost:0", "")],
)
def test_on_the_pages_server_it_is_the_pages_address(address: str, url: str) -> None:
    certificate = {"tls_certificate": "cert.pem", "tls_key": "key.pem"}
    config = config_of(server={"websocket": address, **certificate}, http={"address": address})
    assert web_socket_url(config, Fronts({})) == url


def test_without_websocket_they_are_told_nothing() -> None:
    launcher = Launcher([], environment={})
    tell_where_sockets_are(launcher, config_of(), Fronts({}))
    assert not launcher.environment
