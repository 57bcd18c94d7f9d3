"""What a policy looks at: the behaviour's observations and, if asked for, its own last step.

The simulator never sends the previous action and reward; the trainer keeps them for each agent.
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
    """`spec` with the observations that the trainer itself adds, behind the simulator's own.

    Raises:
        ConfigError: the simulator has an observation of such a name already.
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
