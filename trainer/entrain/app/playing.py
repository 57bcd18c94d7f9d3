"""The command play: a run's policy acts in one copy of its simulators, to be looked at.

It acts like in an evaluation, and simulators may be asked to record what they show. Nothing is
learned or written, except recordings and, if they are in the run's own folder, its report.
"""

import asyncio
import contextlib
import difflib
import logging
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from entrain.app.acting import serve_policies
from entrain.app.acting_games import config_to_act
from entrain.app.build import (
    device,
    load_policies,
    make_evaluation_participants,
    make_front,
    policy_options,
    policy_states,
    seed_of,
)
from entrain.app.evaluation import EvaluationRun
from entrain.app.evaluation_options import EvaluationOptions, PlayOptions
from entrain.app.evaluation_results import EvaluationResult, PolicyResult
from entrain.app.initial_weights import begin
from entrain.app.lessons import lessons_to_play
from entrain.app.process import prepared_process
from entrain.app.recordings import ONE_COPY, Recordings
from entrain.app.signals import stop_on_signals
from entrain.app.starting import load_chosen
from entrain.config.launch import LaunchConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_LENGTH_MEAN, EPISODE_RETURN_MEAN
from entrain.native.address import TcpAddress, parse_address
from entrain.policy.actor_critic import ActorNetwork, make_policy
from entrain.run.checkpoint import Loaded
from entrain.run.folder import RunFolder
from entrain.run.quantities import counted
from entrain.run.report import rewrite_report
from entrain.run.table import Series, read_metrics
from entrain_envs.timestep import StepType

logger = logging.getLogger(__name__)


def play(
    run: Path,
    overrides: Sequence[str],
    options: EvaluationOptions,
    look: PlayOptions,
    *,
    address: str | None = None,
) -> int:
    """Let the policies of folder `run` act, record it if asked to, and say what came of it.

    Args:
        run: its folder.
        overrides: of its configuration.
        options: how to act, and when to end.
        look: what is played, and where it is recorded.
        address: where to listen; None takes a free port if simulators are launched.
    """
    folder = RunFolder.existing(run)
    # Games are told of it here; of simulators that are launched instead, below.
    of_games = address if look.launch is None else None
    config = config_to_act(folder.config, overrides, address=of_games, is_watched=True)
    config = _to_look_at(config, look.launch, address)
    folder.keep_logs_of_evaluation()
    recordings = _recordings(folder, config, options, look)
    which = "newest" if look.untrained else options.checkpoint
    purpose = "playing as before training:" if look.untrained else "playing"
    restored = load_chosen(folder, config, which, purpose=purpose)
    policies = (_untrained if look.untrained else load_policies)(config, restored)
    _require_behaviour(options.behaviour, policies)
    lessons = lessons_to_play(config, restored, options.lessons)
    participants = make_evaluation_participants(config, policies, lessons)
    environment_of = _environment_of(recordings)
    with prepared_process(threads=config.threads), stop_on_signals("ending the play") as request:
        front = make_front(config, participants, run_id=f"{folder.name}-play")
        evaluation = EvaluationRun(config, policies, participants, front, options)
        asyncio.run(
            serve_policies(
                config, folder, evaluation, front, request, environment_of=environment_of
            )
        )
    console = Console()
    for line in _lines(folder, evaluation.result, look):
        console.out(line, highlight=False)
    for line in ending(folder, config, recordings, launch=look.launch):
        console.out(line, highlight=False)
    if recordings is not None:
        recordings.require_all(folder.simulators)
    return 0


def _to_look_at(config: RunConfig, launch: str | None, address: str | None) -> RunConfig:
    """Returns the configuration with one of each simulator, and where to listen."""
    entries = config.simulators.launch
    if launch is not None:
        try:
            entries = (LaunchConfig(command=launch),)
        except ValueError as error:
            raise ConfigError(f"--launch {launch!r} is no command: {error}") from None
    entries = tuple(entry.model_copy(update={"count": 1}) for entry in entries)
    simulators = config.simulators.model_copy(update={"launch": entries, "expect": 0})
    listen = address or config.server.address
    configured = parse_address(listen)
    if address is None and entries and isinstance(configured, TcpAddress) and configured.is_local:
        # The run itself may still be training, at the port that it was given.
        listen = configured.at(configured.host, 0)
    changes: dict[str, str] = {"address": listen}
    if listen != config.server.address and config.server.websocket is not None:
        changes["websocket"] = "localhost:0"
    server = config.server.model_copy(update=changes)
    # Simulators that the user names take the place of games.
    plays = config.unity if launch is None else None
    unity = plays and plays.model_copy(update={"games": 1})
    return config.model_copy(update={"simulators": simulators, "server": server, "unity": unity})


def _recordings(
    folder: RunFolder, config: RunConfig, options: EvaluationOptions, look: PlayOptions
) -> Recordings | None:
    if look.record is None:
        return None
    if config.unity is not None and not config.simulators.launch:
        raise ConfigError(
            f"--record {look.record}: a game of ML-Agents shows what it draws in its own window, "
            "and writes no recording; leave --record out, and record the window"
        )
    if look.record.absolute().parent == folder.recordings.absolute():
        folder.recordings.mkdir(exist_ok=True)
    launch = config.simulators.launch
    return Recordings(look.record, launch, episodes=options.episodes, speed=look.speed)


def _environment_of(recordings: Recordings | None) -> Callable[[str], Mapping[str, str]]:
    if recordings is None:
        return lambda _: ONE_COPY
    return lambda simulator: {**ONE_COPY, **recordings.environment_of(simulator)}


def _untrained(config: RunConfig, restored: Loaded) -> Mapping[str, ActorNetwork]:
    """Returns {behaviour: its policy with the weights that it began with}."""
    policies = {}
    for number, (spec, _) in enumerate(policy_states(restored.state["policies"])):
        options = policy_options(config, spec.name)
        policy = make_policy(spec, options, seed=seed_of(config, number))
        begin(policy, is_named=spec.name in config.named_behaviours)
        policies[spec.name] = policy.to(device(config))
    return policies


def _require_behaviour(behaviour: str | None, policies: Mapping[str, ActorNetwork]) -> None:
    if behaviour is not None and behaviour not in policies:
        near = difflib.get_close_matches(behaviour, policies, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"the run has no policy '{behaviour}' (it has: {', '.join(policies)}){meant}"
        )


def _lines(folder: RunFolder, result: EvaluationResult, look: PlayOptions) -> Iterator[str]:
    """Yields how the policies did, and how that compares with when training began."""
    yield from result.lines()
    before: Mapping[str, Series] = {}
    if not look.untrained:
        with contextlib.suppress(ConfigError):
            before = read_metrics(folder.metrics)
    for behaviour, one in result.policies.items():
        if len(one.ended):
            began = _beginning(before[behaviour]) if behaviour in before else ""
            yield f"{behaviour}: {_in_words(one)}{began}"


def _in_words(result: PolicyResult) -> str:
    ended = result.ended
    at_limit = int((ended.endings == StepType.TRUNCATED).sum())
    limit = ""
    if at_limit == len(ended):
        limit = ", to its time limit,"
    elif at_limit:
        limit = f" ({at_limit:,} of {counted(len(ended), 'episode')} to the time limit)"
    return f"an episode lasted {_steps(ended.lengths.mean())}{limit} and earned " + _return(
        ended.returns.mean()
    )


def _beginning(series: Series) -> str:
    """Returns how long an episode lasted in the first update in which any ended."""
    columns = [series.columns.get(it.name) for it in (EPISODE_LENGTH_MEAN, EPISODE_RETURN_MEAN)]
    lengths, returns = columns
    if lengths is None or returns is None:
        return ""
    ended = np.flatnonzero(np.isfinite(lengths) & np.isfinite(returns))
    if not len(ended):
        return ""
    first = ended[0]
    return (
        f"; when training began, it lasted {_steps(lengths[first])} "
        f"and earned {_return(returns[first])}"
    )


def _steps(steps: float) -> str:
    return f"{steps:,.0f} {'step' if round(steps) == 1 else 'steps'}"


def _return(value: float) -> str:
    return EPISODE_RETURN_MEAN.text(value) if math.isfinite(value) else "no finite return"


def ending(
    folder: RunFolder, config: RunConfig, recordings: Recordings | None, *, launch: str | None
) -> Iterator[str]:
    """Yields which files were written, and what to do next.

    Args:
        folder: of the run.
        config: whose simulators played.
        recordings: that were asked for; None for none.
        launch: the command of `--launch`; None if it was not given.
    """
    if recordings is None and config.simulators.launch:
        again = "" if launch is None else f" --launch {shlex.quote(launch)}"
        command = f"entrain play {folder.path}{again} --record play.gif"
        yield f"to see it, if the simulator can draw: {command}"
        return
    if recordings is None:
        yield f"next, returns over many episodes: entrain evaluate {folder.path}"
        return
    written = recordings.written()
    for file in written:
        kib = file.stat().st_size / 1024
        yield f"recorded {_short(file)} ({kib:,.0f} KiB): open it in a browser"
    if any(file.parent == folder.recordings.absolute() for file in written):
        with contextlib.suppress(ConfigError, OSError):
            rewrite_report(folder)
            yield f"shown in {folder.report}, too"
    if written:
        yield f"next, returns over many episodes: entrain evaluate {folder.path}"


def _short(file: Path) -> Path:
    """Returns `file` as a user in the current folder would name it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
