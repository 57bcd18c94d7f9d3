"""An exchange with a whole run costs the same however many policies the run has."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import entrain
import entrain_envs
from entrain.app import training
from entrain.app.launcher import Launcher
from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.serving.admission import JoinRequest
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import StepType
from live_run import config_from
from support.in_process_front import InProcessFront
from support.world import WALKER, timesteps_of

CONFIG = """
server: {address: "unix:s"}
policies:
  "*": {total_steps: 1000000, rollout_steps: 1000000, network: {hidden_sizes: [4]}}
"""
PACKAGES = tuple(str(Path(package.__file__ or "").parent) for package in (entrain, entrain_envs))
FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
EPISODES = (
    ((1, FIRST),),
    *(((1, MID, 1.0),),) * 3,
    ((1, TERMINATED, 1.0), (1, FIRST)),
    ((1, TERMINATED, 1.0),),
)
"""Rows of each step of an agent that lives twice."""


class Walking:
    """Asks for its agent's actions; the `Receiver` of its participant."""

    def __init__(self) -> None:
        self._answered = asyncio.Event()

    def act(self, taken: Any) -> bool:
        self._answered.set()
        asyncio.get_running_loop().call_soon(taken)
        return True

    async def walk(self, participant: Participant) -> None:
        participant.receiver = self
        for rows in EPISODES:
            self._answered.clear()
            participant.ask({"walker": timesteps_of(WALKER, rows)}, size=100)
            await self._answered.wait()
            await asyncio.sleep(0)


def joined(participants: Participants, name: str, *specs: BehaviourSpec) -> Participant:
    return participants.join(
        JoinRequest(simulator=name, instance_id=name, peer="here", specs=specs, max_agents=0)
    )


async def statements(folder: Path, monkeypatch: pytest.MonkeyPatch, *, policies: int) -> int:
    """The lines of both packages that two episodes run, beside so many other policies."""
    folder.mkdir()
    known: list[Participants] = []

    def make_front(_config: Any, participants: Participants, **_options: Any) -> InProcessFront:
        known.append(participants)
        return InProcessFront(participants, [])

    monkeypatch.setattr(training, "make_front", make_front)
    # Twice a second somebody looks around, at all policies.
    monkeypatch.setattr(training, "LOOK_AROUND_S", 1000.0)
    run = TrainingRun(
        config_from(CONFIG, folder),
        RunFolder.create(folder / "runs", "run"),
        LogDisplay(),
        launcher=lambda _address: Launcher([], environment={}),
    )
    stop, lines = asyncio.Event(), 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        lines += event == "line"
        return trace

    running = asyncio.create_task(run.run(stop))
    await asyncio.sleep(0)
    guests = [replace(WALKER, name=f"guest-{number}") for number in range(policies)]
    joined(known[0], "guests", *guests)
    walker = joined(known[0], "walker-sim", WALKER)
    await asyncio.sleep(0)
    async with asyncio.timeout(20.0):
        # What is computed once a policy is computed now.
        await Walking().walk(walker)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            await Walking().walk(walker)
        finally:
            sys.settrace(before)
    assert len(run.policies) == policies + 1
    stop.set()
    await running
    return lines


@pytest.mark.usefixtures("unchecked_shapes")
async def test_an_exchange_runs_no_more_statements_beside_ten_policies_than_beside_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await statements(tmp_path / "one", monkeypatch, policies=1)
    ten = await statements(tmp_path / "ten", monkeypatch, policies=10)
    assert ten == one > 500
