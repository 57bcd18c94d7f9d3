"""Whatever way an environment gives its masks, they reach the rows, also through wrappers."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain_envs.action_masks import mask_flattener
from entrain_envs.errors import SpecError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.timestep import ActionBatch

PLACE = spaces.Box(-1.0, 1.0, (3,), np.float32)


class Choices(gymnasium.Env[Any, Any]):
    """Forbids one choice of four, the next one in each step. An episode has three steps."""

    action_space: Any = spaces.Discrete(4)
    observation_space: Any = PLACE

    def __init__(self) -> None:
        self.time = -1

    @property
    def allowed(self) -> Any:
        return np.arange(4) != self.time % 4

    def observe(self) -> Any:
        return np.zeros(3, np.float32)

    def info(self) -> dict[str, Any]:
        return {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.time = 0
        return self.observe(), self.info()

    def step(self, action: Any) -> Any:
        self.time += 1
        return self.observe(), 1.0, self.time == 3, False, self.info()


class ByInfo(Choices):
    def info(self) -> dict[str, Any]:
        return {"action_mask": self.allowed.astype(np.int8)}


class ByObservation(Choices):
    observation_space = spaces.Dict(
        {"action_mask": spaces.Box(0, 1, (4,), np.int8), "observations": PLACE}
    )

    def observe(self) -> Any:
        return {"action_mask": self.allowed.astype(np.int8), "observations": super().observe()}


class ByMethod(Choices):
    def action_masks(self) -> Any:
        assert self.time < 3, "nobody acts after the end"
        return list(self.allowed)


class ByWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the observation alone, and gives its mask by the method of sb3-contrib."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = PLACE
        self.mask: Any = None

    def reset(self, **options: Any) -> Any:
        observation, info = self.env.reset(**options)
        self.mask = observation["action_mask"]
        return observation["observations"], info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        self.mask = observation["action_mask"]
        return observation["observations"], *rest

    def action_masks(self) -> Any:
        return self.mask


class Closed(gymnasium.Env[Any, Any]):
    """No wrapper of Gymnasium's: has its four methods and spaces, and shows nothing else."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        return self.env.step(action)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'{name}' is private")


def wrapped_often() -> Any:
    """Gymnasium's wrappers show no attribute of what they wrap, and one of them is closed."""
    wrappers = gymnasium.wrappers
    env: Any = wrappers.OrderEnforcing(wrappers.PassiveEnvChecker(ByMethod()))
    env = wrappers.RecordEpisodeStatistics(wrappers.NormalizeObservation(Closed(env)))
    env = wrappers.ClipReward(wrappers.FlattenObservation(env), -1.0, 1.0)
    with pytest.raises(AttributeError):
        _ = env.action_masks
    return env


def masks(make: Any) -> list[list[list[bool]]]:
    """The masks of rows that need an action: at the reset, and after each of four steps."""
    environment = GymnasiumEnvironment(make, behaviour="mine", count=2)
    choice = ActionBatch(np.zeros((2, 0), np.float32), np.zeros((2, 1), np.int32), 0)
    batches = [environment.reset(seed=1, parameters={})["mine"]]
    batches += [environment.step({"mine": choice})["mine"] for _ in range(4)]
    return [batch.action_mask[batch.needs_action].tolist() for batch in batches]


EXPECTED = [2 * [(np.arange(4) != time).tolist()] for time in (0, 1, 2, 0, 1)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (ByInfo, "masked by info['action_mask']"),
        (ByObservation, "masked by 'action_mask' of its observation"),
        (ByMethod, r"masked by its method action_masks()"),
        (lambda: ByWrapper(ByObservation()), r"masked by its method action_masks()"),
        (lambda: gymnasium.wrappers.TimeLimit(ByMethod(), 9), r"masked by its method"),
        (wrapped_often, "masked by its method action_masks()"),
        (
            lambda: gymnasium.wrappers.FlattenObservation(ByObservation()),
            "masked by 'action_mask' of the observation beneath its wrappers",
        ),
        (
            lambda: gymnasium.wrappers.FrameStackObservation(ByObservation(), 3),
            "masked by 'action_mask' of the observation beneath its wrappers",
        ),
    ],
)
def test_a_mask_is_understood_and_one_line_says_so(
    make: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert masks(make) == EXPECTED
    assert caplog.text.count("masked by") == 1
    assert words in caplog.text


def test_a_mask_is_no_observation() -> None:
    (spec,) = GymnasiumEnvironment(ByObservation, behaviour="mine").behaviours
    assert [observation.name for observation in spec.observations] == ["observations"]


def test_without_choices_an_entry_of_that_name_is_an_observation() -> None:
    class Steers(ByObservation):
        action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    (spec,) = GymnasiumEnvironment(Steers, behaviour="mine").behaviours
    assert [each.name for each in spec.observations] == ["action_mask", "observations"]


def test_a_mask_of_another_size_than_the_actions_is_refused_in_one_line() -> None:
    class Wide(ByObservation):
        action_space = spaces.Discrete(3)

    with pytest.raises(SpecError, match=r"'action_mask' of 4 numbers; expected 3, one per choice"):
        GymnasiumEnvironment(Wide, behaviour="mine")


def test_a_name_that_only_looks_like_a_mask_is_pointed_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Legal(Choices):
        def info(self) -> dict[str, Any]:
            return {"legal_actions": self.allowed}

    masks(Legal)
    assert caplog.text.count("info['legal_actions'] looks like an action mask") == 1


def test_masks_of_several_branches_come_whole_as_in_sb3_contrib() -> None:
    class Branches(Choices):
        action_space = spaces.MultiDiscrete([2, 2])

        def action_masks(self) -> Any:
            return self.allowed

    environment = GymnasiumEnvironment(Branches, behaviour="mine")
    first = environment.reset(seed=1, parameters={})["mine"]
    assert first.action_mask.tolist() == [[False, True, True, True]]


SPACE = spaces.Dict(
    {
        "gear": spaces.Discrete(3),
        "legs": spaces.Tuple((spaces.MultiDiscrete([2, 2]), spaces.Box(-1.0, 1.0, (2,)))),
        "switch": spaces.MultiBinary(1),
    }
)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (
            {"switch": [0, 1], "legs": ((np.array([1, 0]), [1, 1]), None), "gear": [0, 0, 1]},
            [0, 0, 1, 1, 0, 1, 1, 0, 1],
        ),
        ({"switch": None, "legs": (None, None), "gear": [0, 0, 1]}, [0, 0, 1, 1, 1, 1, 1, 1, 1]),
        ([0, 1, 1, 1, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 1, 1, 0, 1]),
    ],
)
def test_masks_of_nested_actions_come_nested_or_whole(mask: Any, expected: list[int]) -> None:
    assert mask_flattener(SPACE)(mask).tolist() == expected


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        ([1, 1, 1], r"mask of 3 numbers; expected 4, one per choice of branches \[4\]"),
        ([[1, 1], [1]], r"mask of 3 numbers"),
        ("abc", "no array|mask of 1 numbers"),
        (np.array([0.0, -np.inf, 0.0, 0.0]), "other numbers than 0 and 1"),
        ([0, 2, 3, 1], "other numbers than 0 and 1"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(mask: Any, complaint: str) -> None:
    class Wrong(Choices):
        def info(self) -> dict[str, Any]:
            return {"action_mask": mask}

    with pytest.raises(SpecError, match=f"agent 0 of behaviour 'mine' returned an .*{complaint}"):
        masks(Wrong)
