"""A trained policy for programs: observations in, actions out, with memory for each agent.

It is the actor of `entrain evaluate`, and acts as that does.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from entrain.app.build import load_policies, make_actor
from entrain.app.policy_input import (
    agent_numbers,
    read_agents,
    read_flags,
    read_mask,
    read_observation,
    read_rows,
    require_finite,
)
from entrain.app.policy_spaces import EnvironmentSpaces
from entrain.app.starting import load_chosen
from entrain.config.load import load_config
from entrain.errors import CheckpointError, ConfigError, PolicyInputError
from entrain.policy.actor_critic import ActorNetwork
from entrain.quoting import listed
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.run.checkpoint import Loaded
from entrain.run.folder import RunFolder
from entrain.serving.slots import NO_SLOTS, SlotTable
from entrain.state import State
from entrain_envs.errors import SpecError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, Int64Array, StepType, TimestepBatch

_PROGRAM = "program"
"""The owner of all slots."""


class Policy:
    """The policy of one behaviour, which remembers the agents that it acts for. For one thread."""

    def __init__(
        self, policy: ActorNetwork, restored: Loaded, *, deterministic: bool, seed: int
    ) -> None:
        """Act with a copy of the weights. See `load`, which finds them.

        Args:
            policy: on the device where it is to act.
            restored: the checkpoint that it is of.
            deterministic: take the most likely action, or sample one.
            seed: of the samples.
        """
        self._actor: Actor = make_actor(policy, seed=seed, deterministic=deterministic)
        self._slots = SlotTable()
        """Of the agents whose episodes run."""
        self.checkpoint = restored.path
        """The folder of the checkpoint."""
        self.env_steps = restored.step
        """Over all policies of the run, when it was written."""

    @classmethod
    def load(
        cls,
        run: str | Path,
        behaviour: str | None = None,
        checkpoint: str = "newest",
        *,
        deterministic: bool = True,
        seed: int | None = None,
        device: str = "cpu",
    ) -> Self:
        """Returns a policy of the run in folder `run`, which may still be training.

        Args:
            run: its folder.
            behaviour: whose policy; it may be left out if the run has one.
            checkpoint: newest; best, that of the best evaluation while it trained; or the name of
                one in the folder `checkpoints` of the run.
            deterministic: take the most likely action, or else sample one as in training.
            seed: of the samples; None: the run's.
            device: cpu, cuda or auto.

        Raises:
            EntrainError: there is no such run, checkpoint or policy.
        """
        folder = RunFolder.existing(Path(run))
        config = load_config(folder.config, [f"device={device}"])
        restored = load_chosen(folder, config, checkpoint, purpose="acting with")
        policies = load_policies(config, restored)
        if behaviour is None and len(policies) == 1:
            (behaviour,) = policies
        if behaviour is None or behaviour not in policies:
            asked = "no behaviour is named" if behaviour is None else f"there is no '{behaviour}'"
            raise ConfigError(f"{asked}; {folder.path} has policies of {listed(list(policies))}")
        seed = config.seed if seed is None else seed
        return cls(policies[behaviour], restored, deterministic=deterministic, seed=seed)

    def __repr__(self) -> str:
        return f"<Policy of '{self.spec.name}' from {self.checkpoint}>"

    @property
    def spec(self) -> BehaviourSpec:
        """The observations and actions of its behaviour."""
        return self._actor.policy.spec

    def act(
        self,
        observation: Any,
        *,
        mask: Any = None,
        reward: Any = None,
        first: Any = False,
        agents: Iterable[int] | None = None,
    ) -> Any:
        """Choose an action for each agent, and remember what the policy wants to remember.

        Args:
            observation: {name: array}, or the array where there is one; each [*shape] of one agent,
                or [K, *shape] of K.
            mask: [C] or [K, C] true where a choice is allowed, branches side by side; None: all.
            reward: what each agent got for its last action, one number or [K]; needed by policies
                that are shown it (`network.previous_reward`) alone.
            first: one bool or [K], true where an episode begins. It also begins where an agent has
                not acted before, or not since `reset`.
            agents: [K] numbers that stand for the agents; None: 0, 1, ... in the order of the rows.

        Returns:
            What the simulator was sent, in its units and bounds. Of one agent or of K: a choice,
            int or [K]; several branches, [N] or [K, N]; continuous, [D] or [K, D]; both, a dict
            {"continuous": ..., "discrete": ...}.

        Raises:
            PolicyInputError: something does not fit the policy; nothing was remembered.
        """
        chosen, is_one = self._choose(
            observation, mask=mask, reward=reward, first=first, agents=agents
        )
        return _action(self.spec, chosen, is_one=is_one)

    def acting_in(self, environment: Any) -> Callable[..., Any]:
        """Returns a function that acts for one agent in a Gymnasium environment.

        It takes an observation of the environment, and the options `mask`, `reward` and `first` of
        `act`; it returns an action for its `step`. Spaces are translated as the simulators of the
        run translate theirs: choices are shown one-hot, actions have their shape, dtype and start.

        Raises:
            ConfigError: its spaces are others than the policy learned in.
        """
        spaces = EnvironmentSpaces(self.spec, environment)

        def act(
            observation: Any, *, mask: Any = None, reward: Any = None, first: bool = False
        ) -> Any:
            arrays, mask = spaces.arrays(observation), spaces.mask(observation, mask)
            chosen, _ = self._choose(arrays, mask=mask, reward=reward, first=first)
            return spaces.action(chosen)

        return act

    def _choose(
        self,
        observation: Any,
        *,
        mask: Any,
        reward: Any,
        first: Any,
        agents: Iterable[int] | None = None,
    ) -> tuple[ActionBatch, bool]:
        """The actions of K agents, and whether the observation was of one agent alone."""
        arrays, is_one = read_observation(self.spec, observation)
        rows = len(next(iter(arrays.values())))
        numbers = read_agents(agents, rows)
        begins = read_flags("first", first, rows)
        batch = self._batch(arrays, numbers, begins, reward, mask, is_one=is_one)
        return self._actor.act(self._actor.evaluate(batch)), is_one

    def _batch(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        agents: Int64Array,
        begins: npt.NDArray[np.bool_],
        reward: Any,
        mask: Any,
        *,
        is_one: bool,
    ) -> SlotTimesteps:
        rows, agent_id = len(agents), agents
        goes_on = self._slots.holds(_PROGRAM, agent_id) & ~begins
        if reward is None and self._actor.policy.config.network.previous_reward and goes_on.any():
            raise PolicyInputError(
                f"the policy of '{self.spec.name}' is shown the reward of the step before; give "
                "reward=..., or first=True where an episode begins"
            )
        given = 0.0 if reward is None else reward
        earned = require_finite(read_rows("reward", given, rows, np.float32))
        timesteps = TimestepBatch(
            agent_id=agent_id,
            step_type=np.where(begins, StepType.FIRST, StepType.MID).astype(np.uint8),
            reward=np.where(begins, np.float32(0), earned),
            observation=arrays,
            action_mask=read_mask(self.spec, mask, rows=rows, is_one=is_one),
        )
        try:
            timesteps.check(self.spec)
        except SpecError as error:
            raise PolicyInputError(str(error)) from None
        slot = self._slots.assign(_PROGRAM, agent_id)
        return SlotTimesteps(slot, timesteps, NO_SLOTS, self._slots.num_slots)

    def reset(self, agents: Iterable[int] | None = None) -> None:
        """Forget these agents, or all: an episode of each begins with its next action."""
        if agents is None:
            self._slots.release(_PROGRAM)
        else:
            self._slots.release_agents(_PROGRAM, agent_numbers(agents))
        self._actor.release(self._slots.take_released())

    def state(self) -> State:
        """A copy of what it remembers: each agent's memory, and how many actions it was given."""
        return {
            "policy": self._identity(),
            "slots": self._slots.state(),
            "actor": self._actor.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another policy."""
        if not {"actor", "policy", "slots"} <= set(state):
            raise CheckpointError(
                f"this state has {listed(list(map(str, state))) or 'nothing'}; expected what "
                "`policy.state()` has returned"
            )
        if state["policy"] != self._identity():
            raise CheckpointError(
                f"this state is of a policy of '{state['policy']['spec']['name']}', which differs "
                f"from this one of '{self.spec.name}' in name, observations, actions, or what it "
                "remembers; give it to the policy that it was taken of"
            )
        self._actor.load_state(state["actor"])
        self._slots.load_state(state["slots"])

    def _identity(self) -> State:
        """The identity of this policy: a state is taken over only between equal ones."""
        network = self._actor.policy.config.network
        return {
            "spec": self.spec.state(),
            "memory": network.memory.kind,
            "is_shown": {"action": network.previous_action, "reward": network.previous_reward},
        }


def _action(spec: BehaviourSpec, chosen: ActionBatch, *, is_one: bool) -> Any:
    continuous = chosen.continuous[0] if is_one else chosen.continuous
    discrete = chosen.discrete[0] if is_one else chosen.discrete
    branches = len(spec.action.branches)
    if spec.action.continuous_size and branches:
        return {"continuous": continuous, "discrete": discrete}
    if spec.action.continuous_size:
        return continuous
    if branches > 1:
        return discrete
    return int(discrete[0]) if is_one else discrete[:, 0]
