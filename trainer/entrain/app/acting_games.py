"""How games take part in an evaluation or a play: at which ports, and what is seen of them.

All of it is settings in the form of `--set`, so that what a user sets counts more.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.native.address import TcpAddress, parse_address

logger = logging.getLogger(__name__)

_AS_PLAYED: Final = {
    "width": 1280,
    "height": 720,
    "time_scale": 1,
    "target_frame_rate": 60,
    # Else the game's clock goes by frames, not by time.
    "capture_frame_rate": 0,
}


def config_to_act(
    path: Path, overrides: Sequence[str], *, address: str | None, is_watched: bool = False
) -> RunConfig:
    """Read the configuration of a run whose policies shall act.

    Args:
        path: of the file.
        overrides: given by the user.
        address: where to listen, if the user says so.
        is_watched: whether somebody looks at what the games show.

    Raises:
        ConfigError: a setting is wrong.
    """
    config = load_config(path, overrides)
    before = _settings_of_games(config, is_watched=is_watched)
    after = _settings_of_address(config, address)
    if not before and not after:
        return config
    return load_config(path, [*before, *overrides, *after])


def _settings_of_games(config: RunConfig, *, is_watched: bool) -> Sequence[str]:
    unity = config.unity
    if unity is None:
        return []
    settings: list[str] = []
    if unity.launch is not None:
        # The run itself may still be training, at the ports that it was given.
        settings.append("unity.port=0")
    if not is_watched:
        return settings
    settings += [f"unity.engine.{name}={value}" for name, value in _AS_PLAYED.items()]
    if unity.launch is not None and unity.launch.no_graphics:
        if has_display(os.environ):
            settings.append("unity.launch.no_graphics=false")
        else:
            logger.info("there is no display, so the game is not shown: it has no graphics")
    return settings


def has_display(environ: Mapping[str, str]) -> bool:
    """Whether a program that is started here can open a window, as far as `environ` tells."""
    is_desktop = sys.platform in {"win32", "darwin"}
    return is_desktop or any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _settings_of_address(config: RunConfig, address: str | None) -> Sequence[str]:
    """Settings to listen at `address`: for native simulators, or else for games."""
    # No page is served beside it: what dials the page's port is answered all the same.
    settings = ["http.address=null"] if config.is_websocket_on_page else []
    if address is None:
        return settings
    if config.is_native:
        if config.server.websocket is not None:
            # The run itself may still be training, at the port that it was given.
            settings.append("server.websocket=localhost:0")
        # JSON text is YAML text, whatever is in it.
        return [*settings, f"server.address={json.dumps(address)}"]
    asked = parse_address(address)
    if not isinstance(asked, TcpAddress):
        raise ConfigError(
            f"--address {address}: games of ML-Agents dial a port; give HOST:PORT, such as "
            "localhost:5004"
        )
    return [f"unity.host={json.dumps(asked.host)}", f"unity.port={asked.port}"]
