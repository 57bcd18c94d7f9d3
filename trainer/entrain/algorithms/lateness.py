"""Late steps: the trainer's action came after the simulator's deadline, and a fallback acted.

What follows such a step does not depend on the action that was sampled there, so the gradient of
the return has no term for it:

    grad J = E[ sum_t m_t * grad ln p(a_t | s_t) * A_t ],    m_t = 0 if step t is late, else 1

with A_t the advantage in the world as it is, lateness and fallback included. So a late step's
reward counts in the returns of the steps before it, and the critic learns from it, for it says what
the state was worth; but it takes no part in the policy's loss, the regularizer's term, or what is
measured of the policy. A regularizer that the return counts is earned only where the policy acts:

    J = E[ sum_t g^t * (r_t + m_t * alpha * w(s_t)) ]

else the return would have a part whose gradient the loss leaves out.

Shapes: T steps, B columns.
"""

from dataclasses import dataclass

from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.experience import Estimate, Rollout
from entrain.metrics import LATE_STEPS
from entrain.ranks import Ranks
from entrain_envs.spec import BehaviourSpec


@dataclass(frozen=True)
class Lateness:
    """Which steps of a rollout teach the policy, over all ranks."""

    share: float
    """The share of steps that are late."""

    weight: Tensor | None
    """[T, B] see `Estimate.weight`."""

    def in_time(self, valid: Tensor) -> Tensor:
        """[T, B] bool, which of the `valid` steps are not late."""
        return valid if self.weight is None else valid & (self.weight > 0.0)

    def earned(self, regularization: Tensor) -> Tensor:
        """[T, B]; none where another acted in the policy's place."""
        if self.weight is None:
            return regularization
        return regularization.masked_fill(self.weight == 0.0, 0.0)


def lateness_of(rollout: Rollout, *, ranks: Ranks) -> Lateness:
    """The lateness of a rollout; every rank must call it.

    With N steps of which K are in time, each of those has the weight N / K: the mean over all steps
    of a rollout is then that over the steps in time, however they are divided among minibatches,
    chunks and ranks.
    """
    late = rollout.late & rollout.valid
    num_steps, num_late = ranks.total(rollout.num_steps), ranks.total(int(late.sum()))
    if num_late == 0:
        return Lateness(0.0, None)
    in_time = num_steps - num_late
    weight = num_steps / in_time if in_time else 0.0
    return Lateness(num_late / num_steps, (~late).to(rollout.reward.dtype) * weight)


def late_steps(estimate: Estimate, spec: BehaviourSpec) -> Metrics:
    """The share of late steps, where there are any or a deadline says that there may be."""
    if not (estimate.late_share or spec.deadline_ms):
        return {}
    return {LATE_STEPS.name: estimate.late_share}
