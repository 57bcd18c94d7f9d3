"""Some numbers of a vector observation are shown, the others hidden."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain_envs.errors import OptionError
from entrain_envs.keep_observations import KeepObservations


class Four(gymnasium.Env[Any, Any]):
    """Observes 10, 11, 12, 13, then 20, 21, 22, 23."""

    observation_space: spaces.Space[Any] = spaces.Box(
        np.array([0.0, 1.0, 2.0, 3.0]), np.array([50.0, 51.0, 52.0, 53.0]), dtype=np.float64
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.arange(10.0, 14.0), {"seed": seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.arange(20.0, 24.0), 0.5, False, True, {"action": action}


def test_the_numbers_kept_come_in_the_order_asked_for() -> None:
    kept = KeepObservations(Four(), (2, 0))
    observation, details = kept.reset(seed=7)
    assert observation.tolist() == [12.0, 10.0]
    assert details == {"seed": 7}
    observation, *others = kept.step(1)
    assert observation.tolist() == [22.0, 20.0]
    assert others == [0.5, False, True, {"action": 1}]


def test_the_space_keeps_bounds_and_dtype() -> None:
    space = KeepObservations(Four(), (3, 1)).observation_space
    assert space == spaces.Box(np.array([3.0, 1.0]), np.array([53.0, 51.0]), dtype=np.float64)


@pytest.mark.parametrize("indices", [(0, 4), (-1,), (1, 1), ()])
def test_numbers_that_there_are_not_are_refused(indices: tuple[int, ...]) -> None:
    with pytest.raises(
        OptionError, match=r"cannot keep \[.*expected different indices from 0 to 3"
    ):
        KeepObservations(Four(), indices)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Box(0.0, 1.0, (2, 2))])
def test_only_of_a_vector_can_numbers_be_kept(space: spaces.Space[Any]) -> None:
    four = Four()
    four.observation_space = space
    with pytest.raises(OptionError, match="only of a vector"):
        KeepObservations(four, (0,))
