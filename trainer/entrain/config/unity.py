"""How games built with Unity's ML-Agents take part in a run: ports, engine, and what starts them.

Nothing here knows of messages.
"""

from pathlib import Path

from pydantic import model_validator

from entrain.config.fields import (
    AtLeastOne,
    Count,
    CountOrUnlimited,
    CountOrZero,
    Options,
    Port,
    Positive,
    WholeNumber,
)


class EngineConfig(Options):
    """Settings of the game engine, told to every game when it connects."""

    width: Count = 84
    """Of the game's window, in pixels."""

    height: Count = 84
    """Of the game's window, in pixels."""

    quality_level: CountOrZero = 5
    """Which of the quality levels of the Unity project; 0 is the fastest."""

    time_scale: AtLeastOne = 20.0
    """How many times faster than real time the game runs. The Editor takes at most 100."""

    target_frame_rate: WholeNumber = -1
    """Frames per second that the game aims at; -1: as many as it can."""

    capture_frame_rate: CountOrZero = 60
    """The game's clock moves by 1 / this of a second each frame, however long the frame took."""


class UnityLaunchConfig(Options):
    """A build of the game that the trainer starts itself, once for each of `games`."""

    path: Path
    """Of the program, with or without its ending (.x86_64, .x86, .exe, .app)."""

    arguments: tuple[str, ...] = ()
    """Given to the program after those that ML-Agents needs."""

    no_graphics: bool = False
    """Start the games without graphics. Cameras then see nothing."""

    no_graphics_monitor: bool = False
    """The same for all games but the first, which can be watched."""

    max_lifetime_restarts: CountOrUnlimited = 10
    """How often one game that crashed is started again; -1: without a limit."""

    restarts_rate_limit: CountOrUnlimited = 1
    """How often one game is started again within `restarts_period_s`; -1: without a limit."""

    restarts_period_s: Positive = 60.0
    """Seconds in which `restarts_rate_limit` restarts are allowed."""


class UnityConfig(Options):
    """Games built with Unity's ML-Agents package, which connect as they would to mlagents-learn."""

    host: str = "localhost"
    """Where to listen. Games dial localhost and show no token: any other host lets everyone join
    who reaches it."""

    port: Port = 5004
    """Game i dials port + i. The Unity Editor dials 5004. 0: any free ones, named in the log."""

    games: Count = 1
    """How many games take part, each on a port of its own; the first batch waits for all."""

    timeout_s: Positive = 60.0
    """Seconds that a game may be silent before the log says what may be wrong with it. One that was
    launched and had connected is then taken for frozen: it is killed, and started again."""

    num_areas: Count = 1
    """How many copies of the training area a game makes, if it was built for that."""

    native: bool = False
    """Listen at `server.address` as well, for simulators that speak entrain's own wire. Always so
    if `simulators.launch` starts any."""

    engine: EngineConfig = EngineConfig()

    launch: UnityLaunchConfig | None = None
    """What to start. null: the games are started by others, for example by Play in the Editor."""

    @model_validator(mode="after")
    def _check(self) -> "UnityConfig":
        if not self.host:
            raise ValueError("host is empty; it must be a host's name or number, as localhost")
        last = self.port + self.games - 1
        if self.port and last > 65535:
            raise ValueError(
                f"port {self.port} and games {self.games} end at port {last}, and the last port is "
                "65535; lower one of them"
            )
        return self
