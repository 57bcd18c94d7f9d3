"""A game made with Godot that does not wait: its fallback acts, and the trainer is told so."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.godot import (
    Stream,
    command,
    environment,
    needs_godot,
    output,
    project,
    running,
    scripted_trainer,
)

pytestmark = [needs_godot, pytest.mark.clients]

HERE = Path(__file__).parent / "godot"
FIRST, MID, TERMINATED = 1, 2, 3
NEUTRAL, CONTROLLED = 0.125, 3.5
"""Of real_time.gd's walker: the nearest to zero that it can do, and what its controller does."""


def chosen(sequence: int) -> float:
    """The trainer's action for the walker, in the Act of that number."""
    return 1.0 + 0.125 * sequence


def answer(step: pb.Step) -> pb.Act:
    behaviours = []
    for part in step.behaviours:
        acting = sum(step_type <= MID for step_type in part.step_type)
        number = chosen(step.sequence) if part.behaviour == "walker" else 2.0
        continuous = np.full(acting, number, "<f4").tobytes()
        behaviours.append(pb.BehaviourAct(behaviour=part.behaviour, continuous=continuous))
    return pb.Act(sequence=step.sequence, behaviours=behaviours)


def rows(step: pb.Step, behaviour: str) -> list[tuple[int, float, list[float], bool]]:
    """Step type, reward, observation and whether it is late, of each row."""
    (part,) = [each for each in step.behaviours if each.behaviour == behaviour]
    rewards = np.frombuffer(part.reward, "<f4").tolist()
    seen = np.frombuffer(part.observations[0], "<f4").reshape(-1, 2).tolist()
    late = map(bool, part.late or bytes(len(rewards)))
    return list(zip(part.step_type, rewards, seen, late, strict=True))


def fallback_steps(step: pb.Step) -> float:
    return sum(sum(each.values) for each in step.statistics if each.name == "fallback_steps")


async def joined(stream: Stream, *, revision: int) -> pb.Hello:
    hello = (await stream.receive()).hello
    welcome = pb.Welcome(version=1, session_id="s1", run_id="run", revision=revision)
    await stream.send(welcome=welcome)
    return hello


def given(folder: Path) -> int:
    """How many actions the walker was given so far."""
    try:
        return int((folder / "acts.txt").read_text() or 0)
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("block", [[], ["--longest_block_ms=0"]], ids=["blocks", "stands-still"])
@pytest.mark.parametrize("fallback", ["last", "neutral", "controller"])
async def test_what_comes_too_late_is_not_applied_and_its_rows_say_so(
    tmp_path: Path, fallback: str, block: list[str]
) -> None:
    folder = project(tmp_path / "game", HERE / "real_time.gd")
    words = ["-s", "real_time.gd", f"--fallback={fallback}", "--deadline=200", *block]
    steps: list[pb.Step] = []
    async with (
        scripted_trainer() as trainer,
        running(folder, *words, ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        hello = await joined(stream, revision=2)
        for _ in range(7):
            steps.append((await stream.receive()).step)
            if len(steps) == 3:
                before = given(folder)
                while given(folder) < before + 3:
                    await asyncio.sleep(0.01)
            await stream.send(act=answer(steps[-1]))
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
        code, said = await game.ended()
    assert code == 0, said
    number = {"last": 1, "neutral": 2, "controller": 3}[fallback]
    declared = [(spec.deadline_ms, spec.fallback) for spec in hello.behaviours]
    assert declared == [(200, number), (0, 0)]
    assert fallback_steps(steps[3]) >= 3
    assert [step.sequence for step in steps] == list(range(1, 8))
    check_walker(steps, fallback)
    check_mayfly(steps)


def check_walker(steps: Sequence[pb.Step], fallback: str) -> None:
    """On a busy machine further steps may be late: what must be so follows from the marks."""
    ((kind, reward, (place, heard), late),) = rows(steps[0], "walker")
    assert (kind, reward, place, heard, late) == (FIRST, 0.0, 0.0, 0.0, False)
    last = NEUTRAL
    for number, step in enumerate(steps[1:], start=1):
        ((kind, reward, (now, heard), late),) = rows(step, "walker")
        gone = max(1.0, fallback_steps(step))
        assert late == (fallback_steps(step) > 0)
        # Two ticks between decisions, and half a reward in each.
        assert (kind, now - place, reward) == (MID, 2.0 * gone, gone)
        by_fallback = {"last": last, "neutral": NEUTRAL, "controller": CONTROLLED}[fallback]
        last = by_fallback if late else chosen(number)
        assert heard == last
        place = now


def check_mayfly(steps: Sequence[pb.Step]) -> None:
    """It has no deadline, and goes on with the others."""
    place = 0.0
    for step in steps[1:]:
        is_late = fallback_steps(step) > 0
        *ends, (kind, reward, (now, _), late) = rows(step, "mayfly")
        if not ends:
            assert (kind, reward, late) == (MID, 0.5 * (now - place), is_late)
        else:
            # What it saw at its end, and what it earned until then.
            ((end, earned, (there, _), end_is_late),) = ends
            assert (end, earned, there, end_is_late) == (
                TERMINATED,
                2.5 - 0.5 * place,
                5.0,
                is_late,
            )
            # The episode that runs now: its newest observation, and nothing that it has earned.
            assert (kind, reward, late) == (FIRST, 0.0, False)
            assert is_late or now == 0.0
        place = now
    assert any(len(rows(step, "mayfly")) == 2 for step in steps if fallback_steps(step) > 2)


async def test_a_trainer_that_cannot_be_told_is_waited_for(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "real_time.gd")
    words = ["-s", "real_time.gd", "--deadline=20"]
    async with (
        scripted_trainer() as trainer,
        running(folder, *words, ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        await joined(stream, revision=1)
        step = (await stream.receive()).step
        await asyncio.sleep(0.2)
        assert given(folder) == 0
        await stream.send(act=answer(step))
        step = (await stream.receive()).step
        assert rows(step, "walker") == [(MID, 1.0, [2.0, chosen(1)], False)]
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
        code, said = await game.ended()
    assert (code, "too old to be told" in said) == (0, True), said


async def test_the_game_goes_on_while_the_trainer_is_away(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", HERE / "real_time.gd")
    words = ["-s", "real_time.gd", "--deadline=50", "--fallback=neutral"]
    async with (
        scripted_trainer() as trainer,
        running(folder, *words, ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        await joined(stream, revision=2)
        unanswered = await stream.receive()
        await stream.break_off()
        stream = await trainer.stream()
        before = given(folder)
        while given(folder) < before + 5:
            await asyncio.sleep(0.01)
        assert (await stream.receive()).hello.resume_session_id == "s1"
        welcome = pb.Welcome(version=1, session_id="s1", resumed=True, revision=2)
        await stream.send(welcome=welcome)
        assert await stream.receive() == unanswered
        await stream.send(act=answer(unanswered.step))
        step = (await stream.receive()).step
        assert (step.sequence, fallback_steps(step) >= 5) == (2, True)
        # A session that is forgotten begins anew, however late the one before was.
        while given(folder) < before + 10:
            await asyncio.sleep(0.01)
        await stream.break_off()
        stream = await trainer.stream()
        await joined(stream, revision=2)
        step = (await stream.receive()).step
        assert (step.sequence, fallback_steps(step)) == (1, 0.0)
        assert rows(step, "walker") == [(FIRST, 0.0, [0.0, 0.0], False)]
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
        assert (await game.ended())[0] == 0


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("--fallback=hope", "fallback is 'hope'; expected last, neutral or controller"),
        ("--deadline=-1", "deadline_ms is -1; expected 0 (as long as it takes) to a day"),
    ],
)
def test_a_deadline_that_makes_no_sense_is_told_so(tmp_path: Path, word: str, words: str) -> None:
    folder = project(tmp_path / "game", HERE / "real_time.gd")
    address = "--address=localhost:1"
    code, said = output(folder, "-s", "real_time.gd", address, "--deadline=20", word)
    assert code == 78, said
    assert words in said


@pytest.mark.timeout(300)
def test_the_conformance_kit_finds_nothing(tmp_path: Path) -> None:
    game = project(tmp_path / "game", HERE / "real_time.gd")
    kit = [sys.executable, "-m", "entrain_envs", "check", "--listen", "ws://localhost:0"]
    needs = ["--need", "says-late", "--need", "late-rows", "--need", "two-rows"]
    simulator = command(game, "-s", "real_time.gd", "--deadline=300", "--address={address}")
    done = subprocess.run(
        [*kit, "--timeout", "75", *needs, "--", *simulator],
        env=environment(game),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 failed" in done.stdout
