"""What the commands do: train, resume, evaluate, export. The composition root.

Each function blocks until it is done and returns the exit code; errors are EntrainError.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from entrain import config_file
from entrain.algorithms.weights import load_weights
from entrain.config import RunConfig
from entrain.errors import CheckpointError, EntrainError, MissingExtraError
from entrain.evaluation import EvaluationRun, Scores
from entrain.launcher import Launcher, plan
from entrain.policy.actor_critic import ActorCritic
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.export import export_policy
from entrain.run.folder import RunFolder
from entrain.run.live_display import display_for
from entrain.run.log_lines import logging_to
from entrain.run.report import write_report
from entrain.run.summary import Outcome
from entrain.signals import stop_on_signals
from entrain.state import State
from entrain.training import TrainingRun, device, make_server, policy_states

logger = logging.getLogger(__name__)


def train(config: RunConfig) -> int:
    """Make a run folder and train into it until done or told to stop."""
    folder = RunFolder.create(config.runs_directory, config.name)
    folder.write_config(config_file.to_yaml(config))
    return _train(config, folder, restored=None)


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with the run in folder `run` from its newest valid checkpoint."""
    folder = RunFolder.existing(run)
    config = config_file.load(folder.config, overrides)
    with folder.lock():
        restored = _load(folder, config)
    if overrides:
        folder.write_config(config_file.to_yaml(config))
    return _train(config, folder, restored=restored)


def evaluate(run: Path, *, episodes: int, deterministic: bool, overrides: Sequence[str]) -> int:
    """Let the trained policies of folder `run` act over the wire; print returns and lengths."""
    folder = RunFolder.existing(run)
    config = config_file.load(folder.config, overrides)
    policies = load_policies(config, _load(folder, config).state)
    _set_threads(config)
    with _errors_unwrapped():
        scores = asyncio.run(
            _evaluate(config, folder, policies, episodes=episodes, deterministic=deterministic)
        )
    console = Console()
    for behaviour, score in scores.items():
        words = str(score) if len(score.returns) else "no episode ended"
        console.print(f"{behaviour}: {words}", highlight=False, soft_wrap=True)
    return 0


def export(run: Path, output: Path | None) -> int:
    """Write the trained policies of folder `run` as ONNX, to its own folder or to `output`."""
    folder = RunFolder.existing(run)
    config = config_file.load(folder.config, [])
    restored = _load(folder, config)
    console = Console()
    for behaviour, policy in load_policies(config, restored.state).items():
        path = (
            folder.policy(behaviour) if output is None else output / folder.policy(behaviour).name
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        _export(policy, path, folder, behaviour, env_steps=restored.step)
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def _train(config: RunConfig, folder: RunFolder, *, restored: Loaded | None) -> int:
    _set_threads(config)
    console = Console()
    with folder.lock(), logging_to(folder.log), display_for(console) as display:
        run = TrainingRun(
            config,
            folder,
            display,
            launcher=lambda address: _launcher(config, folder, address),
            restored=restored,
        )
        with _errors_unwrapped():
            outcome = asyncio.run(_until_signal(run))
        display.message("writing the policies and the report")
        _publish(folder, run, outcome)
    for line in folder.describe():
        console.print(line, highlight=False, soft_wrap=True)
    if outcome == "stopped":
        console.print(f"stopped; go on with: entrain resume {folder.path}", highlight=False)
    return 0


async def _until_signal(run: TrainingRun) -> Outcome:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        return await run.run(stop)


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    policies: Mapping[str, ActorCritic],
    *,
    episodes: int,
    deterministic: bool,
) -> Mapping[str, Scores]:
    server = make_server(config, run_id=f"{folder.name}-evaluation")
    run = EvaluationRun(config, policies, server, episodes=episodes, deterministic=deterministic)
    stop = asyncio.Event()
    with stop_on_signals(stop):
        address = await server.start()
        logger.info("listening on %s", address)
        launcher = _launcher(config, folder, address)
        try:
            await launcher.start()
            await run.run(stop, launcher, address)
        finally:
            await launcher.stop()
    return run.scores


def _publish(folder: RunFolder, run: TrainingRun, outcome: Outcome) -> None:
    """What is nice to have at the end; trouble here never fails a run that was saved."""
    for behaviour, policy in run.policies.items():
        steps = run.trainers[behaviour].progress.env_steps
        try:
            _export(policy, folder.policy(behaviour), folder, behaviour, env_steps=steps)
        except MissingExtraError as error:
            logger.warning("policy '%s' is not exported: %s", behaviour, error)
        except (EntrainError, OSError) as error:
            logger.error("policy '%s' is not exported: %s", behaviour, error)
    try:
        write_report(folder, run.summary(outcome))
    except OSError as error:
        logger.error("no report: %s", error)


def _export(
    policy: ActorCritic, path: Path, folder: RunFolder, behaviour: str, *, env_steps: int
) -> None:
    metadata = {"run": folder.name, "behaviour": behaviour, "env_steps": str(env_steps)}
    export_policy(policy, path, metadata=metadata)


def _load(folder: RunFolder, config: RunConfig) -> Loaded:
    loaded = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep).load_newest()
    logger.info("going on from %s", loaded.path)
    return loaded


def load_policies(config: RunConfig, state: State) -> Mapping[str, ActorCritic]:
    """{behaviour: its policy as trained} of a run's state."""
    policies = {}
    for spec, trainer in policy_states(state):
        options = config.policy_for(spec.name)
        if options is None:
            raise CheckpointError(f"the configuration has no policy for behaviour '{spec.name}'")
        policy = ActorCritic(spec, options, seed=0)
        load_weights(policy, trainer["algorithm"]["policy"])
        policies[spec.name] = policy.to(device(config))
    if not policies:
        raise CheckpointError("the checkpoint has no policy: no simulator had joined yet")
    return policies


@contextmanager
def _errors_unwrapped() -> Iterator[None]:
    """The error that a group of tasks ended with, instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first_error(group) from None


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_error(first) if isinstance(first, BaseExceptionGroup) else first


def _launcher(config: RunConfig, folder: RunFolder, address: str) -> Launcher:
    server = config.server
    files = {
        "ENTRAIN_TOKEN_FILE": server.token_file,
        "ENTRAIN_TLS_CA": server.tls_certificate,
    }
    environment = {name: str(path) for name, path in files.items() if path is not None}
    return Launcher(
        plan(config.simulators.launch, address=address, logs=folder.simulators),
        environment={"ENTRAIN_ADDRESS": address, **environment},
    )


def _set_threads(config: RunConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)
