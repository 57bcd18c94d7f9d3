"""The Godot 3 addon: its bytes, its rows, and a game that comes back after its connection broke."""

import asyncio
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from entrain.config.run import ServerConfig
from entrain.serving.front import Ending
from entrain_envs.codec import REVISION
from entrain_envs.wire import trainer_pb2 as pb
from support.godot import PACKAGE, Stream, needs_godot, output, project, running, scripted_trainer
from support.native_server import NativeServer

HERE = Path(__file__).parent / "godot"
VECTORS = Path(__file__).parents[2] / "proto" / "vectors"
FIRST, MID, TERMINATED, TRUNCATED = 1, 2, 3, 4


@needs_godot
def test_bytes_are_those_of_the_recorded_vectors(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", PACKAGE / "tests" / "vectors.gd")
    code, said = output(folder, "-s", "vectors.gd", f"--vectors={VECTORS}")
    assert code == 0, said
    assert int(said.split(" vectors, 0 differences")[0].split()[-1]) > 150


async def joined(stream: Stream, **welcome: object) -> pb.Hello:
    """Take the Hello and answer it, as a trainer of today unless told otherwise."""
    hello = (await stream.receive()).hello
    said = {"version": 1, "revision": REVISION, "session_id": "s1", "run_id": "run", **welcome}
    await stream.send(welcome=pb.Welcome(**said))  # type: ignore[arg-type]
    return hello


def rows(step: pb.Step, behaviour: str) -> list[tuple[int, int, float, list[float]]]:
    """Agent, step type, reward and first observation of each row."""
    found = [each for each in step.behaviours if each.behaviour == behaviour]
    if not found:
        return []
    (sent,) = found
    agents = np.frombuffer(sent.agent_id, "<i8").tolist()
    rewards = np.frombuffer(sent.reward, "<f4").tolist()
    seen = np.frombuffer(sent.observations[0], "<f4").reshape(len(agents), -1).tolist()
    return list(zip(agents, sent.step_type, rewards, seen, strict=True))


def answer(step: pb.Step) -> pb.Act:
    """Actions for every row that needs one: 0.25 times the agent's number, and choices 2 and 1."""
    behaviours = []
    for each in step.behaviours:
        agents = np.frombuffer(each.agent_id, "<i8")
        acting = agents[np.isin(np.frombuffer(each.step_type, np.uint8), (FIRST, MID))]
        is_chooser = each.behaviour == "chooser"
        act = pb.BehaviourAct(behaviour=each.behaviour)
        if is_chooser:
            act.discrete = np.tile(np.asarray([2, 1], "<i4"), len(acting)).tobytes()
        else:
            act.continuous = (0.25 * acting).astype("<f4").tobytes()
        behaviours.append(act)
    return pb.Act(sequence=step.sequence, behaviours=behaviours)


async def exchanged(stream: Stream, steps: int) -> list[pb.Step]:
    """Answer so many Steps."""
    received = []
    for _ in range(steps):
        step = (await stream.receive()).step
        received.append(step)
        await stream.send(act=answer(step))
    return received


@needs_godot
@pytest.mark.parametrize("block", [[], ["--longest_block_ms=0"]], ids=["blocks", "stands-still"])
async def test_a_games_rows_follow_the_contract(tmp_path: Path, block: list[str]) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    async with (
        scripted_trainer() as trainer,
        running(folder, "-s", "scene.gd", f"--address={trainer.url}", *block) as game,
    ):
        stream = await trainer.stream()
        hello = await joined(stream, environment_parameters={"gravity": 9.5})
        steps = await exchanged(stream, 7)
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED, message="all done"))
        code, said = await game.ended()

    assert code == 0, said
    assert "all done" in said
    assert 'parameters {"gravity":9.5}' in said
    assert hello.simulator == "game"
    assert [spec.name for spec in hello.behaviours] == ["walker", "chooser"]
    assert list(hello.behaviours[0].action.low) == [-2.0]
    assert list(hello.behaviours[1].action.branches) == [3, 2]

    walkers = [rows(step, "walker") for step in steps]
    # Two ticks between decisions, a step and half a reward in each; done at 5, in the middle.
    assert walkers[0] == [(1, FIRST, 0.0, [0.0, 0.0]), (2, FIRST, 0.0, [0.0, 0.0])]
    assert walkers[1] == [(1, MID, 1.0, [2.0, 2.0]), (2, MID, 1.0, [2.0, 2.0])]
    assert walkers[2] == [(1, MID, 1.0, [4.0, 4.0]), (2, MID, 1.0, [4.0, 4.0])]
    # What it saw when it was done, not a tick later, and not after the reset.
    assert walkers[3] == [
        (1, TERMINATED, 0.5, [5.0, 5.0]),
        (2, TERMINATED, 0.5, [5.0, 5.0]),
        (1, FIRST, 0.0, [0.0, 0.0]),
        (2, FIRST, 0.0, [0.0, 0.0]),
    ]
    # Each was given its own action.
    last = [step.behaviours[0].observations[1] for step in steps]
    assert np.frombuffer(last[1], "<f4").tolist() == [0.25, 0.5]

    choosers = [rows(step, "chooser") for step in steps]
    assert [[row[:2] for row in each] for each in choosers] == [
        [(3, FIRST)],
        [(3, MID)],
        [(3, MID)],
        [(3, TRUNCATED), (3, FIRST)],
        [(3, MID)],
        [(3, MID)],
        [(3, TRUNCATED), (3, FIRST)],
    ]
    assert choosers[1][0][3] == [2.0, 1.0]
    masked = next(each for each in steps[3].behaviours if each.behaviour == "chooser")
    assert masked.action_mask == bytes([1, 0, 1, 1, 1]) * 2

    # The guest comes in tick 6, sends its first row two decisions later and leaves in tick 10.
    guests = [[row[:2] for row in rows(step, "guest")] for step in steps]
    assert guests == [[], [], [], [(4, FIRST)], [(4, MID)], [(4, TRUNCATED)], []]
    assert [spec.name for spec in steps[3].new_behaviours] == ["guest"]
    assert [list(each.values) for each in steps[1].statistics] == [[1.0, 2.0]]
    assert {step.sequence for step in steps} == set(range(1, 8))


@needs_godot
async def test_a_broken_connection_is_dialled_again_and_its_step_sent_again(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    async with (
        scripted_trainer() as trainer,
        running(
            folder, "-s", "scene.gd", ENTRAIN_WEBSOCKET=trainer.url, ENTRAIN_TOKEN="s3cret"
        ) as game,
    ):
        stream = await trainer.stream()
        assert stream.headers["authorization"] == "Bearer s3cret"
        hello = await joined(stream)
        await exchanged(stream, 4)
        unanswered = await stream.receive()
        await stream.break_off()

        stream = await trainer.stream()
        again = await joined(stream, resumed=True)
        assert (again.resume_session_id, again.instance_id) == ("s1", hello.instance_id)
        assert hello.resume_session_id == ""
        # What a Step has declared is in the Hello of a stream that resumes.
        assert [spec.name for spec in again.behaviours] == ["walker", "chooser", "guest"]
        assert await stream.receive() == unanswered
        await stream.send(act=answer(unanswered.step))
        assert (await stream.receive()).step.sequence == 6

        # A trainer that has forgotten the session: all begin anew.
        await stream.break_off()
        stream = await trainer.stream()
        await joined(stream)
        step = (await stream.receive()).step
        assert step.sequence == 1
        assert set(b"".join(each.step_type for each in step.behaviours)) == {FIRST}
        await stream.send(refusal=pb.Refusal(code=3, message="a reward is NaN"))
        await stream.socket.close(4003, "a reward is NaN")
        code, said = await game.ended()
    # Started again, the game may meet no NaN.
    assert code == 1, said
    assert "refuses this game: a reward is NaN" in said
    assert f"no connection with the trainer at {trainer.url} (" in said
    assert "session s1 resumed" in said


@needs_godot
async def test_a_trainer_that_stopped_is_waited_for(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    async with (
        scripted_trainer() as trainer,
        running(folder, "-s", "scene.gd", ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        await joined(stream)
        unanswered = await stream.receive()
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_STOPPED, message="saved"))
        stream = await trainer.stream()
        await joined(stream, resumed=True)
        assert await stream.receive() == unanswered
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
        assert (await stream.receive()).HasField("goodbye")
        assert (await game.ended())[0] == 0


@needs_godot
@pytest.mark.clients
@pytest.mark.parametrize("revision", [2, 3])
async def test_a_game_for_evaluations_says_so_and_leaves_a_trainer_that_does_not_know_it(
    tmp_path: Path, revision: int
) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    words = ["-s", "scene.gd", "--role=evaluation"]
    async with (
        scripted_trainer() as trainer,
        running(folder, *words, ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        hello = await joined(stream, revision=revision)
        assert hello.role == pb.ROLE_EVALUATION
        if revision == 3:
            await exchanged(stream, 2)
            await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
            assert (await game.ended())[0] == 0
            return
        assert (await stream.receive()).HasField("goodbye")
        code, said = await game.ended()
    assert code == 78, said
    assert "revision 2, which would learn from this game" in said


@needs_godot
@pytest.mark.clients
def test_a_token_file_that_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    variables = {"ENTRAIN_TOKEN_FILE": "/no/such"}
    code, said = output(folder, "-s", "scene.gd", "--address=localhost:1", **variables)
    assert code == 78, said
    assert "the token file /no/such cannot be read" in said


@needs_godot
@pytest.mark.clients
def test_a_role_that_there_is_not_is_told_so(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    code, said = output(folder, "-s", "scene.gd", "--address=localhost:1", "--role=judge")
    assert code == 78, said
    assert "role is 'judge'; it must be training or evaluation" in said


@needs_godot
async def test_a_wrong_token_is_told_at_once_and_a_right_one_joins(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    config = ServerConfig(address="localhost:0", websocket="127.0.0.1:0", token_file=token)
    server = NativeServer(config)
    await server.start()
    url = server.front.websocket_url
    try:
        async with running(folder, "-s", "scene.gd", ENTRAIN_WEBSOCKET=url) as game:
            code, said = await game.ended()
        assert code == 78, said
        assert "refuses this game: 401: " in said
        variables = {"ENTRAIN_WEBSOCKET": url, "ENTRAIN_TOKEN_FILE": str(token)}
        async with running(folder, "-s", "scene.gd", **variables) as game:
            async with asyncio.timeout(120.0):
                while not server.participants.counters["sessions_joined"]:
                    await asyncio.sleep(0.01)
            await server.stop(Ending.COMPLETED, "all done")
            code, said = await game.ended()
        assert (code, "all done" in said) == (0, True), said
    finally:
        await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)


@needs_godot
@pytest.mark.clients
async def test_messages_of_mebibytes_arrive(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "camera.gd")
    async with (
        scripted_trainer() as trainer,
        running(folder, "-s", "camera.gd", f"--address={trainer.url}"),
    ):
        stream = await trainer.stream()
        hello = await joined(stream)
        for sequence in (1, 2):
            step = (await stream.receive()).step
            assert step.sequence == sequence
            behaviour = pb.BehaviourAct(behaviour="shared_policy", discrete=bytes(4 * 60))
            act = pb.Act(sequence=sequence, behaviours=[behaviour])
            content = pb.ConnectResponse(act=act).SerializeToString()
            # A field of the future: number 15, bytes, 2 MiB of them.
            await stream.socket.send(
                content + bytes([15 << 3 | 2, 0x80, 0x80, 0x80, 0x01]) + bytes(2**21)
            )
    (spec,) = hello.behaviours[0].observations
    assert (list(spec.shape), spec.dtype) == ([84, 84, 3], pb.DTYPE_UINT8)
    images = np.frombuffer(step.behaviours[0].observations[0], np.uint8).reshape(60, -1)
    assert images.shape[1] == 84 * 84 * 3
    assert images[:, 0].tolist() == list(range(1, 61))


@needs_godot
async def test_a_normal_end_whose_close_was_lost_is_an_end(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "scene.gd")
    async with scripted_trainer() as trainer:
        url = trainer.url
        variables = {"ENTRAIN_WEBSOCKET": url, "ENTRAIN_RECONNECT_S": "0"}
        async with running(folder, "-s", "scene.gd", **variables) as game:
            stream = await trainer.stream()
            await joined(stream)
            await stream.receive()
            trainer.is_closing = True
            await stream.socket.close(1000)
            code, said = await game.ended()
    assert code == 0, said
    assert "stopped and did not come back" in said


@needs_godot
@pytest.mark.clients
@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "strange"])
async def test_a_certificate_is_checked(tmp_path: Path, is_trusted: bool) -> None:
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words += ["-keyout", "key.pem", "-out", "cert.pem"]
    for place in ("own", "other"):
        (tmp_path / place).mkdir()
        subprocess.run(words, cwd=tmp_path / place, check=True, capture_output=True, timeout=120)
    own, trusted = tmp_path / "own", tmp_path / ("own" if is_trusted else "other")
    config = ServerConfig(
        address="localhost:0",
        websocket="localhost:0",
        tls_certificate=own / "cert.pem",
        tls_key=own / "key.pem",
    )
    server = NativeServer(config)
    await server.start()
    folder = project(tmp_path / "game", HERE / "scene.gd")
    variables = {
        "ENTRAIN_WEBSOCKET": server.front.websocket_url,
        "ENTRAIN_TLS_CA": str(trusted / "cert.pem"),
    }
    assert server.front.websocket_url.startswith("wss://localhost:")
    try:
        async with running(folder, "-s", "scene.gd", **variables) as game:
            deadline_s = time.monotonic() + (120.0 if is_trusted else 2.0)
            while not server.participants.counters["sessions_joined"]:
                await asyncio.sleep(0.02)
                if time.monotonic() > deadline_s:
                    break
            assert bool(server.participants.counters["sessions_joined"]) == is_trusted
            if is_trusted:
                await server.stop(Ending.COMPLETED, "all done")
                assert (await game.ended())[0] == 0
    finally:
        await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)
