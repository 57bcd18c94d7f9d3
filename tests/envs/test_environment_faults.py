"""An environment that fails is told so in one line: what it did, what fits, and the remedy."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain_envs.errors import CertainFaultError, FaultyEnvironmentError, SpecError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.timestep import ActionBatch


class Plain(gymnasium.Env[Any, Any]):
    """Takes and returns what Gymnasium's interface says."""

    observation_space: Any = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: Any = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 1.0, False, False, {}


def adapted(make: Callable[[], Any]) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(make, behaviour="mine")


def played(make: Callable[[], Any], steps: int = 1) -> GymnasiumEnvironment:
    """Reset and stepped so often."""
    environment = adapted(make)
    environment.reset(seed=1, parameters={})
    for _ in range(steps):
        choice = np.zeros((1, 1), np.int32)
        environment.step({"mine": ActionBatch(np.zeros((1, 0), np.float32), choice, 0)})
    return environment


class WithoutOptions(Plain):
    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        self.seeds = [*getattr(self, "seeds", []), seed]
        return np.zeros(2, np.float32), {}


class WithoutAnything(Plain):
    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(2, np.float32), {}

    def seed(self, seed: int) -> None:
        self.seeded = seed


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: env,
        lambda env: gymnasium.wrappers.TimeLimit(gymnasium.wrappers.OrderEnforcing(env), 5),
        gymnasium.wrappers.PassiveEnvChecker,
    ],
)
def test_a_reset_is_passed_only_what_it_takes_also_beneath_wrappers(wrap: Any) -> None:
    inner = WithoutOptions()
    played(lambda: wrap(inner), steps=2)
    assert len(inner.seeds) == 1
    assert inner.seeds[0] is not None
    old = WithoutAnything()
    played(lambda: wrap(old))
    assert old.seeded is not None


def test_parameters_that_a_reset_does_not_take_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment = GymnasiumEnvironment(WithoutOptions, behaviour="mine", count=3)
    environment.reset(seed=1, parameters={"gravity": 2.0})
    environment.reset(seed=1, parameters={"gravity": 2.0})
    (record,) = [record for record in caplog.records if "options" in record.message]
    assert "takes no `options`; environment parameters {'gravity': 2.0} do not reach it" in (
        record.message
    )


def test_after_the_first_calls_nothing_stands_between_layers() -> None:
    inner = Plain()
    played(lambda: gymnasium.wrappers.OrderEnforcing(inner))
    assert "reset" not in vars(inner)
    assert "step" not in vars(inner)


def returning(reset: Any = None, step: Any = None) -> type[Plain]:
    class Returning(Plain):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return (np.zeros(2, np.float32), {}) if reset is None else reset(self)

        def step(self, action: Any) -> Any:
            return (np.zeros(2), 1.0, False, False, {}) if step is None else step(self)

    return Returning


ZEROS = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (returning(reset=lambda _: ZEROS), r"not a tuple of the form .*Gym before 0\.26"),
        (returning(reset=lambda _: [0.0, 0.0]), r"'list'.*Gym before 0\.26"),
        (returning(reset=lambda _: (ZEROS, {}, {})), "returned a tuple of 3"),
        (returning(reset=lambda _: (ZEROS, None)), "not a dictionary, actual type: .*NoneType"),
        (returning(reset=lambda _: {}), r"not a tuple"),
        (returning(step=lambda _: (ZEROS, 1.0, False, {})), r"returned 4 values.*Gym before 0\.26"),
        (returning(step=lambda _: [ZEROS, 1.0, False, False, {}]), "result to be a tuple, .*list"),
        (returning(step=lambda _: (ZEROS, 1.0, False)), "returned a tuple of 3"),
        (returning(step=lambda _: (ZEROS, 1.0, None, False, {})), "`terminated` .*value: None"),
        (
            returning(step=lambda _: (ZEROS, 1.0, (True, False), False, {})),
            r"`terminated` .*\(True, False\); an environment of several agents",
        ),
        (returning(step=lambda _: (ZEROS, 1.0, False, False, None)), "`info` .*NoneType"),
    ],
)
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_what_an_interface_does_not_allow_is_named_where_it_happened(
    kind: type[Plain], complaint: str, is_wrapped: bool
) -> None:
    def make() -> Any:
        return gymnasium.wrappers.TimeLimit(kind(), 9) if is_wrapped else kind()

    with pytest.raises(CertainFaultError, match=f"environment 'mine', Returning: .*{complaint}"):
        played(make)


def test_a_step_that_forgets_to_return_is_told_so() -> None:
    class Forgets(Plain):
        def step(self, action: Any) -> Any:
            pass

    with pytest.raises(CertainFaultError, match="`step` returned None"):
        played(Forgets)


def test_a_fault_after_many_steps_is_named_too() -> None:
    class Ages(Plain):
        age = 0

        def step(self, action: Any) -> Any:
            self.age += 1
            return (ZEROS, 1.0, False, False, {})[: 5 if self.age < 3 else 4]

    with pytest.raises(FaultyEnvironmentError, match=r"`step` returned 4 values") as caught:
        played(Ages, steps=3)
    assert not isinstance(caught.value, CertainFaultError)


def raising(error: Exception, *, at: str) -> type[Plain]:
    class Raising(Plain):
        def __init__(self) -> None:
            if at == "make":
                raise error

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            if at == "reset":
                raise error
            return super().reset()

        def step(self, action: Any) -> Any:
            if at == "step":
                raise error
            return super().step(action)

    return Raising


@pytest.mark.parametrize("at", ["make", "reset", "step"])
def test_an_exception_is_one_line_with_its_place(at: str) -> None:
    error = ValueError("no such\n  map")
    with pytest.raises(
        FaultyEnvironmentError, match=r"raised ValueError: no such map \(.*line"
    ) as told:
        played(lambda: gymnasium.wrappers.OrderEnforcing(raising(error, at=at)()))
    assert "test_environment_faults.py" in str(told.value)
    assert "\n" not in str(told.value)


def test_what_depends_on_the_machine_may_work_the_next_time() -> None:
    for error in (ConnectionRefusedError("port 5000"), MemoryError(), OSError("busy")):
        with pytest.raises(FaultyEnvironmentError) as caught:
            played(raising(error, at="make"))
        assert not isinstance(caught.value, CertainFaultError)
    with pytest.raises(CertainFaultError):
        played(raising(FileNotFoundError("map.txt"), at="make"))


def test_a_copy_that_cannot_be_closed_is_only_told(caplog: pytest.LogCaptureFixture) -> None:
    class Clings(Plain):
        def close(self) -> None:
            raise RuntimeError("still busy")

    played(Clings).close()
    assert "`close` raised RuntimeError: still busy" in caplog.text


def test_spaces_that_are_none_are_refused_by_type() -> None:
    class Strange(Plain):
        observation_space = None

    with pytest.raises(SpecError, match=r"observation_space does not inherit from .*NoneType"):
        adapted(Strange)


@pytest.mark.parametrize(
    "reward", [1.5, np.float32(1.5), np.array([1.5]), np.array(1.5), np.array([[1.5]]), [1.5]]
)
def test_one_number_is_a_reward_whatever_it_is_held_by(reward: Any) -> None:
    batch = stepped(reward)
    assert batch.reward.tolist() == [1.5]


@pytest.mark.parametrize(("reward", "number"), [(True, 1.0), (3, 3.0), (np.int64(-2), -2.0)])
def test_flags_and_whole_numbers_are_rewards(reward: Any, number: float) -> None:
    assert stepped(reward).reward.tolist() == [number]


def test_rewards_of_copies_may_be_held_differently() -> None:
    kinds = iter((np.array([0.5]), 0.25))

    class Mixed(Plain):
        def step(self, action: Any) -> Any:
            return ZEROS, next(kinds), False, False, {}

    environment = GymnasiumEnvironment(Mixed, behaviour="mine", count=2)
    environment.reset(seed=1, parameters={})
    actions = ActionBatch(np.zeros((2, 0), np.float32), np.zeros((2, 1), np.int32), 0)
    assert environment.step({"mine": actions})["mine"].reward.tolist() == [0.5, 0.25]


def stepped(reward: Any) -> Any:
    environment = adapted(returning(step=lambda _: (ZEROS, reward, False, False, {})))
    environment.reset(seed=1, parameters={})
    choice = ActionBatch(np.zeros((1, 0), np.float32), np.zeros((1, 1), np.int32), 0)
    return environment.step({"mine": choice})["mine"]


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        (None, r"got the reward None; .*`return` missing"),
        (np.array([1.0, 2.0]), r"array\(\[1., 2.\]\) of shape \[2\]; .*TransformReward.*sum"),
        ((1.0, 2.0), r"\(1.0, 2.0\); .*TransformReward.*several agents .*pettingzoo"),
        ({"a": 1.0, "b": 2.0}, r"\{'a': 1.0, 'b': 2.0\}; .*several agents .*pettingzoo"),
        ("much", "'much'; expected one number"),
        (np.array([]), r"of shape \[0\]"),
        (float("nan"), "got the reward nan; it must be a finite number"),
        (float("inf"), "got the reward inf; it must be a finite number"),
        (1e39, r"1e\+39, which is finite but more than float32 holds .*reward \* 1e-39"),
    ],
)
def test_what_is_no_finite_number_is_no_reward(reward: Any, complaint: str) -> None:
    with pytest.raises(SpecError, match=f"agent 0 of behaviour 'mine' .*{complaint}"):
        stepped(reward)


def test_an_observation_too_large_for_float32_is_named_as_such() -> None:
    class Large(Plain):
        observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

        def step(self, action: Any) -> Any:
            return np.array([0.0, 1e39]), 0.0, False, False, {}

    with pytest.raises(SpecError, match=r"observed 1e\+39 in 'observation'\[1\], .* float32"):
        played(Large)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", "<i8", "f2"])
def test_numbers_of_any_type_and_byte_order_arrive(dtype: str) -> None:
    class Foreign(Plain):
        observation_space = spaces.Box(-9.0, 9.0, (2,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.array([3, -2], dtype), {}

        def step(self, action: Any) -> Any:
            reward = np.array([7], dtype)
            return np.array([3, -2], dtype), reward, False, False, {}

    environment = adapted(Foreign)
    first = environment.reset(seed=1, parameters={})["mine"]
    assert first.observation["observation"].tolist() == [[3.0, -2.0]]
    choice = ActionBatch(np.zeros((1, 0), np.float32), np.zeros((1, 1), np.int32), 0)
    assert environment.step({"mine": choice})["mine"].reward.tolist() == [7.0]
