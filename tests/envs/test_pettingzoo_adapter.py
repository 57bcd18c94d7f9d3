"""Parallel PettingZoo environments: agents come and go, kinds are told apart."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

from entrain_envs.errors import FaultyEnvironmentError, OptionError, SpecError
from entrain_envs.pettingzoo_adapter import PettingZooEnvironment
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, TRUNCATED = StepType
PLACE = spaces.Box(-100.0, 100.0, (1,), np.float32)
CHOICE = spaces.Discrete(4)


class Arena(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """Agents observe the number of steps. Choice 1 dies, 2 is taken out, 3 calls a newcomer."""

    def __init__(self, agents: dict[str, tuple[Any, Any]], present: tuple[str, ...]) -> None:
        self.possible_agents = list(agents)
        self._spaces = agents
        self._present = present
        self.agents: list[str] = []
        self.steps = 0
        self.received: list[dict[str, Any]] = []
        self.seeds: list[int | None] = []
        self.options: list[Any] = []
        self.is_closed = False

    def observation_space(self, agent: str) -> Any:
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Any:
        return self._spaces[agent][1]

    def observe(self, agent: str) -> Any:
        observation = np.full(1, self.steps, np.float32)
        if isinstance(self._spaces[agent][0], spaces.Dict):
            return {"observation": observation, "action_mask": np.array([1, 0, 1, 1], np.int8)}
        return observation

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.seeds.append(seed)
        self.options.append(options)
        self.agents = list(self._present)
        self.steps = 0
        return {agent: self.observe(agent) for agent in self.agents}, {}

    def step(self, actions: dict[str, Any]) -> Any:
        self.received.append(dict(actions))
        self.steps += 1
        acting = list(self.agents)
        if 3 in actions.values():
            newcomers = [agent for agent in self.possible_agents if agent not in self.agents]
            acting += newcomers[:1]
        terminations = {agent: actions.get(agent) == 1 for agent in acting}
        truncations = {agent: actions.get(agent) == 2 for agent in acting}
        self.agents = [a for a in acting if not terminations[a] and not truncations[a]]
        return (
            {agent: self.observe(agent) for agent in acting},
            dict.fromkeys(acting, 0.5),
            terminations,
            truncations,
            {agent: {} for agent in acting},
        )

    def close(self) -> None:
        self.is_closed = True


def arena(**options: Any) -> tuple[PettingZooEnvironment, list[Arena]]:
    agents = options.pop("agents", dict.fromkeys(("cat_0", "cat_1", "cat_2"), (PLACE, CHOICE)))
    present = options.pop("present", tuple(agents))
    copies: list[Arena] = []

    def make() -> Arena:
        copies.append(Arena(agents, present))
        return copies[-1]

    return PettingZooEnvironment(make, **options), copies


def choose(**choices: tuple[int, ...]) -> dict[str, ActionBatch]:
    return {
        name: ActionBatch(
            np.zeros((len(row), 0), np.float32), np.array(row, np.int32).reshape(-1, 1), 0
        )
        for name, row in choices.items()
    }


def rows(timesteps: TimestepBatch) -> list[tuple[int, int]]:
    return list(zip(timesteps.agent_id.tolist(), timesteps.step_type.tolist(), strict=True))


def test_an_observation_is_what_its_user_says_for_every_agent_that_has_it() -> None:
    agents = {
        "cat_0": (PLACE, CHOICE),
        "dog_0": (spaces.Dict({"board": spaces.Box(0, 2, (4, 4), np.uint8)}), CHOICE),
    }
    environment, _ = arena(agents=agents, kinds={"board": "image", "observation": "goal"})
    kinds = {spec.name: spec.observations[0].kind for spec in environment.behaviours}
    assert kinds == {"cat": "goal", "dog": "image"}
    with pytest.raises(OptionError, match=r"no observation 'map' .*there is: board, observation"):
        arena(agents=agents, kinds={"map": "image"})


def test_agents_with_the_same_spaces_share_a_behaviour_named_after_them() -> None:
    environment, _ = arena()
    assert [spec.name for spec in environment.behaviours] == ["cat"]


def test_agents_with_different_spaces_have_behaviours_of_their_own() -> None:
    wide = spaces.Box(-1.0, 1.0, (3,), np.float32)
    agents = {"cat_0": (PLACE, CHOICE), "dog_0": (wide, CHOICE), "cat_1": (PLACE, CHOICE)}
    environment, _ = arena(agents=agents)
    assert [spec.name for spec in environment.behaviours] == ["cat", "dog"]


def test_kinds_that_would_share_a_name_are_told_apart() -> None:
    wide = spaces.Box(-1.0, 1.0, (3,), np.float32)
    environment, _ = arena(agents={"cat_0": (PLACE, CHOICE), "cat_1": (wide, CHOICE)})
    assert [spec.name for spec in environment.behaviours] == ["cat", "cat_1"]


def test_one_each_gives_every_agent_a_behaviour() -> None:
    environment, _ = arena(one_each=True)
    assert [spec.name for spec in environment.behaviours] == ["cat_0", "cat_1", "cat_2"]


def test_a_name_may_stand_for_all_agents() -> None:
    environment, _ = arena(behaviour="animal")
    assert [spec.name for spec in environment.behaviours] == ["animal"]


def test_a_name_cannot_stand_for_agents_whose_spaces_differ() -> None:
    wide = spaces.Box(-1.0, 1.0, (3,), np.float32)
    with pytest.raises(OptionError, match=r"'animal' cannot stand for all agents.*cat, dog"):
        arena(agents={"cat_0": (PLACE, CHOICE), "dog_0": (wide, CHOICE)}, behaviour="animal")


def test_reset_gives_a_first_row_for_each_agent_of_each_copy() -> None:
    environment, _ = arena(count=2)
    first = environment.reset(seed=1, parameters={})["cat"]
    first.check(environment.behaviours[0])
    assert first.step_type.tolist() == 6 * [FIRST]
    assert sorted(first.agent_id.tolist()) == [0, 1, 2, 3, 4, 5]


def test_agents_that_end_have_a_last_row_and_then_none() -> None:
    environment, _ = arena()
    environment.reset(seed=1, parameters={})
    after = environment.step(choose(cat=(0, 1, 2)))["cat"]
    assert rows(after) == [(0, MID), (1, TERMINATED), (2, TRUNCATED)]
    assert after.reward.tolist() == [0.5, 0.5, 0.5]
    assert after.observation["observation"].tolist() == [[1.0], [1.0], [1.0]]
    assert rows(environment.step(choose(cat=(0,)))["cat"]) == [(0, MID)]


def test_an_agent_that_appears_begins_with_a_first_row_without_reward() -> None:
    environment, _ = arena(present=("cat_0",))
    environment.reset(seed=1, parameters={})
    after = environment.step(choose(cat=(3,)))["cat"]
    assert rows(after) == [(0, MID), (1, FIRST)]
    assert after.reward.tolist() == [0.5, 0.0]


def test_an_agent_that_died_may_come_back_under_its_number() -> None:
    environment, _ = arena(present=("cat_0", "cat_1"))
    environment.reset(seed=1, parameters={})
    environment.step(choose(cat=(0, 1)))
    assert rows(environment.step(choose(cat=(3,)))["cat"]) == [(0, MID), (1, FIRST)]


def test_when_all_are_gone_the_copy_begins_anew_in_the_same_message() -> None:
    environment, copies = arena()
    environment.reset(seed=1, parameters={})
    after = environment.step(choose(cat=(1, 2, 1)))["cat"]
    assert rows(after) == [
        *[(0, TERMINATED), (1, TRUNCATED), (2, TERMINATED)],
        *[(0, FIRST), (1, FIRST), (2, FIRST)],
    ]
    assert after.observation["observation"].tolist() == 3 * [[1.0]] + 3 * [[0.0]]
    assert len(copies[0].seeds) == 2


def test_actions_reach_their_agents_in_every_copy() -> None:
    environment, copies = arena(count=2)
    environment.reset(seed=1, parameters={})
    environment.step(choose(cat=(0, 1, 0, 0, 0, 2)))
    assert copies[0].received == [{"cat_0": 0, "cat_1": 1, "cat_2": 0}]
    assert copies[1].received == [{"cat_0": 0, "cat_1": 0, "cat_2": 2}]
    environment.step(choose(cat=(0, 1, 2, 0)))
    assert copies[0].received[1] == {"cat_0": 0, "cat_2": 1}
    assert copies[1].received[1] == {"cat_0": 2, "cat_1": 0}


def test_each_behaviour_gets_its_own_agents_actions() -> None:
    wide = spaces.Box(-1.0, 1.0, (1,), np.float32)
    agents = {"cat_0": (PLACE, CHOICE), "dog_0": (wide, CHOICE), "cat_1": (PLACE, CHOICE)}
    environment, copies = arena(agents=agents)
    environment.reset(seed=1, parameters={})
    environment.step(choose(cat=(0, 2), dog=(3,)))
    assert copies[0].received == [{"cat_0": 0, "cat_1": 2, "dog_0": 3}]


def test_a_mask_beside_the_observation_is_a_mask_and_no_observation() -> None:
    space = spaces.Dict({"observation": PLACE, "action_mask": spaces.MultiBinary(4)})
    environment, _ = arena(agents={"cat_0": (space, CHOICE)})
    (spec,) = environment.behaviours
    assert [observation.name for observation in spec.observations] == ["observation"]
    first = environment.reset(seed=1, parameters={})["cat"]
    assert first.action_mask.tolist() == [[True, False, True, True]]


def test_copies_have_seeds_of_their_own_and_get_the_parameters() -> None:
    environment, copies = arena(count=2)
    environment.reset(seed=1, parameters={"size": 2.0})
    assert copies[0].seeds != copies[1].seeds
    assert copies[0].options == [{"size": 2.0}]


def test_an_agent_that_nobody_announced_joins_the_behaviour_of_its_spaces() -> None:
    environment, copies = arena(agents={"cat_0": (PLACE, CHOICE)})
    environment.reset(seed=1, parameters={})
    copies[0].possible_agents.append("stray")
    copies[0]._spaces["stray"] = (PLACE, CHOICE)
    assert rows(environment.step(choose(cat=(3,)))["cat"]) == [(0, MID), (1, FIRST)]


def test_an_unannounced_agent_with_spaces_of_its_own_is_refused() -> None:
    environment, copies = arena(agents={"cat_0": (PLACE, CHOICE)})
    environment.reset(seed=1, parameters={})
    copies[0].possible_agents.append("stray")
    copies[0]._spaces["stray"] = (PLACE, spaces.Discrete(5))
    with pytest.raises(SpecError, match=r"'stray' appeared, .*possible_agents"):
        environment.step(choose(cat=(3,)))


def test_an_agent_that_vanishes_without_a_last_observation_is_refused() -> None:
    environment, copies = arena()
    environment.reset(seed=1, parameters={})
    copies[0].agents.remove("cat_1")
    with pytest.raises(SpecError, match="no observation for cat_1, which acted"):
        environment.step(choose(cat=(0, 0, 0)))


def test_an_environment_that_cannot_list_its_agents_is_asked_by_a_first_reset() -> None:
    class Silent(Arena):
        def __init__(self) -> None:
            super().__init__({"cat_0": (PLACE, CHOICE), "cat_1": (PLACE, CHOICE)}, ("cat_0",))
            del self.possible_agents

    environment = PettingZooEnvironment(Silent)
    assert rows(environment.reset(seed=1, parameters={})["cat"]) == [(0, FIRST)]


def test_no_copies_are_refused() -> None:
    with pytest.raises(OptionError, match="count is 0"):
        arena(count=0)


def test_closing_closes_every_copy() -> None:
    environment, copies = arena(count=2)
    environment.close()
    assert all(copy.is_closed for copy in copies)


class Turns(Arena):
    """An agent may act only at the steps that its number divides; each step pays it 1."""

    period = 2

    def observe(self, agent: str) -> Any:
        mask = np.zeros(4, np.int8)
        mask[0] = self.steps % self.period == int(agent[-1]) % self.period
        return {"observation": np.full(1, self.steps, np.float32), "action_mask": mask}


MASKED = spaces.Dict({"observation": PLACE, "action_mask": spaces.MultiBinary(4)})


def turns(**agents: tuple[Any, Any]) -> tuple[PettingZooEnvironment, Turns]:
    game = Turns(agents, tuple(agents))
    return PettingZooEnvironment(lambda: game), game


def test_an_agent_whose_mask_allows_nothing_does_not_act_and_its_rewards_add_up() -> None:
    environment, game = turns(cat_0=(MASKED, CHOICE), cat_1=(MASKED, CHOICE))
    assert rows(environment.reset(seed=1, parameters={})["cat"]) == [(0, FIRST)]
    assert rows(environment.step(choose(cat=(0,)))["cat"]) == [(1, FIRST)]
    after = environment.step(choose(cat=(0,)))["cat"]
    assert rows(after) == [(0, MID)]
    assert after.reward.tolist() == [1.0]  # 0.5 for its own step and 0.5 for the one that passed
    # Out of turn an agent is given the first choice, as PettingZoo's own tests do.
    assert game.received == [{"cat_0": 0, "cat_1": 0}] * 2


def test_steps_in_which_nobody_may_act_are_passed_over() -> None:
    environment, game = turns(cat_0=(MASKED, CHOICE))
    game.period = 3
    assert rows(environment.reset(seed=1, parameters={})["cat"]) == [(0, FIRST)]
    after = environment.step(choose(cat=(0,)))["cat"]
    assert rows(after) == [(0, MID)]
    assert after.reward.tolist() == [1.5]
    assert game.steps == 3


def test_a_game_in_which_nobody_may_ever_act_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain_envs.pettingzoo_adapter.MAX_IDLE_STEPS", 20)
    environment, game = turns(cat_0=(MASKED, CHOICE))
    game.steps = game.period = 1_000
    environment.reset(seed=1, parameters={})
    with pytest.raises(SpecError, match="20 steps in a row, no agent appeared whose action mask"):
        environment.step(choose(cat=(0,)))


def test_masks_come_from_infos_or_a_method_too(caplog: pytest.LogCaptureFixture) -> None:
    class ByMethod(Arena):
        def action_masks(self, agent: str) -> Any:
            return [True, agent == "cat_0", True, True]

    class ByInfo(Arena):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            observations, _ = super().reset()
            return observations, {"cat_0": {"action_mask": np.array([1, 0, 1, 1])}}

    agents = {"cat_0": (PLACE, CHOICE), "cat_1": (PLACE, CHOICE)}
    with caplog.at_level("INFO"):
        environment = PettingZooEnvironment(lambda: ByMethod(agents, tuple(agents)))
        first = environment.reset(seed=1, parameters={})["cat"]
    assert first.action_mask[:, 1].tolist() == [True, False]
    assert caplog.text.count("'cat': actions are masked by the method action_masks()") == 1
    environment = PettingZooEnvironment(lambda: ByInfo(agents, tuple(agents)))
    first = environment.reset(seed=1, parameters={})["cat"]
    assert first.action_mask[:, 1].tolist() == [False, True]


def test_a_mask_of_another_size_than_the_actions_is_refused() -> None:
    space = spaces.Dict({"observation": PLACE, "action_mask": spaces.MultiBinary(5)})
    with pytest.raises(SpecError, match=r"'action_mask' of 5 numbers; expected 4"):
        arena(agents={"cat_0": (space, CHOICE)})


def test_an_origin_is_subtracted_from_each_kind_that_observes_it() -> None:
    environment, _ = arena(subtract=(("observation", None, 2.0),))
    first = environment.reset(seed=1, parameters={})["cat"]
    assert first.observation["observation"].tolist() == 3 * [[-2.0]]
    with pytest.raises(OptionError, match="names 'place', which no agent observes"):
        arena(subtract=(("place", None, 2.0),))


def outcome(**changes: Any) -> Any:
    """What a step of one agent returns, with parts of it changed."""
    parts = {
        "observations": {"cat_0": np.zeros(1, np.float32)},
        "rewards": {"cat_0": 0.5},
        "terminations": {"cat_0": False},
        "truncations": {"cat_0": False},
        "infos": {"cat_0": {}},
    }
    return tuple({**parts, **changes}.values())


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (
            outcome(rewards=(0.5,)),
            r"the rewards that `step` returned are \(0.5,\); expected a dict",
        ),
        (outcome(rewards={}), "the rewards that `step` returned lack cat_0"),
        (outcome()[:4], "`step` returned 4 values, .*PettingZoo before 1.23"),
        (None, "`step` returned .*NoneType"),
        (outcome(rewards={"cat_0": None}), "agent cat_0 of behaviour 'cat' got the reward None"),
        (outcome(rewards={"cat_0": np.array([1.0, 2.0])}), r"agent cat_0 .* of shape \[2\]"),
        (outcome(rewards={"cat_0": float("nan")}), "agent cat_0 .* got the reward nan"),
    ],
)
def test_what_a_step_returns_wrongly_is_one_line(returned: Any, complaint: str) -> None:
    class Wrong(Arena):
        def step(self, actions: dict[str, Any]) -> Any:
            return returned

    agents = {"cat_0": (PLACE, CHOICE)}
    environment = PettingZooEnvironment(lambda: Wrong(agents, ("cat_0",)))
    environment.reset(seed=1, parameters={})
    with pytest.raises((FaultyEnvironmentError, SpecError), match=complaint) as caught:
        environment.step(choose(cat=(0,)))
    assert "\n" not in str(caught.value)


def test_a_reward_of_shape_one_is_a_number() -> None:
    class Boxed(Arena):
        def step(self, actions: dict[str, Any]) -> Any:
            return outcome(rewards={"cat_0": np.array([0.25])})

    agents = {"cat_0": (PLACE, CHOICE)}
    environment = PettingZooEnvironment(lambda: Boxed(agents, ("cat_0",)))
    environment.reset(seed=1, parameters={})
    assert environment.step(choose(cat=(0,)))["cat"].reward.tolist() == [0.25]


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ({"cat_0": np.zeros(1)}, "returned observations alone, .*PettingZoo before 1.23"),
        (None, "`reset` returned .*NoneType"),
        (({}, None), "the infos that `reset` returned are .*NoneType"),
        (({}, {}), "`reset` observes nothing for cat_0"),
    ],
)
def test_what_a_reset_returns_wrongly_is_one_line(returned: Any, complaint: str) -> None:
    class Wrong(Arena):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            super().reset()
            return returned

    agents = {"cat_0": (PLACE, CHOICE)}
    environment = PettingZooEnvironment(lambda: Wrong(agents, ("cat_0",)))
    with pytest.raises(FaultyEnvironmentError, match=complaint):
        environment.reset(seed=1, parameters={})


def test_a_reset_is_passed_only_what_it_takes() -> None:
    class Bare(Arena):
        def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
            return super().reset(seed)

    agents = {"cat_0": (PLACE, CHOICE)}
    environment = PettingZooEnvironment(lambda: Bare(agents, ("cat_0",)))
    assert rows(environment.reset(seed=1, parameters={"size": 1.0})["cat"]) == [(0, FIRST)]
