"""The example of the README runs, obeys the protocol and ends when the trainer does."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from entrain_envs.codec import decode_timesteps
from entrain_envs.spec_codec import decode_spec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import Serve, act, close, welcome

EXAMPLE = Path(__file__).parents[2] / "envs" / "examples" / "minimal_simulator.py"
FIRST, MID, TERMINATED, TRUNCATED = StepType


def play(serve: Serve, *, steps: int) -> list[TimestepBatch]:
    """What the example sent before the trainer closed after so many steps."""
    heard: list[TimestepBatch] = []

    def talk(requests: Iterator[pb.ConnectRequest], context: Any) -> Iterator[pb.ConnectResponse]:
        spec = decode_spec(next(requests).hello.behaviours[0])
        yield welcome(seed=3)
        for request in requests:
            if request.HasField("goodbye"):
                return
            if len(heard) == steps:
                yield close(pb.CLOSE_REASON_COMPLETED, "trained")
            else:
                heard.append(decode_timesteps(spec, request.step.behaviours[0]))
                yield act(spec, request.step)

    process = subprocess.run(
        [sys.executable, str(EXAMPLE), serve(talk)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return heard


def test_the_example_sends_whole_episodes_and_ends_with_the_trainer(serve: Serve) -> None:
    heard = play(serve, steps=120)
    assert len(heard) == 120
    types = [set(batch.step_type.tolist()) for batch in heard]
    # An episode is FIRST, 49 MID and TRUNCATED: 51 messages.
    episode = [{FIRST}, *[{MID}] * 49, {TRUNCATED}]
    assert types == [*episode, *episode, *episode[:18]]


def test_the_example_moves_as_it_is_told_and_is_rewarded_for_nearness(serve: Serve) -> None:
    before, after = play(serve, steps=2)
    # The scripted trainer answers row i with i.
    was, is_now = (batch.observation["place"].astype(np.float64)[:, 0] for batch in (before, after))
    np.testing.assert_allclose(is_now - was, 0.2 * np.arange(16), atol=1e-5)
    np.testing.assert_allclose(after.reward, -np.abs(is_now), atol=1e-6)
    assert not before.reward.any()


def test_the_example_is_short_enough_for_the_readme() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 25
