"""A policy's inputs: the behaviour's observations, and perhaps its previous action and reward.

The simulator does not send these two; the trainer keeps them for each agent.
"""

from dataclasses import replace

from entrain.config.policy import NetworkConfig
from entrain.errors import ConfigError
from entrain_envs.spec import BehaviourSpec, ObservationSpec

PREVIOUS_ACTION = "previous_action"
"""[D + C] the continuous dimensions as sampled, then a one-hot of each branch; zeros at first."""

PREVIOUS_REWARD = "previous_reward"
"""[1] raw; zero at first."""


def policy_inputs(spec: BehaviourSpec, network: NetworkConfig) -> BehaviourSpec:
    """`spec` with the observations that the trainer adds, after the simulator's own.

    Raises:
        ConfigError: the simulator already has an observation of that name.
    """
    size = spec.action.continuous_size + spec.action.num_choices
    added = [
        ObservationSpec(name, (width,))
        for name, width, is_wanted in (
            (PREVIOUS_ACTION, size, network.previous_action),
            (PREVIOUS_REWARD, 1, network.previous_reward),
        )
        if is_wanted
    ]
    for observation in added:
        if observation.name in spec.observation_names:
            raise ConfigError(
                f"behaviour '{spec.name}' has an observation '{observation.name}' of its own; "
                f"rename it in the simulator, or set network.{observation.name}: false"
            )
    return replace(spec, observations=(*spec.observations, *added))
