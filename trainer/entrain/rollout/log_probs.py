"""The log-probabilities of sampled actions, computed for many batches in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrain.inference.numpy_distributions import Action, ArrayDistribution, joined_log_prob
from entrain.rollout.step_block import Deferred
from entrain_envs.timestep import Float32Array


@dataclass(frozen=True, slots=True)
class LogProbs(Deferred):
    """[K] of one batch. The distribution keeps what it was made of, whatever weights are published
    before this is computed.
    """

    distribution: ArrayDistribution

    action: Action

    @classmethod
    def joined(cls, parts: Sequence["LogProbs"]) -> Float32Array:
        """[K of all parts]."""
        return joined_log_prob(
            [part.distribution for part in parts], [part.action for part in parts]
        )
