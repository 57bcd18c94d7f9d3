"""How a rollout is divided for learning: into steps, or into sequences if the policy has memory."""

import torch
from torch import Tensor

from entrain.algorithms.minibatch import Minibatches, StepMinibatches
from entrain.algorithms.sequences import SequenceMinibatches
from entrain.algorithms.unrolling import refreshed_states
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic


def divided(
    rollout: Rollout,
    policy: ActorCritic,
    *,
    advantage: Tensor,
    return_: Tensor,
    size: int,
    device: torch.device,
) -> Minibatches:
    """What every epoch over `rollout` draws from.

    Args:
        rollout: with at least one valid step.
        policy: that will learn; its options say how sequences are cut.
        advantage: [T, B] of each action.
        return_: [T, B, V] the critic's targets.
        size: steps of one minibatch.
        device: where the policy is.
    """
    memory = policy.config.network.memory
    if policy.state_size == 0:
        return StepMinibatches(
            rollout, advantage=advantage, return_=return_, size=size, device=device
        )

    def sequence_state() -> Tensor:
        if memory.refresh_states:
            return refreshed_states(policy, rollout)
        return rollout.sequence_state

    return SequenceMinibatches(
        rollout,
        advantage=advantage,
        return_=return_,
        sequence_length=memory.sequence_length,
        burn_in=memory.burn_in,
        sequence_state=sequence_state,
        size=size,
        device=device,
    )
