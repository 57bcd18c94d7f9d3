"""Copies in several processes do what they do in one, bit for bit; one that dies is named."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from entrain_envs import command_line
from entrain_envs.environment import Environment, ReportsStatistics
from entrain_envs.errors import CertainFaultError, FaultyEnvironmentError, SpecError
from entrain_envs.faults import may_pass
from entrain_envs.joined_environments import JoinedEnvironments
from entrain_envs.making import make_environment, make_groups
from entrain_envs.processes import ProcessedGroup, Worker
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.worker import ADVISED_STEPS, Advice, read_fault, written_fault


def options_of(kind: str, name: str, *arguments: str) -> argparse.Namespace:
    what = f"drifting_environments:{name}"
    return command_line.parser().parse_args([kind, what, "--connect", "trainer:1", *arguments])


def chosen(environment: Environment, rows: Mapping[str, TimestepBatch], step: int) -> Any:
    """Actions by the agents' numbers and the time."""
    actions = {}
    for spec in environment.behaviours:
        acting = rows[spec.name].agent_id[rows[spec.name].needs_action]
        choices = (acting[:, None] + step) % np.array(spec.action.branches)
        empty = np.empty((len(acting), 0), np.float32)
        actions[spec.name] = ActionBatch(empty, choices.astype(np.int32), 0)
    return actions


def played(environment: Environment, steps: int) -> list[Any]:
    """All that comes out of an environment."""
    rows = environment.reset(seed=2**63, parameters={"pull": 0.5})
    seen: list[Any] = []
    if isinstance(environment, ReportsStatistics):
        seen.append(("told", list(environment.take_statistics())))
    for step in range(steps):
        if step == steps // 2:
            environment.set_parameters({"pull": -0.5})
        rows = environment.step(chosen(environment, rows, step))
        for name, batch in rows.items():
            arrays: dict[str, Any] = {"id": batch.agent_id, "type": batch.step_type}
            arrays |= {"reward": batch.reward, "mask": batch.action_mask, **batch.observation}
            seen.append((name, [(key, each.dtype, each.tobytes()) for key, each in arrays.items()]))
        if isinstance(environment, ReportsStatistics):
            seen.append(("told", list(environment.take_statistics())))
    return seen


def test_processes_and_groups_change_nothing_that_comes_out() -> None:
    arguments = ("gymnasium", "Drifting-v0", "--count", "5", "--info", "place=last")
    whole = make_environment(options_of(*arguments))
    options = options_of(*arguments, "--groups", "2", "--processes", "3")
    groups = [each for each in make_groups(options) if isinstance(each, ProcessedGroup)]
    divided = JoinedEnvironments(groups)
    try:
        # Three processes would leave one without a copy of the smaller group.
        assert [len(group.parts) for group in groups] == [2, 2]
        assert played(whole, 60) == played(divided, 60)
    finally:
        divided.close()
    assert [worker.exit_code for worker in groups[0].workers] == [0, 0]


@pytest.mark.parametrize(
    ("raises", "words"),
    [
        (
            "false",
            r"the process that simulates copies [01] to [01] was killed by SIGKILL; .*",
        ),
        ("true", r"environment 'Falling-v0': `step` raised KeyError: 'torque' \(.*, in step\)"),
    ],
)
def test_a_process_that_dies_and_an_environment_that_raises_are_told_in_one_line(
    raises: str, words: str
) -> None:
    arguments = ("--kwargs", f'{{"raises": {raises}}}', "--count", "2", "--processes", "2")
    (environment,) = make_groups(options_of("gymnasium", "Falling-v0", *arguments))
    try:
        rows = environment.reset(seed=1, parameters={})
        for step in range(2):
            rows = environment.step(chosen(environment, rows, step))
        with pytest.raises(FaultyEnvironmentError, match=words) as caught:
            environment.step(chosen(environment, rows, 2))
    finally:
        environment.close()
    # A process that was killed may not be the next time, and is started again.
    assert may_pass(caught.value.__cause__) == (raises == "false")


@pytest.mark.parametrize("cause", [None, KeyError("no"), OSError("busy"), FileNotFoundError("x")])
def test_an_error_comes_through_with_its_class_its_words_and_whether_it_may_pass(
    cause: Exception | None,
) -> None:
    for error in (SpecError("NaN"), CertainFaultError("it"), FaultyEnvironmentError("broken")):
        error.__cause__ = cause
        read = read_fault(written_fault(error))
        assert (type(read), str(read)) == (type(error), str(error))
        assert may_pass(read.__cause__) == may_pass(cause)


def test_a_process_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("entrain_envs.processes.CLOSE_S", 0.01)
    calls: list[str] = []

    class Stuck:
        exitcode = None

        def start(self) -> None:
            calls.append("start")

        def join(self, timeout_s: float = 0.0) -> None:
            calls.append("join")

        def is_alive(self) -> bool:
            return True

        def kill(self) -> None:
            calls.append("kill")

    monkeypatch.setattr(
        "multiprocessing.context.SpawnContext.Process", lambda *_arguments, **_options: Stuck()
    )
    Worker(options_of("gymnasium", "Drifting-v0"), ()).close()
    assert calls == ["start", "join", "kill", "join"]
    assert "did not end within 0.01 s, so it was killed" in caplog.text


@pytest.mark.parametrize(
    ("taken_s", "processes", "is_advised"), [(0.0004, 2, True), (0.0004, 4, False), (0.1, 2, False)]
)
def test_short_steps_are_said_to_need_no_processes_once(
    taken_s: float, processes: int, is_advised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # Saved are 0.4, 1.2 and 100 ms of a step.
    advice = Advice(processes)
    for number in range(2 * ADVISED_STEPS):
        # A reset now and then takes long.
        advice.note(1.0 if number % 10 == 0 else taken_s)
    told = [line for line in caplog.messages if "leave --processes out" in line]
    assert len(told) == is_advised
    if is_advised:
        assert "steps its copies in 0.40 ms, so --processes saves 0.40 ms a step" in told[0]
