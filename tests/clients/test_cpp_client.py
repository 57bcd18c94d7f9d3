"""The C++ client in a conversation: it plays, comes back, asks, obeys refusals, and leaves."""

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from entrain_envs.wire import trainer_pb2 as pb
from support.websocket_script import Line, Script, scripted

COMPLETED, STOPPED = pb.CLOSE_REASON_COMPLETED, pb.CLOSE_REASON_STOPPED
HELD, NOT_HELD = pb.STEP_STANDING_HELD, pb.STEP_STANDING_NOT_HELD
ANSWERED = pb.STEP_STANDING_ANSWERED
OVER = {
    "completed": 1, "stopped": 2, "left": 3, "refused": 4, "lost": 5, "misused": 6, "failed": 7,
}  # fmt: skip


@dataclass(frozen=True)
class Played:
    """What a simulator did and said."""

    code: int
    said: dict[str, str]
    """First word of each line, and the rest of the last such line."""
    begun: int
    log: str

    @property
    def over(self) -> tuple[int, str]:
        number, _, words = self.said["over"].partition(" ")
        return int(number), words


Play = Callable[..., Played]


@pytest.fixture
def play(cpp_probe: Path) -> Play:
    """Runs the simulator until it ends."""

    def run(address: str, **options: object) -> Played:
        words = [f"{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            [str(cpp_probe), "play", address, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=300.0,
        )
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        said = {word: rest for word, _, rest in lines}
        assert "over" in said, done.stderr
        begun = sum(word == "begin" for word, _, _ in lines)
        return Played(done.returncode, said, begun, done.stderr)

    return run


def complete(steps: int, heard: list[pb.Step] | None = None) -> Callable[[Line], None]:
    """A whole session: so many Steps are answered, and training is done."""

    def talk(line: Line) -> None:
        line.welcome(environment_parameters={"gravity": 9.5})
        answered = line.serve_steps(steps)
        if heard is not None:
            heard.extend(answered)
        if len(answered) == steps:
            line.receive()
            assert line.close(COMPLETED) == "the trainer closed the session"

    return talk


@pytest.mark.parametrize("use", ["block", "poll"])
def test_it_plays_until_training_is_done(play: Play, use: str) -> None:
    steps: list[pb.Step] = []
    with scripted(complete(8, steps)) as script:
        played = play(script.url, steps=99, use=use)
        assert script.is_over
    assert played.code == 0
    assert played.over == (OVER["completed"], "the trainer is done: done")
    assert played.said["begin"] == "5 9.5"
    # The last of three runners acts by row 2; a chooser takes choice 1 of each branch.
    assert played.said["acted"] == "3 2 1"
    assert [step.sequence for step in steps] == list(range(1, 9))
    check_rows(steps)


def check_rows(steps: list[pb.Step]) -> None:
    """What the probe's world sends; see World in probe.cpp."""
    for number, step in enumerate(steps, start=1):
        runner, chooser = step.behaviours
        begins, ends = (number - 1) % 5 == 0, (number - 1) % 5 == 0 and number > 1
        types = bytes(([3, 1] if ends else [1] if begins else [2]) * 3)
        assert runner.step_type == types
        assert runner.agent_id == struct.pack(
            f"<{len(types)}q", *(agent for agent in range(3) for _ in range(len(types) // 3))
        )
        rewards = [{1: 0.0, 2: 0.5, 3: 1.0}[kind] for kind in types]
        assert runner.reward == struct.pack(f"<{len(types)}f", *rewards)
        places = []
        for agent in range(3):
            places += [number, 99, number, agent] if ends else [number, agent]
        assert runner.observations == [struct.pack(f"<{len(places)}f", *places)]
        assert not runner.action_mask
        assert chooser.observations == [bytes([0, 0, 0, number]), struct.pack("<f", number)]
        mask = [1, 1, 1, 1, 0]
        mask[(number - 1) % 5 % 3] = 0
        assert chooser.action_mask == bytes(mask)


@pytest.mark.parametrize("use", ["block", "poll"])
def test_after_the_first_steps_nothing_is_allocated(play: Play, use: str) -> None:
    with scripted(complete(300)) as script:
        played = play(script.url, steps=200, use=use)
    assert played.said["allocated"] == "0"
    assert played.over == (OVER["left"], "left: done")


def test_the_token_goes_as_a_header_and_no_cookie_does(play: Play) -> None:
    with scripted(complete(1)) as script:
        assert play(script.url, token="s3cret/+").code == 0
        path, headers = script.requests[0]
    assert path == "/simulate"
    assert headers["Authorization"] == "Bearer s3cret/+"
    assert "Cookie" not in headers
    assert "Origin" not in headers


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 405, 429])
def test_a_status_that_would_come_again_ends_it(play: Play, status: int) -> None:
    with scripted(statuses=(status,)) as script:
        played = play(script.url)
        assert len(script.requests) == 1
    assert played.code == 78
    expected = f"refused 'probe': HTTP {status}: no, by {status}"
    if status not in {400, 401, 403, 429}:
        # It is no trainer, or one without WebSocket.
        expected += "; check address and port, and the trainer's option server.websocket"
    assert played.over == (OVER["refused"], expected)


def test_it_dials_again_after_503(play: Play) -> None:
    with scripted(complete(1), statuses=(503, 503)) as script:
        played = play(script.url)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])
    assert "HTTP 503: no, by 503" in played.log


def test_it_comes_back_after_a_broken_stream_and_sends_the_step_again(play: Play) -> None:
    lost = b""

    def breaks(line: Line) -> None:
        nonlocal lost
        line.welcome()
        line.serve_steps(2)
        lost = line.raw()
        line.cut()

    def goes_on(line: Line) -> None:
        hello = line.welcome(resumed=True, environment_parameters={"gravity": 1.25})
        assert hello.resume_session_id == "session"
        again = line.raw()
        assert again == lost
        line.act(pb.ConnectRequest.FromString(again).step)
        line.serve_steps(1)
        line.receive()
        line.close(COMPLETED)

    with scripted(breaks, goes_on) as script:
        played = play(script.url, steps=99)
        assert script.is_over
    assert (played.code, played.over[0], played.begun) == (0, OVER["completed"], 1)
    assert "session session resumed" in played.log
    assert played.said["parameter"] == "1.25"


def test_a_trainer_that_breaks_each_stream_of_an_idle_game_is_given_up(play: Play) -> None:
    """No Step waits, so that no Act can end the trouble."""

    def breaks(line: Line) -> None:
        line.welcome()
        line.serve_steps(1)
        line.cut()

    def breaks_again(line: Line) -> None:
        line.welcome(resumed=True)
        line.cut()

    with scripted(breaks, *[breaks_again] * 100) as script:
        played = play(script.url, use="poll", steps=1, idles=1, reconnect_s=0.5)
        # At once, then after about 0.1, 0.2 and 0.4 seconds.
        assert len(script.requests) < 10
    assert (played.code, played.over[0]) == (1, OVER["lost"])


@pytest.mark.clients
def test_a_stream_that_held_ends_the_trouble_before_it(play: Play) -> None:
    """The same Step waits for its Act over both breaks; the second is not the first one's fault."""

    def breaks(line: Line) -> None:
        line.welcome()
        line.raw()
        line.cut()

    def holds(line: Line) -> None:
        line.welcome(resumed=True)
        line.raw()
        threading.Event().wait(10.2)
        line.cut()

    def goes_on(line: Line) -> None:
        line.welcome(resumed=True)
        line.serve_steps(1)
        line.receive()
        line.close(COMPLETED)

    with scripted(breaks, holds, goes_on) as script:
        played = play(script.url, steps=99, reconnect_s=0.3)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])


def test_the_instance_is_the_same_when_it_dials_again(play: Play) -> None:
    hellos: list[pb.Hello] = []

    def breaks(line: Line) -> None:
        hellos.append(line.welcome())
        line.cut()

    def refuses(line: Line) -> None:
        hellos.append(line.receive().hello)
        line.refuse(9, "enough")

    with scripted(breaks, refuses) as script:
        assert play(script.url).code == 78
        assert script.is_over
    first, second = hellos
    assert first.instance_id == second.instance_id
    assert re.fullmatch("[0-9a-f]{32}", first.instance_id)
    assert (first.min_version, first.max_version, first.simulator) == (1, 1, "probe")


def test_a_simulator_for_evaluations_says_so_in_each_hello(play: Play) -> None:
    roles: list[int] = []

    def breaks(line: Line) -> None:
        roles.append(line.welcome().role)
        line.raw()
        line.cut()

    def goes_on(line: Line) -> None:
        roles.append(line.welcome(resumed=True).role)
        line.serve_steps(1)
        line.receive()
        line.close(COMPLETED)

    with scripted(breaks, goes_on) as script:
        assert play(script.url, role="evaluation", steps=99).code == 0
        assert script.is_over
    assert roles == [pb.ROLE_EVALUATION, pb.ROLE_EVALUATION]


def test_a_trainer_that_knows_of_no_roles_is_left_at_once(play: Play) -> None:
    def old(line: Line) -> None:
        line.welcome(revision=2)
        assert line.receive().goodbye.reason == "the trainer knows of no roles"

    with scripted(old) as script:
        played = play(script.url, role="evaluation")
        assert script.is_over
    assert (played.code, played.over[0]) == (78, OVER["refused"])
    assert "revision 2, which would learn from this simulator" in played.over[1]


def test_a_role_that_there_is_not_is_told_so(play: Play) -> None:
    played = play("localhost:1", role="judge")
    expected = "role is 'judge'; it must be training or evaluation"
    assert (played.code, played.over) == (78, (OVER["misused"], expected))


def test_a_trainer_that_forgot_it_gets_a_new_beginning(play: Play) -> None:
    def breaks(line: Line) -> None:
        line.welcome()
        line.serve_steps(3)
        line.raw()
        line.cut()

    def begins_anew(line: Line) -> None:
        line.welcome("another")
        (step,) = line.serve_steps(1)
        assert step.sequence == 1
        assert set(step.behaviours[0].step_type) == {pb.STEP_TYPE_FIRST}
        line.receive()
        line.close(COMPLETED)

    with scripted(breaks, begins_anew) as script:
        played = play(script.url, steps=99)
        assert script.is_over
    assert (played.code, played.begun) == (0, 2)
    assert "no longer knows session session" in played.log


@pytest.mark.parametrize(
    ("at", "ending", "code"), [("Hello", "refused", 78), ("Step", "failed", 1)]
)
def test_a_refusal_ends_it_with_the_trainers_words(
    play: Play, at: str, ending: str, code: int
) -> None:
    """A Hello would be refused again; a Step's fault need not come again."""

    def refuses(line: Line) -> None:
        if at == "Step":
            line.welcome()
        line.receive()
        line.refuse(3, "reward of agent 2 is NaN")

    with scripted(refuses) as script:
        played = play(script.url)
        assert script.is_over
    assert (played.code, played.over) == (
        code,
        (OVER[ending], "refused 'probe': reward of agent 2 is NaN"),
    )


@pytest.mark.parametrize("code", [4, 10, 13, 14])
def test_a_refusal_that_may_pass_is_dialled_again(play: Play, code: int) -> None:
    def refuses(line: Line) -> None:
        line.receive()
        line.refuse(code, "not now")

    with scripted(refuses, complete(1)) as script:
        played = play(script.url)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])


@pytest.mark.parametrize(
    ("code", "dials", "exit_code"),
    [
        (1003, 1, 78),
        (4009, 1, 78),
        # A limit of the trainer is reached: there may be room later.
        (1008, 1, 1),
        (1009, 1, 1),
        (4008, 1, 1),
        (1002, 2, 0),
        (1011, 2, 0),
    ],
)
def test_a_close_code_alone_says_whether_to_dial_again(
    play: Play, code: int, dials: int, exit_code: int
) -> None:
    def closes(line: Line) -> None:
        line.receive()
        line.socket.close(code, "words")

    with scripted(closes, complete(1)) as script:
        played = play(script.url)
        assert len(script.requests) == dials
    assert played.code == exit_code


def test_a_trainer_without_room_may_have_some_later(play: Play) -> None:
    def refuses(line: Line) -> None:
        line.receive()
        line.refuse(8, "this trainer takes 2 sessions")

    with scripted(refuses) as script:
        played = play(script.url)
        assert script.is_over
    words = "refused 'probe': this trainer takes 2 sessions"
    assert (played.code, played.over) == (1, (OVER["failed"], words))


@pytest.mark.parametrize("at", ["Hello", "Step"])
def test_a_frame_that_was_damaged_is_dialled_again(play: Play, at: str) -> None:
    """One bit makes a text of a message; on another connection it may be whole."""

    def garbles(line: Line) -> None:
        if at == "Step":
            line.welcome()
        line.receive()
        line.socket.send("a text")

    def goes_on(line: Line) -> None:
        line.welcome(resumed=at == "Step")
        line.serve_steps(1)
        line.receive()
        line.close(COMPLETED)

    with scripted(garbles, goes_on) as script:
        played = play(script.url, steps=99)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])
    assert "the trainer sent a text frame; dialling again" in played.log


def test_a_trainer_that_stops_is_waited_for(play: Play) -> None:
    def stops(line: Line) -> None:
        line.welcome()
        line.serve_steps(2)
        line.receive()
        assert line.close(STOPPED, "a checkpoint was saved") == ""

    def comes_back(line: Line) -> None:
        assert line.welcome(resumed=True).resume_session_id == "session"
        (step,) = line.serve_steps(1)
        assert step.sequence == 3
        line.receive()
        line.close(COMPLETED)

    with scripted(stops, comes_back) as script:
        played = play(script.url, steps=99)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])


def test_without_patience_a_trainer_that_stops_ends_it(play: Play) -> None:
    def stops(line: Line) -> None:
        line.welcome()
        line.receive()
        assert line.close(STOPPED) == "the trainer closed the session"

    with scripted(stops) as script:
        played = play(script.url, reconnect_s=0)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["stopped"])


def test_patience_with_a_trainer_that_is_gone_ends(play: Play) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        played = play(f"localhost:{taken.getsockname()[1]}", connect_s=0.3)
    assert (played.code, played.over[0]) == (1, OVER["lost"])
    assert "no trainer answered within 0 s (Connection refused)" in played.over[1]


def test_a_silent_trainer_that_has_the_step_is_waited_for(play: Play) -> None:
    asked = threading.Event()

    def thinks(line: Line) -> None:
        line.welcome()
        step = line.receive().step
        assert asked.wait(60.0)
        line.act(step)
        line.receive()
        line.close(COMPLETED)

    with scripted(thinks, inquiries=(HELD, HELD)) as script:
        watcher = threading.Thread(target=wait_for_inquiries, args=(script, 2, asked))
        watcher.start()
        played = play(script.url, steps=99, silence_s=0.1)
        watcher.join()
        assert script.is_over
        assert [(ask.session_id, ask.sequence) for ask in script.inquired[:2]] == [
            ("session", 1)
        ] * 2
    assert (played.code, played.over[0]) == (0, OVER["completed"])


def wait_for_inquiries(script: Script, count: int, then: threading.Event) -> None:
    pause = threading.Event()
    while len(script.inquired) < count:
        pause.wait(0.01)
    then.set()


@pytest.mark.parametrize(
    ("standing", "why", "answer_s"),
    [
        (NOT_HELD, "and the trainer has not received the Step", 60.0),
        # So long it waits for the Act, too.
        (ANSWERED, "although the trainer has sent it", 1.0),
    ],
)
def test_a_step_that_the_trainer_has_not_got_is_sent_again(
    play: Play, standing: pb.StepStanding, why: str, answer_s: float
) -> None:
    def never_answers(line: Line) -> None:
        line.welcome()
        line.receive()
        with pytest.raises(ConnectionClosed):
            line.receive()

    def answers(line: Line) -> None:
        line.welcome(resumed=True)
        assert line.serve_steps(1)[0].sequence == 1
        line.receive()
        line.close(COMPLETED)

    with scripted(never_answers, answers, inquiries=(standing,)) as script:
        played = play(script.url, steps=99, silence_s=0.2, answer_s=answer_s)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])
    assert f"no Act came within 0 s, {why}; dialling again" in played.log


def test_each_silence_leaves_all_of_the_time_to_dial_again(play: Play) -> None:
    def never_answers(line: Line) -> None:
        line.welcome(resumed=len(script.requests) > 1)
        line.receive()
        with pytest.raises(ConnectionClosed):
            line.receive()

    def answers(line: Line) -> None:
        line.welcome(resumed=True)
        line.serve_steps(1)
        line.receive()
        line.close(COMPLETED)

    # The second silence, of 0.4 s, is longer than it dials, and no stream has held for 10 s.
    silent = [never_answers] * 2
    with scripted(*silent, answers, inquiries=(NOT_HELD,) * 2) as script:
        played = play(script.url, steps=99, silence_s=0.2, reconnect_s=0.3)
        assert script.is_over
    assert (played.code, played.over[0]) == (0, OVER["completed"])


def test_pings_are_answered_and_parts_put_together(play: Play) -> None:
    def talk(line: Line) -> None:
        line.welcome()
        step = line.receive().step
        assert line.socket.ping(b"are you there").wait(60.0)
        act = pb.Act(sequence=step.sequence)
        act.behaviours.add(behaviour="runner", continuous=bytes(4 * 6))
        act.behaviours.add(behaviour="chooser", discrete=bytes(4 * 2))
        content = pb.ConnectResponse(act=act).SerializeToString()
        line.socket.send([content[:3], b"", content[3:20], content[20:]])
        line.receive()
        line.close(COMPLETED)

    with scripted(talk) as script:
        assert play(script.url, steps=99).code == 0
        assert script.is_over


def test_parameters_change_with_an_act(play: Play) -> None:
    def talk(line: Line) -> None:
        line.welcome(environment_parameters={"gravity": 9.5, "wind": 1.0})
        line.act(line.receive().step, changed_environment_parameters={"gravity": 2.5})
        line.receive()
        line.close(COMPLETED)

    with scripted(talk) as script:
        assert play(script.url, steps=99).said["parameter"] == "2.5"


def test_a_step_that_is_too_long_is_not_sent(play: Play) -> None:
    def talk(line: Line) -> None:
        line.welcome(max_message_bytes=200)
        assert line.receive().goodbye.reason == "the Step is too long"

    with scripted(talk) as script:
        played = play(script.url, agents=100)
        assert script.is_over
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert "raise the trainer's server.max_message_mib" in played.over[1]


def test_an_act_longer_than_this_client_takes_ends_it_for_good(play: Play) -> None:
    def talk(line: Line) -> None:
        line.welcome()
        line.act(line.receive().step, changed_environment_parameters={"x" * 2000: 1.0})

    with scripted(talk) as script:
        played = play(script.url, longest=1000)
        assert len(script.requests) == 1
    words = (
        "the trainer and 'probe' do not fit: a message is too long (this client takes up to 1000 "
        "bytes); send fewer agents in a Step, or raise Options::max_message_bytes"
    )
    assert (played.code, played.over) == (78, (OVER["refused"], words))


def test_as_many_numbers_as_a_step_may_have_go_with_it(play: Play) -> None:
    steps: list[pb.Step] = []
    with scripted(complete(2, steps)) as script:
        played = play(script.url, steps=99, reports=10_003)
        assert script.is_over
    numbers = [[(each.name, len(each.values)) for each in step.statistics] for step in steps]
    assert numbers == [[("speed", 10_000)]] * 2
    assert played.log.count("more than 10000 values of statistics in one step: some left out") == 1


RUNNERS = pb.BehaviourAct(behaviour="runner", continuous=bytes(4 * 6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence": 9}, "answered Step 9 when Step 1 was asked"),
        ({"behaviours": []}, "the trainer's actions of 'runner' have 0 bytes"),
        (
            {
                "behaviours": [
                    RUNNERS,
                    pb.BehaviourAct(behaviour="chooser", discrete=bytes([3, *[0] * 7])),
                ]
            },
            "the trainer's actions of 'chooser' have choice 3 of branch 0 for agent 7",
        ),
    ],
)
def test_an_act_that_does_not_fit_ends_it(
    play: Play, change: dict[str, object], words: str
) -> None:
    def talk(line: Line) -> None:
        line.welcome()
        line.receive()
        fields = {"sequence": 1, **change}
        line.send(pb.ConnectResponse(act=pb.Act(**fields)))  # type: ignore[arg-type]

    with scripted(talk) as script:
        played = play(script.url)
    # Started again it may go better: bytes may have been damaged on the way.
    assert (played.code, played.over[0]) == (1, OVER["failed"])
    assert words in played.over[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x0a\x02\x08", "sent a message that does not belong here"),
        (b"\x1a\x02\x12\x05", "the trainer sent a damaged Close"),
        (b"\x22\x02\x12\x05", "the trainer sent a damaged Refusal"),
        (b"\x0a\x02\x12\x05", "the trainer sent a damaged Welcome"),
    ],
)
def test_a_damaged_message_ends_it_but_not_for_good(play: Play, content: bytes, words: str) -> None:
    def talk(line: Line) -> None:
        line.receive()
        line.socket.send(content)
        assert line.receive().goodbye.reason == "a message cannot be used"

    with scripted(talk) as script:
        played = play(script.url)
        assert script.is_over
    assert (played.code, played.over[0]) == (1, OVER["failed"])
    assert words in played.over[1]


def test_what_groups_earn_is_not_lost_with_a_trainer_that_knows_none(play: Play) -> None:
    steps: list[pb.Step] = []

    def talk(line: Line) -> None:
        line.welcome(revision=0)
        steps.extend(line.serve_steps(3))

    with scripted(talk) as script:
        assert play(script.url, steps=2, extras=1).code == 0
        assert script.is_over
    runner = steps[1].behaviours[0]
    assert (runner.group_id, runner.group_reward) == (b"", b"")
    # Three runners with 0.5 of their own, and the wanderer, whose group earned 0.25.
    assert struct.unpack("<4f", runner.reward) == (0.5, 0.5, 0.5, 0.25)


@pytest.mark.parametrize("options", [{}, {"deadline": 20_000, "fallback": 1}])
def test_a_kind_that_comes_later_is_too_much_for_an_old_trainer(
    play: Play, options: dict[str, int]
) -> None:
    """It would refuse the rows in words that name neither the cause nor the remedy."""
    words = (
        "behaviour 'later' comes after this simulator has joined, which this trainer is too old "
        "for; declare every behaviour when the client is made, or upgrade the trainer"
    )

    def talk(line: Line) -> None:
        line.welcome(revision=0)
        assert len(line.serve_steps(2)) == 2
        assert line.receive().goodbye.reason == words

    with scripted(talk) as script:
        played = play(script.url, steps=99, extras=1, **options)
        assert script.is_over
    assert (played.code, played.over) == (78, (OVER["refused"], words))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "send was called while a Step has no actions yet"),
        ({"deadline": 20_000, "fallback": 1}, "send was called twice for the same actions"),
    ],
)
def test_a_step_is_sent_once_for_each_news(play: Play, options: dict[str, int], words: str) -> None:
    def talk(line: Line) -> None:
        line.welcome()
        line.receive()
        assert line.receive().goodbye.reason.startswith(words)

    with scripted(talk) as script:
        played = play(script.url, use="poll", twice=1, **options)
        assert script.is_over
    assert (played.code, played.over[0]) == (78, OVER["misused"])


def test_a_token_file_that_is_being_renewed_leaves_the_token_from_before(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("first\n")
    monkeypatch.setenv("ENTRAIN_TOKEN_FILE", str(token_file))

    def breaks(line: Line) -> None:
        line.welcome()
        line.raw()
        token_file.write_text("")
        line.cut()

    def breaks_again(line: Line) -> None:
        line.welcome(resumed=True)
        line.raw()
        token_file.unlink()
        # It asks about the Step, on a connection of its own, and dials again.
        with pytest.raises(ConnectionClosed):
            line.receive()
        token_file.write_text("second\n")

    def goes_on(line: Line) -> None:
        line.welcome(resumed=True)
        line.serve_steps(1)
        line.close(COMPLETED)

    talks = (breaks, breaks_again, goes_on)
    with scripted(*talks, inquiries=(NOT_HELD,)) as script:
        played = play(script.url, steps=99, silence_s=0.2)
        assert script.is_over
    assert played.code == 0
    tokens = [(path, headers["Authorization"]) for path, headers in script.requests]
    assert tokens[:3] == [
        ("/simulate", "Bearer first"),
        ("/simulate", "Bearer first"),
        ("/inquire", "Bearer first"),
    ]


def answered_with(content: bytes) -> Iterator[str]:
    """A server that reads a request and answers every dial with these bytes."""
    with socket.create_server(("localhost", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    line.recv(4096)
                    line.sendall(content)
                    line.shutdown(socket.SHUT_WR)
                    line.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 2x0 no\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP 200: hello"),
        (b"HTTP/1.1 101 x\r\n\r\n", "HTTP 101 without 'Upgrade: websocket'"),
        (UPGRADE + b"Sec-WebSocket-Accept: abc\r\n\r\n", "does not fit the key"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000, "the answer's head is longer than 8 KiB"),
    ],
)
def test_what_is_no_trainer_is_told_so(play: Play, content: bytes, words: str) -> None:
    serving = answered_with(content)
    played = play(next(serving), connect_s=0.2)
    next(serving, None)
    assert played.code == 78
    assert words in played.over[1]


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:x", "ws://a b:1", "[::1:4", "a:0", "ws://a:65536"]
)
def test_what_is_no_address_is_told_so(play: Play, address: str) -> None:
    played = play(address)
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert f"'{address}' is no address" in played.over[1]


def test_no_address_at_all_is_told_so(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENTRAIN_WEBSOCKET", raising=False)
    played = play("")
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert played.log.startswith("entrain: no address was given; expected HOST:PORT")


def test_the_usual_port_is_named(play: Play) -> None:
    assert "ws://localhost (port 80): " in play("ws://localhost", connect_s=0.1).log


def test_a_token_file_that_cannot_be_read_is_told_so(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN_TOKEN_FILE", str(tmp_path / "token"))
    played = play("localhost:1")
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert f"the token file {tmp_path / 'token'} cannot be read" in played.over[1]


@pytest.mark.parametrize("use", ["block", "poll"])
@pytest.mark.parametrize("options", [{}, {"deadline": 20_000, "fallback": 1}])
@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ("agent", "actions().discrete(5) was asked for, and 1 of the agents of 'chooser' have one"),
        ("continuous", "actions().continuous(0) was asked for, and 'chooser' has no continuous"),
        ("actions", "actions(2) was asked for; behaviours given to the client: 2, counted from 0"),
        ("rows", "rows(2) was asked for; behaviours given to the client: 2, counted from 0"),
        ("floats", "observe was given 3 floats for observation 0 of 'runner', which has 2"),
    ],
)
def test_who_asks_for_what_there_is_not_is_told_so(
    play: Play, use: str, options: dict[str, int], asks: str, words: str
) -> None:
    def talk(line: Line) -> None:
        line.welcome()
        line.act(line.receive().step)
        # The trainer's log has these words, too.
        assert line.receive().goodbye.reason.startswith(words)

    with scripted(talk) as script:
        played = play(script.url, use=use, asks=asks, **options)
        assert script.is_over
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert played.over[1].startswith(words)
    assert "joined run 'run'" in played.log


def test_tls_without_an_engine_for_it_is_told_so(play: Play, cpp_probe: Path) -> None:
    if cpp_probe.name == "probe-tls":
        pytest.skip("this build has one")
    played = play("wss://localhost:1")
    assert (played.code, played.over[0]) == (78, OVER["misused"])
    assert "wss:// needs TLS" in played.over[1]


@pytest.mark.parametrize("options", [{}, {"deadline": 1, "fallback": 1}])
def test_clients_in_several_threads_share_nothing(play: Play, options: dict[str, int]) -> None:
    with scripted(*[complete(30)] * 4) as script:
        played = play(script.url, steps=100_000, clients=4, **options)
        assert script.is_over
    assert (played.code, played.begun) == (0, 4)
