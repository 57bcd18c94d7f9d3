"""The client's side of every rule of the conversation, without gRPC: connections are scripts."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from entrain_envs.client import TrainerClient
from entrain_envs.errors import (
    BrokenStreamError,
    ConnectionLostError,
    MisfitError,
    NoRoomError,
    OptionError,
    OutOfTurnError,
    RefusedError,
    SessionLostError,
    SilentStreamError,
    SpecError,
    TrainerClosed,
    WireError,
)
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import NeverSilent, RowsOf, act, close, welcome

FIRST, MID, TERMINATED, TRUNCATED = StepType
POINT = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec((-1.0,), (1.0,)))

Answer = pb.ConnectResponse | Exception | Callable[[pb.ConnectRequest], pb.ConnectResponse] | int
"""A number stands for the Act of the stream's Step that came as that, from 1 on."""

Script = list[Answer]


def act_on(request: pb.ConnectRequest) -> pb.ConnectResponse:
    return act(POINT, request.step)


class ScriptedConnection(NeverSilent):
    """Answers message after message from a script; remembers what it was told."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.received: list[pb.ConnectRequest] = []
        self.ended_after_s = -1.0

    def send(self, request: pb.ConnectRequest) -> None:
        copy = pb.ConnectRequest()
        copy.CopyFrom(request)
        self.received.append(copy)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return act_on([each for each in self.received if each.HasField("step")][answer - 1])
        return answer if isinstance(answer, pb.ConnectResponse) else answer(self.received[-1])

    def end(self, *, timeout_s: float) -> None:
        self.ended_after_s = timeout_s


class World:
    """A client, the connections that it opened, and a clock that only sleeping moves."""

    def __init__(
        self,
        *scripts: Script,
        reconnect_s: float | None = 60.0,
        connect_s: float = 300.0,
        max_unanswered_steps: int = 1,
    ) -> None:
        self._scripts = list(scripts)
        self.opened: list[ScriptedConnection] = []
        self.fault: list[str] = []
        """What is wrong with a file, once each."""
        self.now_s = 0.0
        self.client = TrainerClient(
            "trainer:1",
            [POINT],
            simulator="sim",
            reconnect_s=reconnect_s,
            connect_s=connect_s,
            max_agents=3,
            max_unanswered_steps=max_unanswered_steps,
            open_connection=self._open,
            clock=lambda: self.now_s,
            sleep=self._sleep,
        )

    def _open(self) -> ScriptedConnection:
        if self.fault:
            raise OptionError(self.fault.pop())
        nobody: Script = [BrokenStreamError("nobody there")]
        script = self._scripts.pop(0) if self._scripts else nobody
        self.opened.append(ScriptedConnection(script))
        return self.opened[-1]

    def _sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def said(self) -> Iterator[str]:
        """What the trainer heard, over all streams: kind and, of a step, its number."""
        for connection in self.opened:
            for request in connection.received:
                kind = request.WhichOneof("message")
                yield f"step {request.step.sequence}" if kind == "step" else str(kind)


def test_hello_says_who_dials_and_what_it_will_send() -> None:
    world = World([welcome()])
    world.client.connect()
    hello = world.opened[0].received[0].hello
    assert (hello.min_version, hello.max_version) == (1, 1)
    assert hello.simulator == "sim"
    assert len(hello.instance_id) == 32
    assert [spec.name for spec in hello.behaviours] == ["point"]
    assert hello.max_agents == 3
    assert hello.resume_session_id == ""


def test_welcome_comes_back_as_the_trainer_said_it() -> None:
    answer = World(
        [welcome("abc", seed=9, environment_parameters={"gravity": 2.0})]
    ).client.connect()
    assert (answer.version, answer.session_id, answer.run_id) == (1, "abc", "run")
    assert answer.seed == 9
    assert answer.environment_parameters == {"gravity": 2.0}
    assert not answer.resumed


def test_two_clients_have_different_instance_ids() -> None:
    worlds = World([welcome()]), World([welcome()])
    for world in worlds:
        world.client.connect()
    one, other = (world.opened[0].received[0].hello.instance_id for world in worlds)
    assert one != other


def test_an_exchange_gives_the_actions_for_the_rows_that_needed_one(rows_of: RowsOf) -> None:
    world = World([welcome(), act_on])
    world.client.connect()
    actions = world.client.exchange({"point": rows_of(POINT, TERMINATED, FIRST, MID)})
    # The script's row i says i.
    assert actions["point"].continuous.tolist() == [[0.0], [1.0]]
    assert actions["point"].policy_version == 7


def test_steps_are_numbered_from_one(rows_of: RowsOf) -> None:
    world = World([welcome(), act_on, act_on, act_on])
    world.client.connect()
    for _ in range(3):
        world.client.exchange({"point": rows_of(POINT, MID)})
    assert list(world.said()) == ["hello", "step 1", "step 2", "step 3"]


def test_a_behaviour_without_rows_is_left_out_and_gets_no_actions(rows_of: RowsOf) -> None:
    world = World([welcome(), act_on])
    world.client.connect()
    actions = world.client.exchange({"point": rows_of(POINT)})
    assert len(world.opened[0].received[1].step.behaviours) == 0
    assert len(actions["point"]) == 0


def test_rows_of_an_unknown_behaviour_are_refused_before_anything_is_sent(rows_of: RowsOf) -> None:
    world = World([welcome()])
    world.client.connect()
    with pytest.raises(SpecError, match="no behaviour 'pointer'; the handshake named point"):
        world.client.exchange({"pointer": rows_of(POINT, FIRST)})
    assert list(world.said()) == ["hello"]


def test_a_batch_that_does_not_fit_costs_no_sequence_number(
    walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    world = World([welcome(), act_on])
    world.client.connect()
    with pytest.raises(SpecError, match="'point', action_mask is bool"):
        world.client.exchange({"point": rows_of(walker, FIRST)})
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert list(world.said()) == ["hello", "step 1"]


def test_an_exchange_before_connect_connects(rows_of: RowsOf) -> None:
    world = World([welcome(), act_on])
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert list(world.said()) == ["hello", "step 1"]


def test_behaviours_must_have_different_names() -> None:
    with pytest.raises(SpecError, match="different names"):
        TrainerClient("trainer:1", [POINT, POINT], simulator="sim")


def test_a_simulator_needs_a_behaviour() -> None:
    with pytest.raises(SpecError, match="at least one"):
        TrainerClient("trainer:1", [], simulator="sim")


def test_a_client_tells_where_it_stands() -> None:
    world = World([welcome("abc")])
    assert repr(world.client) == "<TrainerClient sim at trainer:1: not connected>"
    world.client.connect()
    assert repr(world.client) == "<TrainerClient sim at trainer:1: abc>"


def test_parameters_that_change_are_seen_beside_those_that_do_not(rows_of: RowsOf) -> None:
    def change(request: pb.ConnectRequest) -> pb.ConnectResponse:
        return act(POINT, request.step, changed_environment_parameters={"gravity": 3.0})

    world = World([welcome(environment_parameters={"gravity": 2.0, "wind": 1.0}), change])
    world.client.connect()
    before = world.client.environment_parameters
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.client.environment_parameters == {"gravity": 3.0, "wind": 1.0}
    assert before == {"gravity": 2.0, "wind": 1.0}


def test_parameters_that_do_not_change_stay_the_same_object(rows_of: RowsOf) -> None:
    world = World([welcome(environment_parameters={"gravity": 2.0}), act_on])
    world.client.connect()
    before = world.client.environment_parameters
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.client.environment_parameters is before


def test_the_unanswered_step_is_sent_again_under_its_old_number(rows_of: RowsOf) -> None:
    world = World(
        [welcome("abc"), act_on, BrokenStreamError("cut")],
        [welcome("abc", resumed=True), act_on, act_on],
    )
    world.client.connect()
    timesteps = {"point": rows_of(POINT, FIRST, FIRST)}
    world.client.exchange(timesteps)
    assert len(world.client.exchange(timesteps)["point"]) == 2
    world.client.exchange(timesteps)
    assert list(world.said()) == ["hello", "step 1", "step 2", "hello", "step 2", "step 3"]
    first, second = (connection.received[0].hello for connection in world.opened)
    assert second.resume_session_id == "abc"
    assert second.instance_id == first.instance_id


def test_a_broken_stream_is_let_go_without_goodbye(rows_of: RowsOf) -> None:
    world = World([welcome(), BrokenStreamError("cut")], [welcome(resumed=True), act_on])
    world.client.connect()
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert "goodbye" not in list(world.said())
    assert world.opened[0].ended_after_s == 0.0


def test_the_first_redial_comes_at_once(rows_of: RowsOf) -> None:
    world = World([welcome(), BrokenStreamError("cut")], [welcome(resumed=True), act_on])
    world.client.connect()
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.now_s == 0.0


def test_a_trainer_that_is_away_is_dialled_until_it_is_back(rows_of: RowsOf) -> None:
    nobody: list[Script] = [[BrokenStreamError("refused")] for _ in range(5)]
    world = World([welcome(), BrokenStreamError("cut")], *nobody, [welcome(resumed=True), act_on])
    world.client.connect()
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert len(world.opened) == 7
    assert 0.0 < world.now_s < 60.0


def test_a_trainer_that_stays_away_is_given_up_with_the_usual_causes(rows_of: RowsOf) -> None:
    world = World([welcome(), BrokenStreamError("cut")], reconnect_s=30.0)
    world.client.connect()
    with pytest.raises(
        ConnectionLostError,
        match=r"trainer:1 within 30 s \(nobody there\).*causes.*not running.*TLS",
    ):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.now_s == pytest.approx(30.0)


def test_a_trainer_that_breaks_at_every_step_is_given_up_too(rows_of: RowsOf) -> None:
    broken: list[Script] = [
        [welcome(resumed=True), BrokenStreamError("UNKNOWN: bug")] for _ in range(200)
    ]
    world = World([welcome(), BrokenStreamError("cut")], *broken, reconnect_s=30.0)
    world.client.connect()
    with pytest.raises(ConnectionLostError, match="UNKNOWN: bug"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.now_s == pytest.approx(30.0)
    assert len(world.opened) < 60


@pytest.mark.parametrize(
    "second", [BrokenStreamError("UNAVAILABLE: cut"), close(pb.CLOSE_REASON_STOPPED)]
)
def test_a_stream_that_held_for_long_ends_the_trouble_before_it(
    second: Answer, rows_of: RowsOf
) -> None:
    """The same Step waits for its Act over both breaks, which are an hour apart."""

    def an_hour_later(_: pb.ConnectRequest) -> pb.ConnectResponse:
        world.now_s += 3600.0
        if isinstance(second, Exception):
            raise second
        assert isinstance(second, pb.ConnectResponse)
        return second

    nobody: list[Script] = [[BrokenStreamError("refused")] for _ in range(4)]
    world = World(
        [welcome(), BrokenStreamError("cut")],
        [welcome(resumed=True), an_hour_later],
        *nobody,
        [welcome(resumed=True), act_on],
    )
    world.client.connect()
    assert len(world.client.exchange({"point": rows_of(POINT, FIRST)})["point"]) == 1
    assert len(world.opened) == 7
    assert list(world.said()).count("step 1") == 3


def test_a_stream_that_is_given_up_for_its_silence_ends_the_trouble_before_it(
    rows_of: RowsOf,
) -> None:
    """No stream holds for 10 s, and together they take longer than it dials."""

    def is_silent(_: pb.ConnectRequest) -> pb.ConnectResponse:
        world.now_s += 9.0
        raise SilentStreamError("no Act came")

    mute: list[Script] = [[welcome(resumed=True), is_silent] for _ in range(8)]
    world = World([welcome(), is_silent], *mute, [welcome(resumed=True), act_on])
    world.client.connect()
    assert len(world.client.exchange({"point": rows_of(POINT, FIRST)})["point"]) == 1


def test_a_file_that_is_renewed_while_it_is_dialled_again_is_read_later(rows_of: RowsOf) -> None:
    world = World([welcome(), BrokenStreamError("cut")], [welcome(resumed=True), act_on])
    world.client.connect()
    world.fault += ["token file t is empty", "cannot read token file t"]
    assert len(world.client.exchange({"point": rows_of(POINT, FIRST)})["point"]) == 1
    assert world.fault == []
    other = World([welcome()])
    other.fault.append("token file t is empty")
    with pytest.raises(OptionError, match="token file t is empty"):
        other.client.connect()


def test_a_file_that_is_renewed_while_a_trainer_is_awaited_is_read_later() -> None:
    def while_it_is_renewed(_: pb.ConnectRequest) -> pb.ConnectResponse:
        world.fault.append("token file t is empty")
        raise BrokenStreamError("nobody there")

    world = World([while_it_is_renewed], [welcome()])
    assert world.client.connect().session_id == "session"
    assert (world.fault, len(world.opened)) == ([], 2)


def test_connect_waits_for_a_trainer_that_is_not_up_yet() -> None:
    nobody: list[Script] = [[BrokenStreamError("refused")] for _ in range(3)]
    world = World(*nobody, [welcome("abc")])
    assert world.client.connect().session_id == "abc"
    assert world.now_s > 0.0


def test_connect_gives_up_after_its_time() -> None:
    world = World(connect_s=20.0)
    with pytest.raises(ConnectionLostError, match=r"no trainer answered at trainer:1 within 20 s"):
        world.client.connect()
    assert world.now_s == pytest.approx(20.0)


def test_a_forgotten_session_is_told_and_a_new_one_begins(rows_of: RowsOf) -> None:
    world = World(
        [welcome("old"), act_on, BrokenStreamError("cut")],
        [welcome("new", seed=6), act_on],
    )
    world.client.connect()
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    with pytest.raises(SessionLostError, match=r"no longer knows session old.*FIRST rows"):
        world.client.exchange({"point": rows_of(POINT, MID)})
    assert world.client.welcome.session_id == "new"
    assert world.client.welcome.seed == 6
    world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert list(world.said()) == ["hello", "step 1", "step 2", "hello", "step 1"]


def test_a_refusal_is_told_in_the_trainers_words() -> None:
    world = World([RefusedError("wrong token (UNAUTHENTICATED)")])
    with pytest.raises(RefusedError, match="trainer:1 refused 'sim': wrong token"):
        world.client.connect()


def test_a_hello_that_is_refused_would_be_refused_again_unless_there_was_no_room(
    rows_of: RowsOf,
) -> None:
    with pytest.raises(MisfitError, match="refused 'sim': wrong token"):
        World([RefusedError("wrong token")]).client.connect()
    with pytest.raises(NoRoomError, match="refused 'sim': 8 of 8"):
        World([NoRoomError("8 of 8")]).client.connect()
    world = World([welcome(), RefusedError("row 3 holds nan")])
    with pytest.raises(RefusedError) as refusal:
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert not isinstance(refusal.value, MisfitError)


def test_a_step_that_the_trainer_would_not_take_is_not_sent(rows_of: RowsOf) -> None:
    # A row has 8 + 1 + 4 + 4 = 17 bytes; so many rows are 17,000, and their frame is some more.
    rows = rows_of(POINT, *[MID] * 1000)
    world = World([welcome(max_message_bytes=16_999), act_on])
    with pytest.raises(
        MisfitError,
        match=r"Step 1 of 'sim' has 17,0\d\d bytes, and the trainer takes messages of up to 16,999"
        r"; send fewer agents .* smaller images, or raise server.max_message_mib",
    ):
        world.client.exchange({"point": rows})
    # Nothing is lost: the session goes on with a shorter step of the same number.
    assert len(world.client.exchange({"point": rows_of(POINT, MID)})["point"]) == 1
    assert list(world.said()) == ["hello", "step 1"]


def test_a_mask_that_allows_everything_is_not_counted_for_it_is_not_sent(rows_of: RowsOf) -> None:
    # 13 + 4 bytes a row, and a mask of 100 that `rows_of` fills.
    spec = BehaviourSpec("point", POINT.observations, ActionSpec(branches=(100,)))
    client = TrainerClient(
        "trainer:1",
        [spec],
        simulator="sim",
        open_connection=lambda: ScriptedConnection(
            [welcome(max_message_bytes=2000), lambda request: act(spec, request.step)]
        ),
    )
    assert len(client.exchange({"point": rows_of(spec, *[MID] * 100)})["point"]) == 100


def test_a_refusal_is_not_dialled_again(rows_of: RowsOf) -> None:
    world = World([welcome(), RefusedError("row 3 holds nan")])
    world.client.connect()
    with pytest.raises(RefusedError, match="row 3 holds nan"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert len(world.opened) == 1
    assert world.opened[0].ended_after_s == 0.0


def test_after_a_refusal_there_is_no_goodbye() -> None:
    world = World([welcome(), RefusedError("no")])
    with pytest.raises(RefusedError), world.client as client:
        client.connect()
        client.exchange({})
    assert list(world.said()) == ["hello", "step 1"]


def test_a_version_that_the_client_does_not_speak_is_refused() -> None:
    answer = welcome()
    answer.welcome.version = 2
    with pytest.raises(RefusedError, match="chose protocol 2, this simulator speaks 1; install"):
        World([answer]).client.connect()


def test_an_act_for_another_step_is_refused(rows_of: RowsOf) -> None:
    world = World([welcome(), act(POINT, pb.Step(sequence=9))])
    world.client.connect()
    with pytest.raises(WireError, match="answered step 9 when step 1 was asked"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})


def test_an_act_without_the_behaviour_asked_for_is_refused(rows_of: RowsOf) -> None:
    world = World([welcome(), act(POINT, pb.Step(sequence=1))])
    world.client.connect()
    with pytest.raises(WireError, match="'point', continuous actions has 0 bytes; expected 4"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})


def test_a_second_welcome_is_refused(rows_of: RowsOf) -> None:
    world = World([welcome(), welcome()])
    world.client.connect()
    with pytest.raises(WireError, match="second Welcome"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})


def test_an_act_in_place_of_welcome_is_refused() -> None:
    with pytest.raises(WireError, match="expected a Welcome"):
        World([act(POINT, pb.Step(sequence=1))]).client.connect()


def test_completion_ends_a_with_block_quietly_and_with_goodbye(rows_of: RowsOf) -> None:
    world = World([welcome(), close(pb.CLOSE_REASON_COMPLETED, "trained")])
    reached = False
    with world.client as client:
        client.connect()
        client.exchange({"point": rows_of(POINT, FIRST)})
        reached = True
    assert not reached
    assert list(world.said()) == ["hello", "step 1", "goodbye"]


def test_completion_outside_a_with_block_is_an_exception(rows_of: RowsOf) -> None:
    world = World([welcome(), close(pb.CLOSE_REASON_COMPLETED, "trained")])
    world.client.connect()
    with pytest.raises(TrainerClosed, match="trainer:1 is done: trained"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})


def test_completion_may_come_in_place_of_welcome() -> None:
    with pytest.raises(TrainerClosed, match="CLOSE_REASON_COMPLETED"):
        World([close(pb.CLOSE_REASON_COMPLETED)]).client.connect()


def test_a_trainer_that_stopped_is_awaited_without_goodbye(rows_of: RowsOf) -> None:
    world = World(
        [welcome("abc"), close(pb.CLOSE_REASON_STOPPED, "SIGTERM")],
        [BrokenStreamError("refused")],
        [welcome("abc", resumed=True), act_on],
    )
    world.client.connect()
    assert len(world.client.exchange({"point": rows_of(POINT, FIRST)})["point"]) == 1
    assert list(world.said()) == ["hello", "step 1", "hello", "hello", "step 1"]


def test_a_trainer_that_stopped_and_stays_away_is_an_ordinary_end(rows_of: RowsOf) -> None:
    world = World([welcome(), close(pb.CLOSE_REASON_STOPPED, "SIGTERM")], reconnect_s=10.0)
    world.client.connect()
    with pytest.raises(TrainerClosed, match=r"stopped and did not come back"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.now_s == pytest.approx(10.0)


def test_without_time_to_reconnect_a_stop_is_the_end(rows_of: RowsOf) -> None:
    world = World([welcome(), close(pb.CLOSE_REASON_STOPPED, "SIGTERM")], reconnect_s=0.0)
    world.client.connect()
    with pytest.raises(TrainerClosed, match="SIGTERM"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert list(world.said()) == ["hello", "step 1", "goodbye"]


def test_a_launched_simulator_ends_with_its_trainer_unless_it_says_otherwise(
    rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN_RECONNECT_S", "0")
    world = World([welcome(), close(pb.CLOSE_REASON_STOPPED, "SIGTERM")], reconnect_s=None)
    world.client.connect()
    with pytest.raises(TrainerClosed, match="SIGTERM"):
        world.client.exchange({"point": rows_of(POINT, FIRST)})
    assert world.now_s == 0.0


def test_without_time_to_reconnect_a_broken_stream_is_dialled_once_more(rows_of: RowsOf) -> None:
    world = World(
        [welcome(), BrokenStreamError("cut")], [welcome(resumed=True), act_on], reconnect_s=0.0
    )
    world.client.connect()
    assert len(world.client.exchange({"point": rows_of(POINT, FIRST)})["point"]) == 1


def test_leaving_says_why_and_waits_for_the_trainer() -> None:
    world = World([welcome()])
    world.client.connect()
    world.client.close(reason="enough")
    assert world.opened[0].received[-1].goodbye.reason == "enough"
    assert world.opened[0].ended_after_s > 0.0


def test_leaving_twice_says_goodbye_once() -> None:
    world = World([welcome()])
    world.client.connect()
    world.client.close()
    world.client.close()
    assert list(world.said()) == ["hello", "goodbye"]


def test_leaving_without_having_joined_says_nothing() -> None:
    world = World()
    world.client.close()
    assert world.opened == []


def test_an_error_in_the_simulator_is_told_to_the_trainer_and_goes_on() -> None:
    world = World([welcome()])
    with pytest.raises(ZeroDivisionError), world.client as client:
        client.connect()
        np.float64(1.0) / (1 // 0)
    assert world.opened[0].received[-1].goodbye.reason.startswith("ZeroDivisionError: ")


def test_a_client_that_left_may_join_anew(rows_of: RowsOf) -> None:
    world = World([welcome("one"), act_on], [welcome("two"), act_on])
    for _ in range(2):
        world.client.connect()
        world.client.exchange({"point": rows_of(POINT, FIRST)})
        world.client.close()
    assert world.opened[1].received[0].hello.resume_session_id == ""
    assert list(world.said()) == 2 * ["hello", "step 1", "goodbye"]


@pytest.mark.parametrize("address", ["localhost", "", ":50051", "localhost:http", "http://host"])
def test_an_address_that_is_none_is_refused_before_anything_is_dialled(address: str) -> None:
    with pytest.raises(OptionError, match="is no address; expected HOST:PORT"):
        TrainerClient(address, [POINT], simulator="sim")


@pytest.mark.parametrize("address", ["localhost:1", "[::1]:50051", "10.0.0.7:1", "unix:/tmp/x"])
def test_every_kind_of_address_is_taken(address: str) -> None:
    TrainerClient(address, [POINT], simulator="sim")


class TestTwoUnansweredSteps:
    """What a program needs that keeps two Steps in flight."""

    @staticmethod
    def world(script: Script, *resumed: Script, allowed: int = 2) -> World:
        """Scripts without their Welcomes; the second one and later ones resume the session."""
        first = welcome(max_unanswered_steps=2 if resumed else allowed)
        again = welcome(max_unanswered_steps=allowed, resumed=True)
        return World(
            [first, *script], *([again, *each] for each in resumed), max_unanswered_steps=2
        )

    def test_hello_asks_and_welcome_allows(self) -> None:
        world = self.world([], allowed=2)
        assert world.client.max_unanswered_steps == 1
        world.client.connect()
        assert world.opened[0].received[0].hello.max_unanswered_steps == 2
        assert world.client.max_unanswered_steps == 2

    @pytest.mark.parametrize("allowed", [0, 1])
    def test_a_trainer_that_allows_one_is_obeyed(self, rows_of: RowsOf, allowed: int) -> None:
        world = self.world([act_on], allowed=allowed)
        world.client.connect()
        assert world.client.max_unanswered_steps == 1
        world.client.send({"point": rows_of(POINT, FIRST)})
        with pytest.raises(OutOfTurnError, match="1 had no actions, and trainer:1 allows 1 at a"):
            world.client.send({"point": rows_of(POINT, FIRST)})
        assert len(world.client.receive()["point"]) == 1

    def test_actions_come_in_the_order_of_the_steps(self, rows_of: RowsOf) -> None:
        world = self.world([1, 2, 3])
        world.client.send({"point": rows_of(POINT, FIRST)})
        world.client.send({"point": rows_of(POINT, FIRST, FIRST)})
        assert len(world.client.receive()["point"]) == 1
        world.client.send({"point": rows_of(POINT, MID)})
        assert len(world.client.receive()["point"]) == 2
        assert len(world.client.receive()["point"]) == 1
        assert sequences(world, 0) == [1, 2, 3]

    def test_both_are_sent_again_in_their_order_where_a_stream_broke(self, rows_of: RowsOf) -> None:
        world = self.world(
            [1, BrokenStreamError("cut")],
            [BrokenStreamError("cut again")],
            [1, 2],
        )
        world.client.send({"point": rows_of(POINT, FIRST)})
        world.client.send({"point": rows_of(POINT, FIRST, FIRST)})
        world.client.receive()
        world.client.send({"point": rows_of(POINT, MID)})
        assert len(world.client.receive()["point"]) == 2
        assert len(world.client.receive()["point"]) == 1
        assert [sequences(world, stream) for stream in range(3)] == [[1, 2, 3], [2, 3], [2, 3]]

    def test_a_trainer_that_allows_one_from_now_on_is_sent_one_after_the_other(
        self, rows_of: RowsOf
    ) -> None:
        # Each answers the newest Step on the stream, so the second one came after the first Act.
        world = self.world([BrokenStreamError("cut")], [act_on, act_on], allowed=1)
        world.client.send({"point": rows_of(POINT, FIRST)})
        world.client.send({"point": rows_of(POINT, FIRST, FIRST)})
        assert len(world.client.receive()["point"]) == 1
        assert len(world.client.receive()["point"]) == 2
        assert sequences(world, 1) == [1, 2]

    def test_a_forgotten_session_forgets_both(self, rows_of: RowsOf) -> None:
        anew = welcome("another", max_unanswered_steps=2)
        world = World(
            [welcome(max_unanswered_steps=2), BrokenStreamError("cut")],
            [anew, act_on],
            max_unanswered_steps=2,
        )
        world.client.send({"point": rows_of(POINT, FIRST)})
        world.client.send({"point": rows_of(POINT, FIRST)})
        with pytest.raises(SessionLostError):
            world.client.receive()
        with pytest.raises(OutOfTurnError, match="no step was sent before"):
            world.client.receive()
        world.client.exchange({"point": rows_of(POINT, FIRST)})
        assert sequences(world, 1) == [1]

    def test_exchange_is_for_one_that_has_none_in_flight(self, rows_of: RowsOf) -> None:
        world = self.world([act_on])
        world.client.send({"point": rows_of(POINT, FIRST)})
        with pytest.raises(OutOfTurnError, match="while 1 steps have no actions yet"):
            world.client.exchange({"point": rows_of(POINT, FIRST)})

    def test_a_step_that_is_too_long_leaves_the_others_as_they_are(self, rows_of: RowsOf) -> None:
        world = World(
            [welcome(max_unanswered_steps=2, max_message_bytes=150), 1, 2],
            max_unanswered_steps=2,
        )
        world.client.send({"point": rows_of(POINT, FIRST)})
        with pytest.raises(MisfitError, match="Step 2 of 'sim' has"):
            world.client.send({"point": rows_of(POINT, *[FIRST] * 50)})
        world.client.send({"point": rows_of(POINT, FIRST)})
        world.client.receive()
        world.client.receive()
        assert sequences(world, 0) == [1, 2]

    def test_none_at_all_cannot_be_asked_for(self) -> None:
        with pytest.raises(OptionError, match="max_unanswered_steps is 0; it must be at least 1"):
            TrainerClient("trainer:1", [POINT], simulator="sim", max_unanswered_steps=0)


def sequences(world: World, stream: int) -> list[int]:
    """The numbers of the Steps that a stream brought."""
    received = world.opened[stream].received
    return [each.step.sequence for each in received if each.HasField("step")]
