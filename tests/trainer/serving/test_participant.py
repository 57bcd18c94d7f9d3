"""A participant without any wire: behaviours that it brings late, and steps of all of them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import BadHelloError, BadStepError, ConfigError, LimitError, RefusedHelloError
from entrain.serving import empty_steps
from entrain.serving.admission import JoinRequest
from entrain.serving.behaviours import Behaviour
from entrain.serving.participant import Participant
from entrain.serving.step_order import StepOrder
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType
from support.slow_step_order import Message, batch, slow_after
from support.world import SPECS, Row, World, reply_now, timesteps_of

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]


SLOW = BehaviourSpec("walker", (ObservationSpec("code", ()),), ActionSpec((-1.0,), (1.0,)))
"""Of the batches of `slow_step_order`."""


class Receiver:
    """Keeps the answers of each step."""

    def __init__(self, participant: Participant) -> None:
        self.acts: list[dict[str, int]] = []
        self._participant = participant

    def act(self, taken: Callable[[], None]) -> bool:
        answers = self._participant.answers
        self.acts.append({name: len(answers[name]) for name in self._participant.with_rows})
        taken()
        return True


def join(world: Any, name: str, *specs: BehaviourSpec) -> tuple[Participant, Receiver]:
    participant: Participant = world.participants.join(
        JoinRequest(simulator=name, instance_id="1", peer="here", specs=specs, max_agents=0)
    )
    receiver = Receiver(participant)
    participant.receiver = receiver
    return participant, receiver


def rows(**parts: list[Row]) -> Mapping[str, Any]:
    return {name: timesteps_of(SPECS[name], part) for name, part in parts.items()}


messages = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(StepType)), max_size=4)


@settings(deadline=None)
@given(st.lists(messages, max_size=10), st.booleans())
def test_steps_are_taken_and_refused_as_by_a_slow_table(
    history: list[Message], repeats: bool
) -> None:
    """Often the next message has the same agents, all MID, which takes a short cut."""
    world = World()
    participant, _ = join(world, "sim", SLOW)
    awaiting = set[int]()
    for message in history:
        usual = [(agent, MID) for agent, step_type in message if step_type <= MID]
        for each in [message, usual] if repeats else [message]:
            if not each:
                continue
            try:
                awaiting = slow_after(awaiting, each)
            except IndexError as error:
                with pytest.raises(BadStepError, match=rf"row {error.args[0]}: agent "):
                    participant.ask({"walker": batch(each)}, size=1)
                return
            participant.ask({"walker": batch(each)}, size=1)
            taken = world.take()
            assert taken.num_actions == sum(step_type <= MID for _, step_type in each)
            answer = np.zeros((taken.num_actions, 1), np.float32)
            no_branches = np.empty((taken.num_actions, 0), np.int32)
            reply_now(taken, ActionBatch(answer, no_branches, 0))
            assert participant.num_agents == len(awaiting)


def test_the_usual_step_is_not_searched(
    world: Any, walker: BehaviourSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    participant, receiver = join(world, "sim", walker)
    participant.ask(rows(walker=[(6, FIRST), (5, FIRST)]), size=1)
    world.serve()
    monkeypatch.setattr(StepOrder, "after", None)
    participant.ask(rows(walker=[(6, MID), (5, MID)]), size=1)
    world.serve()
    assert receiver.acts == [{"walker": 2}] * 2


def test_a_step_whose_actions_would_be_longer_than_a_message_is_refused(
    make_world: Make, walker: BehaviourSpec
) -> None:
    # An action of one float32 has 4 bytes: 24 agents' actions fit into 100 bytes, 26 agents' not.
    world = make_world(max_message_mib=100 / 2**20)
    participant, receiver = join(world, "arms", walker)
    words = "actions would take 104 bytes, and a message has at most 100"
    with pytest.raises(LimitError, match=words):
        participant.ask(rows(walker=[(agent, FIRST) for agent in range(26)]), size=1)
    participant.ask(rows(walker=[(agent, FIRST) for agent in range(24)]), size=1)
    world.serve()
    assert receiver.acts == [{"walker": 24}]


def test_a_behaviour_may_come_after_joining(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    participant, receiver = join(world, "late", walker)
    participant.ask(rows(walker=[(7, FIRST)]), size=1)
    world.serve("walker")
    world.participants.add_behaviours(participant, [walker, bird])
    assert list(participant.behaviours) == ["walker", "bird"]
    participant.ask(rows(walker=[(7, MID)], bird=[(1, FIRST), (2, FIRST)]), size=1)
    world.serve("bird")
    assert receiver.acts == [{"walker": 1}]
    world.serve("walker")
    assert receiver.acts == [{"walker": 1}, {"walker": 1, "bird": 2}]


def test_in_lockstep_a_late_behaviour_waits_for_all_who_have_it(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    world = make_world(lockstep=True, expect=2)
    (left, _), (right, acts) = join(world, "left", walker), join(world, "right", walker, bird)
    world.participants.add_behaviours(left, [bird])
    right.ask(rows(walker=[(1, FIRST)], bird=[(1, FIRST)]), size=1)
    assert not world.is_due("bird")
    left.ask(rows(walker=[(1, FIRST)]), size=1)
    assert world.serve("bird").slot.tolist() == [0]
    world.serve("walker")
    assert acts.acts == [{"walker": 1, "bird": 1}]


def test_a_late_behaviour_is_checked_as_at_joining(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    def on_new(new: list[Behaviour]) -> None:
        if any(behaviour.name == "bird" for behaviour in new):
            raise ConfigError("behaviour 'bird': it is too small")

    world = make_world(on_new=on_new)
    participant, receiver = join(world, "late", walker)
    other = replace(walker, observations=(ObservationSpec("eyes", (3,)),))
    with pytest.raises(RefusedHelloError, match=r"late@here declares behaviour .walker. otherwise"):
        world.participants.add_behaviours(participant, [other])
    with pytest.raises(BadHelloError, match=r"no policy for it"):
        world.participants.add_behaviours(participant, [replace(walker, name="fish")])
    with pytest.raises(BadHelloError, match=r"cannot be given a policy: .* too small"):
        world.participants.add_behaviours(participant, [bird])
    assert list(participant.behaviours) == ["walker"]
    assert [behaviour.name for behaviour in world.behaviours] == ["walker"]
    participant.ask(rows(walker=[(7, FIRST)]), size=1)
    world.serve()
    assert receiver.acts == [{"walker": 1}]


def test_late_behaviours_are_in_a_checkpoint(
    world: Any, make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    participant, _ = join(world, "late", walker)
    world.participants.add_behaviours(participant, [bird])
    participant.ask(rows(bird=[(1, FIRST)]), size=1)
    world.serve("bird")
    after = make_world()
    after.load_state(world.state())
    (restored,) = after.participants
    assert list(restored.behaviours) == ["walker", "bird"]
    assert {name: len(actions) for name, actions in restored.answers.items()} == {"bird": 1}
    after.participants.resume(restored, "here")
    restored.ask(rows(bird=[(1, TERMINATED, 2.0)], walker=[(7, FIRST)]), size=1)
    assert after.serve("bird").timesteps.reward.tolist() == [2.0]


async def test_a_late_behaviour_is_served_once_the_run_is_told(
    make_world: Make, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    told: list[str] = []
    world = make_world(on_new=lambda new: told.extend(each.name for each in new))
    participant, _ = join(world, "late", walker)
    world.participants.add_behaviours(participant, [bird, walker])
    assert told == ["walker", "bird"]
    participant.ask(rows(bird=[(3, FIRST)]), size=1)
    async with asyncio.timeout(5.0):
        batch = await anext(world.behaviour("bird").batcher)
    assert batch.timesteps.timesteps.agent_id.tolist() == [3]


def test_who_sends_steps_without_any_agent_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(empty_steps, "MOST_STEPS", 3)
    world = World()
    participant, receiver = join(world, "walker-sim", SPECS["walker"])
    for _ in range(2):
        participant.ask({}, size=1)
    # Each is answered at once, and agents that come make it a usual pause.
    assert receiver.acts == [{}] * 2
    participant.ask(rows(walker=[(1, FIRST, 0.0)]), size=1)
    world.serve()
    participant.ask(rows(walker=[(1, TERMINATED, 0.0)]), size=1)
    world.serve()
    assert not caplog.messages
    for _ in range(7):
        participant.ask({}, size=1)
    (told,) = caplog.messages
    assert told.startswith(
        f"{participant.label} has sent 3 Steps in a row without any agent: nobody acts in it"
    )


def test_a_crowd_that_sends_no_agents_fills_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(empty_steps, "MOST_STEPS", 1)
    world = World()
    for number in range(empty_steps.MOST_LINES + 3):
        participant, _ = join(world, f"sim-{number}", SPECS["walker"])
        participant.ask({}, size=1)
    assert len(caplog.messages) == empty_steps.MOST_LINES
