"""The balance ball task: rewards, ends, seeds, settings; a plain controller solves it."""

from collections.abc import Callable

import numpy as np
import pytest

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.simulators import balance_ball
from entrain_envs.simulators.balance_ball import BalanceBall, Settings
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, TRUNCATED = StepType
Policy = Callable[[TimestepBatch], np.ndarray]


def tilt(values: np.ndarray) -> dict[str, ActionBatch]:
    rows = len(values)
    return {"ball": ActionBatch(values.astype(np.float32), np.zeros((rows, 0), np.int32), 0)}


def still(timesteps: TimestepBatch) -> np.ndarray:
    return np.zeros((int(timesteps.needs_action.sum()), 2))


def balance(timesteps: TimestepBatch) -> np.ndarray:
    """A proportional-derivative controller: tilt against where the ball is and goes."""
    acting = timesteps.needs_action
    position, velocity, rotation = (
        timesteps.observation[name][acting].astype(np.float64)
        for name in ("position", "velocity", "rotation")
    )
    push = 0.25 * position + 0.25 * velocity
    wanted = np.clip(np.stack((push[:, 0], -push[:, 2]), axis=1), -0.5, 0.5)
    return np.clip(5.0 * (wanted - rotation), -1.0, 1.0)


def random_policy(seed: int) -> Policy:
    generator = np.random.default_rng(seed)
    return lambda timesteps: generator.uniform(-1.0, 1.0, (int(timesteps.needs_action.sum()), 2))


def play(
    policy: Policy,
    *,
    steps: int,
    count: int = 8,
    seed: int = 1,
    parameters: dict[str, float] | None = None,
) -> list[TimestepBatch]:
    environment = BalanceBall(count=count)
    batches = [environment.reset(seed=seed, parameters=parameters or {})["ball"]]
    for _ in range(steps):
        batches.append(environment.step(tilt(policy(batches[-1])))["ball"])
    return batches


def returns_of(batches: list[TimestepBatch]) -> list[float]:
    """Returns of the episodes that ended."""
    running: dict[int, float] = {}
    ended = []
    for batch in batches:
        rows = zip(batch.agent_id, batch.step_type, batch.reward, strict=True)
        for agent, step_type, reward in rows:
            running[agent] = 0.0 if step_type == FIRST else running[agent] + float(reward)
            if step_type in (TERMINATED, TRUNCATED):
                ended.append(running[agent])
    return ended


def test_every_batch_fits_the_spec() -> None:
    (spec,) = BalanceBall().behaviours
    for batch in play(random_policy(0), steps=100):
        batch.check(spec)


def test_eight_numbers_are_observed_and_two_tilts_chosen() -> None:
    (spec,) = BalanceBall().behaviours
    assert str(spec) == (
        "'ball' observes (rotation: float32[2], position: float32[3], velocity: float32[3]), "
        "acts with 2 continuous in [-1, 1]"
    )


def test_an_episode_begins_at_rest_above_the_platform() -> None:
    (first,) = play(still, steps=0, count=500)
    assert (first.step_type == FIRST).all()
    assert not first.reward.any()
    assert not first.observation["velocity"].any()
    place, rotation = first.observation["position"], first.observation["rotation"]
    # The platform's surface is where normal . position = 0; the ball's radius is 0.5.
    normal = np.stack(
        (
            -np.sin(rotation[:, 0]) * np.cos(rotation[:, 1]),
            np.cos(rotation[:, 0]) * np.cos(rotation[:, 1]),
            np.sin(rotation[:, 1]),
        ),
        axis=1,
    )
    assert ((normal * place).sum(axis=1) > 0.5).all()
    assert (np.abs(place[:, [0, 2]]) <= 1.25).all()


def test_each_step_on_the_platform_earns_a_tenth() -> None:
    after = play(balance, steps=1)[1]
    assert (after.step_type == MID).all()
    assert after.reward.tolist() == pytest.approx(8 * [0.1])


def test_a_fall_costs_one_and_terminates_with_the_fallen_ball_observed() -> None:
    for batch in play(random_policy(0), steps=200):
        fallen = batch.step_type == TERMINATED
        if fallen.any():
            break
    assert (batch.reward[fallen] == -1.0).all()
    place = batch.observation["position"][fallen]
    beside = np.abs(place[:, [0, 2]]).max(axis=1) > 3.0
    assert (beside | (place[:, 1] < -2.0)).all()


def test_the_next_episode_begins_in_the_message_of_the_end_in_order_of_agents() -> None:
    for batch in play(random_policy(0), steps=300, count=40):
        ended = batch.agent_id[batch.step_type >= TERMINATED]
        begun = batch.agent_id[batch.step_type == FIRST]
        if len(ended) > 1 and len(begun) < 40:
            assert ended.tolist() == begun.tolist()
            assert batch.agent_id[:40].tolist() == list(range(40))
            return
    pytest.fail("no two balls fell in one step")


def test_an_episode_is_truncated_after_a_thousand_steps_and_earns_a_hundred() -> None:
    batches = play(balance, steps=1000)
    assert (batches[999].step_type == MID).all()
    assert (batches[1000].step_type[:8] == TRUNCATED).all()
    assert (batches[1000].step_type[8:] == FIRST).all()
    assert returns_of(batches) == pytest.approx(8 * [100.0], rel=1e-5)


def test_random_play_earns_about_as_little_as_in_unity() -> None:
    returns = returns_of(play(random_policy(0), steps=400, count=100))
    assert len(returns) > 500
    assert 1.0 < np.mean(returns) < 4.0


def test_actions_reach_their_own_platforms_also_after_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(balance_ball, "MAX_STEPS", 2)
    environment = BalanceBall(count=3)
    environment.reset(seed=1, parameters={})
    environment._steps[1] = 1
    after = environment.step(tilt(np.zeros((3, 2))))["ball"]
    assert after.step_type.tolist() == [MID, TRUNCATED, MID, FIRST]
    before = environment._balls.tilt.copy()
    # Rows that need an action are those of agents 0, 2 and then 1.
    environment.step(tilt(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])))
    # 5 substeps of 0.02 s at 20 degrees a second: 2 degrees.
    two = np.deg2rad(2.0)
    turned = {agent: (environment._balls.tilt - before)[:, agent] for agent in range(3)}
    ended = environment._steps == 0
    expected = {0: [two, 0.0], 2: [-two, 0.0], 1: [0.0, two]}
    for agent in np.flatnonzero(~ended):
        np.testing.assert_allclose(turned[int(agent)], expected[int(agent)], atol=1e-9)
    assert not ended[1]


def test_actions_beyond_their_bounds_tilt_no_faster() -> None:
    def constant(value: float) -> Policy:
        return lambda timesteps: np.full((int(timesteps.needs_action.sum()), 2), value)

    one, huge = play(constant(1.0), steps=5), play(constant(50.0), steps=5)
    np.testing.assert_array_equal(one[-1].observation["rotation"], huge[-1].observation["rotation"])


def test_the_same_seed_and_actions_give_the_same_numbers() -> None:
    runs = [play(random_policy(3), steps=150, seed=9) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.step_type, other.step_type)
        for name, values in one.observation.items():
            np.testing.assert_array_equal(values, other.observation[name])


def test_another_seed_gives_other_numbers() -> None:
    (one,), (other,) = play(still, steps=0, seed=1), play(still, steps=0, seed=2)
    assert (one.observation["position"] != other.observation["position"]).any()


def test_a_reset_begins_the_same_run_again() -> None:
    environment = BalanceBall(count=4)
    first = environment.reset(seed=5, parameters={})["ball"]
    for _ in range(10):
        environment.step(tilt(np.ones((4, 2))))
    again = environment.reset(seed=5, parameters={})["ball"]
    np.testing.assert_array_equal(first.observation["position"], again.observation["position"])


def test_gravity_may_be_set() -> None:
    weightless = play(still, steps=5, parameters={"gravity": 1e-9})
    before, after = (weightless[step].observation["position"].astype(np.float64) for step in (0, 5))
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_a_larger_platform_keeps_a_ball_longer() -> None:
    def average(size: float) -> float:
        batches = play(random_policy(0), steps=200, count=50, parameters={"platform_size": size})
        return float(np.mean(returns_of(batches)))

    assert average(10.0) > 1.3 * average(5.0)


def test_changed_settings_hold_from_an_agents_next_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(balance_ball, "MAX_STEPS", 2)
    environment = BalanceBall(count=2)
    environment.reset(seed=1, parameters={})
    environment._steps[1] = 1
    environment.set_parameters({"ball_radius": 0.25})
    environment.step(tilt(np.zeros((2, 2))))
    assert environment._balls.radius.tolist() == [0.5, 0.25]


def test_parameters_of_other_tasks_are_passed_over() -> None:
    assert Settings.of({"wind": 3.0, "gravity": 2.0}) == Settings(gravity=2.0)


@pytest.mark.parametrize("name", ["gravity", "ball_radius", "platform_size", "drop_height"])
def test_a_setting_that_is_not_positive_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"parameter {name} is 0; it must be positive"):
        BalanceBall().reset(seed=1, parameters={name: 0.0})


def test_a_wrong_number_of_actions_is_refused() -> None:
    environment = BalanceBall(count=3)
    environment.reset(seed=1, parameters={})
    with pytest.raises(SpecError, match=r"given actions \[2, 2\]; expected \[3, 2\]"):
        environment.step(tilt(np.zeros((2, 2))))


def test_no_platforms_are_refused() -> None:
    with pytest.raises(OptionError, match="count is 0"):
        BalanceBall(count=0)
