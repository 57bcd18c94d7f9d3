"""Collects rollouts: columns of steps with all that an on-policy algorithm needs of them."""

from typing import Protocol

import numpy as np

from entrain.config.policy import PolicyConfig
from entrain.experience import PerDimensionRollout, Rollout
from entrain.rollout.buffer import RolloutBuffer
from entrain.rollout.collector import StepCollector
from entrain.rollout.evaluation import Evaluation, Outcomes, Sampled
from entrain.rollout.log_probs import LogProbs
from entrain.rollout.step_block import Values
from entrain.tensor_fields import map_tensors
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import BoolArray, Float32Array, UInt8Array


class CollectedPolicy(Protocol):
    """A policy, as the collector of its steps sees it."""

    @property
    def inputs(self) -> BehaviourSpec:
        """All that the policy sees: the simulator's observations, and what the actor adds."""
        ...

    @property
    def config(self) -> PolicyConfig:
        """How its network remembers, which says what states are kept."""
        ...

    @property
    def num_values(self) -> int:
        """V, value heads."""
        ...

    @property
    def state_size(self) -> int:
        """S, numbers in one agent's recurrent state; 0 without memory."""
        ...


class RolloutCollector(StepCollector[Rollout]):
    """Collects rollouts of at least `rollout_steps`, until `total_steps` are closed."""

    def __init__(
        self,
        policy: CollectedPolicy,
        *,
        rollout_steps: int,
        total_steps: int,
        discount: float,
        normalize_rewards: bool,
        reward_clip: float,
        reward_scale: float = 1.0,
        rollout_type: type[Rollout] = Rollout,
    ) -> None:
        memory = policy.config.network.memory
        self._buffer = RolloutBuffer(
            policy.inputs,
            num_values=policy.num_values,
            state_size=policy.state_size,
            sequence_length=memory.sequence_length,
            burn_in=memory.burn_in,
            rollout_type=rollout_type,
        )
        self._is_per_dimension = issubclass(rollout_type, PerDimensionRollout)
        super().__init__(
            self._buffer,
            steps_per_update=rollout_steps,
            total_steps=total_steps,
            discount=discount,
            normalize_rewards=normalize_rewards,
            reward_clip=reward_clip,
            reward_scale=reward_scale,
        )

    def _open_steps(self, evaluation: Evaluation, actions: Sampled) -> None:
        self._buffer.open(
            actions.slot,
            rows=actions.rows,
            observation=evaluation.observation,
            action=actions.action,
            action_mask=evaluation.batch.timesteps.action_mask,
            **self._log_probs(actions),
            value=evaluation.value,
            reset=evaluation.begins,
            recurrent_state=evaluation.recurrent_state,
            policy_version=evaluation.policy_version,
        )

    def _close_steps(
        self,
        outcomes: Outcomes,
        *,
        step_type: UInt8Array,
        reward: Float32Array,
        late: BoolArray | None,
    ) -> None:
        self._buffer.close(
            outcomes.slot,
            step_type=step_type,
            reward=reward,
            value=outcomes.evaluation.value[outcomes.rows],
            late=late,
        )

    def _log_probs(self, actions: Sampled) -> Values:
        distribution = actions.distribution
        if not self._is_per_dimension:
            return {"log_prob": LogProbs(distribution, actions.action)}
        parts = distribution.log_prob_per_dimension(actions.action)
        log_prob = np.zeros(len(parts), np.float32)
        log_prob[actions.rows] = parts[actions.rows].sum(axis=-1)
        return {"log_prob": log_prob, "log_prob_per_dimension": parts}

    def cut(self) -> Rollout:
        """All steps that are closed, perhaps none. After `record`."""
        rollout = self._buffer.cut()
        if len(rollout.valid):
            return rollout
        # A row without columns: whatever learns from it may look at the first row.
        return map_tensors(rollout, lambda tensor: tensor.new_zeros((1, *tensor.shape[1:])))
