"""What is sent of a world that did not wait: outcomes that come late, and kinds that come later."""

from collections import deque
from collections.abc import Mapping, Sequence

from entrain_envs.real_time import RealTime
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID = StepType.FIRST, StepType.MID


def kind_of(name: str, low: float) -> BehaviourSpec:
    return BehaviourSpec(
        name,
        (ObservationSpec("seen", ()),),
        ActionSpec(low=(low,), high=(3.0,)),
        deadline_ms=50,
        fallback="neutral",
    )


BUG, FLY = kind_of("bug", 1.0), kind_of("fly", 2.0)


def rows_of(spec: BehaviourSpec, *rows: tuple[int, StepType, float]) -> TimestepBatch:
    agents, kinds, rewards = ([row[i] for row in rows] for i in range(3))
    return TimestepBatch.of(
        spec, agent_id=agents, step_type=kinds, reward=rewards, observation={"seen": rewards}
    )


class Told:
    """An environment that answers each step by the next of these rows."""

    def __init__(self, *steps: Mapping[str, TimestepBatch]) -> None:
        self.behaviours: Sequence[BehaviourSpec] = [BUG]
        self.acted: list[Mapping[str, ActionBatch]] = []
        self._steps = deque(steps)

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self.acted.append(actions)
        return self._steps.popleft()


def test_an_agent_that_acted_late_is_sent_with_the_step_that_brings_its_outcome() -> None:
    """Agent 1 has no row yet when the late actions are here; agent 2's are in time again."""
    begins = {"bug": rows_of(BUG, (1, FIRST, 0.0), (2, FIRST, 0.0))}
    world = Told(
        {"bug": rows_of(BUG, (1, MID, 1.0), (2, MID, 1.0))},
        {"bug": rows_of(BUG, (2, MID, 2.0))},
        {"bug": rows_of(BUG, (1, MID, 4.0), (2, MID, 5.0))},
    )
    real_time = RealTime(world, [BUG], begins)
    real_time.fall_back()
    real_time.fall_back()
    taken = real_time.take()["bug"]
    assert (taken.agent_id.tolist(), taken.reward.tolist()) == ([2], [3.0])
    assert taken.late is not None
    assert taken.late.all()
    rest = real_time.step({})["bug"]
    assert (rest.agent_id.tolist(), rest.reward.tolist()) == ([1, 2], [5.0, 5.0])
    assert rest.late is not None
    assert rest.late.tolist() == [True, False]


def test_an_agent_that_was_not_asked_for_acted_in_time() -> None:
    """Agent 2 acts by the answer to an earlier Step; the late one is for agent 1 alone."""
    world = Told(
        {"bug": rows_of(BUG, (1, MID, 1.0))},
        {"bug": rows_of(BUG, (1, MID, 2.0), (2, MID, 7.0))},
        {"bug": rows_of(BUG, (1, MID, 3.0), (2, MID, 8.0))},
        {"bug": rows_of(BUG, (1, MID, 4.0), (2, MID, 9.0))},
    )
    real_time = RealTime(world, [BUG], {"bug": rows_of(BUG, (1, FIRST, 0.0), (2, FIRST, 0.0))})
    assert real_time.step({})["bug"].agent_id.tolist() == [1]
    real_time.fall_back()
    real_time.fall_back()
    taken = real_time.take()["bug"]
    assert (taken.agent_id.tolist(), taken.reward.tolist()) == ([1, 2], [5.0, 15.0])
    assert taken.late is not None
    assert taken.late.tolist() == [True, False]
    real_time.fall_back()
    both = real_time.take()["bug"].late
    assert both is not None
    assert both.tolist() == [True, True], "this time both were asked for"


def test_a_kind_that_came_later_falls_back_by_its_own_spec() -> None:
    world = Told(
        {"bug": rows_of(BUG, (1, MID, 1.0)), "fly": rows_of(FLY, (7, FIRST, 0.0))},
        {"bug": rows_of(BUG, (1, MID, 1.0)), "fly": rows_of(FLY, (7, MID, 1.0))},
    )
    real_time = RealTime(world, [BUG], {"bug": rows_of(BUG, (1, FIRST, 0.0))})
    real_time.fall_back()
    world.behaviours = [BUG, FLY]
    real_time.fall_back()
    assert set(world.acted[1]) == {"bug", "fly"}
    assert world.acted[1]["fly"].continuous.tolist() == [[2.0]], "the nearest to zero"
    assert set(real_time.take()) == {"bug", "fly"}


def test_a_kind_whose_agents_sleep_keeps_what_is_late_until_they_wake() -> None:
    """The fly has acted late and then sleeps: no step in between has a row of its kind."""
    world = Told(
        {"bug": rows_of(BUG, (1, MID, 1.0)), "fly": rows_of(FLY, (7, MID, 1.0))},
        {"bug": rows_of(BUG, (1, MID, 1.0)), "fly": rows_of(FLY, (8, MID, 1.0))},
        {"bug": rows_of(BUG, (1, MID, 4.0))},
        {"bug": rows_of(BUG, (1, MID, 4.0)), "fly": rows_of(FLY, (7, MID, 2.0))},
    )
    world.behaviours = [BUG, FLY]
    begins = {
        "bug": rows_of(BUG, (1, FIRST, 0.0)),
        "fly": rows_of(FLY, (7, FIRST, 0.0), (8, FIRST, 0.0)),
    }
    real_time = RealTime(world, [BUG, FLY], begins)
    real_time.fall_back()
    real_time.fall_back()
    assert real_time.take()["fly"].agent_id.tolist() == [8]
    assert len(real_time.step({})["fly"]) == 0
    woken = real_time.step({})["fly"]
    assert (woken.agent_id.tolist(), woken.reward.tolist()) == ([7], [3.0])
    assert woken.late is not None
    assert woken.late.all()
