"""Which differences between two configurations mean another run, and how each is named."""

import pytest

from entrain.config.differences import differences
from entrain.config.load import load_config

TWO = ["policies={ball: {}, cube: {}}"]


@pytest.mark.parametrize(
    ("overrides", "words", "is_of_another_run"),
    [
        (["policies.ball.total_steps=5"], "policies.ball.total_steps is 1000000, there 5", False),
        (["server.address=localhost:1"], 'server.address is "localhost:50051", there', False),
        (["policies.ball.algorithm.learning_rate=1"], "learning_rate is 0.0003, there 1.0", False),
        (["simulators.launch=[{command: a}]"], "simulators.launch is [], there [{", False),
        (["seed=2"], "seed is 1, there 2", True),
        (["policies.ball.network.hidden_sizes=[8]"], "hidden_sizes is [64, 64], there [8]", True),
        (["policies.ball.network.memory.kind=gru"], 'memory.kind is "none", there "gru"', True),
        (["policies.cube.entropy.objective=soft_return"], 'objective is "bonus", there', True),
        (["policies.ball.algorithm.surrogate=per_dimension"], 'surrogate is "joint", there', True),
        (["policies.ball.action.clip=3"], "action.clip is 1.0, there 3", True),
        (["policies={ball: {}}"], "policies.cube is {", True),
    ],
)
def test_a_difference(overrides: list[str], words: str, is_of_another_run: bool) -> None:
    (found,) = differences(load_config(None, TWO), load_config(None, [*TWO, *overrides]))
    assert words in str(found)
    assert found.is_of_another_run is is_of_another_run
    assert len(str(found)) < 200


def test_scaling_of_rewards_may_be_switched_on_later_and_not_off() -> None:
    off = load_config(None, ["policies.ball.normalize_rewards=false"])
    on = load_config(None, ["policies.ball.normalize_rewards=true"])
    assert [each.is_of_another_run for each in differences(on, off)] == [False]
    assert [each.is_of_another_run for each in differences(off, on)] == [True]


def test_a_policy_that_only_the_other_has_is_named() -> None:
    one, other = load_config(None, ["policies={ball: {}}"]), load_config(None, TWO)
    (found,) = differences(one, other)
    assert str(found).startswith("policies.cube is -, there {")


def test_name_and_folder_are_no_difference() -> None:
    one = load_config(None, [])
    other = load_config(None, ["name=other", "runs_directory=elsewhere"])
    assert differences(one, one) == differences(one, other) == []
