"""What an actor keeps of a batch from one of its calls to the next.

Shapes: K rows of a batch; N of them that are outcomes, or were given an action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from entrain.inference.numpy_distributions import Action, ArrayDistribution
from entrain.inference.policy import Look
from entrain.requests import SlotTimesteps
from entrain_envs.timestep import Array, BoolArray, Float32Array, Int64Array, UInt8Array

Rows: TypeAlias = Int64Array | slice
"""What picks rows out of an array: their indices, or slice(None) for all of them."""


@dataclass(slots=True)
class Pending:
    """A batch that was observed and is not yet answered."""

    batch: SlotTimesteps
    begins: BoolArray
    """[K] true where the row begins an episode, or belongs to none that we know of."""

    observation: Mapping[str, Array]
    """{name: [K, *shape]} what the policy looked at: what came, and what the actor added."""

    recurrent_state: Float32Array
    """[K, S] before these rows."""

    look: Look
    """At all K rows."""

    is_stale: bool = False
    """Whether the policy may have learned since it looked."""


@dataclass(slots=True)
class Outcomes:
    """What became of N actions, not yet written down."""

    slot: Int64Array
    """[N]."""

    step_type: UInt8Array
    """[N]."""

    reward: Float32Array
    """[N]."""

    value: Float32Array
    """[N, V] of the observations that followed."""


@dataclass(slots=True)
class Given:
    """Actions that were given and are not yet written down."""

    pending: Pending
    acting: Rows
    """Of the batch's K rows, those that were given an action."""

    distribution: ArrayDistribution
    """Over the actions of all K rows."""

    action: Action
    """{"continuous": [K, D], "discrete": [K, N]} as sampled."""
