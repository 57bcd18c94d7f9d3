"""Serves trained policies to the simulators that a run launches, from first to last."""

import logging
from collections.abc import Callable, Mapping, Sequence

from entrain.app.build import listened_on, make_launcher
from entrain.app.evaluation import EvaluationRun
from entrain.app.game_watch import watch_over_games
from entrain.app.games import require_build
from entrain.app.program_environments import ProgramEnvironment, processes_of
from entrain.app.signals import StopRequest
from entrain.app.socket_address import tell_where_sockets_are
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.serving.front import Front

logger = logging.getLogger(__name__)


async def serve_policies(
    config: RunConfig,
    folder: RunFolder,
    evaluation: EvaluationRun,
    front: Front,
    request: StopRequest,
    *,
    environment_of: Callable[[str], Mapping[str, str]] = lambda _: {},
    environments: Sequence[ProgramEnvironment] = (),
) -> None:
    """Listen, launch simulators, and let policies act until the evaluation ends.

    Args:
        config: of the run; names the simulators.
        folder: of the run; their output goes there.
        evaluation: lets the policies act, and counts.
        front: by which simulators connect.
        request: ends it early.
        environment_of: further variables for the launched simulator of a given name.
        environments: of a Python program, which act as well.
    """
    require_build(config)
    to_dial = await front.start()
    address = listened_on(config, to_dial)
    logger.info("listening on %s", address)
    launcher = make_launcher(config, folder, to_dial, environment_of)
    launcher.add(processes_of(environments, logs=folder.simulators))
    tell_where_sockets_are(launcher, config, front)
    games = watch_over_games(config, front, launcher, logs=folder.simulators)
    # Simulators are killed if this process has to end at once.
    request.before_force = launcher.kill
    grace_s = 0.0
    try:
        await launcher.start()
        await evaluation.run(request.event(), launcher, address, games)
        grace_s = config.simulators.close_s
    finally:
        await launcher.stop(grace_s=grace_s)
