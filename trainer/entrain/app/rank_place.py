"""Which rank this process is, as torchrun says it, and which part of a run is its own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from entrain.config.run import RunConfig, ServerConfig
from entrain.errors import ConfigError
from entrain.native.address import TcpAddress, UnixAddress, parse_address

STARTED_BY = "start it with torchrun -m entrain train FILE, which sets all of them"


@dataclass(frozen=True)
class RankPlace:
    """One rank of several."""

    rank: int
    size: int
    """How many ranks there are."""

    address: str = ""
    """Address of the machine that rank 0 runs on."""

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    def indices(self, count: int) -> range:
        """Which of so many simulators, counted from 0, are this rank's."""
        return range(self.rank, count, self.size)


ONLY = RankPlace(0, 1)
"""A process that learns alone."""


def place_of_process(environment: Mapping[str, str] = os.environ) -> RankPlace | None:
    """Returns the rank of this process; None if it learns alone.

    Raises:
        ConfigError: what torchrun sets is set in part, or wrongly.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {environment['WORLD_SIZE']}, and {', '.join(missing)} is not set; "
            f"{STARTED_BY}, or unset WORLD_SIZE to train with one rank"
        )
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    except ValueError:
        rank, size = -1, 0
    if not 0 <= rank < size:
        raise ConfigError(
            f"RANK is {environment['RANK']!r} and WORLD_SIZE {environment['WORLD_SIZE']!r}; "
            f"expected 0 <= RANK < WORLD_SIZE: {STARTED_BY}"
        )
    return RankPlace(rank, size, environment["MASTER_ADDR"])


def config_of_rank(config: RunConfig, place: RankPlace) -> RunConfig:
    """Returns the options by which one rank serves its part of the simulators.

    It listens on the run's ports + rank (of a unix socket: at PATH.RANK), and expects every so
    manieth simulator of those that are launched or expected in all. Only rank 0 has a page.

    Raises:
        ConfigError: there are fewer simulators than ranks, or games of ML-Agents, or `stop_at`.
    """
    if place.size == 1:
        return config
    if config.stop_at is not None:
        raise ConfigError(
            f"stop_at is for runs of one rank, and this one has {place.size}: leave it out"
        )
    _require_enough(config, place)
    _require_ports_apart(config.server, place)
    simulators, websocket = config.simulators, config.server.websocket
    launched = sum(len(place.indices(options.count)) for options in simulators.launch)
    expect = len(place.indices(simulators.expect)) if simulators.expect else launched
    changes = {
        "server": config.server.model_copy(
            update={
                "address": address_of_rank(config.server.address, place.rank),
                "websocket": websocket and address_of_rank(websocket, place.rank),
            }
        ),
        "simulators": simulators.model_copy(update={"expect": expect}),
    }
    if place.rank:
        changes["http"] = config.http.model_copy(update={"address": None})
    return config.model_copy(update=changes)


def _require_ports_apart(server: ServerConfig, place: RankPlace) -> None:
    """Each rank listens on both ports + its rank: none may be another rank's."""
    ports = [
        asked.port
        for asked in (parse_address(server.address), parse_address(server.websocket or "unix:no"))
        if isinstance(asked, TcpAddress) and asked.port
    ]
    if len(ports) == 2 and abs(ports[0] - ports[1]) < place.size:
        raise ConfigError(
            f"server.address is '{server.address}' and server.websocket '{server.websocket}': each "
            f"of {place.size} ranks listens on both ports + its rank, and some would be the same; "
            f"let the two be {place.size} apart, such as port {ports[0] + 1000} for the second"
        )


def _require_enough(config: RunConfig, place: RankPlace) -> None:
    if config.unity is not None:
        raise ConfigError(
            f"unity: games of ML-Agents take part in runs of one rank, and there are {place.size}; "
            "start the run without torchrun, or let simulators of entrain's own wire take part"
        )
    simulators = config.simulators
    if simulators.launch and not simulators.expect:
        most = max(options.count for options in simulators.launch)
        if most < place.size:
            raise ConfigError(
                f"simulators.launch starts {most} copies, which are divided over {place.size} "
                f"ranks: some rank would have none; raise simulators.launch.*.count to {place.size}"
            )
    if 0 < simulators.expect < place.size:
        raise ConfigError(
            f"simulators.expect is {simulators.expect} in all, over {place.size} ranks: some rank "
            f"would expect none; raise it to {place.size} at least, or leave it out"
        )


def address_of_rank(address: str, rank: int) -> str:
    """Returns where a rank listens if rank 0 listens on `address`."""
    if not rank:
        return address
    asked = parse_address(address)
    if isinstance(asked, UnixAddress):
        return f"unix:{asked.path}.{rank}"
    port = asked.port + rank if asked.port else 0
    if port > 65535:
        raise ConfigError(
            f"server.address is '{address}', and rank {rank} would listen on port {port}; choose "
            f"a port up to {65535 - rank}"
        )
    return asked.at(asked.host, port)
