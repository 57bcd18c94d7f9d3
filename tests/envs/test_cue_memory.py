"""The cue memory task: what is seen when, rewards, seeds, settings; remembering solves it."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.simulators.cue_memory import CueMemory, Settings
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, TRUNCATED = StepType
ENTRANCE, CORRIDOR, DOORS = 0, 1, 2
Policy = Callable[[TimestepBatch], npt.NDArray[np.int64]]


def doors(chosen: npt.NDArray[np.int64]) -> dict[str, ActionBatch]:
    rows = len(chosen)
    discrete = chosen.astype(np.int32)[:, None]
    return {"walker": ActionBatch(np.zeros((rows, 0), np.float32), discrete, 0)}


def always(door: int) -> Policy:
    return lambda timesteps: np.full(int(timesteps.needs_action.sum()), door)


def remembering(count: int) -> Policy:
    """Takes the door that the sign at the entrance named."""
    cue = np.zeros(count, np.int64)

    def choose(timesteps: TimestepBatch) -> npt.NDArray[np.int64]:
        begun = timesteps.step_type == FIRST
        cue[timesteps.agent_id[begun]] = timesteps.observation["sign"][begun].argmax(axis=1)
        return cue[timesteps.agent_id[timesteps.needs_action]]

    return choose


def last_sign(count: int) -> Policy:
    """Takes the door that the last sign before it named."""
    sign = np.zeros(count, np.int64)

    def choose(timesteps: TimestepBatch) -> npt.NDArray[np.int64]:
        acting = timesteps.needs_action
        seen = timesteps.observation["sign"][acting]
        agents = timesteps.agent_id[acting]
        sign[agents] = np.where(seen.any(axis=1), seen.argmax(axis=1), sign[agents])
        return sign[agents]

    return choose


def play(
    policy: Policy,
    *,
    steps: int,
    count: int = 8,
    cues: int = 4,
    seed: int = 1,
    parameters: Mapping[str, float] | None = None,
) -> list[TimestepBatch]:
    environment = CueMemory(count=count, cues=cues)
    batches = [environment.reset(seed=seed, parameters=parameters or {})["walker"]]
    for _ in range(steps):
        batches.append(environment.step(doors(policy(batches[-1])))["walker"])
    return batches


def place(batch: TimestepBatch) -> list[int]:
    """Of each row."""
    places: list[int] = batch.observation["place"].argmax(axis=1).tolist()
    return places


def shares(batches: list[TimestepBatch]) -> tuple[float, int]:
    """How often the door was right, of how many."""
    reward = np.concatenate([batch.reward[batch.step_type == TERMINATED] for batch in batches])
    return float(reward.mean()), len(reward)


def lengths(batches: list[TimestepBatch]) -> list[int]:
    """Steps of the episodes that ended."""
    age: dict[int, int] = {}
    ended = []
    for batch in batches:
        for agent, step_type in zip(batch.agent_id, batch.step_type, strict=True):
            age[agent] = 0 if step_type == FIRST else age[agent] + 1
            if step_type == TERMINATED:
                ended.append(age[agent])
    return ended


def test_every_batch_fits_the_spec() -> None:
    (spec,) = CueMemory().behaviours
    for batch in play(always(0), steps=60):
        batch.check(spec)


def test_a_sign_and_a_place_are_observed_and_one_door_chosen() -> None:
    (spec,) = CueMemory(cues=3).behaviours
    assert str(spec) == (
        "'walker' observes (sign: float32[3], place: float32[3]), acts with branches [3]"
    )


def test_a_corridor_of_two_steps_is_entrance_corridor_corridor_doors() -> None:
    batches = play(always(0), steps=4, count=1, parameters={"shortest": 2, "longest": 2})
    assert [place(batch) for batch in batches[:4]] == [[ENTRANCE], [CORRIDOR], [CORRIDOR], [DOORS]]
    assert [batch.step_type.tolist() for batch in batches[:4]] == [[FIRST], [MID], [MID], [MID]]
    # The choice at the doors ends the episode; the next one's entrance is in the same message.
    assert batches[4].step_type.tolist() == [TERMINATED, FIRST]
    assert place(batches[4]) == [DOORS, ENTRANCE]


def test_without_a_corridor_the_doors_follow_the_entrance() -> None:
    batches = play(always(0), steps=2, count=1, parameters={"shortest": 0, "longest": 0})
    assert [place(batch) for batch in batches] == [[ENTRANCE], [DOORS], [DOORS, ENTRANCE]]


def test_whoever_remembers_the_first_sign_is_always_right() -> None:
    share, episodes = shares(play(remembering(50), steps=100, count=50))
    assert episodes > 400
    assert share == 1.0


@pytest.mark.parametrize("cues", [2, 4, 5])
def test_whoever_does_not_is_right_as_often_as_by_guessing(cues: int) -> None:
    for policy in (always(1), last_sign(500)):
        share, episodes = shares(play(policy, steps=100, count=500, cues=cues))
        # Three standard deviations of a share of some 5,000 guesses.
        assert episodes > 4000
        assert share == pytest.approx(1.0 / cues, abs=3.0 * 0.5 / 4000**0.5)


def test_a_row_other_than_the_first_tells_nothing_of_the_first_sign() -> None:
    count, cue = 400, np.zeros(400, np.int64)
    seen = np.zeros((4, 4))
    for batch in play(always(0), steps=60, count=count):
        # Outcomes come before the next episodes' entrances, and belong to the cues so far.
        later = batch.step_type == MID
        sign = batch.observation["sign"][later]
        np.add.at(seen, cue[batch.agent_id[later]], sign)
        assert not batch.observation["sign"][np.array(place(batch)) == DOORS].any()
        begun = batch.step_type == FIRST
        cue[batch.agent_id[begun]] = batch.observation["sign"][begun].argmax(axis=1)
    # Each sign is as frequent after each cue: a quarter of over a thousand.
    assert (seen.sum(axis=1) > 1000).all()
    np.testing.assert_allclose(seen / seen.sum(axis=1, keepdims=True), 0.25, atol=0.05)


def test_doors_before_the_end_of_the_corridor_have_no_effect() -> None:
    for batch in play(remembering(8), steps=40):
        assert not batch.reward[batch.step_type == MID].any()


def test_corridors_are_of_every_length_allowed_and_no_other() -> None:
    # Entrance, 3 to 6 steps of corridor, and the doors: 5 to 8 actions.
    played = play(always(0), steps=100, count=50, parameters={"shortest": 3, "longest": 6})
    assert set(lengths(played)) == {5, 6, 7, 8}


def test_distraction_is_the_share_of_corridor_steps_with_a_sign() -> None:
    def share(distraction: float) -> float:
        signs = [
            batch.observation["sign"][np.array(place(batch)) == CORRIDOR].sum(axis=1)
            for batch in play(
                always(0), steps=50, count=100, parameters={"distraction": distraction}
            )
        ]
        return float(np.concatenate(signs).mean())

    assert share(0.0) == 0.0
    assert share(1.0) == 1.0
    assert share(0.25) == pytest.approx(0.25, abs=0.03)


def test_actions_reach_their_own_corridors_also_after_an_end() -> None:
    environment = CueMemory(count=3, cues=2)
    environment.reset(seed=1, parameters={"shortest": 1, "longest": 1})
    environment._to_doors[:] = [2, 0, 1]
    environment._cue[:] = [1, 1, 1]
    after = environment.step(doors(np.array([0, 1, 0])))["walker"]
    assert after.step_type.tolist() == [MID, TERMINATED, MID, FIRST]
    assert after.reward.tolist() == [0.0, 1.0, 0.0, 0.0]
    # Rows that need an action are those of agents 0, 2 and then 1. Agent 2 is at the doors.
    after = environment.step(doors(np.array([0, 1, 0])))["walker"]
    assert after.agent_id.tolist() == [0, 1, 2, 2]
    assert after.step_type.tolist() == [MID, MID, TERMINATED, FIRST]
    assert after.reward.tolist() == [0.0, 0.0, 1.0, 0.0]


def test_the_same_seed_and_actions_give_the_same_numbers() -> None:
    runs = [play(last_sign(8), steps=80, seed=9) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.step_type, other.step_type)
        np.testing.assert_array_equal(one.reward, other.reward)
        for name, values in one.observation.items():
            np.testing.assert_array_equal(values, other.observation[name])


def test_another_seed_gives_other_numbers() -> None:
    (one,), (other,) = (play(always(0), steps=0, count=50, seed=seed) for seed in (1, 2))
    assert (one.observation["sign"] != other.observation["sign"]).any()


def test_changed_settings_hold_from_an_agents_next_episode() -> None:
    environment = CueMemory(count=1)
    environment.reset(seed=1, parameters={"shortest": 2, "longest": 2})
    environment.set_parameters({"shortest": 0, "longest": 0})
    step_types = [
        environment.step(doors(np.zeros(1, np.int64)))["walker"].step_type.tolist()
        for _ in range(6)
    ]
    ended = [TERMINATED, FIRST]
    assert step_types == [[MID], [MID], [MID], ended, [MID], ended]


def test_a_changed_distraction_spares_corridors_that_agents_are_in() -> None:
    environment = CueMemory(count=2)
    environment.reset(seed=1, parameters={"shortest": 9, "longest": 9, "distraction": 1.0})
    environment._to_doors[1] = 0
    environment.set_parameters({"shortest": 9, "longest": 9, "distraction": 0.0})
    for _ in range(3):
        batch = environment.step(doors(np.zeros(2, np.int64)))["walker"]
    assert batch.observation["sign"].sum(axis=1).tolist() == [1.0, 0.0]


def test_parameters_of_other_tasks_are_passed_over() -> None:
    assert Settings.of({"wind": 3.0, "shortest": 2.0}) == Settings(shortest=2)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"shortest": 5, "longest": 4}, "shortest and longest are 5 and 4; they must be in order"),
        ({"shortest": -1}, "are -1 and 12"),
        ({"longest": 4.5}, "longest is 4.5; it must be a whole number"),
        ({"longest": float("inf")}, "longest is inf; it must be a whole number"),
        ({"distraction": 1.5}, "distraction is 1.5; it must be between 0 and 1"),
        ({"distraction": float("nan")}, "distraction is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    parameters: Mapping[str, float], complaint: str
) -> None:
    with pytest.raises(OptionError, match=complaint):
        CueMemory().reset(seed=1, parameters=parameters)


def test_a_wrong_number_of_actions_is_refused() -> None:
    environment = CueMemory(count=3)
    environment.reset(seed=1, parameters={})
    with pytest.raises(SpecError, match=r"given actions \[2, 1\]; expected \[3, 1\]"):
        environment.step(doors(np.zeros(2, np.int64)))


def test_no_corridors_are_refused() -> None:
    with pytest.raises(OptionError, match="count is 0"):
        CueMemory(count=0)


def test_a_single_door_is_refused() -> None:
    with pytest.raises(OptionError, match="cues is 1"):
        CueMemory(cues=1)
