"""Who plays on a port, and what the run is told of it: without sockets, by calling a method."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from entrain.config.environment_parameters import (
    GaussianSampler,
    MultirangeSampler,
    UniformSampler,
    Value,
)
from entrain.config.run import ServerConfig
from entrain.config.unity import UnityConfig
from entrain.serving.behaviours import Behaviours
from entrain.serving.member import Presence
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain.unity.game_status import Stage
from entrain.unity.place import Place
from entrain.unity.player import Player
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType
from entrain_envs.unity import game_codec
from entrain_envs.unity.errors import GameRefusedError
from entrain_envs.unity.game_codec import TrainerReply
from entrain_envs.unity.messages import AgentRecords, BrainParameters, Initialization, Observation
from entrain_envs.unity.side_channels import (
    ENGINE_CONFIGURATION,
    ENVIRONMENT_PARAMETERS,
    Gaussian,
    MultiRange,
    Uniform,
    messages,
    write_sampler,
    write_statistic,
)

ONE, TWO = "ipv4:127.0.0.1:1001", "ipv4:127.0.0.1:1002"
BALL = "Ball?team=0"


class Room:
    """A place, the participants of its run, and a clock."""

    def __init__(self, *, index: int = 0, takeover_s: float = 0.01, **server: Any) -> None:
        config = ServerConfig.model_validate(server)
        self.now_s = 0.0
        self.seen: list[list[int]] = []
        """Step types of each batch."""
        self.released: list[int] = []
        """Slots whose agents left, as batches said."""
        behaviours = Behaviours(config, accepts=lambda name: name != "Odd", policies=("*",))
        self.participants = Participants(
            config,
            behaviours,
            seed=1,
            expect=1,
            environment_parameters={"gravity": 9.5},
            clock=lambda: self.now_s,
        )
        self.place = Place(
            self.participants,
            partial(self._make_player, index),
            takeover_s=takeover_s,
            clock=lambda: self.now_s,
        )
        self._serving: set[asyncio.Task[None]] = set()
        self._served: set[str] = set()

    def _make_player(self, index: int, host: str, before: Participant | None) -> Player:
        return Player(
            self.participants,
            UnityConfig(num_areas=3),
            index=index,
            seed=7 + index,
            host=host,
            predecessor=before,
        )

    async def say(self, content: bytes, peer: str = ONE) -> TrainerReply:
        asking = asyncio.create_task(self.place.answer(content, peer))
        await asyncio.sleep(0)
        self._serve_new()
        return game_codec.decode_reply(await asking)

    def _serve_new(self) -> None:
        for behaviour in self.participants.behaviours:
            if behaviour.name not in self._served:
                self._served.add(behaviour.name)
                self._serving.add(asyncio.create_task(self._serve(behaviour)))

    async def _serve(self, behaviour: Any) -> None:
        async for requests in behaviour.batcher:
            timesteps = requests.timesteps.timesteps
            self.seen.append(timesteps.step_type.tolist())
            self.released += requests.timesteps.released.tolist()
            count = int(np.count_nonzero(timesteps.needs_action))
            actions = ActionBatch(
                np.ones((count, 1), np.float32), np.empty((count, 0), np.int32), 0
            )
            await requests.reply(actions)

    async def begin(self, peer: str = ONE) -> TrainerReply:
        await self.say(hello(), peer)
        return await self.say(game_codec.encode_nothing(), peer)

    @property
    def counted(self) -> Mapping[str, int]:
        return {name: count for name, count in self.participants.counters.items() if count}


def hello(version: str = "1.5.0") -> bytes:
    return game_codec.encode_hello(Initialization("AcademySingleton", version, "3.0.0"))


def step(
    *ids: int,
    key: str = BALL,
    is_new: bool = False,
    reward: float = 1.0,
    seen: Sequence[float] = (),
    side_channel: bytes = b"",
) -> bytes:
    """Records of these agents. Each sees its number of `seen`, or 0."""
    count = len(ids)
    values = np.repeat(np.array(seen or [0.0] * count, np.float32), 2).reshape(count, 2)
    records = AgentRecords(
        id=np.array(ids, np.int64),
        reward=np.full(count, reward, np.float32),
        done=np.zeros(count, np.bool_),
        interrupted=np.zeros(count, np.bool_),
        group_id=np.zeros(count, np.int64),
        group_reward=np.zeros(count, np.float32),
        observations=(Observation("eyes", (2,), values=values),),
    )
    brains: Sequence[BrainParameters] = [BrainParameters(key, 1)] if is_new else []
    return game_codec.encode_records({key: records}, behaviours=brains, side_channel=side_channel)


async def test_what_a_game_says_of_itself_is_logged_in_one_short_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room()
    words = "3.0\nINFO  a forged line" + "!" * 10_000
    with caplog.at_level(logging.INFO):
        await room.say(game_codec.encode_hello(Initialization("Academy", "1.5.0", words)))
        await room.say(game_codec.encode_leaving(words))
    assert [len(each.splitlines()) for each in caplog.messages] == [1, 1]
    assert max(map(len, caplog.messages)) < 400


async def test_a_game_is_told_its_seed_its_areas_its_engine_and_the_parameters() -> None:
    room = Room(index=2)
    reply = await room.say(hello())
    assert (reply.seed, reply.num_areas) == (9, 3)
    reply = await room.say(game_codec.encode_nothing())
    assert reply.is_reset
    channels = [channel for channel, _ in messages(reply.side_channel)]
    assert channels == [ENGINE_CONFIGURATION] * 5 + [ENVIRONMENT_PARAMETERS]
    # It takes part once it has agents.
    assert len(room.participants) == 0
    await room.say(step(1, is_new=True))
    assert [each.label for each in room.participants] == ["game-2@127.0.0.1"]


async def test_a_parameter_that_changes_goes_out_with_the_next_actions() -> None:
    room = Room()
    await room.begin()
    assert (await room.say(step(1, is_new=True))).side_channel == b""
    room.participants.parameters.update({"gravity": 1.0})
    (only,) = messages((await room.say(step(1))).side_channel)
    assert only[0] == ENVIRONMENT_PARAMETERS
    assert (await room.say(step(1))).side_channel == b""


async def test_a_game_begins_anew_once_with_the_parameters_of_a_lesson_that_requires_it() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, 2, is_new=True))
    await room.say(step(1, 2))
    assert room.participants.num_agents == 2
    room.participants.parameters.update({"gravity": 1.0}, must_reset=True)
    reply = await room.say(step(1, 2))
    assert (reply.is_reset, dict(reply.actions)) == (True, {})
    (only,) = messages(reply.side_channel)
    assert only[0] == ENVIRONMENT_PARAMETERS
    # Those two have no outcome any more; after the reset there are three agents.
    reply = await room.say(step(1, 2, 3))
    assert (reply.is_reset, reply.side_channel, len(reply.actions[BALL].continuous)) == (
        False,
        b"",
        3,
    )
    assert room.seen[-2:] == [[StepType.MID] * 2, [StepType.FIRST] * 3]
    assert room.released == [0, 1]
    assert room.counted == {"sessions_joined": 1}


async def test_a_game_that_joins_after_a_reset_is_not_reset_again() -> None:
    room = Room()
    room.participants.parameters.update({"gravity": 1.0}, must_reset=True)
    await room.begin()
    assert not (await room.say(step(1, is_new=True))).is_reset


async def test_a_game_draws_from_a_sampler_by_itself() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    ranges = ((1.0, 2.0), (8.0, 9.0))
    samplers: dict[str, Value] = {
        "mass": UniformSampler(low=0.5, high=2.0, seed=4),
        "wind": GaussianSampler(mean=3.0, standard_deviation=0.5, seed=2**31 + 5),
        "size": MultirangeSampler(intervals=ranges, seed=6),
    }
    room.participants.parameters.update(samplers)
    assert (await room.say(step(1))).side_channel == b"".join(
        [
            write_sampler("mass", Uniform(0.5, 2.0), seed=4),
            # A game's seed has 32 bits, of which the first is its sign.
            write_sampler("wind", Gaussian(3.0, 0.5), seed=5 - 2**31),
            write_sampler("size", MultiRange(ranges), seed=6),
        ]
    )
    # What the game draws is its own affair.
    assert (await room.say(step(1))).side_channel == b""


@pytest.mark.parametrize(("index", "names"), [(0, {"coins", "level"}), (1, {"coins"})])
async def test_statistics_count_and_the_last_value_is_the_first_games(
    index: int, names: set[str]
) -> None:
    room = Room(index=index)
    await room.begin()
    said = [Statistic("coins", 3.0), Statistic("level", 2.0, "last")]
    await room.say(step(1, is_new=True, side_channel=b"".join(map(write_statistic, said))))
    await room.say(step(1))
    assert set(room.participants.statistics.take("Ball")) == names


async def test_a_game_that_is_gone_while_it_waits_is_lost_at_once() -> None:
    room = Room(takeover_s=1e9)
    await room.begin()
    await room.say(step(1, 2, is_new=True))
    asking = asyncio.create_task(room.place.answer(step(1, 2), ONE))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert room.counted == {"sessions_joined": 1, "sessions_lost": 1}
    # Nobody has the place: another game need not wait for it.
    await room.begin(TWO)
    await room.say(step(1, 2, is_new=True), TWO)
    assert room.counted == {"sessions_joined": 2, "sessions_lost": 1}
    assert room.seen[-1] == [StepType.FIRST] * 2


async def test_a_newcomer_is_refused_if_who_plays_speaks_and_else_takes_the_place() -> None:
    room = Room(takeover_s=30.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    newcomer = asyncio.create_task(room.place.answer(hello(), TWO))
    await asyncio.sleep(0)
    await room.say(step(1))
    with pytest.raises(GameRefusedError, match="another game plays on this port"):
        await newcomer
    await room.say(step(1))
    assert room.counted == {"sessions_joined": 1, "sessions_refused": 1}


@pytest.mark.parametrize(
    "words",
    [step(1), step(7, key="Other?team=0", is_new=True), game_codec.encode_leaving("gone")],
    ids=["records", "other records", "leaving"],
)
async def test_what_another_connection_says_is_not_taken_for_the_players(words: bytes) -> None:
    room = Room(takeover_s=30.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    stranger = asyncio.create_task(room.place.answer(words, TWO))
    await asyncio.sleep(0)
    await room.say(step(1))
    with pytest.raises(GameRefusedError, match="another game plays on this port"):
        await stranger
    await room.say(step(1))
    assert room.seen == [[StepType.FIRST], [StepType.MID], [StepType.MID]]


async def test_a_game_that_dials_again_without_a_word_goes_on() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    await room.say(step(1), TWO)
    assert room.seen == [[StepType.FIRST], [StepType.MID]]
    with pytest.raises(GameRefusedError, match="another game plays on this port"):
        await room.say(step(1))


async def test_who_lost_its_place_is_told_so() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    await room.begin(TWO)
    with pytest.raises(GameRefusedError, match="another game plays on this port"):
        await room.say(step(1))
    await room.say(step(5, is_new=True), TWO)
    assert room.counted["sessions_joined"] == 2


async def test_the_same_process_may_begin_again_at_once() -> None:
    room = Room(takeover_s=1e9)
    await room.begin()
    await room.say(step(1, is_new=True))
    await room.begin()
    await room.say(step(1, is_new=True))
    assert room.seen == [[StepType.FIRST], [StepType.FIRST]]


async def test_a_silent_game_is_not_waited_for_and_may_go_on() -> None:
    room = Room(grace_s=30.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    room.now_s = 61.0
    room.place.look(timeout_s=60.0)
    assert room.place.participant is not None
    assert room.place.participant.presence is Presence.DETACHED
    await room.say(step(1))
    assert room.counted == {"sessions_joined": 1, "sessions_resumed": 1}
    # Much later: it was given up meanwhile, and its agents begin anew.
    room.now_s = 200.0
    room.place.look(timeout_s=60.0)
    room.now_s = 300.0
    room.participants.expire()
    await room.say(step(1))
    assert room.seen == [[StepType.FIRST], [StepType.MID], [StepType.FIRST]]
    assert room.counted["sessions_lost"] == 1


def look(room: Room, *connections: str) -> None:
    room.place.look(timeout_s=60.0, connections=frozenset(connections))


async def test_a_game_that_hangs_up_between_two_calls_is_noticed_by_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room(takeover_s=1e9, grace_s=30.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    look(room, ONE, "ipv4:127.0.0.1:7")
    assert room.place.status("game-0", "").stage is Stage.PLAYING
    look(room, "ipv4:127.0.0.1:7")
    look(room, "ipv4:127.0.0.1:7")
    assert room.place.status("game-0", "").stage is Stage.GONE
    assert room.place.participant is not None
    assert room.place.participant.presence is Presence.DETACHED
    (told,) = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert told.startswith("game-0@127.0.0.1 closed its connection without a goodbye (it crashed,")
    # The next one needs not wait whether this one speaks.
    await room.begin(TWO)
    await room.say(step(5, is_new=True), TWO)
    assert room.counted == {"sessions_joined": 2, "sessions_lost": 1}
    assert room.place.status("game-0", "").stage is Stage.PLAYING


async def test_a_game_that_hangs_up_may_go_on_over_another_connection() -> None:
    room = Room(takeover_s=1e9, grace_s=30.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    look(room, ONE)
    look(room)
    await room.say(step(1), TWO)
    assert room.seen == [[StepType.FIRST], [StepType.MID]]
    assert room.counted == {"sessions_joined": 1, "sessions_resumed": 1}


async def test_nothing_is_concluded_from_connections_that_are_not_known() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    # Perhaps gRPC names it otherwise: it was never seen among those that are open.
    look(room)
    room.place.look(timeout_s=60.0, connections=None)
    assert room.place.participant is not None
    assert room.place.participant.presence is Presence.RUNNING


async def test_garbage_of_a_stranger_harms_nobody_and_of_the_player_itself_alone() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    with pytest.raises(GameRefusedError, match="no message of ML-Agents"):
        await room.say(b"\xff\xff\xff", TWO)
    await room.say(step(1))
    with pytest.raises(GameRefusedError, match="no message of ML-Agents"):
        await room.say(b"\xff\xff\xff")
    assert room.counted == {"sessions_joined": 1, "sessions_refused": 1, "steps_refused": 1}
    with pytest.raises(GameRefusedError, match="must say first who it is"):
        await room.say(step(1))


async def test_a_message_that_is_too_long_is_refused_with_the_option_on_both_sides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room(max_message_mib=0.001)
    await room.begin()
    await room.say(step(1, is_new=True))
    remedy = "1,048 are taken; raise server.max_message_mib"
    with pytest.raises(GameRefusedError, match=remedy):
        await room.say(step(*range(40)))
    assert remedy in caplog.text
    assert room.counted["steps_refused"] == 1


async def test_what_cannot_be_learned_from_is_refused_with_the_reason() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    words = r"game-0@127.0.0.1: behaviour 'Ball', reward, row 0 \(agent 1\) holds nan"
    with pytest.raises(GameRefusedError, match=words):
        await room.say(step(1, reward=float("nan")))
    assert room.counted["steps_refused"] == 1
    await room.begin()
    with pytest.raises(GameRefusedError, match="this run has no policy for it"):
        await room.say(step(1, key="Odd?team=0", is_new=True))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_an_observation_that_is_not_finite_is_refused_with_its_agent(number: float) -> None:
    room = Room()
    await room.begin()
    words = rf"'Ball', observation 'eyes', row 1 \(agent 1300\) holds {number}; all numbers must"
    with pytest.raises(GameRefusedError, match=words):
        await room.say(step(40, 1300, is_new=True, seen=[0.0, number]))


async def test_a_game_of_another_major_version_is_refused_with_both() -> None:
    with pytest.raises(GameRefusedError, match=r"speaks version 2\.0\.0 .* this trainer speaks 1"):
        await Room().say(hello("2.0.0"))


async def test_a_late_behaviour_joins_the_run() -> None:
    room = Room()
    await room.begin()
    await room.say(step(1, is_new=True))
    await room.say(step(2, key="Cube?team=1", is_new=True))
    assert [each.name for each in room.participants.behaviours] == ["Ball", "Cube"]
    assert room.counted == {"sessions_joined": 1}


async def test_whoever_waits_is_told_the_end_and_so_is_whoever_calls_next() -> None:
    room = Room(max_wait_s=60.0)
    await room.begin()
    await room.say(step(1, is_new=True))
    room.participants.pause()
    asking = asyncio.create_task(room.place.answer(step(1), ONE))
    await asyncio.sleep(0)
    room.place.close("enough")
    await room.place.told()
    reply = game_codec.decode_reply(await asking)
    assert (reply.status, reply.text) == (400, "enough")
    assert (await room.say(hello(), TWO)).status == 400
