"""Makes experience of what agents do: opens a step for each action, closes it by its outcome.

The rows of a batch are read twice: as outcomes, each of which closes the step that its agent had
open, and as situations: each action that is given opens a step. A collector returns a rollout from
`receive` once enough steps are closed. All else it writes down in `record`, which the policy's loop
calls when the actions are on their way: simulators and trainer are busy at the same time.
"""

from typing import Protocol, TypeVar

import numpy as np

from entrain.config.policy import PolicyConfig
from entrain.experience import PerDimensionRollout, Rollout, map_tensors
from entrain.rollout.buffer import RolloutBuffer
from entrain.rollout.episodes import EpisodeLog
from entrain.rollout.evaluation import Evaluation, Outcomes, Sampled
from entrain.rollout.ledger import Ledger
from entrain.rollout.log_probs import LogProbs
from entrain.rollout.reward_scaling import RawRewards, RewardScaler, RewardScaling
from entrain.rollout.step_block import Values
from entrain.rounds import Moments
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

E_co = TypeVar("E_co", covariant=True)


class Collector(Protocol[E_co]):
    """Makes experience `E` of evaluations and actions. Owned by the policy's loop.

    For each batch, `receive` is called once and then `record` once, with the actions given.
    """

    @property
    def is_complete(self) -> bool:
        """Whether all that was to be collected has been received."""
        ...

    def receive(self, evaluation: Evaluation) -> E_co | None:
        """Count the outcomes in a batch; write them down only if they complete a collection.

        Returns:
            The collection, if it is complete: the policy may learn from it before it acts.
        """
        ...

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Close the steps whose outcomes were received, open one for each action."""
        ...

    def release(self, slot: Int64Array) -> None:
        """The agents of these slots left: drop their open steps. After `record`."""
        ...

    def ended(self) -> "Collector[E_co]":
        """The collector that takes over once this one is complete, before the next batch."""
        ...


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


class RolloutCollector:
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
        self._rollout_steps = rollout_steps
        self.total_steps = total_steps
        """Closed steps after which it is complete."""
        self._buffer = RolloutBuffer(
            policy.inputs,
            num_values=policy.num_values,
            state_size=policy.state_size,
            sequence_length=memory.sequence_length,
            burn_in=memory.burn_in,
            rollout_type=rollout_type,
        )
        self._is_per_dimension = issubclass(rollout_type, PerDimensionRollout)
        self._rewards: RewardScaling = (
            RewardScaler(discount=discount, clip=reward_clip, factor=reward_scale)
            if normalize_rewards
            else RawRewards(factor=reward_scale)
        )
        self.episodes = EpisodeLog()
        self._num_slots = 0
        self._outcomes: Outcomes | None = None

    def __repr__(self) -> str:
        return f"<RolloutCollector: {self._buffer}>"

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped, as far as they are written down."""
        return self._buffer.ledger

    @property
    def env_steps(self) -> int:
        """Steps closed, written down or not."""
        waiting = 0 if self._outcomes is None else len(self._outcomes.slot)
        return self._buffer.env_steps + waiting

    @property
    def is_complete(self) -> bool:
        """Whether the total steps are reached."""
        return self.env_steps >= self.total_steps

    def begin_at(self, env_steps: int) -> None:
        """Count on from so many steps, which another program has collected and learned from."""
        self._buffer.begin_at(env_steps)
        self.episodes.begin_at(env_steps)

    def receive(self, evaluation: Evaluation) -> Rollout | None:
        """See `Collector.receive`."""
        if self._outcomes is not None:
            raise RuntimeError("receive() was called twice; record() the batch before first")
        batch = evaluation.batch
        if batch.num_slots > self._num_slots:
            self._grow(batch.num_slots)
        if len(batch.released):
            self.release(batch.released)
        outcomes = self._outcomes = Outcomes.of(evaluation)
        if not (evaluation.is_usual and batch.are_mid):
            self.episodes.expect(outcomes.slot, batch.timesteps.step_type[outcomes.rows])
        is_full = self._buffer.num_closed + len(outcomes.slot) >= self._rollout_steps
        if is_full or self.is_complete:
            # What is told of the last update counts episodes, too: those that end here as well.
            self._close(outcomes)
        return self._buffer.cut() if is_full else None

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """See `Collector.record`."""
        if self._outcomes is not None:
            self._close(self._outcomes)
        self._begin(evaluation)
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

    def _begin(self, evaluation: Evaluation) -> None:
        """Begin the episodes that do."""
        batch = evaluation.batch
        if not evaluation.is_usual or batch.steady is None:
            slot = batch.slot[evaluation.begins & batch.timesteps.needs_action]
            if len(slot):
                self.episodes.begin(slot)
                self._rewards.begin(slot)
        elif not batch.are_mid:
            slot = batch.slot[len(batch.steady) :]
            self.episodes.begin_again(slot)
            self._rewards.begin(slot)

    def _log_probs(self, actions: Sampled) -> Values:
        distribution = actions.distribution
        if not self._is_per_dimension:
            return {"log_prob": LogProbs(distribution, actions.action)}
        parts = distribution.log_prob_per_dimension(actions.action)
        log_prob = np.zeros(len(parts), np.float32)
        log_prob[actions.rows] = parts[actions.rows].sum(axis=-1)
        return {"log_prob": log_prob, "log_prob_per_dimension": parts}

    def _close(self, outcomes: Outcomes) -> None:
        self._outcomes = None
        rows, slot, evaluation = outcomes.rows, outcomes.slot, outcomes.evaluation
        step_type = evaluation.batch.timesteps.step_type[rows]
        reward = evaluation.batch.timesteps.earned[rows]
        late = evaluation.batch.timesteps.late
        if evaluation.is_usual and evaluation.batch.are_mid:
            self.episodes.go_on(slot, reward)
        else:
            self.episodes.record(slot, step_type, reward)
        self._buffer.close(
            slot,
            step_type=step_type,
            reward=self._rewards.scale(slot, reward),
            value=evaluation.value[rows],
            late=None if late is None else late[rows],
        )

    def cut(self) -> Rollout:
        """All steps that are closed, perhaps none. After `record`."""
        rollout = self._buffer.cut()
        if len(rollout.valid):
            return rollout
        # A row without columns: whatever learns from it may look at the first row.
        return map_tensors(rollout, lambda tensor: tensor.new_zeros((1, *tensor.shape[1:])))

    @property
    def reward_moments(self) -> Moments:
        """See `RewardScaling.moments`."""
        return self._rewards.moments

    def add_reward_moments(self, moments: Moments) -> None:
        """Count numbers of other ranks as well."""
        self._rewards.add(moments)

    def release(self, slot: Int64Array) -> None:
        """See `Collector.release`."""
        self._buffer.drop(slot)
        self.episodes.release(slot)

    def release_all(self) -> None:
        """Drop every open step; episodes run on."""
        self._buffer.drop(np.flatnonzero(self._buffer.is_open))

    def ended(self) -> "EpisodeCollector":
        """Drop every open step; what comes after the total steps only counts as episodes."""
        self.release_all()
        return EpisodeCollector(self.episodes, is_complete=True)

    def _grow(self, num_slots: int) -> None:
        self._buffer.grow(num_slots)
        self._rewards.grow(num_slots)
        self.episodes.grow(num_slots)
        self._num_slots = len(self._buffer.is_open)

    def state(self) -> State:
        """Open and closed steps, statistics of rewards, episodes."""
        if self._outcomes is not None:
            self._close(self._outcomes)
        return {
            "buffer": self._buffer.state(),
            "rewards": self._rewards.state(),
            "episodes": self.episodes.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec or policy."""
        self._buffer.load_state(state["buffer"])
        self._rewards.load_state(state["rewards"])
        self.episodes.load_state(state["episodes"])
        self._num_slots = len(self._buffer.is_open)
        # A scaler that begins here has no sums yet.
        self._rewards.grow(self._num_slots)
        self._outcomes = None


class EpisodeCollector:
    """Only counts episodes, and never returns experience: for policies that do not learn."""

    def __init__(self, episodes: EpisodeLog, *, is_complete: bool = False) -> None:
        """Count in `episodes`.

        Args:
            episodes: may hold some that run.
            is_complete: whether nobody waits for their number.
        """
        self._episodes = episodes
        self.is_complete = is_complete

    def receive(self, evaluation: Evaluation) -> None:
        """Add rewards to the episodes that they were earned in."""
        batch = evaluation.batch
        self._episodes.grow(batch.num_slots)
        self._episodes.release(batch.released)
        outcomes = Outcomes.of(evaluation)
        step_type = batch.timesteps.step_type[outcomes.rows]
        self._episodes.expect(outcomes.slot, step_type)
        self._episodes.record(outcomes.slot, step_type, batch.timesteps.earned[outcomes.rows])

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Begin the episodes that begin."""
        begins = evaluation.begins[actions.rows]
        self._episodes.begin(actions.slot[begins])

    def release(self, slot: Int64Array) -> None:
        """The agents of these slots left: an episode without an end is never counted."""
        self._episodes.release(slot)

    def ended(self) -> "EpisodeCollector":
        """Itself."""
        return self
