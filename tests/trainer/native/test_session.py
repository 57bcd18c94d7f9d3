"""One simulator's Steps and Acts: sequence numbers, parts, resume, and what a checkpoint keeps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entrain.config.environment_parameters import UniformSampler
from entrain.errors import BadStepError, LimitError, UnexpectedMessageError
from entrain.native.session import Session
from entrain.serving.member import Presence
from entrain.serving.parameters import drawn
from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType
from entrain_envs.wire import trainer_pb2 as pb
from support.world import WALKER, reply_now

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Make = Callable[..., Any]


def participant_of(world: Any) -> Any:
    (participant,) = world.participants
    return participant


def actions(*numbers: float) -> ActionBatch:
    return ActionBatch(
        np.array(numbers, np.float32)[:, None], np.empty((len(numbers), 0), np.int32), 0
    )


def break_stream(simulator: Any) -> None:
    simulator.stream.end()


def come_back(world: Any, simulator: Any) -> Any:
    """The same process on a new stream, with its session resumed."""
    session_id = simulator.stream.session_id
    again = world.dial(simulator.name, instance_id=simulator.instance_id, specs=simulator.specs)
    assert again.hello(resume=session_id).resumed
    return again


def test_a_step_is_answered_with_the_actions_of_its_rows(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST), (8, FIRST))
    world.serve(version=5)
    (act,) = simulator.acts()
    assert act.sequence == 1
    (part,) = act.behaviours
    assert part.behaviour == "walker"
    assert part.policy_version == 5
    assert np.frombuffer(part.continuous, np.float32).tolist() == [7.0, 8.0]


def test_rows_that_end_an_episode_get_no_action(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST), (8, FIRST))
    world.serve()
    simulator.step(2, (7, TERMINATED), (8, TRUNCATED), (8, FIRST))
    world.serve()
    assert simulator.acted_agents() == [(1, [7, 8]), (2, [8])]


@pytest.mark.parametrize("sequence", [0, 2, 3, 2**63])
def test_a_session_begins_with_step_one(world: Any, sequence: int) -> None:
    with pytest.raises(
        UnexpectedMessageError,
        match=rf"walker-sim@10.0.0.7 sent Step {sequence}, expected Step 1; number Steps 1, 2, 3",
    ):
        world.join().step(sequence, (7, FIRST))


def test_a_second_step_before_the_act_is_refused(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    with pytest.raises(UnexpectedMessageError, match=r"sent Step 2 while Step 1 has no Act yet"):
        simulator.step(2, (7, MID))


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_step_sent_twice_on_one_stream_is_refused(world: Any, is_answered: bool) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    if is_answered:
        world.serve()
    with pytest.raises(UnexpectedMessageError, match=r"sent Step 1"):
        simulator.step(1, (7, FIRST))


def test_a_behaviour_that_hello_did_not_declare_is_refused(world: Any) -> None:
    with pytest.raises(
        BadStepError, match=r"rows of behaviour 'bird', unknown from its Hello \(which has: walker"
    ):
        world.join().step(1, bird=[(7, FIRST)])


def test_a_behaviour_that_stands_twice_in_a_step_is_refused(
    world: Any, walker: BehaviourSpec, rows: Make
) -> None:
    part = codec.encode_timesteps(walker, rows((7, FIRST)))
    with pytest.raises(BadStepError, match=r"sent behaviour 'walker' twice in Step 1"):
        world.join().send(step=pb.Step(sequence=1, behaviours=[part, part]))


def test_a_step_that_does_not_fit_the_spec_is_refused_with_simulator_and_field(
    world: Any, walker: BehaviourSpec, rows: Make
) -> None:
    part = codec.encode_timesteps(walker, rows((7, FIRST)))
    part.observations[0] = part.observations[0][:4]
    with pytest.raises(
        BadStepError,
        match=r"walker-sim@10.0.0.7: behaviour 'walker', observation 'eyes' has 4 bytes; expec",
    ):
        world.join().send(step=pb.Step(sequence=1, behaviours=[part]))


def test_a_reward_that_is_far_too_large_is_refused_with_simulator_agent_and_option(
    world: Any, walker: BehaviourSpec, rows: Make
) -> None:
    part = codec.encode_timesteps(walker, rows((7, FIRST), (8, FIRST)))
    part.reward = np.array([0, 1e20], np.float32).tobytes()
    with pytest.raises(
        BadStepError,
        match=r"walker-sim@10.0.0.7: .*'walker', reward, row 1 \(agent 8\) .* server.max_reward",
    ):
        world.join().send(step=pb.Step(sequence=1, behaviours=[part]))


def test_nan_is_refused_with_simulator_field_and_row(
    world: Any, walker: BehaviourSpec, rows: Make
) -> None:
    part = codec.encode_timesteps(walker, rows((7, FIRST), (8, FIRST)))
    part.observations[0] = np.array([0, 0, np.nan, 0], np.float32).tobytes()
    with pytest.raises(
        BadStepError,
        match=r"walker-sim@10.0.0.7: .*'walker', observation 'eyes', row 1 \(agent 8\) holds nan",
    ):
        world.join().send(step=pb.Step(sequence=1, behaviours=[part]))


def test_rows_out_of_order_are_refused_with_simulator_behaviour_and_row(world: Any) -> None:
    with pytest.raises(
        BadStepError, match=r"walker-sim@10.0.0.7: behaviour 'walker', row 1: agent 8 sent MID, but"
    ):
        world.join().step(1, (7, FIRST), (8, MID))


def test_a_step_without_rows_is_answered_at_once(world: Any) -> None:
    simulator = world.join()
    simulator.step(1)
    (act,) = simulator.acts()
    assert (act.sequence, list(act.behaviours)) == (1, [])
    simulator.step(2, walker=[])
    assert [act.sequence for act in simulator.acts()] == [2]
    assert not world.is_due()


def test_the_act_goes_out_when_the_last_behaviour_is_answered(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    simulator = world.join(specs=(walker, bird))
    simulator.step(1, bird=[(4, FIRST)], walker=[(7, FIRST)])
    world.serve("walker")
    assert simulator.acts() == []
    world.serve("bird")
    (act,) = simulator.acts()
    assert [part.behaviour for part in act.behaviours] == ["bird", "walker"]
    assert np.frombuffer(act.behaviours[0].discrete, np.int32).tolist() == [1, 0]


def test_greedy_asks_only_behaviours_with_rows(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    simulator = world.join(specs=(walker, bird))
    simulator.step(1, (7, FIRST))
    world.serve("walker")
    assert simulator.acted_agents() == [(1, [7])]
    assert not world.is_due("bird")


def test_lockstep_asks_every_behaviour_and_answers_only_those_with_rows(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    world = make_world(lockstep=True, expect=2)
    left = world.join("left", specs=(walker, bird))
    right = world.join("right", specs=(walker, bird))
    left.step(1, (7, FIRST))
    assert not world.is_due("walker")
    right.step(1, bird=[(4, FIRST)])
    assert world.serve("walker").timesteps.agent_id.tolist() == [7]
    assert left.acts() == []
    assert world.serve("bird").timesteps.agent_id.tolist() == [4]
    assert [part.behaviour for act in left.acts() for part in act.behaviours] == ["walker"]
    assert [part.behaviour for act in right.acts() for part in act.behaviours] == ["bird"]


def test_lockstep_serves_on_when_no_simulator_has_rows_of_a_behaviour(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    world = make_world(lockstep=True)
    simulator = world.join(specs=(walker, bird))
    simulator.step(1, (7, FIRST))
    world.serve("walker")
    assert simulator.acted_agents() == [(1, [7])]


class TestABrokenStream:
    def test_an_act_that_was_lost_is_sent_again_and_counted_once(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        break_stream(simulator)
        again = come_back(world, simulator)
        again.step(1, (7, FIRST))
        assert again.acted_agents() == [(1, [7])]
        assert not world.is_due()
        again.step(2, (7, MID, 1.0))
        assert world.serve().timesteps.reward.tolist() == [1.0]

    def test_a_step_that_was_never_received_is_processed(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        break_stream(simulator)
        again = come_back(world, simulator)
        again.step(2, (7, MID))
        assert world.serve().slot.tolist() == [0]
        assert again.acted_agents() == [(2, [7])]

    def test_a_step_that_still_waits_is_attached_to(self, world: Any) -> None:
        simulator, other = world.join(), world.join("other")
        simulator.step(1, (7, FIRST))
        break_stream(simulator)
        again = come_back(world, simulator)
        again.step(1, (7, FIRST))
        other.step(1, (1, FIRST))
        assert world.serve().timesteps.agent_id.tolist() == [7, 1]
        assert again.acted_agents() == [(1, [7])]
        assert simulator.acts() == []

    def test_a_step_answered_while_nobody_listened_is_answered_again(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        break_stream(simulator)
        world.serve()
        assert simulator.acts() == []
        again = come_back(world, simulator)
        again.step(1, (7, FIRST))
        assert again.acted_agents() == [(1, [7])]

    def test_an_act_is_not_sent_twice_to_one_that_has_not_asked_again_yet(self, world: Any) -> None:
        simulator, other = world.join(), world.join("other")
        simulator.step(1, (7, FIRST))
        break_stream(simulator)
        again = come_back(world, simulator)
        other.step(1, (1, FIRST))
        world.serve()
        assert again.acts() == []
        again.step(1, (7, FIRST))
        assert again.acted_agents() == [(1, [7])]

    def test_only_the_first_step_of_a_stream_may_repeat(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        break_stream(simulator)
        again = come_back(world, simulator)
        again.step(1, (7, FIRST))
        with pytest.raises(UnexpectedMessageError, match=r"sent Step 1, expected Step 2"):
            again.step(1, (7, FIRST))

    @pytest.mark.parametrize("sequence", [1, 4])
    def test_a_step_that_is_too_old_or_too_new_is_refused(self, world: Any, sequence: int) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        simulator.step(2, (7, MID))
        world.serve()
        break_stream(simulator)
        again = come_back(world, simulator)
        with pytest.raises(UnexpectedMessageError, match=rf"sent Step {sequence}, expected Step 3"):
            again.step(sequence, (7, MID))

    def test_it_may_break_again_before_the_step_was_sent_again(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        for _ in range(3):
            break_stream(simulator)
            simulator = come_back(world, simulator)
        simulator.step(1, (7, FIRST))
        assert simulator.acted_agents() == [(1, [7])]


def restarted(world: Any, make_world: Make, **options: Any) -> Any:
    """A trainer that came back from a checkpoint of now."""
    again = make_world(**options)
    again.load_state(world.state())
    return again


class TestARestartedTrainer:
    def test_goes_on_with_the_next_step_and_the_same_slots(
        self, world: Any, make_world: Make
    ) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST), (8, FIRST))
        world.serve()
        simulator.step(2, (7, TERMINATED), (8, MID))
        world.serve()
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(3, (9, FIRST), (8, MID))
        batch = after.serve()
        assert batch.slot.tolist() == [0, 1]
        assert batch.released.tolist() == [0]
        assert again.acted_agents() == [(3, [9, 8])]

    def test_sends_the_last_act_again(self, world: Any, make_world: Make) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve(version=3)
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(1, (7, FIRST))
        (act,) = again.acts()
        assert act.behaviours[0].policy_version == 3
        assert not after.is_due()

    def test_takes_a_step_again_that_no_batch_had_taken(self, world: Any, make_world: Make) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        simulator.step(2, (7, TERMINATED), (7, FIRST))
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(2, (7, TERMINATED), (7, FIRST))
        assert after.serve().timesteps.step_type.tolist() == [TERMINATED, FIRST]
        assert again.acted_agents() == [(2, [7])]
        again.step(3, (7, MID))
        after.serve()

    def test_asks_again_only_for_the_behaviours_that_were_not_answered(
        self, world: Any, make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
    ) -> None:
        simulator = world.join(specs=(walker, bird))
        simulator.step(1, walker=[(7, FIRST)], bird=[(4, FIRST)])
        world.serve("walker")
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(1, walker=[(7, FIRST)], bird=[(4, FIRST)])
        assert not after.is_due("walker")
        after.serve("bird")
        (act,) = again.acts()
        assert [part.behaviour for part in act.behaviours] == ["walker", "bird"]
        again.step(2, walker=[(7, MID)], bird=[(4, MID)])
        after.serve("walker")
        after.serve("bird")

    def test_answers_a_batch_that_was_out_without_looking_at_its_rows_again(
        self, world: Any, make_world: Make, walker: BehaviourSpec
    ) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        batch = world.take()
        assert batch.timesteps.slot.tolist() == [0]
        after = restarted(world, make_world)
        unanswered = after.behaviour().batcher.unanswered
        again = come_back(after, simulator)
        again.step(1, (7, FIRST))
        assert not after.is_due()
        reply_now(unanswered, actions(7.0))
        assert again.acted_agents() == [(1, [7])]
        again.step(2, (7, MID))
        assert after.serve().slot.tolist() == [0]

    def test_keeps_the_answer_of_such_a_batch_for_who_comes_back_later(
        self, world: Any, make_world: Make
    ) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.take()
        after = restarted(world, make_world)
        reply_now(after.behaviour().batcher.unanswered, actions(7.0))
        again = come_back(after, simulator)
        again.step(1, (7, FIRST))
        assert again.acted_agents() == [(1, [7])]

    def test_forgives_a_simulator_that_is_ahead_of_an_old_checkpoint(
        self, world: Any, make_world: Make
    ) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST), (8, FIRST))
        world.serve()
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(5, (7, MID, 2.0), (8, TERMINATED, 3.0), (9, MID, 4.0))
        batch = after.serve()
        assert batch.released.tolist() == [0, 1]
        assert batch.timesteps.agent_id.tolist() == [7, 9]
        assert batch.timesteps.step_type.tolist() == [FIRST, FIRST]
        assert batch.timesteps.reward.tolist() == [0.0, 0.0]
        assert again.acted_agents() == [(5, [7, 9])]
        assert after.participants.counters["sessions_resynced"] == 1
        # An agent that was left out of that Step is forgotten as well, and accepted later.
        again.step(6, (7, MID, 1.0), (10, MID, 1.0))
        assert after.serve().timesteps.step_type.tolist() == [MID, FIRST]

    def test_a_step_of_forgotten_agents_that_all_ended_is_answered(
        self, world: Any, make_world: Make
    ) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(9, (7, TERMINATED))
        (act,) = again.acts()
        assert [(part.behaviour, part.continuous) for part in act.behaviours] == [("walker", b"")]
        again.step(10, (7, FIRST))
        after.serve()

    def test_forgives_only_until_the_first_step_in_turn(self, world: Any, make_world: Make) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        after = restarted(world, make_world)
        again = come_back(after, simulator)
        again.step(2, (7, MID))
        after.serve()
        with pytest.raises(UnexpectedMessageError, match=r"sent Step 9, expected Step 3"):
            again.step(9, (7, MID))

    def test_a_state_is_a_copy(self, world: Any, make_world: Make) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        state = world.state()
        simulator.step(2, (7, TERMINATED), (8, FIRST))
        world.serve()
        after = make_world()
        after.load_state(state)
        again = come_back(after, simulator)
        again.step(2, (7, TERMINATED), (8, FIRST))
        assert after.serve().slot.tolist() == [0, 1]


class TestLimits:
    def test_more_agents_than_allowed_are_refused(self, make_world: Make) -> None:
        world = make_world(max_agents=3)
        left, right = world.join("left"), world.join("right")
        left.step(1, (1, FIRST), (2, FIRST))
        with pytest.raises(
            LimitError,
            match=r"right@10.0.0.7 asks for 2 agents of behaviour 'walker' when 2 of 3 are taken",
        ):
            right.step(1, (1, FIRST), (2, FIRST))

    def test_agents_that_left_make_room(self, make_world: Make) -> None:
        world = make_world(max_agents=2)
        simulator = world.join()
        simulator.step(1, (1, FIRST), (2, FIRST))
        world.serve()
        simulator.step(2, (1, TERMINATED), (2, MID), (3, FIRST))
        world.serve()
        assert world.behaviour().agents.used == 2

    def test_a_simulator_that_leaves_makes_room(self, make_world: Make) -> None:
        world = make_world(max_agents=2)
        simulator = world.join()
        simulator.step(1, (1, FIRST), (2, FIRST))
        simulator.goodbye()
        world.join().step(1, (1, FIRST), (2, FIRST))

    def test_restored_agents_take_room(self, make_world: Make) -> None:
        world = make_world(max_agents=2)
        world.join().step(1, (1, FIRST), (2, FIRST))
        world.serve()
        after = restarted(world, make_world, max_agents=2)
        with pytest.raises(LimitError):
            after.join().step(1, (1, FIRST))

    def test_more_waiting_bytes_than_allowed_are_refused(self, make_world: Make) -> None:
        world = make_world(max_waiting_mib=300 / 2**20, expect=2)
        left, right = world.join("left"), world.join("right")
        left.step(1, *((agent, FIRST) for agent in range(10)))
        with pytest.raises(
            LimitError, match=r"bytes of Steps and their answers .* server.max_waiting_mib"
        ):
            right.step(1, *((agent, FIRST) for agent in range(10)))

    def test_answered_steps_take_the_room_of_their_answers(self, make_world: Make) -> None:
        # A Step of ten rows has some 230 bytes, its ten actions have 40: 40 + 230 + 40 fit, twice
        # 230 would not.
        world = make_world(max_waiting_mib=350 / 2**20)
        left, right = world.join("left"), world.join("right")
        for sequence, kind in ((1, FIRST), (2, MID), (3, MID)):
            for simulator in (left, right):
                simulator.step(sequence, *((agent, kind) for agent in range(10)))
                world.timers.now_s += 1.0
                world.serve()

    def test_a_simulator_that_is_gone_takes_no_room(self, make_world: Make) -> None:
        world = make_world()
        simulator = world.join()
        simulator.step(1, (1, FIRST))
        world.serve()
        simulator.goodbye()
        assert world.participants._waiting_bytes.used == 0


class TestEnvironmentParameters:
    def test_welcome_tells_all(self, world: Any) -> None:
        assert dict(world.dial().hello().environment_parameters) == {"gravity": 9.5}

    def test_an_act_tells_those_that_changed_and_once(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        world.participants.parameters.update({"gravity": 9.5, "wind": 2.0})
        simulator.step(2, (7, MID))
        world.serve()
        simulator.step(3, (7, MID))
        world.serve()
        told = [dict(act.changed_environment_parameters) for act in simulator.acts()]
        assert told == [{}, {"wind": 2.0}, {}]

    def test_an_act_sent_again_does_not_undo_what_welcome_told(self, world: Any) -> None:
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.participants.parameters.update({"gravity": 1.0})
        world.serve()
        break_stream(simulator)
        world.participants.parameters.update({"gravity": 2.0})
        again = come_back(world, simulator)
        again.step(1, (7, FIRST))
        assert dict(again.acts()[0].changed_environment_parameters) == {}


class TestSampledParameters:
    """Welcome has the first draw; each Act after which episodes may begin has the next one."""

    def test_an_act_has_a_new_draw_where_an_episode_began(self, world: Any) -> None:
        world.participants.parameters.update({"mass": UniformSampler()})
        simulator = world.dial()
        told = [dict(simulator.hello().environment_parameters)]
        for number, kinds in enumerate([(FIRST,), (MID,), (MID,), (TERMINATED, FIRST)], start=1):
            simulator.step(number, *((7, kind) for kind in kinds))
            world.serve()
        told += [dict(act.changed_environment_parameters) for act in simulator.acts()]
        seed = participant_of(world).identity.seed
        draws = [drawn(UniformSampler(), f"run/{seed}/mass/{number}") for number in range(3)]
        assert told[0] == pytest.approx({"gravity": 9.5, "mass": draws[0]})
        assert told[1:] == [
            pytest.approx({"mass": draws[1]}),
            {},
            {},
            pytest.approx({"mass": draws[2]}),
        ]

    def test_a_restored_run_goes_on_with_the_draw_that_was_told(
        self, world: Any, make_world: Make
    ) -> None:
        sampler = {"mass": UniformSampler()}
        world.participants.parameters.update(sampler)
        simulator = world.join()
        simulator.step(1, (7, FIRST))
        world.serve()
        drawn_before = participant_of(world).parameters.values
        restored = make_world()
        restored.participants.parameters.update(sampler)
        restored.load_state(world.state())
        assert participant_of(restored).parameters.values == drawn_before
        again = come_back(restored, simulator)
        again.step(1, (7, FIRST))
        assert participant_of(restored).parameters.values == drawn_before
        again.step(2, (7, TERMINATED), (7, FIRST))
        assert participant_of(restored).parameters.draws == 2


def test_answers_for_a_session_that_left_go_nowhere(world: Any) -> None:
    simulator = world.join()
    participant = participant_of(world)
    simulator.step(1, (7, FIRST))
    batch = world.take()
    simulator.goodbye()
    reply_now(batch, actions(7.0))
    assert simulator.acts() == []
    assert participant.presence is Presence.GONE


def test_its_words_say_who_and_where_it_stands(world: Any) -> None:
    simulator = world.join()
    participant = participant_of(world)
    session = Session(participant, world.participants)
    assert repr(participant) == "<Participant walker-sim@10.0.0.7: running>"
    assert repr(session) == "<Session walker-sim@10.0.0.7: running>"
    break_stream(simulator)
    assert repr(participant) == "<Participant walker-sim@10.0.0.7: detached>"
    assert repr(session) == "<Session walker-sim@10.0.0.7: detached>"


def test_a_thousand_agents_run_no_more_statements_than_two(
    make_world: Make, count_statements: Callable[[Callable[[], object]], int]
) -> None:
    def statements(agents: int) -> int:
        world = make_world()
        simulator = world.join()
        simulator.step(1, *((agent, FIRST) for agent in range(agents)))
        world.serve()
        ends = [(0, TERMINATED), (0, FIRST), *((agent, MID) for agent in range(1, agents))]
        usual = [(agent, MID) for agent in range(agents)]

        def run() -> None:
            for sequence, rows in ((2, usual), (3, ends), (4, usual)):
                simulator.step(sequence, *rows)
                world.serve()

        return count_statements(run)

    assert statements(1024) == statements(2) > 100


@pytest.mark.parametrize("lockstep", [False, True])
def test_a_step_runs_no_more_statements_beside_ninety_policies_than_beside_one(
    lockstep: bool, make_world: Make, count_statements: Callable[[Callable[[], object]], int]
) -> None:
    def statements(policies: int) -> int:
        world = make_world(accepts=lambda _: True, lockstep=lockstep)
        others = [replace(WALKER, name=f"guest-{number}") for number in range(policies)]
        world.join("guests", specs=tuple(others))
        simulator = world.join()
        simulator.step(1, (1, FIRST), (2, FIRST))
        world.serve()

        def run() -> None:
            for sequence, rows in ((2, [(1, MID)]), (3, [(1, TERMINATED), (1, FIRST)])):
                simulator.step(sequence, *rows, (2, MID))
                world.serve()

        return count_statements(run)

    assert statements(90) == statements(1) > 100
