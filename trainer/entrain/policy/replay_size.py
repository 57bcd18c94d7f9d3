"""How large a policy's replay would be, reckoned from its spec and options before anything is made.

Like `sizes` this stands between what a simulator's Hello says and the trainer's memory, and disk: a
checkpoint holds the whole replays of all policies. A test holds it against a replay itself.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from entrain.config.off_policy import OffPolicyConfig
from entrain.config.policy import PolicyConfig
from entrain.config.run import CheckpointsConfig, ServerConfig
from entrain.errors import ConfigError
from entrain.metric import number
from entrain.policy.inputs import policy_inputs
from entrain.quoting import shortened
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)

MIB = 2**20

WHOLE_FROM = 10.0
"""MiB from which on a size is said without decimals."""

STEP_BYTES = 8 + 8 + 4 + 1 + 1
"""Of each row, whatever it shows: where what followed lies, version, reward, and two flags."""

ROWS_PER_STEP = 2
"""At most: where every step ends an episode."""


def replay_capacity(options: PolicyConfig) -> int:
    """Rows of the replay: `replay_size`, or what the policy's total steps can fill, if less."""
    algorithm = options.algorithm
    if not isinstance(algorithm, OffPolicyConfig):
        return 0
    return min(algorithm.replay_size, ROWS_PER_STEP * options.total_steps)


def replay_row_bytes(spec: BehaviourSpec, options: PolicyConfig) -> int:
    """Bytes of one row: what is seen, and a step."""
    inputs, action = policy_inputs(spec, options.network), spec.action
    observed = sum(each.num_bytes for each in inputs.observations)
    chosen = 4 * (action.continuous_size + len(action.branches)) + action.num_choices
    return observed + chosen + STEP_BYTES


@dataclass(frozen=True)
class Replays:
    """The replays of some policies on one rank: how many, and the bytes of all when full."""

    count: int
    num_bytes: int

    def __add__(self, others: "Replays") -> "Replays":
        return Replays(self.count + others.count, self.num_bytes + others.num_bytes)

    def __str__(self) -> str:
        mib = self.num_bytes / MIB
        return f"{number(mib, ',.0f' if mib >= WHOLE_FROM else ',.1f')} MiB"


def replays_of(policies: Iterable[tuple[BehaviourSpec, PolicyConfig]]) -> Replays:
    """Of those among these policies that have one."""
    sizes = [
        rows * replay_row_bytes(spec, options)
        for spec, options in policies
        if (rows := replay_capacity(options))
    ]
    return Replays(len(sizes), sum(sizes))


NO_REPLAYS = Replays(0, 0)


def check_replay(
    spec: BehaviourSpec,
    options: PolicyConfig,
    server: ServerConfig,
    checkpoints: CheckpointsConfig,
    *,
    others: Replays = NO_REPLAYS,
    num_ranks: int = 1,
) -> None:
    """Log how large the replay may become, if there is one; see `replay_in_words`."""
    words = replay_in_words(spec, options, server, checkpoints, others=others, num_ranks=num_ranks)
    if words:
        logger.info("policy '%s' has a replay of up to %s", shortened(spec.name), words)


def replay_in_words(
    spec: BehaviourSpec,
    options: PolicyConfig,
    server: ServerConfig,
    checkpoints: CheckpointsConfig,
    *,
    others: Replays = NO_REPLAYS,
    num_ranks: int = 1,
) -> str:
    """How large the replay may become; "" if there is none.

    Args:
        spec: of the behaviour.
        options: of its policy.
        server: its limit is that of each rank's replays together.
        checkpoints: their limit is that of all ranks' replays together.
        others: those of the run's other policies, the ones that its checkpoint holds among them.
        num_ranks: that learn together.

    Raises:
        ConfigError: together with the others it would be larger than the trainer's memory or its
            checkpoints may hold.
    """
    own, row = replays_of([(spec, options)]), replay_row_bytes(spec, options)
    if not own.count:
        return ""
    together = own + others
    words = f"{own} ({replay_capacity(options):,} observations of {row:,} bytes each)"
    if others.count:
        words += f", all {together.count:,} replays together {together}"
    for allowed, name, what in _limits(server, checkpoints, num_ranks):
        if together.num_bytes > allowed * MIB:
            most = int(allowed * MIB - others.num_bytes) // row
            raise ConfigError(
                f"its replay would take {words}, and {what} {allowed:,g}; {_smaller(most)}, send "
                f"smaller observations, or raise {name}"
            )
    return words


def _smaller(most: int) -> str:
    """The remedy of a replay that is too large, given how many observations would fit."""
    if most < 1:
        return "lower algorithm.replay_size, of the other policies too"
    return f"lower algorithm.replay_size to at most {most:,}"


def _limits(
    server: ServerConfig, checkpoints: CheckpointsConfig, num_ranks: int
) -> Iterator[tuple[float, str, str]]:
    """(MiB of the replays of one rank, name of the option, whose limit that is)."""
    yield server.max_replay_mib, "server.max_replay_mib", "this trainer allows"
    holds = "them" if num_ranks == 1 else f"those of each of {num_ranks} ranks"
    yield (
        checkpoints.replay_mib / num_ranks,
        "checkpoints.replay_mib",
        f"each checkpoint, which holds {holds}, may have",
    )
