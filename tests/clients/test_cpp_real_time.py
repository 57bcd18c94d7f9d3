"""The C++ client in real time: a world goes on by its fallback where the trainer is too slow."""

import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.cpp_probe import compiled, shared_folder
from support.websocket_script import Line, scripted

COMPLETED = pb.CLOSE_REASON_COMPLETED
LAST, NEUTRAL, CONTROLLER = pb.FALLBACK_LAST_ACTION, pb.FALLBACK_NEUTRAL, pb.FALLBACK_CONTROLLER


def played(program: Path, address: str, **options: object) -> list[str]:
    """What the simulator says that it does, step by step; see `say_actions` in probe.cpp."""
    words = [f"{name}={value}" for name, value in {"steps": 100_000, **options}.items()]
    done = subprocess.run(
        [str(program), "play", address, "says=1", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300.0,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    return [line for line in said if line.startswith(("late", "taken", "allocated"))]


def rewards(part: pb.BehaviourStep) -> list[float]:
    return list(struct.unpack(f"<{len(part.agent_id) // 8}f", part.reward))


def late_steps(step: pb.Step) -> float:
    return sum(sum(each.values) for each in step.statistics if each.name == "fallback_steps")


def expected_actions(said: list[str], fallback: int) -> list[str]:
    """What `said` must be, given which of the steps were late: however slow this machine is.

    The trainer gives runner i the number i, and the chooser choice 1 twice. Of the rows that number
    n led to, those of runners are FIRST if n is 1, 6, 11, ..., the chooser's only if it is 1; the
    chooser's mask forbids choice (n - 1) % 5 % 3 of its first branch and choice 1 of the second.
    """
    lines: list[str] = []
    runners, choices = ["0", "0", "0"], None
    for number, line in enumerate(said, start=1):
        forbidden = (number - 1) % 5 % 3
        if line.startswith("taken"):
            runners, choices = ["0", "1", "2"], [1, 1]
        else:
            if fallback != LAST or (number - 1) % 5 == 0:
                runners = ["0", "0", "0"]
            keeps = fallback == LAST and choices is not None and choices[0] != forbidden
            first = choices[0] if keeps and choices is not None else int(forbidden == 0)
            choices = [first, 0]
        lines.append(" ".join([line.split()[0], *runners, f"{choices[0]},{choices[1]}"]))
    return lines


@pytest.mark.parametrize("use", ["block", "poll"])
@pytest.mark.parametrize("fallback", [LAST, NEUTRAL, CONTROLLER])
def test_a_step_whose_actions_come_too_late_is_decided_by_the_fallback(
    cpp_probe: Path, use: str, fallback: int
) -> None:
    steps: list[pb.Step] = []
    pause = threading.Event()

    def talk(line: Line) -> None:
        line.welcome()
        for delay_s in (0.0, 0.0, 0.5, 0.0, 0.1):
            steps.append(line.receive().step)
            pause.wait(delay_s)
            line.act(steps[-1])
        steps.append(line.receive().step)
        line.close(COMPLETED)

    with scripted(talk) as script:
        said = played(cpp_probe, script.url, use=use, deadline=100, fallback=fallback)
        assert script.is_over
    acted = [line for line in said if line.startswith(("late", "taken"))]
    assert acted == expected_actions(acted, fallback)
    assert late_steps(steps[3]) >= 1, "its Act took five deadlines"
    for step in steps[1:]:
        chooser = next(part for part in step.behaviours if part.behaviour == "chooser")
        num_late = late_steps(step)
        assert any(chooser.late) == (num_late > 0)
        assert rewards(chooser) == [-1.0 * max(1.0, num_late)]
    assert sum(max(1.0, late_steps(step)) for step in steps[1:]) <= len(acted)


class LedGame:
    """A game whose frames come when a test says so. Each looks once for actions."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def frame(self) -> str:
        """What a frame brought: "nothing", "begin", "actions" or "over"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            word, _, number = line.partition(" ")
            if word == "frame":
                return ("nothing", "begin", "actions", "over")[int(number)]
        raise AssertionError("the game ended")

    def until(self, news: str) -> None:
        """Frames until one brings it."""
        while self.frame() != news:
            threading.Event().wait(0.001)


@contextmanager
def led(program: Path, address: str, **options: object) -> Iterator[LedGame]:
    words = [f"{name}={value}" for name, value in options.items()]
    command = [str(program), "play", address, "use=frames", "says=1", "steps=1000", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield LedGame(process)
        finally:
            process.kill()


def test_an_act_counts_as_late_only_once_a_fallback_has_acted(cpp_probe: Path) -> None:
    # A game looks once a frame. An Act that is there then is applied if nothing has acted in its
    # place, though the deadline is over; afterwards it is not, however soon it came.
    steps: list[pb.Step] = []
    received, may_answer = threading.Semaphore(0), threading.Semaphore(0)
    answered = threading.Semaphore(0)

    def talk(line: Line) -> None:
        line.welcome()
        for _ in range(2):
            steps.append(line.receive().step)
            received.release()
            assert may_answer.acquire(timeout=60.0)
            line.act(steps[-1])
            answered.release()
        steps.append(line.receive().step)
        received.release()
        line.close(COMPLETED)

    deadline_s = 0.05
    # Whose rows come first makes no difference.
    options = {"deadline": int(1000 * deadline_s), "fallback": NEUTRAL, "descending": 1}
    with scripted(talk) as script, led(cpp_probe, script.url, **options) as game:
        game.until("begin")
        assert received.acquire(timeout=60.0)
        threading.Event().wait(2 * deadline_s)
        may_answer.release()
        assert answered.acquire(timeout=60.0)
        assert game.frame() == "actions"
        assert received.acquire(timeout=60.0)
        threading.Event().wait(2 * deadline_s)
        assert game.frame() == "actions"  # of the fallback: nothing has come
        may_answer.release()
        assert answered.acquire(timeout=60.0)
        assert game.frame() == "nothing"
        assert received.acquire(timeout=60.0)
        game.until("over")
        assert script.is_over
    assert [late_steps(step) for step in steps] == [0.0, 0.0, 1.0]
    assert [late_marks(step) for step in steps] == [{False}, {False}, {True}]


def test_only_agents_of_the_late_step_are_late(cpp_probe: Path) -> None:
    # The wanderer (100) has rows in the Steps 1, 2, 3 and 5. The Act of Step 4 comes too late: what
    # the wanderer does until Step 5 is by that of Step 3, which came in time.
    steps: list[pb.Step] = []
    received, may_answer = threading.Semaphore(0), threading.Semaphore(0)
    answered = threading.Semaphore(0)

    def talk(line: Line) -> None:
        line.welcome()
        for _ in range(4):
            steps.append(line.receive().step)
            received.release()
            assert may_answer.acquire(timeout=60.0)
            line.send(pb.ConnectResponse(act=zeros(steps[-1])))
            answered.release()
        steps.append(line.receive().step)
        line.close(COMPLETED)

    options = {"deadline": 50, "fallback": NEUTRAL, "extras": 1}
    with scripted(talk) as script, led(cpp_probe, script.url, **options) as game:
        game.until("begin")
        for _ in range(3):
            assert received.acquire(timeout=60.0)
            may_answer.release()
            assert answered.acquire(timeout=60.0)
            # The game looks after the Act has arrived; if it looks before, no deadline is over.
            game.until("actions")
        assert received.acquire(timeout=60.0)
        threading.Event().wait(0.1)
        assert game.frame() == "actions"  # of the fallback
        may_answer.release()
        game.until("over")
        assert script.is_over
    assert [late_steps(step) for step in steps] == [0.0, 0.0, 0.0, 0.0, 1.0]
    runners = steps[4].behaviours[0]
    assert struct.unpack("<4q", runners.agent_id) == (0, 1, 2, 100)
    assert list(runners.late) == [1, 1, 1, 0]


def zeros(step: pb.Step) -> pb.Act:
    """Actions of the probe's agents, those of `later` too, who have one branch."""
    act = pb.Act(sequence=step.sequence)
    for part in step.behaviours:
        rows = sum(step_type <= pb.STEP_TYPE_MID for step_type in part.step_type)
        answer = act.behaviours.add(behaviour=part.behaviour)
        if part.behaviour == "runner":
            answer.continuous = bytes(4 * 2 * rows)
        else:
            answer.discrete = bytes(4 * (2 if part.behaviour == "chooser" else 1) * rows)
    return act


def late_marks(step: pb.Step) -> set[bool]:
    """Of all rows."""
    marks = [part.late or bytes(len(part.step_type)) for part in step.behaviours]
    return {bool(mark) for each in marks for mark in each}


@pytest.mark.parametrize(("delay_s", "deadline"), [(0.0, 20_000), (0.02, 5)])
def test_no_step_allocates_whether_late_or_not(
    cpp_probe: Path, delay_s: float, deadline: int
) -> None:
    steps: list[pb.Step] = []
    pause = threading.Event()

    def talk(line: Line) -> None:
        line.welcome()
        while (request := line.receive()).HasField("step"):
            steps.append(request.step)
            pause.wait(delay_s)
            line.act(request.step)

    options = {"steps": 250, "warm": 50, "deadline": deadline, "fallback": LAST}
    with scripted(talk) as script:
        said = played(cpp_probe, script.url, **options)
        assert script.is_over
    # How many late steps become one is the machine's affair, and one more than ever is more memory,
    # once. A few bytes in each of the 200 steps would be more than that.
    assert int(said[-1].split()[1]) <= (1500 if delay_s else 0)
    assert ("late" in {line.split()[0] for line in said[:-1]}) == (delay_s > 0.0)
    assert any(any(part.late) for step in steps for part in step.behaviours) == (delay_s > 0.0)


def test_a_trainer_that_cannot_be_told_is_waited_for(cpp_probe: Path) -> None:
    def talk(line: Line) -> None:
        line.receive()
        old = pb.Welcome(version=1, session_id="session", run_id="run", seed=5, revision=1)
        line.send(pb.ConnectResponse(welcome=old))
        step = line.receive().step
        threading.Event().wait(0.2)
        line.act(step)
        assert not any(part.late for part in line.receive().step.behaviours)
        line.close(COMPLETED)

    with scripted(talk) as script:
        said = played(cpp_probe, script.url, deadline=20, fallback=NEUTRAL)
        assert script.is_over
    assert said[0].startswith("taken")


def test_the_world_goes_on_while_the_trainer_is_away(cpp_probe: Path) -> None:
    lost = b""
    is_away, may_return = threading.Event(), threading.Event()

    def breaks(line: Line) -> None:
        nonlocal lost
        line.welcome()
        line.serve_steps(1)
        lost = line.raw()
        line.cut()
        is_away.set()

    def comes_back(line: Line) -> None:
        assert may_return.wait(60.0)
        assert line.welcome(resumed=True).resume_session_id == "session"
        assert line.raw() == lost
        line.act(pb.ConnectRequest.FromString(lost).step)
        step = line.receive().step
        assert late_steps(step) >= 3
        assert step.sequence == 3
        line.close(COMPLETED)

    options = {"deadline": 50, "fallback": NEUTRAL}
    with scripted(breaks, comes_back) as script, led(cpp_probe, script.url, **options) as game:
        while not is_away.is_set():
            game.frame()
        for _ in range(3):
            game.until("actions")
        may_return.set()
        game.until("over")
        assert script.is_over


@pytest.mark.clients
@pytest.mark.timeout(300)
@pytest.mark.parametrize("build", ["clang++", "addresses"])
def test_the_conformance_kit_finds_nothing(
    tmp_path_factory: pytest.TempPathFactory, build: str
) -> None:
    program = compiled(build, shared_folder(tmp_path_factory))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "entrain_envs", "check", "--listen", "ws://localhost:0"),
            *("--timeout", "75", "--need", "says-late", "--need", "late-rows"),
            *("--", str(program), "play", "{address}", "steps=1000000", "use=poll"),
            *("deadline=300", f"fallback={LAST}", "extras=1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert " 0 failed" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
