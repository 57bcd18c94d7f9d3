"""The policies that another run has trained, with what their algorithms had learned beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from entrain.app.build import load_policies, policy_states
from entrain.config.load import load_config
from entrain.errors import ConfigError, EntrainError
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.state import State


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy of another run, as it was in that run's newest checkpoint."""

    network: ActorNetwork

    algorithm: State
    """Of the algorithm that has trained it, see `Algorithm.state`."""


def trained_policies(path: Path, behaviour: str, *, option: str) -> Mapping[str, TrainedPolicy]:
    """Returns {behaviour: its policy} of the run in folder `path`, by its newest checkpoint.

    Args:
        path: that `option` of `behaviour` names.
        behaviour: for messages.
        option: likewise.

    Raises:
        ConfigError: there is no such run, or its checkpoint cannot be used.
    """
    try:
        folder = RunFolder.existing(path)
        # That run may have learned on a device that this machine lacks; loading needs none.
        config = load_config(folder.config, ["device=cpu"])
        restored = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep).load_newest()
        networks = load_policies(config, restored)
    except EntrainError as error:
        raise ConfigError(
            f"{option} of '{behaviour}' cannot be used: {error}. A relative path starts "
            "at the directory in which the trainer was started"
        ) from error
    return {
        spec.name: TrainedPolicy(networks[spec.name], trainer["algorithm"])
        for spec, trainer in policy_states(restored.state["policies"])
    }
