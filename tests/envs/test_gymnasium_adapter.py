"""Copies of a Gymnasium environment: rows in order, true final observations, repeatable."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain_envs.errors import MissingExtraError, OptionError, SpecError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment, make
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, TRUNCATED = StepType


class Counter(gymnasium.Env[Any, Any]):
    """Observes [episode, steps]; choice 1 terminates, choice 2 truncates, choice 3 both."""

    observation_space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(4)

    def __init__(self, mask: Any = None) -> None:
        self.episode = -1
        self.steps = 0
        self.mask = mask
        self.seeds: list[int | None] = []
        self.options: list[dict[str, Any] | None] = []
        self.is_closed = False

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        details = {} if self.mask is None else {"action_mask": self.mask}
        return np.array([self.episode, self.steps], np.float32), details

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.options.append(options)
        self.episode += 1
        self.steps = 0
        return self._seen()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        observation, details = self._seen()
        return observation, 0.25 * action, action in (1, 3), action in (2, 3), details

    def close(self) -> None:
        self.is_closed = True


def counters(count: int, **options: Any) -> tuple[GymnasiumEnvironment, list[Counter]]:
    copies: list[Counter] = []

    def make_one() -> Counter:
        copies.append(Counter(**options))
        return copies[-1]

    return GymnasiumEnvironment(make_one, behaviour="counter", count=count), copies


def choose(*choices: int) -> dict[str, ActionBatch]:
    discrete = np.array(choices, np.int32)[:, None]
    return {"counter": ActionBatch(np.zeros((len(choices), 0), np.float32), discrete, 0)}


def rows(timesteps: TimestepBatch) -> list[tuple[int, StepType, float, list[float]]]:
    return [
        (int(agent), StepType(step_type), float(reward), observation.tolist())
        for agent, step_type, reward, observation in zip(
            timesteps.agent_id,
            timesteps.step_type,
            timesteps.reward,
            timesteps.observation["observation"],
            strict=True,
        )
    ]


def test_reset_gives_a_first_row_for_each_copy() -> None:
    environment, _ = counters(3)
    first = environment.reset(seed=1, parameters={})["counter"]
    assert rows(first) == [(agent, FIRST, 0.0, [0.0, 0.0]) for agent in range(3)]


def test_an_end_is_a_row_with_the_true_final_observation_before_the_next_first_row() -> None:
    environment, _ = counters(3)
    environment.reset(seed=1, parameters={})
    assert rows(environment.step(choose(0, 1, 2))["counter"]) == [
        (0, MID, 0.0, [0.0, 1.0]),
        (1, TERMINATED, 0.25, [0.0, 1.0]),
        (1, FIRST, 0.0, [1.0, 0.0]),
        (2, TRUNCATED, 0.5, [0.0, 1.0]),
        (2, FIRST, 0.0, [1.0, 0.0]),
    ]


def test_an_episode_that_terminates_as_its_time_is_over_terminated() -> None:
    environment, _ = counters(1)
    environment.reset(seed=1, parameters={})
    assert rows(environment.step(choose(3))["counter"])[0][1] is TERMINATED


def test_actions_reach_the_copies_in_order_also_after_an_end() -> None:
    environment, _ = counters(3)
    environment.reset(seed=1, parameters={})
    environment.step(choose(1, 0, 0))
    after = rows(environment.step(choose(0, 1, 2))["counter"])
    assert [(agent, step_type) for agent, step_type, _, _ in after if step_type is not FIRST] == [
        (0, MID),
        (1, TERMINATED),
        (2, TRUNCATED),
    ]


def test_every_batch_fits_the_spec() -> None:
    environment, _ = counters(4)
    (spec,) = environment.behaviours
    environment.reset(seed=1, parameters={})["counter"].check(spec)
    environment.step(choose(0, 1, 2, 3))["counter"].check(spec)


def test_each_copy_has_a_seed_of_its_own_the_same_in_every_run() -> None:
    environment, copies = counters(3)
    environment.reset(seed=1, parameters={})
    again, copies_again = counters(3)
    again.reset(seed=1, parameters={})
    seeds = [copy.seeds[0] for copy in copies]
    assert len(set(seeds)) == 3
    assert seeds == [copy.seeds[0] for copy in copies_again]


def test_another_seed_gives_other_seeds_to_the_copies() -> None:
    environment, copies = counters(2)
    environment.reset(seed=1, parameters={})
    environment.reset(seed=2, parameters={})
    assert copies[0].seeds[0] != copies[0].seeds[1]


def test_episodes_after_the_first_go_on_with_the_copies_own_randomness() -> None:
    environment, copies = counters(1)
    environment.reset(seed=1, parameters={})
    environment.step(choose(1))
    assert copies[0].seeds[1] is None


def test_environment_parameters_are_options_of_the_next_reset() -> None:
    environment, copies = counters(1)
    environment.reset(seed=1, parameters={"gravity": 2.0})
    environment.set_parameters({"gravity": 3.0})
    environment.step(choose(0))
    environment.step(choose(1))
    assert copies[0].options == [{"gravity": 2.0}, {"gravity": 3.0}]


def test_without_environment_parameters_there_are_no_options() -> None:
    environment, copies = counters(1)
    environment.reset(seed=1, parameters={})
    assert copies[0].options == [None]


def test_a_mask_in_info_is_passed_on_also_with_the_first_row() -> None:
    environment, _ = counters(1, mask=np.array([1, 0, 1, 1], np.int8))
    first = environment.reset(seed=1, parameters={})["counter"]
    after = environment.step(choose(2))["counter"]
    for mask in (first.action_mask[0], after.action_mask[0], after.action_mask[1]):
        assert mask.tolist() == [True, False, True, True]


class Narrowing(Counter):
    """Says by a method that after each step one choice fewer is allowed."""

    def action_masks(self) -> Any:
        return np.arange(4) < 4 - self.steps


@pytest.mark.parametrize(
    ("choice", "at_end"), [(1, [True] * 4), (2, [True, True, True, False]), (3, [True] * 4)]
)
def test_the_end_of_a_truncated_episode_has_the_mask_of_its_last_situation(
    choice: int, at_end: Sequence[bool]
) -> None:
    environment = GymnasiumEnvironment(Narrowing, behaviour="counter")
    environment.reset(seed=1, parameters={})
    end, first = environment.step(choose(choice))["counter"].action_mask.tolist()
    assert (end, first) == (at_end, [True] * 4)


def test_a_wrong_number_of_actions_is_refused() -> None:
    environment, _ = counters(2)
    environment.reset(seed=1, parameters={})
    with pytest.raises(SpecError, match="given 3 actions; expected one for each of 2 copies"):
        environment.step(choose(0, 0, 0))


def test_no_copies_are_refused() -> None:
    with pytest.raises(OptionError, match="count is 0"):
        counters(0)


def test_closing_closes_every_copy() -> None:
    environment, copies = counters(2)
    environment.close()
    assert all(copy.is_closed for copy in copies)


def random_actions(environment: GymnasiumEnvironment, generator: Any) -> dict[str, ActionBatch]:
    (spec,) = environment.behaviours
    count = len(environment._copies)
    low, high = np.array(spec.action.low), np.array(spec.action.high)
    return {
        spec.name: ActionBatch(
            generator.uniform(low, high, (count, len(low))).astype(np.float32),
            np.column_stack(
                [generator.integers(0, n, count) for n in spec.action.branches]
                or [np.zeros((count, 0))]
            ).astype(np.int32),
            0,
        )
    }


@pytest.mark.parametrize(
    ("env_id", "arguments"),
    [
        ("CartPole-v1", {}),
        ("Pendulum-v1", {}),
        ("Acrobot-v1", {}),
        ("MountainCarContinuous-v0", {}),
        ("FrozenLake-v1", {}),
        ("Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3", {}),
        ("Blackjack-v1", {}),
        ("CliffWalking-v1" if "CliffWalking-v1" in gymnasium.registry else "CliffWalking-v0", {}),
    ],
)
def test_gymnasiums_own_environments_run_and_repeat(env_id: str, arguments: dict[str, Any]) -> None:
    def play() -> list[TimestepBatch]:
        environment = GymnasiumEnvironment(
            lambda: make(env_id, arguments), behaviour=env_id, count=3
        )
        (spec,) = environment.behaviours
        generator = np.random.default_rng(0)
        batches = [environment.reset(seed=3, parameters={})[env_id]]
        for _ in range(60):
            batches.append(environment.step(random_actions(environment, generator))[env_id])
            batches[-1].check(spec)
        environment.close()
        return batches

    for one, other in zip(play(), play(), strict=True):
        np.testing.assert_array_equal(one.step_type, other.step_type)
        np.testing.assert_array_equal(one.reward, other.reward)
        for name, values in one.observation.items():
            np.testing.assert_array_equal(values, other.observation[name])


def test_rows_are_those_of_the_environment_stepped_alone() -> None:
    environment = GymnasiumEnvironment(lambda: make("CartPole-v1", {}), behaviour="cart", count=2)
    environment.reset(seed=11, parameters={})
    alone = gymnasium.make("CartPole-v1")
    seed = np.random.SeedSequence(11).generate_state(2).tolist()[0]
    alone.reset(seed=seed)
    generator = np.random.default_rng(0)
    for _ in range(100):
        actions = random_actions(environment, generator)
        batch = environment.step(actions)["cart"]
        observation, reward, terminated, _, _ = alone.step(int(actions["cart"].discrete[0, 0]))
        np.testing.assert_array_equal(batch.observation["observation"][0], observation)
        assert batch.reward[0] == reward
        assert (batch.step_type[0] == TERMINATED) == terminated
        if terminated:
            observation, _ = alone.reset()
            np.testing.assert_array_equal(batch.observation["observation"][1], observation)


def test_a_time_limit_truncates() -> None:
    environment = GymnasiumEnvironment(
        lambda: make("Pendulum-v1", {"max_episode_steps": 4}), behaviour="pendulum", count=1
    )
    environment.reset(seed=1, parameters={})
    generator = np.random.default_rng(0)
    ends = [
        environment.step(random_actions(environment, generator))["pendulum"].step_type.tolist()
        for _ in range(5)
    ]
    assert ends == [[MID], [MID], [MID], [TRUNCATED, FIRST], [MID]]


def test_an_environment_that_there_is_not_is_told_with_the_remedy() -> None:
    with pytest.raises(OptionError, match=r"cannot make environment 'CartPool-v1'.*MODULE:ENV_ID"):
        make("CartPool-v1", {})


def test_arguments_that_an_environment_does_not_take_are_told() -> None:
    with pytest.raises(OptionError, match=r"cannot make environment 'CartPole-v1'.*wheels"):
        make("CartPole-v1", {"wheels": 3})


def test_a_missing_package_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed")

    monkeypatch.setattr(gymnasium, "make", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'gymnasium\[mujoco\]'"):
        make("HalfCheetah-v5", {})
