"""Which message of a game may come when, and what it is answered with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from entrain_envs.errors import SpecError
from entrain_envs.timestep import ActionBatch, StepType
from entrain_envs.unity.conversation import Conversation, Greeted, Left, Moved, Ready, State
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.game_codec import TrainerReply, decode_reply
from entrain_envs.unity.messages import (
    AgentRecords,
    BrainParameters,
    GameMessage,
    Initialization,
    Observation,
)

HELLO = GameMessage(initialization=Initialization("AcademySingleton", "1.5.0", "3.0.0"))
NOTHING = GameMessage()
BALL, CUBE = "Ball?team=0", "Cube?team=0"


def records(ids: Sequence[int], *, done: bool = False, size: int = 2) -> AgentRecords:
    count = len(ids)
    return AgentRecords(
        id=np.array(ids, np.int64),
        reward=np.ones(count, np.float32),
        done=np.full(count, done),
        interrupted=np.zeros(count, np.bool_),
        group_id=np.zeros(count, np.int64),
        group_reward=np.zeros(count, np.float32),
        observations=(Observation("", (size,), values=np.zeros((count, size), np.float32)),),
    )


def moved(agents: Mapping[str, AgentRecords], *new: str, side_channel: bytes = b"") -> GameMessage:
    brains = tuple(BrainParameters(key, num_continuous=1) for key in new)
    return GameMessage(behaviours=brains, agents=agents, side_channel=side_channel, has_output=True)


def playing() -> Conversation:
    """After the reset."""
    it = Conversation()
    it.receive(HELLO)
    it.greeting(seed=1, num_areas=1)
    it.receive(NOTHING)
    it.reset()
    return it


def received(it: Conversation, message: GameMessage) -> Moved:
    event = it.receive(message)
    assert isinstance(event, Moved)
    return event


def actions(*numbers: float) -> ActionBatch:
    continuous = np.array(numbers, np.float32)[:, None]
    return ActionBatch(continuous, np.empty((len(numbers), 0), np.int32), policy_version=0)


def said(answer: bytes) -> TrainerReply:
    return decode_reply(answer)


def test_a_game_says_who_it_is_is_reset_and_plays() -> None:
    it = Conversation()
    assert it.receive(HELLO) == Greeted(Initialization("AcademySingleton", "1.5.0", "3.0.0"))
    reply = said(it.greeting(seed=7, num_areas=3))
    assert (reply.status, reply.seed, reply.num_areas) == (200, 7, 3)
    assert (reply.communication_version, reply.package_version) == ("1.5.0", "1.1.0")
    assert it.receive(NOTHING) == Ready()
    reply = said(it.reset(b"settings"))
    assert (reply.status, reply.is_reset, reply.side_channel) == (200, True, b"settings")

    event = received(it, moved({BALL: records([1, 2])}, BALL, side_channel=b"statistics"))
    assert [(spec.name, spec.observation_names) for spec in event.new] == [("Ball", ("obs_0",))]
    assert event.timesteps["Ball"].step_type.tolist() == [StepType.FIRST, StepType.FIRST]
    assert event.side_channel == b"statistics"
    reply = said(it.act({"Ball": actions(0.5, -1.0)}, b"more"))
    assert (reply.status, reply.is_reset, reply.side_channel) == (200, False, b"more")
    assert reply.actions[BALL].continuous[:, 0].tolist() == [0.5, -1.0]
    assert reply.actions[BALL].deprecated[:, 0].tolist() == [0.5, -1.0]
    event = received(it, moved({BALL: records([1, 2])}))
    assert (event.new, event.gone) == ((), {})
    assert event.timesteps["Ball"].step_type.tolist() == [StepType.MID, StepType.MID]


def test_games_of_package_1_0_are_told_a_version_that_they_take() -> None:
    it = Conversation()
    it.receive(GameMessage(initialization=Initialization("Academy", "1.0.0", "1.0.8")))
    assert said(it.greeting(seed=1, num_areas=1)).package_version == "0.20.0"


def test_a_seed_fits_the_games_integer() -> None:
    it = Conversation()
    it.receive(HELLO)
    assert said(it.greeting(seed=2**63 - 1, num_areas=1)).seed == 2**31 - 1


@pytest.mark.parametrize("version", ["2.0.0", "0.17.0", "API-12", ""])
def test_another_major_version_is_refused_with_both_versions(version: str) -> None:
    it = Conversation()
    hello = GameMessage(initialization=Initialization("Academy", version, "0.14"))
    with pytest.raises(UnityMessageError, match=r"package 0\.14\), and this trainer speaks 1\.x"):
        it.receive(hello)


def test_every_message_of_the_game_may_be_that_it_leaves() -> None:
    for it in (Conversation(), playing()):
        assert it.receive(GameMessage(status=400, text="closed")) == Left("closed")
        assert it.state is State.OVER
        assert said(it.close()).status == 400
        with pytest.raises(UnityMessageError, match="that is over"):
            it.receive(NOTHING)


def test_any_call_may_be_answered_with_the_end() -> None:
    it = playing()
    it.receive(moved({BALL: records([1])}, BALL))
    reply = said(it.close("training is complete"))
    assert (reply.status, reply.text) == (400, "training is complete")


def test_records_before_the_greeting_and_a_second_greeting_are_refused() -> None:
    with pytest.raises(UnityMessageError, match="must say first who it is"):
        Conversation().receive(moved({BALL: records([1])}, BALL))
    with pytest.raises(UnityMessageError, match="a game says it once"):
        playing().receive(HELLO)


def test_a_behaviour_may_come_in_any_message() -> None:
    it = playing()
    it.receive(moved({BALL: records([1])}, BALL))
    event = received(it, moved({BALL: records([1]), CUBE: records([2], size=5)}, CUBE))
    assert [spec.name for spec in event.new] == ["Cube"]
    assert set(event.timesteps) == {"Ball", "Cube"}
    reply = said(it.act({"Ball": actions(1.0), "Cube": actions(-1.0)}))
    assert {key: each.continuous[0, 0] for key, each in reply.actions.items()} == {
        BALL: 1.0,
        CUBE: -1.0,
    }


def test_a_behaviour_may_be_described_before_it_has_agents() -> None:
    it = Conversation()
    it.receive(HELLO)
    it.receive(moved({}, BALL))
    it.reset()
    assert received(it, moved({}, CUBE)) == Moved()
    event = received(it, moved({BALL: records([1]), CUBE: records([2])}))
    assert [spec.name for spec in event.new] == ["Ball", "Cube"]


def test_agents_of_a_behaviour_that_was_never_described_are_refused() -> None:
    it = playing()
    with pytest.raises(UnityMessageError, match=r"'Cube\?team=0' came without .*told of: Ball"):
        it.receive(moved({CUBE: records([1])}, BALL))


def test_teams_are_one_behaviour() -> None:
    it = playing()
    red, blue = "Ball?team=0", "Ball?team=1"
    event = received(it, moved({blue: records([2]), red: records([1])}, red, blue))
    assert [spec.name for spec in event.new] == ["Ball"]
    assert event.timesteps["Ball"].agent_id.tolist() == [1, 2]
    reply = said(it.act({"Ball": actions(0.25, 0.5)}))
    assert {key: each.continuous[0, 0] for key, each in reply.actions.items()} == {
        red: 0.25,
        blue: 0.5,
    }


def test_teams_that_act_differently_are_refused() -> None:
    it = playing()
    it.receive(moved({"Ball?team=0": records([1])}, "Ball?team=0"))
    other = GameMessage(
        behaviours=(BrainParameters("Ball?team=1", num_continuous=2),),
        agents={"Ball?team=1": records([2])},
    )
    with pytest.raises(UnityMessageError, match="act differently, and one policy serves both"):
        it.receive(other)


def test_ends_alone_are_answered_with_no_actions() -> None:
    it = playing()
    it.receive(moved({BALL: records([1])}, BALL))
    event = received(it, moved({BALL: records([1], done=True)}))
    assert event.timesteps["Ball"].step_type.tolist() == [StepType.TERMINATED]
    reply = said(it.act({"Ball": actions()}))
    assert (reply.status, reply.has_orders, reply.actions) == (200, True, {})


def test_ends_that_close_nothing_are_no_rows() -> None:
    it = playing()
    event = received(it, moved({BALL: records([1], done=True)}, BALL))
    assert ([spec.name for spec in event.new], event.timesteps) == (["Ball"], {})
    assert said(it.act({})).has_orders


def test_a_reset_in_the_middle_drops_what_is_open() -> None:
    it = playing()
    it.receive(moved({BALL: records([1, 2])}, BALL))
    it.act({"Ball": actions(0, 0)})
    it.receive(moved({BALL: records([1])}))
    assert said(it.reset(b"settings")).is_reset
    event = received(it, moved({BALL: records([1])}))
    assert {name: ids.tolist() for name, ids in event.gone.items()} == {"Ball": [1, 2]}
    assert event.timesteps["Ball"].step_type.tolist() == [StepType.FIRST]


def test_a_behaviour_that_cannot_act_is_refused() -> None:
    it = playing()
    message = GameMessage(behaviours=(BrainParameters(BALL),), agents={BALL: records([1])})
    with pytest.raises(SpecError, match="action is empty"):
        it.receive(message)


def test_a_game_describes_only_so_many_behaviours() -> None:
    it = playing()
    for first in range(0, 1000, 100):
        it.receive(moved({}, *(f"b{first + each}?team=0" for each in range(100))))
    with pytest.raises(UnityMessageError, match="more than 1,000 behaviours and teams"):
        it.receive(moved({}, "one more?team=0"))


def test_pictures_of_many_sensors_are_refused_before_one_is_unpacked() -> None:
    it = playing()
    eyes = tuple(Observation(f"eye-{i}", (8000, 8000, 3), png=(b"no PNG",)) for i in range(2))
    with pytest.raises(UnityMessageError, match="take 384,000,000 bytes; expected at most 268,435"):
        it.receive(moved({BALL: replace(records([1]), observations=eyes)}, BALL))


@pytest.mark.parametrize(
    ("brain", "words"),
    [
        (BrainParameters(BALL, 2**31 - 1), "2,147,483,647 continuous actions; expected at most 10"),
        (BrainParameters(BALL, branches=(2,) * 1001), "1,001 discrete branches; expected at most"),
        (BrainParameters(BALL, branches=(2**31 - 1,)), "2,147,483,647 choices in its discrete b"),
    ],
    ids=["continuous", "branches", "choices"],
)
def test_actions_that_would_fill_memory_are_refused(brain: BrainParameters, words: str) -> None:
    with pytest.raises(UnityMessageError, match=words):
        playing().receive(GameMessage(behaviours=(brain,), agents={BALL: records([1])}))


def test_masks_that_would_fill_memory_are_refused() -> None:
    brain = BrainParameters(BALL, branches=(1_000_000,))
    it = playing()
    with pytest.raises(UnityMessageError, match="whose masks take 269,000,000 bytes; expected at"):
        it.receive(GameMessage(behaviours=(brain,), agents={BALL: records(range(269))}))
