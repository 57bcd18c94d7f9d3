"""Collects transitions: steps by themselves, for algorithms that learn from a replay of them."""

from typing import Protocol

from entrain.rollout.collector import StepCollector
from entrain.rollout.evaluation import Evaluation, Outcomes, Sampled
from entrain.rollout.transition_buffer import TransitionBuffer
from entrain.transitions import Transitions
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import BoolArray, Float32Array, UInt8Array


class SeeingPolicy(Protocol):
    """A policy, as the collector of its transitions sees it."""

    @property
    def inputs(self) -> BehaviourSpec:
        """All that the policy sees: the simulator's observations, and what the actor adds."""
        ...


class TransitionCollector(StepCollector[Transitions]):
    """Collects at least `steps_per_update` transitions, until `total_steps` are closed."""

    def __init__(
        self,
        policy: SeeingPolicy,
        *,
        steps_per_update: int,
        total_steps: int,
        reward_scale: float = 1.0,
    ) -> None:
        self._buffer = TransitionBuffer(policy.inputs)
        super().__init__(
            self._buffer,
            steps_per_update=steps_per_update,
            total_steps=total_steps,
            reward_scale=reward_scale,
        )

    def _open_steps(self, evaluation: Evaluation, actions: Sampled) -> None:
        self._buffer.open(
            actions.slot,
            rows=actions.rows,
            observation=evaluation.observation,
            action=actions.action,
            action_mask=evaluation.batch.timesteps.action_mask,
            # Such a row is the outcome of the step before, which has just been closed by it.
            continues=~evaluation.begins,
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
            observation=outcomes.observation,
            action_mask=outcomes.evaluation.batch.timesteps.action_mask[outcomes.rows],
            late=late,
        )
