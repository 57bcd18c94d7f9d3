"""Describes this installation, a run or all runs, for people and programs: `entrain info`, `list`.

It only reads, so the run may go on meanwhile.
"""

import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from entrain.app.best_checkpoint import evaluated_of
from entrain.app.command_words import words_of_run
from entrain.app.run_status import PolicyStatus, RunStatus, runs_in, status_of
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_RETURN_LAST, REWARD_PER_STEP, STEPS_PER_SECOND
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.quantities import compact, counted, duration
from entrain.unity.results.listing import files_of_learn
from entrain.version import __version__
from entrain_envs.log_lines import utc

_LIBRARIES = ("entrain-envs", "torch", "grpcio", "protobuf", "numpy", "gymnasium", "onnxruntime")

HEADS = ("name", "state", "env steps", "return", "started (UTC)", "time")
"""Of the list of runs."""


def describe_installation() -> Iterator[str]:
    """Yields versions and devices, as a bug report needs them."""
    yield f"entrain {__version__}"
    for library in _LIBRARIES:
        yield f"{library} {_version(library)}"
    yield f"Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield f"devices: {', '.join(_devices())}"


def describe_run(path: Path, *, clock: Callable[[], float] = time.time) -> Iterator[str]:
    """Yields files, state, progress and checkpoints of the run at `path`.

    ConfigError if there is none. `clock` gives seconds since 1970.
    """
    folder, config, status = _read(path, clock)
    resume = words_of_run(path).resume
    yield from folder.describe(resume=resume, others=files_of_learn(path))
    yield "state"
    yield from (f"  {line}" for line in _state(status, resume, clock()))
    if status.state == "running":
        yield f"  {_where_to_dial(config)}"
    yield "progress"
    yield from (f"  {line}" for line in _progress(status))
    yield "checkpoints"
    yield from (f"  {line}" for line in _checkpoints(folder))


def run_for_programs(path: Path, *, clock: Callable[[], float] = time.time) -> Mapping[str, object]:
    """Returns the same as JSON has it; null where there is no number."""
    folder, _, status = _read(path, clock)
    problems = CheckpointStore(folder.checkpoints, keep=1).problems()
    return {
        **status_for_programs(status),
        "best": [
            {"name": path.name, "problem": problem or None}
            for path, problem in CheckpointStore(folder.best, keep=1).problems().items()
        ],
        "checkpoints": [
            {"name": path.name, "problem": problem or None} for path, problem in problems.items()
        ],
    }


def list_runs(directory: Path) -> Iterator[str]:
    """Yields a table of the runs in a folder, newest first."""
    rows: list[tuple[str, ...]] = [HEADS]
    unreadable = []
    for run in runs_in(directory):
        if isinstance(run, ConfigError):
            unreadable.append(str(run))
        else:
            rows.append(row(run))
    if len(rows) == 1:
        yield f"no run in {directory}"
    else:
        yield from table(rows)
    yield from unreadable


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table whose columns are as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for each in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(each, widths, strict=True))
        yield "  ".join(cells).rstrip()


def runs_for_programs(directory: Path) -> Sequence[Mapping[str, object]]:
    """Returns the same as JSON has it."""
    return [
        {"error": str(run)} if isinstance(run, ConfigError) else status_for_programs(run)
        for run in runs_in(directory)
    ]


def status_for_programs(status: RunStatus) -> Mapping[str, object]:
    """Returns how a run stands, as JSON has it."""
    return {
        "name": status.name,
        "path": str(status.path),
        "state": status.state,
        "owner": status.owner or None,
        "env_steps": status.env_steps,
        "total_steps": status.total_steps,
        "started_at": _time(status.started_at) or None,
        "seconds": _finite(status.seconds),
        "seconds_left": _finite(status.left_s),
        "policies": {
            name: {
                "env_steps": policy.env_steps,
                "total_steps": policy.total_steps,
                "updates": policy.updates,
                "updated_at": _time(policy.updated_at),
                "return": _finite(policy.return_last),
                "reward_per_step": _finite(policy.reward_per_step),
                "env_steps_per_second": _finite(policy.env_steps_per_second),
            }
            for name, policy in status.policies.items()
        },
    }


def _read(path: Path, clock: Callable[[], float]) -> tuple[RunFolder, RunConfig, RunStatus]:
    folder = RunFolder.existing(path)
    config = load_config(folder.config, [])
    return folder, config, status_of(folder, config, clock=clock)


def _where_to_dial(config: RunConfig) -> str:
    """The configured addresses, in words. Which port 0 became stands in the log alone."""
    server = config.server
    if server.websocket is None:
        return f"simulators dial {server.address}"
    scheme = "ws" if server.tls_certificate is None else "wss"
    return f"simulators dial {server.address}, over WebSocket {scheme}://{server.websocket}"


def _state(status: RunStatus, resume: str, now_s: float) -> Iterator[str]:
    words = {
        "running": f"running ({status.owner})",
        "ending": f"training has ended; the report and the policies are written ({status.owner})",
        "dead": f"dead: its trainer ended without saving ({status.owner}); {resume} "
        "goes on from the newest checkpoint",
        "stopped": f"stopped; {resume} goes on",
        "failed": f"ended by an error (see log.txt); {resume} goes on",
        "completed": "completed",
    }
    yield words[status.state]
    if math.isfinite(status.started_at):
        left = f", {duration(status.left_s)} left" if math.isfinite(status.left_s) else ""
        yield f"started {_time(status.started_at)}, trained for {duration(status.seconds)}{left}"
    if status.policies:
        behaviour, last = max(status.policies.items(), key=lambda item: item[1].updated_at)
        ago = duration(max(0.0, now_s - last.updated_at))
        yield f"last update: {last.updates:,} of '{behaviour}', {ago} ago"


def _progress(status: RunStatus) -> Iterator[str]:
    if not status.policies:
        yield "no update yet"
    for behaviour, policy in status.policies.items():
        yield f"{behaviour}: {_how_far(policy, is_running=status.state == 'running')}"


def _how_far(policy: PolicyStatus, *, is_running: bool) -> str:
    reached = f"{policy.env_steps:,} env steps"
    if policy.total_steps is not None:
        # Rounded down: only a finished run has 100 %.
        share = 100 * policy.env_steps // policy.total_steps
        reached = f"{policy.env_steps:,} of {policy.total_steps:,} env steps ({share}%)"
    facts = [f"{reached} after {counted(policy.updates, 'update')}"]
    if math.isfinite(policy.return_last):
        last = EPISODE_RETURN_LAST.text(policy.return_last)
        facts.append(f"return {last} over the last 100 episodes")
    elif math.isfinite(policy.reward_per_step):
        reward = REWARD_PER_STEP.text(policy.reward_per_step)
        facts.append(f"no episode has ended, reward {reward} per step")
    if is_running and math.isfinite(policy.env_steps_per_second):
        facts.append(f"{STEPS_PER_SECOND.text(policy.env_steps_per_second)} steps/s")
        facts.append(f"{duration(policy.left_s)} left")
    return ", ".join(facts)


def row(run: RunStatus) -> tuple[str, ...]:
    """Returns one line of the list of runs, by `HEADS`."""
    returns = [EPISODE_RETURN_LAST.text(each.return_last) for each in run.policies.values()]
    steps = f"{compact(run.env_steps)} / {compact(run.total_steps)}" if run.policies else "-"
    started = _time(run.started_at)[:16].replace("T", " ")
    return (
        run.name,
        run.state,
        steps,
        ", ".join(returns) or "-",
        started or "-",
        duration(run.seconds),
    )


def _time(seconds: float) -> str:
    """Returns seconds since 1970 as `2026-10-31T13:03:22Z`; "" if they are not known."""
    return f"{utc(seconds)[:19]}Z" if math.isfinite(seconds) else ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _checkpoints(folder: RunFolder) -> Iterator[str]:
    problems = CheckpointStore(folder.checkpoints, keep=1).problems()
    if not problems:
        yield "none"
    newest = next((path for path, problem in problems.items() if not problem), None)
    for path, problem in problems.items():
        meaning = "whole; the run goes on from it" if path == newest else "whole"
        yield f"{path.name}  {problem or meaning}"
    store = CheckpointStore(folder.best, keep=1)
    for path, problem in store.problems().items():
        best = None if problem else evaluated_of(store)
        words = "" if best is None else f", return {best.score:,.4g} in evaluation {best.number}"
        yield f"{folder.best.name}/{path.name}  {problem or 'the best weights'}{words}"


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _devices() -> Iterator[str]:
    try:
        import torch  # noqa: PLC0415 - slow, and only this line needs it
    except ImportError as error:
        raise ConfigError(f"torch cannot be imported: {error}; install entrain-rl again") from error
    yield f"CPU with {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index} {torch.cuda.get_device_name(index)}"
