"""How large a policy would be, reckoned from its spec and options before anything is made.

What a simulator's Hello says decides the size of networks and rollouts, so this stands between a
stranger and the trainer's memory. It is arithmetic on whole numbers; a test holds it against the
networks themselves. A network of the user's own (`network.custom`) is not reckoned.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from entrain.config.algorithm import PPOConfig
from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.config.run import ServerConfig
from entrain.config.sac import SACConfig
from entrain.errors import ConfigError
from entrain.policy.auto_options import choose_image_encoder
from entrain.policy.goals import GOAL_CODE_SIZE
from entrain.policy.images import PLAIN_LAYERS, RESNET_CHANNELS
from entrain.policy.inputs import critic_network
from entrain_envs.observation_kinds import image_layout
from entrain_envs.spec import BehaviourSpec, ObservationSpec

MIB = 2**20

GATES = {"none": 0, "lstm": 4, "gru": 3, "mingru": 2}

RECURRENT = {"lstm", "gru"}
"""Kinds of memory whose gates read the layer's own output too."""

KEPT_PER_ENTITY = 8
"""Arrays [entities, features] that attention keeps for its gradient."""

KEPT_PER_STAGE = 5
"""Arrays of the size of its first convolution's output that a stage of an image encoder keeps."""


def check_size(spec: BehaviourSpec, options: PolicyConfig, limits: ServerConfig) -> None:
    """Raise ConfigError if a policy for `spec` would be larger than `limits` allow."""
    weights = _weights_by_part(spec, options)
    total, largest = sum(weights.values()), max(weights, key=weights.__getitem__)
    if total > limits.max_weights:
        raise ConfigError(
            f"its networks would have about {total:,} weights ({weights[largest]:,} for {largest}),"
            f" and this trainer allows {limits.max_weights:,}; send fewer or smaller observations "
            "and actions, make network.hidden_sizes smaller, or raise server.max_weights"
        )
    memory = dict(_memory_by_part(spec, options))
    what = max(memory, key=memory.__getitem__)
    if memory[what] > limits.max_rollout_mib * MIB:
        raise ConfigError(
            f"{what} would take {memory[what] / MIB:,.0f} MiB, and this trainer allows "
            f"{limits.max_rollout_mib:,g}; send smaller observations, make rollout_steps or "
            f"algorithm.{_batch_option(options)} smaller, or raise server.max_rollout_mib"
        )


def _batch_option(options: PolicyConfig) -> str:
    return "minibatch_size" if isinstance(options.algorithm, PPOConfig) else "batch_size"


def _weights_by_part(spec: BehaviourSpec, options: PolicyConfig) -> Mapping[str, int]:
    """Of all networks: actor and critics, with their targets."""
    algorithm, network = options.algorithm, options.network
    if isinstance(algorithm, PPOConfig):
        return weights_by_part(spec, network, num_networks=1 if network.shared else 2)
    own = weights_by_part(spec, network, num_networks=1)
    if isinstance(algorithm, SACConfig):
        num_critics = algorithm.critics * (1 if algorithm.batch_norm else 2)
        network = critic_network(options)
    else:
        num_critics = 2  # The values of choices, and their target.
    of_critics = weights_by_part(spec, network, num_networks=num_critics)
    # The last part is the head, which is counted once; a critic's has about as many outputs.
    *_, head = own
    of_critics = {**of_critics, head: num_critics * of_critics[head]}
    return {part: own[part] + of_critics[part] for part in own}


def weights_by_part(
    spec: BehaviourSpec, network: NetworkConfig, *, num_networks: int
) -> Mapping[str, int]:
    """About how many weights each part of the networks would have: {part, in words: weights}.

    Args:
        spec: of the behaviour.
        network: options of each network.
        num_networks: how many have layers of their own. Heads are counted once, for the actor.
    """
    action = spec.action
    outputs = action.continuous_size + action.num_choices
    head = f"{action.num_choices:,} choices and {action.continuous_size:,} continuous actions"
    if network.custom is not None:
        return {head: outputs}
    groups = num_networks
    parts: dict[str, int] = {}
    sizes = network.hidden_sizes
    first = sizes[0] if sizes else 1
    encoded = 0
    for observation in spec.observations:
        own, features = _encoder(observation, network)
        is_generated = observation.kind == "goal" and network.goal_conditioning == "hypernetwork"
        read = GOAL_CODE_SIZE if is_generated else first
        encoded += 0 if is_generated else features
        parts[f"observation '{observation.name}', {observation.dtype}{list(observation.shape)}"] = (
            groups * (own + features * read)
        )
    if network.previous_action:
        encoded += outputs
        parts["the previous action as an input"] = groups * outputs * first
    hidden = sum(before * after for before, after in pairwise(sizes))
    if any(each.kind == "goal" for each in spec.observations) and sizes:
        last = sizes[-2] * sizes[-1] if len(sizes) > 1 else encoded * sizes[-1]
        hidden += GOAL_CODE_SIZE * last * (network.goal_conditioning == "hypernetwork")
    parts["the hidden layers"] = groups * hidden
    features = sizes[-1] if sizes else encoded
    memory, gates = network.memory, GATES[network.memory.kind]
    if gates:
        own = memory.size * memory.layers * (memory.kind in RECURRENT)
        inner = memory.size * (features + memory.size * (memory.layers - 1) + own)
        parts["the memory"] = groups * gates * inner
        features = memory.size
    parts[head] = features * outputs
    return parts


def _encoder(observation: ObservationSpec, network: NetworkConfig) -> tuple[int, int]:
    """(weights of its encoder, numbers that the hidden layers read) of one observation."""
    if observation.kind == "entities":
        features = network.entity_features
        return features * (observation.shape[1] + 4 * features), features
    if observation.kind == "image":
        *_, flat = image_sizes(observation, network)
        return flat * network.image_features, network.image_features
    return 0, observation.size


def image_sizes(observation: ObservationSpec, network: NetworkConfig) -> list[int]:
    """How many numbers each convolution or stage of an image's encoder gives; the last is read."""
    layout, encoder = image_layout(observation.shape), choose_image_encoder(observation, network)
    height, width = layout.height, layout.width
    sizes = []
    for channels, kernel, stride, padding in PLAIN_LAYERS.get(encoder, ()):
        height, width = (
            max(0, (side + 2 * padding - kernel) // stride + 1) for side in (height, width)
        )
        sizes.append(channels * height * width)
    if encoder == "resnet":
        for channels in RESNET_CHANNELS:
            sizes.append(channels * height * width)
            height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append(RESNET_CHANNELS[-1] * height * width)
    return sizes or [observation.size]


def _memory_by_part(spec: BehaviourSpec, options: PolicyConfig) -> Iterator[tuple[str, int]]:
    """(what, in words, bytes) of what grows with the spec and with steps."""
    largest = max(spec.observations, key=lambda each: each.num_bytes)
    shown = f"observation '{largest.name}', {largest.dtype}{list(largest.shape)}"
    row = spec.row_bytes + 2 * spec.action.num_bytes
    algorithm = options.algorithm
    if isinstance(algorithm, PPOConfig):
        kind, size = "minibatch", algorithm.minibatch_size
        if algorithm.surrogate == "per_dimension":
            row += 4 * (spec.action.continuous_size + len(spec.action.branches))
    else:
        # A transition holds what followed, too; a batch comes from the replay.
        kind, size, row = "batch", algorithm.batch_size, row + spec.row_bytes
    steps = options.rollout_steps
    # While an update runs with policy_lag, the next rollout is collected.
    rollout = (1 + options.policy_lag) * steps * row
    yield f"a rollout of {steps:,} steps ({row:,} bytes each; the largest: {shown})", rollout
    rows = min(size, steps) if kind == "minibatch" else size
    of_rows = f"a {kind} of {rows:,} steps"
    for observation in spec.observations:
        name = f"observation '{observation.name}', {observation.dtype}{list(observation.shape)}"
        yield f"{of_rows} of {name}", 4 * rows * _kept(observation, options.network)
    branches = spec.action.branches
    if branches:
        # Branches are padded to the largest one; each of those numbers also has an index.
        padded = len(branches) * max(branches)
        yield (
            f"{of_rows} of {len(branches):,} branches of up to {max(branches):,} choices",
            (4 * rows * padded + 8 * padded),
        )


def _kept(observation: ObservationSpec, network: NetworkConfig) -> int:
    """Numbers that one row keeps for the gradient of an observation's encoder."""
    if observation.kind == "entities":
        count = observation.shape[0]
        return observation.size + KEPT_PER_ENTITY * count * network.entity_features
    if observation.kind == "image" and network.custom is None:
        return observation.size + KEPT_PER_STAGE * sum(image_sizes(observation, network))
    return observation.size
