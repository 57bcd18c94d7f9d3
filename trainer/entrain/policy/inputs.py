"""A policy's inputs: the behaviour's observations, and perhaps its previous action and reward.

The simulator does not send these two; the trainer keeps them for each agent. A critic of actions
reads the same, and the action.
"""

from collections.abc import Sequence
from dataclasses import replace

from entrain.config.policy import NetworkConfig, PolicyConfig, algorithm_options
from entrain.config.sac import SACConfig
from entrain.errors import ConfigError
from entrain.policy.auto_options import choose_image_encoder
from entrain.policy.images import pixel_range
from entrain_envs.observation_kinds import image_layout
from entrain_envs.spec import BehaviourSpec, ObservationSpec

PREVIOUS_ACTION = "previous_action"
"""[D + C] the continuous dimensions as sampled, then a one-hot of each branch; zeros at first."""

PREVIOUS_REWARD = "previous_reward"
"""[1] raw; zero at first."""

ACTION_TAKEN = "action_taken"
"""[D] the continuous action as the environment gets it; see `ActionBounds.relative`."""


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


def critic_inputs(spec: BehaviourSpec, network: NetworkConfig) -> BehaviourSpec:
    """`policy_inputs`, and the continuous action if there is one.

    Raises:
        ConfigError: the simulator already has an observation of that name.
    """
    inputs = policy_inputs(spec, network)
    if not spec.action.continuous_size:
        return inputs
    if ACTION_TAKEN in inputs.observation_names:
        raise ConfigError(
            f"behaviour '{spec.name}' has an observation '{ACTION_TAKEN}', which is what critics "
            "call the action; rename it in the simulator"
        )
    action = ObservationSpec(ACTION_TAKEN, (spec.action.continuous_size,))
    return replace(inputs, observations=(*inputs.observations, action))


def critic_network(policy: PolicyConfig) -> NetworkConfig:
    """The options of the networks of critics of actions: the policy's, but for their widths."""
    sizes = algorithm_options(policy, SACConfig).critic_hidden_sizes
    if sizes is None:
        return policy.network
    return policy.network.model_copy(update={"hidden_sizes": sizes})


def describe_inputs(inputs: BehaviourSpec, network: NetworkConfig) -> Sequence[str]:
    """One phrase for each observation: what it was taken for, and how it is encoded."""
    return [_describe(observation, network) for observation in inputs.observations]


def _describe(observation: ObservationSpec, network: NetworkConfig) -> str:
    name, shape = observation.name, " x ".join(map(str, observation.shape or (1,)))
    numbers = "number" if observation.size == 1 else "numbers"
    if observation.kind == "entities":
        most, size = observation.shape
        return f"{name}: at most {most} entities of {size} numbers"
    if observation.kind != "image":
        # More dimensions than one may be an image that looks like numbers.
        hint = (
            f" (an image? then entrain-env --kind {name}=image)"
            if observation.kind == "vector" and len(observation.shape) > 1
            else ""
        )
        return f"{name}: {observation.kind} of {shape} {numbers}{hint}"
    words = f"{name}: image {image_layout(observation.shape)}"
    if network.custom is not None:
        return words
    between = pixel_range(observation)
    if between is not None:
        low, high = between
        words += f", {low:g} to {high:g}" if low else f", divided by {high:g}"
    return f"{words}, encoder {choose_image_encoder(observation, network)}"
