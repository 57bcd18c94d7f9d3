"""Turn-based PettingZoo games: whose turn it is acts, and each action has exactly one outcome."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from entrain_envs.environment import Environment
from entrain_envs.errors import FaultyEnvironmentError, SpecError
from entrain_envs.pettingzoo_adapter import PettingZooEnvironment
from entrain_envs.pettingzoo_turns import TurnsEnvironment, takes_turns
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from turn_games import Countdown, tictactoe

FIRST, MID, TERMINATED, TRUNCATED = StepType


def rows(batch: TimestepBatch) -> list[tuple[int, int, float]]:
    return list(
        zip(batch.agent_id.tolist(), batch.step_type.tolist(), batch.reward.tolist(), strict=True)
    )


def choose(*choices: int) -> dict[str, ActionBatch]:
    discrete = np.array(choices, np.int32).reshape(-1, 1)
    return {"cat": ActionBatch(np.zeros((len(choices), 0), np.float32), discrete, 0)}


def test_a_reward_is_what_was_earned_from_one_turn_to_the_next() -> None:
    environment = TurnsEnvironment(Countdown)
    first = environment.reset(seed=1, parameters={})["cat"]
    assert rows(first) == [(0, FIRST, 0.0)]
    # What cat_1 lost before its first turn is not for any action of its.
    assert rows(environment.step(choose(0))["cat"]) == [(1, FIRST, 0.0)]
    assert rows(environment.step(choose(0))["cat"]) == [(2, FIRST, 0.0)]
    # cat_0 acted for 1, and then two others did: 1 - 0.5 - 0.5.
    assert rows(environment.step(choose(0))["cat"]) == [(0, MID, 0.0)]
    assert rows(environment.step(choose(0))["cat"]) == [(1, MID, 0.0)]


def test_an_agent_that_dies_has_its_last_row_in_the_same_message() -> None:
    environment = TurnsEnvironment(Countdown)
    environment.reset(seed=1, parameters={})
    assert rows(environment.step(choose(1))["cat"]) == [(0, TERMINATED, 1.0), (1, FIRST, 0.0)]
    assert rows(environment.step(choose(0))["cat"]) == [(2, FIRST, 0.0)]
    assert rows(environment.step(choose(0))["cat"]) == [(1, MID, 0.5)]


def test_the_end_closes_every_open_action_and_the_next_episode_begins_at_once() -> None:
    environment = TurnsEnvironment(lambda: Countdown(turns=4))
    environment.reset(seed=1, parameters={})
    for _ in range(3):
        environment.step(choose(0))
    # Turn 4 is cat_0's second: cat_1 got 1 - 0.5 - 0.5, and cat_2 1 - 0.5.
    assert sorted(rows(environment.step(choose(0))["cat"])) == [
        (0, FIRST, 0.0),
        (0, TRUNCATED, 1.0),
        (1, TRUNCATED, 0.0),
        (2, TRUNCATED, 0.5),
    ]


def test_an_agent_that_never_had_a_turn_has_no_row() -> None:
    environment = TurnsEnvironment(lambda: Countdown(turns=1))
    environment.reset(seed=1, parameters={})
    after = environment.step(choose(0))["cat"]
    assert rows(after) == [(0, TRUNCATED, 1.0), (0, FIRST, 0.0)]


def test_every_copy_has_its_own_turn() -> None:
    copies: list[Countdown] = []

    def make() -> Countdown:
        copies.append(Countdown())
        return copies[-1]

    environment = TurnsEnvironment(make, count=2)
    assert rows(environment.reset(seed=1, parameters={})["cat"]) == [(0, FIRST, 0), (1, FIRST, 0)]
    # Copy 1's cat_0 dies; ids are agent * copies + copy.
    after = environment.step(choose(0, 1))["cat"]
    assert rows(after) == [(2, FIRST, 0.0), (1, TERMINATED, 1.0), (3, FIRST, 0.0)]
    assert [copy.log for copy in copies] == [[("cat_0", 0)], [("cat_0", 1)]]


def played(environment: Environment, *, messages: int) -> Counter[str]:
    """Play allowed choices at random; check the order of each agent's rows, and count."""
    counted: Counter[str] = Counter()
    state: dict[tuple[str, int], str] = defaultdict(lambda: "over")
    generator = np.random.default_rng(0)
    batches = environment.reset(seed=3, parameters={})
    for _ in range(messages):
        actions = {}
        for spec in environment.behaviours:
            batch = batches[spec.name]
            batch.check(spec)
            for agent, step_type, reward in rows(batch):
                key = (spec.name, agent)
                assert state[key] == ("over" if step_type == FIRST else "open")
                state[key] = "open" if step_type <= MID else "over"
                counted["opened" if step_type <= MID else "ended"] += 1
                counted["closed"] += step_type != FIRST
                counted["reward"] += int(reward)
                counted["won"] += reward == 1.0
            masks = batch.action_mask[batch.needs_action]
            choices = [generator.choice(np.flatnonzero(mask)) for mask in masks]
            discrete = np.array(choices, np.int32).reshape(len(masks), -1)
            actions[spec.name] = ActionBatch(
                np.zeros((len(masks), 0), np.float32), discrete.reshape(len(masks), 1), 0
            )
        batches = environment.step(actions)
    counted["open"] = sum(each == "open" for each in state.values())
    return counted


@pytest.mark.parametrize("count", [1, 3])
def test_tic_tac_toe_is_played_by_its_rules_and_counted_exactly(count: int) -> None:
    environment: Environment = TurnsEnvironment(tictactoe().env, count=count)
    (spec,) = environment.behaviours
    assert (spec.name, spec.action.branches) == ("player", (9,))
    counted = played(environment, messages=400)
    assert counted["opened"] == 400 * count == counted["closed"] + counted["open"]
    # Nobody was disqualified for a forbidden move: each game that is won is lost by the other.
    assert counted["reward"] == 0
    assert counted["won"] > 20 * count


def test_a_parallel_game_whose_masks_forbid_all_out_of_turn_is_the_same_game() -> None:
    def make() -> Any:
        return turn_based_aec_to_parallel(tictactoe().env())

    turns = played(TurnsEnvironment(tictactoe().env), messages=300)
    parallel = played(PettingZooEnvironment(make), messages=300)
    assert parallel == turns


def test_agents_that_come_and_go_in_turns_are_counted_exactly() -> None:
    class Crowd(Countdown):
        """Every third turn, an agent that was gone comes back."""

        def step(self, action: Any) -> None:
            super().step(action)
            if action != 0:
                return
            absent = [agent for agent in self.possible_agents if agent not in self.agents]
            if absent and self.time % 3 == 0:
                self.agents.append(absent[0])
                for each in (self.rewards, self._cumulative_rewards):
                    each[absent[0]] = 0.0
                self.terminations[absent[0]] = self.truncations[absent[0]] = False
                self.infos[absent[0]] = {}

    environment = TurnsEnvironment(lambda: Crowd(agents=5, turns=40), count=2)
    counted = played(environment, messages=300)
    assert counted["opened"] == 600 == counted["closed"] + counted["open"]
    assert counted["ended"] > 100


def test_a_turn_without_any_allowed_choice_is_refused_by_name() -> None:
    class Stuck(Countdown):
        def action_masks(self, agent: str) -> Any:
            return [agent == "cat_0", False]

    environment = TurnsEnvironment(Stuck)
    environment.reset(seed=1, parameters={})
    with pytest.raises(SpecError, match="turn of cat_1, whose action mask allows nothing"):
        environment.step(choose(0))


def test_an_episode_that_ends_without_a_last_turn_is_refused() -> None:
    class Vanishing(Countdown):
        def step(self, action: Any) -> None:
            super().step(action)
            if self.time == 2:
                self.agents = []

    environment = TurnsEnvironment(Vanishing)
    environment.reset(seed=1, parameters={})
    environment.step(choose(0))
    with pytest.raises(SpecError, match="without a last turn of cat_0, cat_1"):
        environment.step(choose(0))


def test_a_game_in_which_nobody_lives_is_refused() -> None:
    class Empty(Countdown):
        def reset(self, seed: int | None = None, options: Any = None) -> None:
            super().reset()
            self.agents = []

    with pytest.raises(SpecError, match="no agent was alive"):
        TurnsEnvironment(Empty).reset(seed=1, parameters={})


def test_the_old_form_of_last_is_named() -> None:
    class Old(Countdown):
        def last(self, observe: bool = True) -> Any:
            return super().last(observe)[:4]

    with pytest.raises(FaultyEnvironmentError, match="`last` returned 4 values"):
        TurnsEnvironment(Old).reset(seed=1, parameters={})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Countdown, True),
        (lambda: tictactoe().env(), True),
        (lambda: turn_based_aec_to_parallel(Countdown()), False),
    ],
)
def test_turns_are_told_from_parallel(make: Callable[[], Any], expected: bool) -> None:
    assert takes_turns(make()) is expected
