"""Ends an update whose numbers are not finite, and says why."""

from collections.abc import Sequence

import torch

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.divergence import explain, explain_returns
from entrain.algorithms.telemetry import non_finite
from entrain.config.algorithm import PPOConfig
from entrain.errors import TrainingDivergedError, UnlearnableRolloutError
from entrain.experience import Estimate, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.ranks import Ranks


class FiniteGuard:
    """Checks the numbers of one policy's updates. Ranks that learn together fail together."""

    def __init__(self, policy: ActorCritic, config: PPOConfig, *, ranks: Ranks) -> None:
        self._policy = policy
        self._config = config
        self._ranks = ranks

    def require_returns(self, rollout: Rollout, estimate: Estimate, *, update: int) -> None:
        """Check what is to be learned from.

        Args:
            rollout: as collected.
            estimate: of it.
            update: its number.

        Raises:
            UnlearnableRolloutError: a return or an advantage is not finite.
        """
        found = estimate.return_[rollout.valid], estimate.advantage[rollout.valid]
        if self._ranks.any(not all(bool(torch.isfinite(each).all()) for each in found)):
            why = explain_returns(rollout, self._policy.config)
            raise left_out(self._diverged(update, why), rollout)

    def require_epoch(
        self, epochs: Sequence[Metrics], rollout: Rollout, *, has_finite_weights: bool, update: int
    ) -> None:
        """Check the newest of the epochs so far.

        Args:
            epochs: their metrics.
            rollout: that is learned from.
            has_finite_weights: after that epoch.
            update: its number.

        Raises:
            TrainingDivergedError: a metric or a weight is not finite.
        """
        if self._ranks.any(bool(non_finite(epochs[-1])) or not has_finite_weights):
            options = self._policy.config, self._config
            why = explain(epochs[-1], rollout, *options, epoch=len(epochs))
            raise self._diverged(update, why)

    def _diverged(self, update: int, why: str) -> TrainingDivergedError:
        return TrainingDivergedError(f"update {update} of policy '{self._policy.spec.name}' {why}")


def left_out(error: TrainingDivergedError, rollout: Rollout) -> UnlearnableRolloutError:
    """`error`, of a rollout that no change of options makes learnable."""
    steps = f"{rollout.num_steps:,} env steps"
    return UnlearnableRolloutError(f"{error}. A resumed run leaves this rollout of {steps} out")
