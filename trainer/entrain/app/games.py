"""Plans the processes of games that a run launches, and what is watched about them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from entrain.app.launch_plan import Simulator
from entrain.app.restarts import QuotaRestarts
from entrain.config.run import RunConfig
from entrain.config.unity import UnityConfig
from entrain.unity.builds import find_build, game_arguments, is_headless, player_log_of
from entrain.unity.diagnoses import GameWatch, LaunchedGame
from entrain.unity.player_log import cause_in, last_words

LOCAL_HOSTS = "localhost,127.0.0.1,::1"


def require_build(config: RunConfig) -> None:
    """Check that the build of a game that the run launches exists, before anything is started.

    Raises:
        ConfigError: there is none; says what is there instead.
    """
    if config.unity is not None and config.unity.launch is not None:
        find_build(config.unity.launch.path)


def plan_games(config: UnityConfig, *, ports: Sequence[int], logs: Path) -> tuple[Simulator, ...]:
    """Returns the processes that `config` asks for; ConfigError if there is no such build.

    Args:
        config: of games; without `launch` it asks for none.
        ports: that the games dial, in order.
        logs: folder for what they write and print.
    """
    launch = config.launch
    if launch is None:
        return ()
    program = find_build(launch.path)
    restarts = partial(
        QuotaRestarts,
        most=launch.max_lifetime_restarts,
        most_in_period=launch.restarts_rate_limit,
        period_s=launch.restarts_period_s,
    )
    games = []
    for game, port in enumerate(ports):
        log = logs / f"Player-{game}.log"
        arguments = game_arguments(launch, game=game, port=port, player_log=log)
        games.append(
            Simulator(
                f"game-{game}",
                (str(program), *arguments),
                logs / f"game-{game}.log",
                own_log=player_log_of(launch, log),
                last_words=_explained,
                restarts=restarts,
                # gRPC in games would ask a proxy for the way to this machine itself.
                variables={"no_grpc_proxy": LOCAL_HOSTS},
            )
        )
    return tuple(games)


def _explained(logs: Sequence[Path]) -> str:
    """The end of a game's logs, and what that is known to mean."""
    cause = cause_in(logs)
    return f"{last_words(logs)} ({cause})" if cause else last_words(logs)


def make_game_watch(config: UnityConfig, games: Sequence[Simulator]) -> GameWatch:
    """Makes the judge of silent games.

    Args:
        config: of games.
        games: that are launched; none if others start them.
    """
    launched = {}
    for index, game in enumerate(games):
        headless = config.launch is not None and is_headless(config.launch, index)
        launched[game.name] = LaunchedGame(game.logs, headless)
    return GameWatch(config.timeout_s, launched)
