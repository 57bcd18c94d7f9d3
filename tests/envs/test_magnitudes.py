"""Numbers that are far too large are refused, whichever way a message is read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.codec import BehaviourCodec, encode_timesteps
from entrain_envs.errors import SpecError
from entrain_envs.magnitudes import Magnitudes
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

SPEC = BehaviourSpec(
    "walker",
    (ObservationSpec("eyes", (2,)), ObservationSpec("board", (1,), "uint8")),
    ActionSpec(branches=(3,)),
)
FEW = (True, False, True)


def message(
    *, reward: float = 0.0, eye: float = 0.0, allowed: bool | tuple[bool, ...] = True
) -> pb.BehaviourStep:
    """Three agents, the second of which earned `reward` and saw `eye`."""
    eyes = np.zeros((3, 2), np.float32)
    eyes[1, 1] = eye
    timesteps = TimestepBatch.of(
        SPEC,
        agent_id=(7, 8, 9),
        step_type=StepType.MID,
        reward=[0.0, reward, 0.0],
        observation={"eyes": eyes, "board": np.full((3, 1), 255)},
        action_mask=allowed,
    )
    return encode_timesteps(SPEC, timesteps)


# With a mask the codec reads the message the other way.
@pytest.mark.parametrize("allowed", [True, FEW])
def test_who_sends_too_large_a_reward_is_told_the_agent_the_number_and_the_option(
    allowed: bool | tuple[bool, ...],
) -> None:
    codec = BehaviourCodec(SPEC, Magnitudes(reward=1e15))
    assert codec.decode_timesteps(message(reward=-1e15, allowed=allowed)).reward[1] < 0.0
    with pytest.raises(
        SpecError,
        match=r"'walker', reward, row 1 \(agent 8\) holds -1e\+20; .* from -1e\+15 to 1e\+15; .*"
        r"raise server.max_reward .* normalize_rewards",
    ):
        codec.decode_timesteps(message(reward=-1e20, allowed=allowed))


@pytest.mark.parametrize("allowed", [True, FEW])
def test_who_sends_too_large_an_observation_likewise(allowed: bool | tuple[bool, ...]) -> None:
    codec = BehaviourCodec(SPEC, Magnitudes(observation=100.0))
    # 255 in a uint8 observation is no matter.
    assert codec.decode_timesteps(message(eye=100.0, allowed=allowed)).observation["eyes"][1, 1]
    with pytest.raises(
        SpecError,
        match=r"observation 'eyes', row 1 \(agent 8\) holds 101; .* raise server.max_observation",
    ):
        codec.decode_timesteps(message(eye=101.0, allowed=allowed))


def test_many_numbers_that_are_large_together_are_fine() -> None:
    codec = BehaviourCodec(SPEC, Magnitudes(reward=1.0, observation=1.0))
    timesteps = TimestepBatch.of(
        SPEC,
        agent_id=range(100),
        step_type=StepType.MID,
        reward=1.0,
        observation={"eyes": np.ones((100, 2)), "board": np.zeros((100, 1))},
    )
    assert len(codec.decode_timesteps(encode_timesteps(SPEC, timesteps))) == 100


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.one_of(st.floats(1.0, 1e308), st.just(math.inf)),
)
def test_exactly_what_is_beyond_is_refused(number: float, most: float) -> None:
    codec = BehaviourCodec(SPEC, Magnitudes(reward=most, observation=most))
    for sent in (message(reward=number), message(eye=number)):
        if abs(number) <= most:
            codec.decode_timesteps(sent)
        elif abs(number) > 1.000001 * most:
            with pytest.raises(SpecError, match="this trainer takes numbers from"):
                codec.decode_timesteps(sent)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused_without_any_bound(number: float) -> None:
    sent = message()
    sent.reward = np.array([0.0, number, 1.0], np.float32).tobytes()
    with pytest.raises(SpecError, match="must be finite"):
        BehaviourCodec(SPEC).decode_timesteps(sent)
