"""Gives a new policy the weights of the trained one that its option `initial_weights` names.

The option names a run of entrain, or a checkpoint of mlagents-learn.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from entrain.algorithms.algorithm import AlgorithmOfRun
from entrain.app.build import checked, policy_states
from entrain.app.trained_policies import TrainedPolicy, trained_policies
from entrain.config.off_policy import OffPolicyConfig
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.errors import CheckpointError, ConfigError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.transfer import TakenOver, take_over
from entrain.quoting import shortened
from entrain.rollout.collector import StepCollector
from entrain.run.checkpoint import Loaded
from entrain.state import State
from entrain.unity.models.stock_checkpoint import (
    StockCheckpoint,
    load_stock_checkpoint,
    stock_file_in,
)
from entrain.unity.models.warm_start import (
    apply_stock_checkpoint,
    checkpoint_misfit,
    optimizer_state,
)

logger = logging.getLogger(__name__)

OPTION: Final = "initial_weights"


@dataclass(frozen=True)
class Beginning:
    """Env steps, optimizer moments and other state that a new policy begins with."""

    env_steps: int = 0

    optimizer: State = field(default_factory=dict)
    """See `Adam.state`; empty for moments of zero."""

    learned: State = field(default_factory=dict)
    """See `AlgorithmOfRun.take_over`; empty if there is nothing to take over."""

    def pass_on(self, algorithm: AlgorithmOfRun[Any], collector: StepCollector[Any]) -> None:
        """Give this state to the policy's algorithm and collector."""
        if self.optimizer:
            algorithm.load_moments(self.optimizer)
        if self.learned:
            algorithm.take_over(self.learned)
        collector.begin_at(self.env_steps)


def begun_behaviours(restored: Loaded | None) -> Set[str]:
    """Returns the behaviours whose policies are in the run's checkpoint, if it has one."""
    if restored is None:
        return frozenset()
    with checked(restored.path):
        return frozenset(spec.name for spec, _ in policy_states(restored.state["policies"]))


def initial_steps(config: RunConfig, behaviours: Iterable[str]) -> Mapping[str, int]:
    """{behaviour: env steps that its policy goes on from} of a run without a checkpoint of its own.

    Args:
        config: of the run.
        behaviours: those to look at; policies that begin at 0 are not in what is returned.
    """
    found = {}
    for name in behaviours:
        options = config.policies.get(name, config.policies.get("*"))
        if options is None or options.initial_weights is None or not options.initial_progress:
            continue
        file = stock_file_in(options.initial_weights, name)
        if file is not None:
            # One that cannot be read is refused when its behaviour comes.
            with contextlib.suppress(CheckpointError):
                found[name] = load_stock_checkpoint(file).steps
    return found


def require_initial_weights(config: RunConfig, *, begun: Set[str]) -> None:
    """Check that the named policies can be read, before the run waits for simulators.

    Args:
        config: of the run.
        begun: behaviours whose policies a checkpoint of the run holds.

    Raises:
        ConfigError: one is missing or damaged.
    """
    for behaviour, options in config.policies.items():
        path = options.initial_weights
        if path is None or behaviour in begun:
            continue
        if behaviour != "*":
            _trained(path, behaviour, options)
        elif not path.exists():
            raise ConfigError(f"{OPTION} of '*' is {path}, which is not there")


def begin(policy: ActorNetwork, *, is_named: bool) -> Beginning:
    """Give a new policy the weights that its options name, if they do.

    Args:
        policy: not yet taken over by an algorithm.
        is_named: whether the options are those of its behaviour alone. If they are those of "*",
            random weights are kept where there is no such policy.

    Raises:
        ConfigError: there is no such policy, it is damaged, or does not fit.
    """
    path, behaviour = policy.config.initial_weights, policy.spec.name
    if path is None:
        return Beginning()
    try:
        trained = _trained(path, behaviour, policy.config)
    except _NotThereError as error:
        if is_named:
            raise
        logger.warning("%s; it begins with weights of chance", error)
        return Beginning()
    beginning = Beginning()
    if isinstance(trained, TrainedPolicy):
        beginning = _begin_as(trained, policy)
    elif not isinstance(policy, ActorCritic):
        raise ConfigError(
            f"{OPTION} of '{behaviour}' is a checkpoint of mlagents-learn, whose weights are taken "
            f"over by algorithm.kind ppo alone, and this policy's is {policy.config.algorithm.kind}"
        )
    elif policy.config.initial_progress:
        _say(behaviour, _apply(trained, policy, partly=False))
        beginning = Beginning(trained.steps, optimizer_state(trained, policy))
        _say_where(behaviour, beginning, policy.config)
    else:
        _say(behaviour, _apply(trained, policy, partly=True))
    return beginning


def _begin_as(trained: TrainedPolicy, policy: ActorNetwork) -> Beginning:
    """Take over what fits of a policy of entrain, and say so."""
    taken = take_over(trained.network, policy)
    first = f"{taken.number} tensors taken over from {policy.config.initial_weights}"
    notes, learned = [first, *taken.left, *taken.changed], {}
    options = policy.config.algorithm
    if isinstance(options, OffPolicyConfig):
        if why := _why_anew(trained.network, policy, taken):
            notes.append(f"its {options.beside} begin anew: {why}")
        else:
            # Its replay is of another run.
            learned = {name: it for name, it in trained.algorithm.items() if name != "replay"}
    _say(policy.spec.name, notes)
    return Beginning(learned=learned)


def _why_anew(trained: ActorNetwork, policy: ActorNetwork, taken: TakenOver) -> str:
    """Why what was learned beside a policy is not of use for another one; "" if it is."""
    was, now = trained.config, policy.config
    if was.algorithm.kind != now.algorithm.kind:
        return f"the other policy was trained with algorithm.kind {was.algorithm.kind}"
    if taken.left:
        return "the policy itself does not fit as a whole"
    if was.reward_scale != now.reward_scale:
        return f"reward_scale was {was.reward_scale:g} and is {now.reward_scale:g}"
    return ""


def _say(behaviour: str, notes: Sequence[str]) -> None:
    """Log what was taken over, which is the first note, and what was not."""
    for level, note in zip([logging.INFO, *[logging.WARNING] * len(notes)], notes, strict=False):
        logger.log(level, "policy '%s': %s", behaviour, note)


def _say_where(behaviour: str, beginning: Beginning, options: PolicyConfig) -> None:
    if not beginning.optimizer["num_steps"]:
        logger.warning(
            "policy '%s': not taken over: the optimizer's moments, which are not there or not of "
            "these weights; they begin at zero",
            behaviour,
        )
    is_unfinished = beginning.env_steps < options.total_steps
    logger.info(
        "policy '%s' goes on after %s%s env steps and %s gradient steps",
        behaviour,
        f"{beginning.env_steps:,}",
        f" of {options.total_steps:,}" if is_unfinished else "",
        f"{beginning.optimizer['num_steps']:,}",
    )


class _NotThereError(ConfigError):
    """The source has no policy of that behaviour."""


def _trained(path: Path, behaviour: str, options: PolicyConfig) -> TrainedPolicy | StockCheckpoint:
    """The policy of `behaviour` in `path`."""
    file = stock_file_in(path, behaviour)
    # A run that goes on where mlagents-learn was is in the same folder, and may have no checkpoint.
    if is_run(path) and not (file is not None and options.initial_progress):
        if options.initial_progress:
            raise ConfigError(
                f"{OPTION} of '{behaviour}' is {path}, a run of entrain; to go on with it, resume "
                "it, or set initial_progress: false to begin with its weights"
            )
        policies = trained_policies(path, behaviour, option=OPTION)
        if behaviour not in policies:
            raise _NotThereError(
                f"{OPTION}: {path} has no policy '{behaviour}' (it has: {', '.join(policies)})"
            )
        return policies[behaviour]
    if file is None:
        raise _NotThereError(
            f"{OPTION} of '{behaviour}' is {path}, which is neither the folder of a run with "
            f"checkpoints nor a checkpoint.pt of mlagents-learn, and holds no "
            f"{shortened(behaviour, 80)}/checkpoint.pt; a relative path starts at the directory in "
            "which the trainer was started"
        )
    try:
        checkpoint = load_stock_checkpoint(file)
    except CheckpointError as error:
        raise ConfigError(f"{OPTION} of '{behaviour}' cannot be used: {error}") from error
    if misfit := checkpoint_misfit(checkpoint):
        raise ConfigError(
            f"{OPTION} of '{behaviour}' cannot be used: {file}: {misfit}; leave the option out to "
            "begin with weights of chance"
        )
    return checkpoint


def is_run(path: Path) -> bool:
    """Returns whether a run of entrain has left checkpoints in the folder."""
    return (path / "config.yaml").is_file() and any((path / "checkpoints").glob("*-step-*"))


def _apply(checkpoint: StockCheckpoint, policy: ActorCritic, *, partly: bool) -> tuple[str, ...]:
    try:
        return apply_stock_checkpoint(checkpoint, policy, partly=partly)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
