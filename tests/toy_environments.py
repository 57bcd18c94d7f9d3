"""Environments so small that the best policy is known in closed form. Vectorised over agents."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

Floats = npt.NDArray[np.float32]
FIRST, MID = int(StepType.FIRST), int(StepType.MID)
TERMINATED, TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)
FREE = ActionSpec(low=(-np.inf,), high=(np.inf,))


class Toy:
    """Agents that all live in the same task; an ended episode is followed by the next at once."""

    def __init__(self, action: ActionSpec, *, num_agents: int, observation_size: int) -> None:
        self.spec = BehaviourSpec("toy", (ObservationSpec("seen", (observation_size,)),), action)
        self.num_agents = num_agents
        self._acting = np.arange(num_agents)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return (self.spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass

    def seen(self) -> Floats:
        """[agents, size] observation now."""
        raise NotImplementedError

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        """Begin a new episode of those agents."""

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """[agents] reward, and MID, TERMINATED or TRUNCATED."""
        raise NotImplementedError

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        everyone = np.ones(self.num_agents, np.bool_)
        self.begin(everyone)
        self._acting = np.arange(self.num_agents)
        return {"toy": self._rows(everyone, FIRST, 0.0)}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        # Actions come in the order of the rows that needed one; `act` wants that of the agents.
        by_agent = np.argsort(self._acting)
        reward, step_type = self.act(
            ActionBatch(
                continuous=actions["toy"].continuous[by_agent],
                discrete=actions["toy"].discrete[by_agent],
                policy_version=actions["toy"].policy_version,
            )
        )
        outcomes = self._rows(np.ones(self.num_agents, np.bool_), step_type, reward)
        ended = step_type >= TERMINATED
        self.begin(ended)
        firsts = self._rows(ended, FIRST, 0.0)
        self._acting = np.concatenate([np.flatnonzero(~ended), firsts.agent_id])
        return {
            "toy": TimestepBatch.of(
                self.spec,
                agent_id=np.concatenate([outcomes.agent_id, firsts.agent_id]),
                step_type=np.concatenate([outcomes.step_type, firsts.step_type]),
                reward=np.concatenate([outcomes.reward, firsts.reward]),
                observation={
                    "seen": np.concatenate(
                        [outcomes.observation["seen"], firsts.observation["seen"]]
                    )
                },
            )
        }

    def _rows(
        self, agents: npt.NDArray[np.bool_], step_type: npt.ArrayLike, reward: npt.ArrayLike
    ) -> TimestepBatch:
        return TimestepBatch.of(
            self.spec,
            agent_id=np.flatnonzero(agents),
            step_type=step_type,
            reward=reward,
            observation={"seen": self.seen()[agents]},
        )


class Endless(Toy):
    """Reward 1 for ever, in episodes that end for no reason after `episode_steps`."""

    def __init__(self, end: StepType, *, episode_steps: int = 7, num_agents: int = 16) -> None:
        super().__init__(FREE, num_agents=num_agents, observation_size=1)
        self._end = end
        self._episode_steps = episode_steps
        self._age = np.zeros(num_agents, np.int64)

    def seen(self) -> Floats:
        return np.ones((self.num_agents, 1), np.float32)

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        self._age[agents] = 0

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        self._age += 1
        ends = self._age == self._episode_steps
        step_type = np.where(ends, self._end, MID).astype(np.uint8)
        return np.ones(self.num_agents, np.float32), step_type


class DiscreteBandit(Toy):
    """Each choice pays what it pays, and that was the episode."""

    def __init__(self, rewards: Sequence[float], *, num_agents: int) -> None:
        super().__init__(
            ActionSpec(branches=(len(rewards),)), num_agents=num_agents, observation_size=1
        )
        self._rewards = np.array(rewards, np.float32)

    def seen(self) -> Floats:
        return np.ones((self.num_agents, 1), np.float32)

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        return self._rewards[actions.discrete[:, 0]], np.full(self.num_agents, TERMINATED, np.uint8)


class GaussianBandit(Toy):
    """Pays -(c/2) (a - target)^2, and that was the episode."""

    def __init__(self, *, curvature: float, target: float, num_agents: int) -> None:
        super().__init__(FREE, num_agents=num_agents, observation_size=1)
        self._curvature = curvature
        self._target = target

    def seen(self) -> Floats:
        return np.ones((self.num_agents, 1), np.float32)

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        reward = -0.5 * self._curvature * (actions.continuous[:, 0] - self._target) ** 2
        return reward, np.full(self.num_agents, TERMINATED, np.uint8)


class Chain(Toy):
    """States 0 to 4. Reaching 0 pays 0.2 and reaching 4 pays 1; both end the episode.

    Choice 1 goes right, choice 0 left. Episodes begin in 1, 2 and 3 by turns. Observed as one-hot
    of 1, 2, 3; the ends look like nothing, for their value is zero by definition.
    """

    def __init__(self, *, num_agents: int) -> None:
        super().__init__(ActionSpec(branches=(2,)), num_agents=num_agents, observation_size=3)
        self._state = np.zeros(num_agents, np.int64)
        self._starts = np.arange(num_agents)

    def seen(self) -> Floats:
        return np.eye(5, dtype=np.float32)[self._state][:, 1:4]

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        self._starts[agents] += 1
        self._state[agents] = 1 + self._starts[agents] % 3

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        self._state += np.where(actions.discrete[:, 0] == 1, 1, -1)
        reward = np.select([self._state == 0, self._state == 4], [0.2, 1.0]).astype(np.float32)
        return reward, np.where(reward > 0, TERMINATED, MID).astype(np.uint8)


class Follow(Toy):
    """Pays -(a - the product of the two numbers seen)^2 for `episode_steps`; cannot be linear."""

    def __init__(self, *, num_agents: int, episode_steps: int = 10) -> None:
        super().__init__(FREE, num_agents=num_agents, observation_size=2)
        self._episode_steps = episode_steps
        self._generator = np.random.default_rng(0)
        self._age = np.zeros(num_agents, np.int64)
        self._draw()

    def seen(self) -> Floats:
        return self._seen

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        self._age[agents] = 0

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        reward = -((actions.continuous[:, 0] - self._seen.prod(axis=1)) ** 2)
        self._age += 1
        self._draw()
        ends = self._age == self._episode_steps
        return reward, np.where(ends, TRUNCATED, MID).astype(np.uint8)

    def _draw(self) -> None:
        self._seen = self._generator.uniform(-1.5, 1.5, (self.num_agents, 2)).astype(np.float32)
