"""Describes this installation or a run's folder, in lines for people: `entrain info`.

It only reads, so the run may go on meanwhile.
"""

import math
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from entrain import __version__
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_RETURN_MEAN
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from entrain.run.table import Series, read_metrics

_LIBRARIES = ("entrain-envs", "torch", "grpcio", "protobuf", "numpy", "gymnasium", "onnxruntime")


def describe_installation() -> Iterator[str]:
    """Yields versions and devices, as a bug report needs them."""
    yield f"entrain {__version__}"
    for library in _LIBRARIES:
        yield f"{library} {_version(library)}"
    yield f"Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield f"devices: {', '.join(_devices())}"


def describe_run(path: Path) -> Iterator[str]:
    """Yields files, progress and checkpoints of the run at `path`; ConfigError if there is none."""
    folder = RunFolder.existing(path)
    config = load_config(folder.config, [])
    yield from folder.describe()
    yield "progress"
    yield from (f"  {line}" for line in _progress(folder, config))
    yield "checkpoints"
    yield from (f"  {line}" for line in _checkpoints(folder))


def _progress(folder: RunFolder, config: RunConfig) -> Iterator[str]:
    if not folder.metrics.is_file():
        yield "no update yet"
        return
    for behaviour, series in read_metrics(folder.metrics).items():
        policy = config.policy_for(behaviour)
        total_steps = None if policy is None else policy.total_steps
        env_steps = _env_steps(folder, behaviour, series)
        yield f"{behaviour}: {_how_far(env_steps, total_steps, series)}"


def _env_steps(folder: RunFolder, behaviour: str, series: Series) -> int:
    """Returns the steps at the last update, or at the run's end if that came later."""
    last = int(series.env_steps[-1])
    try:
        summary = RunSummary.load(folder.summary)
    except ConfigError:
        return last
    ended = summary.policies.get(behaviour)
    if ended is None or summary.ended_at < series.wall_time[-1]:
        return last
    return ended.progress.env_steps


def _how_far(env_steps: int, total_steps: int | None, series: Series) -> str:
    updates = len(series.env_steps)
    reached = f"{env_steps:,} env steps"
    if total_steps is not None:
        # Rounded down: only a finished run has 100 %.
        share = 100 * env_steps // total_steps
        reached = f"{env_steps:,} of {total_steps:,} env steps ({share}%)"
    facts = [f"{reached} after {updates:,} update{'' if updates == 1 else 's'}"]
    returns = series.columns.get(EPISODE_RETURN_MEAN.name, ())
    last = next((float(each) for each in reversed(returns) if not math.isnan(each)), None)
    if last is not None:
        facts.append(f"mean return {EPISODE_RETURN_MEAN.text(last)}")
    return ", ".join(facts)


def _checkpoints(folder: RunFolder) -> Iterator[str]:
    problems = CheckpointStore(folder.checkpoints, keep=1).problems()
    if not problems:
        yield "none"
    newest = next((path for path, problem in problems.items() if not problem), None)
    for path, problem in problems.items():
        meaning = "whole; entrain resume goes on from it" if path == newest else "whole"
        yield f"{path.name}  {problem or meaning}"


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
