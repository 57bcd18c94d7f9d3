"""Who takes part: joining, coming back, leaving, and what is counted."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entrain.errors import BadHelloError, ConfigError, LimitError, RefusedHelloError, SimulatorError
from entrain.serving.attendance import COUNTED
from entrain.serving.behaviours import Behaviour
from entrain_envs.spec import BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType
from support.world import reply_now

FIRST, MID = StepType.FIRST, StepType.MID
Make = Callable[..., Any]


def counted(world: Any) -> dict[str, int]:
    """What was counted, without zeros."""
    return {name: count for name, count in world.participants.counters.items() if count}


def test_joining_and_saying_goodbye_are_counted(world: Any) -> None:
    assert set(world.participants.counters) == set(COUNTED)
    simulator = world.join()
    assert (len(world.participants), world.participants.num_running) == (1, 1)
    simulator.goodbye("the game is over")
    assert (len(world.participants), world.participants.num_running) == (0, 0)
    assert counted(world) == {"sessions_joined": 1, "sessions_left": 1}


def test_a_session_that_ends_with_a_goodbye_is_told_as_no_loss(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = world.join()
    simulator.step(1, (1, FIRST), (2, FIRST))
    world.serve()
    with caplog.at_level(logging.INFO):
        simulator.goodbye("the trainer closed the session")
        simulator.stream.end()
        world.timers.pass_time(1000.0)
        world.participants.expire()
    (line,) = caplog.records
    assert line.levelno == logging.INFO
    assert line.getMessage() == (
        "walker-sim@10.0.0.7 left (the trainer closed the session), with 2 agents"
    )
    assert counted(world) == {"sessions_joined": 1, "sessions_left": 1}


def test_a_broken_stream_has_the_grace_time_to_come_back(make_world: Make) -> None:
    world = make_world(grace_s=30.0)
    simulator = world.join()
    simulator.stream.end()
    assert (len(world.participants), world.participants.num_running) == (1, 0)
    assert world.participants.next_deadline_s == world.timers.now_s + 30.0
    world.timers.now_s += 29.9
    world.participants.expire()
    assert len(world.participants) == 1
    world.timers.now_s += 0.1
    world.participants.expire()
    assert len(world.participants) == 0
    assert counted(world) == {"sessions_joined": 1, "sessions_lost": 1}
    assert world.participants.next_deadline_s == float("inf")


def test_while_a_run_is_held_nobody_is_released_and_the_grace_time_begins_anew(
    make_world: Make,
) -> None:
    world = make_world(grace_s=30.0)
    simulator = world.join()
    simulator.stream.end()
    world.participants.hold()
    assert world.participants.is_held
    world.timers.pass_time(1000.0)
    assert len(world.participants) == 1
    world.participants.go_on()
    assert world.participants.next_deadline_s == world.timers.now_s + 30.0
    world.timers.pass_time(29.0)
    assert len(world.participants) == 1
    world.timers.pass_time(1.0)
    assert len(world.participants) == 0


def test_who_joins_a_run_that_is_held_waits_until_it_goes_on(world: Any) -> None:
    world.participants.hold()
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    (behaviour,) = world.participants.behaviours
    assert world.participants.has_begun
    assert not behaviour.batcher.is_due
    world.participants.go_on()
    assert behaviour.batcher.is_due


def test_one_that_came_back_is_not_released(make_world: Make) -> None:
    world = make_world(grace_s=30.0)
    simulator = world.join()
    simulator.stream.end()
    again = world.dial()
    assert again.hello(resume=simulator.stream.session_id).resumed
    world.timers.now_s += 100.0
    world.participants.expire()
    assert world.participants.num_running == 1
    assert counted(world) == {"sessions_joined": 1, "sessions_resumed": 1}


def test_a_simulator_that_is_lost_costs_its_open_steps_and_says_so(
    make_world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world(grace_s=0.0)
    lost, other = world.join(), world.join("other")
    lost.step(1, (7, FIRST), (8, FIRST))
    other.step(1, (1, FIRST))
    world.serve()
    lost.stream.end()
    world.participants.expire()
    other.step(2, (1, MID))
    assert world.serve().released.tolist() == [0, 1]
    assert (
        "entrain.serving.attendance",
        logging.WARNING,
        "walker-sim@10.0.0.7 left without goodbye: 2 slots released, 2 open steps dropped",
    ) in caplog.record_tuples


def test_an_unknown_session_begins_anew(world: Any) -> None:
    welcome = world.dial().hello(resume="of a run long ago")
    assert not welcome.resumed
    assert counted(world) == {"sessions_joined": 1}


def test_a_session_of_another_process_is_not_taken_over(world: Any) -> None:
    simulator = world.join()
    thief = world.dial(instance_id="process-2")
    assert not thief.hello(resume=simulator.stream.session_id).resumed
    assert len(world.participants) == 2


def test_a_released_session_begins_anew_and_its_agents_too(make_world: Make) -> None:
    world = make_world(grace_s=0.0)
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    world.serve()
    simulator.stream.end()
    world.participants.expire()
    again = world.dial()
    assert not again.hello(resume=simulator.stream.session_id).resumed
    again.step(1, (7, FIRST))
    assert world.serve().released.tolist() == [0]


def test_a_half_open_stream_is_taken_over(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    again = world.dial()
    assert again.hello(resume=simulator.stream.session_id).resumed
    again.step(1, (7, FIRST))
    world.serve()
    assert again.acted_agents() == [(1, [7])]
    assert simulator.acts() == []
    assert (len(world.participants), world.participants.num_running) == (1, 1)


def test_a_session_is_not_resumed_without_behaviours_that_it_had(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    simulator = world.join(specs=(walker, bird))
    simulator.stream.end()
    again = world.dial(specs=(walker,))
    with pytest.raises(RefusedHelloError, match=r"resumes its session without behaviours"):
        again.hello(resume=simulator.stream.session_id)


def test_a_refused_hello_changes_nothing(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    world.join()
    other_walker = replace(walker, observations=(ObservationSpec("eyes", (3,)),))
    with pytest.raises(RefusedHelloError):
        world.dial("late", specs=(bird, other_walker)).hello()
    with pytest.raises(BadHelloError):
        world.dial("late", specs=(bird, replace(walker, name="fish"))).hello()
    assert [behaviour.name for behaviour in world.behaviours] == ["walker"]
    assert len(world.participants) == 1


def test_no_behaviour_and_a_behaviour_twice_are_refused(world: Any, walker: BehaviourSpec) -> None:
    with pytest.raises(BadHelloError, match=r"declares the behaviours \[\]; expected at least one"):
        world.dial(specs=()).hello()
    with pytest.raises(BadHelloError, match=r"\[walker, walker\]; .* each name once"):
        world.dial(specs=(walker, walker)).hello()
    assert len(world.participants) == 0


class Builder:
    """A run that can serve anything but birds, and counts what it was asked for."""

    def __init__(self) -> None:
        self.ready_for: list[str] = []

    def __call__(self, behaviours: Sequence[Behaviour]) -> None:
        if any(behaviour.name == "bird" for behaviour in behaviours):
            raise ConfigError("behaviour 'bird': it is too small")
        self.ready_for += [behaviour.name for behaviour in behaviours]


def refuse(simulator: Any) -> str:
    """Its Hello is refused, as a stream would do it; the words."""
    with pytest.raises(SimulatorError) as refusal:
        simulator.hello()
    simulator.stream.refuse(refusal.value)
    return str(refusal.value)


def test_a_simulator_that_the_run_cannot_serve_is_refused_and_others_go_on(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    build = Builder()
    world = make_world(on_new=build)
    sound = world.join("sound")
    words = refuse(world.dial("late", specs=(walker, bird)))
    assert words == ("late@10.0.0.7 cannot be given a policy: behaviour 'bird': it is too small")
    assert [behaviour.name for behaviour in world.behaviours] == build.ready_for == ["walker"]
    assert counted(world) == {"sessions_joined": 1, "sessions_refused": 1}
    sound.step(1, (7, FIRST))
    assert len(world.serve().slot) == 1


def test_the_run_gets_ready_for_nobody_who_is_refused_anyway(
    make_world: Make, walker: BehaviourSpec
) -> None:
    fish = (replace(walker, name="fish"),)
    for options, name in (({"max_sessions": 1}, "right"), ({"lockstep": True}, "left")):
        build = Builder()
        world = make_world(on_new=build, accepts=lambda _: True, **options)
        world.join("left")
        refuse(world.dial(name, instance_id="process-2", specs=fish))
        assert build.ready_for == ["walker"]


def test_who_cannot_be_served_takes_nobodys_place(make_world: Make, bird: BehaviourSpec) -> None:
    world = make_world(on_new=Builder(), lockstep=True)
    world.join("left").stream.end()
    refuse(world.dial("left", instance_id="process-2", specs=(bird,)))
    assert len(world.participants) == 1


class TestRefusals:
    def test_are_kept_by_name_until_the_simulator_joins(
        self, make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
    ) -> None:
        world = make_world(on_new=Builder())
        words = {name: refuse(world.dial(name, specs=(bird,))) for name in ("left", "right")}
        assert world.participants.refusals == words
        refuse(world.dial("left", specs=(bird,)))
        assert list(world.participants.refusals) == ["right", "left"]
        world.join("left", specs=(walker,))
        assert list(world.participants.refusals) == ["right"]

    def test_are_not_kept_where_the_next_hello_may_fare_better(self, make_world: Make) -> None:
        world = make_world(max_sessions=1)
        world.join("left")
        refuse(world.dial("right"))
        assert world.participants.refusals == {}

    def test_are_none_of_a_simulator_whose_name_another_one_gives(
        self, make_world: Make, bird: BehaviourSpec
    ) -> None:
        world = make_world(on_new=Builder())
        world.join("left")
        refuse(world.dial("left", instance_id="process-2", specs=(bird,)))
        assert world.participants.refusals == {}

    def test_are_the_newest_ones_if_there_are_more_names_than_sessions_allowed(
        self, make_world: Make, bird: BehaviourSpec
    ) -> None:
        world = make_world(on_new=Builder(), max_sessions=2)
        for name in ("first", "second", "third"):
            refuse(world.dial(name, specs=(bird,)))
        assert list(world.participants.refusals) == ["second", "third"]


def test_too_many_simulators_are_refused(make_world: Make) -> None:
    world = make_world(max_sessions=1)
    world.join()
    with pytest.raises(
        LimitError, match=r"late@10.0.0.7 would be simulator 2, and this trainer allows 1; raise "
    ):
        world.dial("late").hello()


def test_too_many_announced_agents_are_refused(make_world: Make) -> None:
    world = make_world(max_agents=100)
    world.dial("fits").hello(max_agents=100)
    with pytest.raises(
        LimitError, match=r"announces up to 101 agents, and this trainer allows 100"
    ):
        world.dial("large").hello(max_agents=101)


def test_nothing_is_served_until_the_expected_simulators_joined(make_world: Make) -> None:
    world = make_world(expect=2)
    left = world.join("left")
    left.step(1, (1, FIRST))
    assert not world.is_due()
    right = world.join("right")
    right.step(1, (1, FIRST))
    assert len(world.serve().slot) == 2
    right.goodbye()
    left.step(2, (1, MID))
    assert world.is_due()


def test_expected_simulators_must_be_there_together(make_world: Make) -> None:
    world = make_world(expect=2)
    world.join("left").goodbye()
    right = world.join("right")
    right.step(1, (1, FIRST))
    assert not world.is_due()


class TestLockstep:
    def test_a_second_simulator_of_a_name_is_refused(self, make_world: Make) -> None:
        world = make_world(lockstep=True)
        world.join("left")
        with pytest.raises(
            RefusedHelloError, match=r"has the name of left@10.0.0.7, .* a name of its own"
        ):
            world.dial("left", instance_id="process-2").hello()

    def test_a_new_process_replaces_one_of_its_name_whose_stream_broke(
        self, make_world: Make
    ) -> None:
        world = make_world(lockstep=True)
        world.join("left").stream.end()
        world.join("left", instance_id="process-2")
        assert len(world.participants) == 1
        assert counted(world) == {"sessions_joined": 2, "sessions_lost": 1}

    def test_greedy_allows_a_name_many_times(self, world: Any) -> None:
        world.join("left")
        world.join("left")
        assert len(world.participants) == 2

    def test_the_seed_of_a_simulator_is_that_of_its_name(self, make_world: Make) -> None:
        def seeds(*names: str) -> dict[str, int]:
            world = make_world(lockstep=True)
            return {name: world.dial(name).hello().seed for name in names}

        assert seeds("left", "right") == seeds("right", "left")
        assert len(set(seeds("left", "right").values())) == 2

    def test_rows_and_slots_do_not_depend_on_who_was_faster(self, make_world: Make) -> None:
        def slots(*names: str) -> list[list[int]]:
            world = make_world(lockstep=True, expect=2)
            simulators = [world.join(name) for name in names]
            batches = []
            for sequence, kind in ((1, FIRST), (2, MID)):
                for simulator in simulators:
                    agent = {"left": 10, "right": 20}[simulator.name]
                    simulator.step(sequence, (agent, kind), (agent + 1, kind))
                batch = world.serve()
                batches.append(batch.slot.tolist() + batch.timesteps.agent_id.tolist())
                simulators.reverse()
            return batches

        assert slots("left", "right") == slots("right", "left")
        assert slots("left", "right")[0] == [0, 1, 2, 3, 10, 11, 20, 21]


def test_simulators_of_one_name_have_seeds_of_their_own_and_the_same_in_every_run(
    make_world: Make,
) -> None:
    def seeds() -> list[int]:
        world = make_world()
        return [world.dial("left").hello().seed for _ in range(3)]

    assert seeds() == seeds()
    assert len(set(seeds())) == 3


def test_a_resumed_simulator_keeps_its_seed(world: Any) -> None:
    first = world.dial()
    seed = first.hello().seed
    first.stream.end()
    assert world.dial().hello(resume=first.stream.session_id).seed == seed


class TestRestoredParticipants:
    def test_waits_for_its_sessions_and_releases_those_that_stay_away(
        self, world: Any, make_world: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        left, right = world.join("left"), world.join("right")
        for simulator in (left, right):
            simulator.step(1, (1, FIRST))
        world.serve()
        after = make_world(grace_s=30.0)
        after.load_state(world.state())
        assert (len(after.participants), after.participants.num_running) == (2, 0)
        after.timers.now_s += 29.0
        again = after.dial("left")
        assert again.hello(resume=left.stream.session_id).resumed
        after.timers.now_s += 1.0
        after.participants.expire()
        again.step(2, (1, MID))
        assert after.serve().released.tolist() == [1]
        assert counted(after) == {
            "sessions_joined": 2,
            "sessions_resumed": 1,
            "sessions_lost": 1,
        }
        # Nothing unusual has happened: every stop costs what was under way.
        assert (
            "entrain.serving.attendance",
            logging.INFO,
            "right@10.0.0.7: 1 of its steps were under way at the checkpoint that the run goes on "
            "from; they are dropped, as always",
        ) in caplog.record_tuples
        # Of one that came back, it would be unusual.
        again.stream.end()
        after.timers.now_s += 30.0
        after.participants.expire()
        assert caplog.records[-1].levelno == logging.WARNING

    def test_has_the_grace_time_from_when_the_trainer_listens(
        self, world: Any, make_world: Make
    ) -> None:
        world.join()
        after = make_world(grace_s=30.0)
        after.load_state(world.state())
        after.timers.now_s += 100.0
        after.participants.renew_deadlines()
        after.participants.expire()
        assert len(after.participants) == 1

    def test_in_lockstep_waits_for_all_its_sessions(self, make_world: Make) -> None:
        world = make_world(lockstep=True, expect=2)
        left, right = world.join("left"), world.join("right")
        left.step(1, (1, FIRST))
        right.step(1, (1, FIRST))
        world.serve()
        after = make_world(lockstep=True, expect=2)
        after.load_state(world.state())
        again = after.dial("right")
        again.hello(resume=right.stream.session_id)
        again.step(2, (1, MID))
        assert not after.is_due()
        other = after.dial("left")
        other.hello(resume=left.stream.session_id)
        other.step(2, (1, MID))
        assert after.serve().slot.tolist() == [0, 1]

    def test_gives_newcomers_the_seeds_that_the_first_run_would_have_given(
        self, world: Any, make_world: Make
    ) -> None:
        world.join()
        after = make_world()
        after.load_state(world.state())
        expected = world.dial().hello().seed
        assert after.dial().hello().seed == expected

    def test_pays_a_batch_that_was_out_although_a_simulator_of_it_has_left(
        self, world: Any, make_world: Make
    ) -> None:
        left, right = world.join("left"), world.join("right")
        left.step(1, (1, FIRST))
        right.step(1, (2, FIRST))
        batch = world.take()
        left.goodbye()
        after = make_world()
        after.load_state(world.state())
        again = after.dial("right")
        again.hello(resume=right.stream.session_id)
        again.step(1, (2, FIRST))
        unanswered = after.behaviour().batcher.unanswered
        assert unanswered.num_actions == batch.num_actions == 2

        reply_now(
            unanswered,
            ActionBatch(np.array([[1.0], [2.0]], np.float32), np.empty((2, 0), np.int32), 0),
        )
        assert again.acted_agents() == [(1, [2])]


def test_joining_is_told_in_whole_facts(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world(expect=2)
    world.dial("left", specs=(walker, bird)).hello(max_agents=64)
    world.dial("right").hello()
    assert [record.getMessage() for record in caplog.records] == [
        "left@10.0.0.7 joined: up to 64 agents of 'walker', 'bird' "
        "(waiting for 1 more of 2 simulators)",
        "right@10.0.0.7 joined: agents of 'walker'",
    ]
