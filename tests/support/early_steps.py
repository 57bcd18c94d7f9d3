"""What simulators with two Steps in flight do wrong, for `attackers.attack`.

A second simulator, which never sends a Step by itself, keeps every batch waiting: so both Steps of
the first are without an Act for as long as is wanted.
"""

import json
import os
import queue
import sys
import time
from typing import Any

from entrain_envs.codec import encode_timesteps
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.attackers import hello_of, raw_stream

SPEC = BehaviourSpec("fly", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))
FIRST, MID = int(StepType.FIRST), int(StepType.MID)


class Fly:
    """A simulator that sends what it is told to, and may have two Steps in flight."""

    def __init__(self, address: str, name: str, *, resume: str = "") -> None:
        self._outgoing: queue.Queue[pb.ConnectRequest | None] = queue.Queue()
        self._stream = raw_stream(address)
        self._stream.open(iter(self._outgoing.get, None))
        fields = {"max_unanswered_steps": 2, "resume_session_id": resume, "instance_id": name}
        hello = hello_of(SPEC, simulator=name, **fields)
        self._outgoing.put(pb.ConnectRequest(hello=hello))
        self.welcome = self._stream.hear().welcome

    def step(self, sequence: int, agent: int, step_type: int) -> None:
        rows = TimestepBatch.of(
            SPEC, agent_id=[agent], step_type=step_type, reward=0.0, observation={"eye": [[0.0]]}
        )
        step = pb.Step(sequence=sequence, behaviours=[encode_timesteps(SPEC, rows)])
        self._outgoing.put(pb.ConnectRequest(step=step))

    def answered(self) -> int:
        """Waits for an Act; returns the number of its Step."""
        return int(self._stream.hear().act.sequence)

    def leave(self) -> None:
        self._outgoing.put(pb.ConnectRequest(goodbye=pb.Goodbye()))
        self._outgoing.put(None)
        self._stream.end()

    def end(self) -> dict[str, str]:
        """Waits for the trainer to end the stream; returns how."""
        return self._stream.end()

    def cut(self) -> None:
        self._stream.cut()


def share_an_agent(address: str) -> dict[str, str]:
    """Put one agent into both Steps; returns how the stream ends."""
    _silent, fly = Fly(address, "silent"), Fly(address, "fly")
    fly.step(1, 0, FIRST)
    fly.step(2, 0, MID)
    return fly.end()


def send_a_third(address: str) -> dict[str, str]:
    """Send a third Step while two have no Act; returns how the stream ends."""
    _silent, fly = Fly(address, "silent"), Fly(address, "fly")
    for number in (1, 2, 3):
        fly.step(number, number, FIRST)
    return fly.end()


def be_killed(address: str) -> None:
    """End without a word while two Steps are in flight."""
    _silent, fly = Fly(address, "silent"), Fly(address, "fly")
    fly.step(1, 0, FIRST)
    fly.step(2, 1, FIRST)
    time.sleep(0.3)
    sys.stdout.write(f"\n{json.dumps(None)}\n")
    sys.stdout.flush()
    os._exit(0)


def come_back(address: str) -> dict[str, Any]:
    """Lose the connection with two Steps in flight, and send both again on the next one."""
    silent, fly = Fly(address, "silent"), Fly(address, "fly")
    fly.step(1, 0, FIRST)
    fly.step(2, 1, FIRST)
    time.sleep(0.1)
    fly.cut()
    again = Fly(address, "fly", resume=fly.welcome.session_id)
    again.step(1, 0, FIRST)
    again.step(2, 1, FIRST)
    silent.step(1, 5, FIRST)
    answered = [again.answered()]
    assert silent.answered() == 1
    silent.step(2, 5, MID)
    answered.append(again.answered())
    assert silent.answered() == 2
    for simulator in (again, silent):
        simulator.leave()
    return {"resumed": again.welcome.resumed, "answered": answered}
