"""Makes experience of what agents do: opens a step for each action, closes it by its outcome.

The rows of a batch are read twice: as outcomes, each of which closes the step that its agent had
open, and as situations: each action that is given opens a step. A collector returns a collection
from `receive` once enough steps are closed. All else it writes down in `record`, which the policy's
loop calls when the actions are on their way: simulators and trainer are busy at the same time.

What is stored of a step depends on what learns from it: see `RolloutCollector` and
`TransitionCollector`.
"""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

import numpy as np

from entrain.rollout.episodes import EpisodeLog
from entrain.rollout.evaluation import Evaluation, Outcomes, Sampled
from entrain.rollout.ledger import Ledger
from entrain.rollout.reward_scaling import RawRewards, RewardScaler, RewardScaling
from entrain.rounds import Moments
from entrain.state import State
from entrain_envs.timestep import BoolArray, Float32Array, Int64Array, UInt8Array

E = TypeVar("E")
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


class StepBuffer(Protocol[E_co]):
    """Stores steps, and cuts those that are closed into a collection. See `RolloutBuffer`."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def env_steps(self) -> int: ...
    @property
    def num_closed(self) -> int: ...
    @property
    def is_open(self) -> BoolArray: ...
    def begin_at(self, env_steps: int) -> None: ...
    def grow(self, num_slots: int) -> None: ...
    def drop(self, slot: Int64Array) -> None: ...
    def cut(self) -> E_co: ...
    def multiply_rewards(self, factor: float) -> None: ...
    def state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class StepCollector(ABC, Generic[E]):
    """Collects at least `steps_per_update` steps at a time, until `total_steps` are closed.

    It counts, and keeps episodes and the scale of rewards; a subclass writes steps into its buffer.
    """

    def __init__(
        self,
        buffer: StepBuffer[E],
        *,
        steps_per_update: int,
        total_steps: int,
        discount: float = 1.0,
        normalize_rewards: bool = False,
        reward_clip: float = 10.0,
        reward_scale: float = 1.0,
    ) -> None:
        """Begin without a step.

        Args:
            buffer: stores steps.
            steps_per_update: closed steps that make a collection complete.
            total_steps: closed steps after which it is complete.
            discount: of the sum by whose deviation rewards are divided.
            normalize_rewards: whether they are.
            reward_clip: of the divided rewards.
            reward_scale: a factor of every reward.
        """
        self._steps = buffer
        self._steps_per_update = steps_per_update
        self.total_steps = total_steps
        """Closed steps after which it is complete."""
        self._rewards: RewardScaling = (
            RewardScaler(discount=discount, clip=reward_clip, factor=reward_scale)
            if normalize_rewards
            else RawRewards(factor=reward_scale)
        )
        self.episodes = EpisodeLog()
        self._num_slots = 0
        self._outcomes: Outcomes | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._steps}>"

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped, as far as they are written down."""
        return self._steps.ledger

    @property
    def env_steps(self) -> int:
        """Steps closed, written down or not."""
        waiting = 0 if self._outcomes is None else len(self._outcomes.slot)
        return self._steps.env_steps + waiting

    @property
    def is_complete(self) -> bool:
        """Whether the total steps are reached."""
        return self.env_steps >= self.total_steps

    def begin_at(self, env_steps: int) -> None:
        """Count on from so many steps, which another program has collected and learned from."""
        self._steps.begin_at(env_steps)
        self.episodes.begin_at(env_steps)

    def receive(self, evaluation: Evaluation) -> E | None:
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
        is_full = self._steps.num_closed + len(outcomes.slot) >= self._steps_per_update
        if is_full or self.is_complete:
            # What is told of the last update counts episodes, too: those that end here as well.
            self._close(outcomes)
        return self._steps.cut() if is_full else None

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """See `Collector.record`."""
        if self._outcomes is not None:
            self._close(self._outcomes)
        self._begin(evaluation)
        self._open_steps(evaluation, actions)

    @abstractmethod
    def _open_steps(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Open a step in the buffer for each of these actions."""

    @abstractmethod
    def _close_steps(
        self,
        outcomes: Outcomes,
        *,
        step_type: UInt8Array,
        reward: Float32Array,
        late: BoolArray | None,
    ) -> None:
        """Close the steps in the buffer whose outcomes these are.

        Args:
            outcomes: N rows.
            step_type: [N] of them.
            reward: [N] as it is to be stored.
            late: [N] see `TimestepBatch`.
        """

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
        self._close_steps(
            outcomes,
            step_type=step_type,
            reward=self._rewards.scale(slot, reward),
            late=None if late is None else late[rows],
        )

    def cut(self) -> E:
        """All steps that are closed, perhaps none. After `record`."""
        return self._steps.cut()

    def multiply_rewards(self, factor: float) -> None:
        """Let all steps so far have had so many times their reward, as it is learned from."""
        self._steps.multiply_rewards(factor)

    @property
    def reward_moments(self) -> Moments:
        """See `RewardScaling.moments`."""
        return self._rewards.moments

    def add_reward_moments(self, moments: Moments) -> None:
        """Count numbers of other ranks as well."""
        self._rewards.add(moments)

    def release(self, slot: Int64Array) -> None:
        """See `Collector.release`."""
        self._steps.drop(slot)
        self.episodes.release(slot)

    def release_all(self) -> None:
        """Drop every open step; episodes run on."""
        self._steps.drop(np.flatnonzero(self._steps.is_open))

    def ended(self) -> "EpisodeCollector":
        """Drop every open step; what comes after the total steps only counts as episodes."""
        self.release_all()
        return EpisodeCollector(self.episodes, is_complete=True)

    def _grow(self, num_slots: int) -> None:
        self._steps.grow(num_slots)
        self._rewards.grow(num_slots)
        self.episodes.grow(num_slots)
        self._num_slots = len(self._steps.is_open)

    def state(self) -> State:
        """Open and closed steps, statistics of rewards, episodes."""
        if self._outcomes is not None:
            self._close(self._outcomes)
        return {
            "buffer": self._steps.state(),
            "rewards": self._rewards.state(),
            "episodes": self.episodes.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec or policy."""
        self._steps.load_state(state["buffer"])
        self._rewards.load_state(state["rewards"])
        self.episodes.load_state(state["episodes"])
        self._num_slots = len(self._steps.is_open)
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
