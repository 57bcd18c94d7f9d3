"""Messages of ML-Agents games, drawn at random, and whether they were read as they were said."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from entrain_envs.unity.messages import GameMessage, Observation
from entrain_envs.unity.wire import exchange_pb2 as wire

KEYS = st.sampled_from(["Ball?team=0", "Ball?team=1", "Wörm?team=0"])
FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def games_messages(draw: Any) -> wire.UnityMessageProto:
    """A message as a game may write it, with sensors that the agents of a behaviour share."""
    message = wire.UnityMessageProto(header=wire.HeaderProto(status=200))
    output = message.unity_output.rl_output
    output.side_channel = draw(st.binary(max_size=5))
    for key in draw(st.sets(KEYS, max_size=2)):
        sensors = draw(st.lists(st.sampled_from(SENSORS), max_size=3))
        choices = draw(st.integers(0, 4))
        for _ in range(draw(st.integers(1, 4))):
            output.agentInfos[key].value.append(draw(records(sensors, choices)))
    return message


SENSORS: list[dict[str, Any]] = [
    {"shape": [3], "name": "velocity"},
    {"shape": [2, 200], "dimension_properties": [4, 1]},
    {"shape": [1], "observation_type": 1, "name": "goal"},
    {"shape": [8, 8, 3], "compression_type": 1, "compressed_channel_mapping": [0, -1, 2]},
]


@st.composite
def records(draw: Any, sensors: list[dict[str, Any]], choices: int) -> wire.AgentInfoProto:
    """One record."""
    return wire.AgentInfoProto(
        reward=draw(FLOATS),
        done=draw(st.booleans()),
        max_step_reached=draw(st.booleans()),
        id=draw(st.integers(-(2**31), 2**31 - 1)),
        group_id=draw(st.integers(0, 300)),
        group_reward=draw(FLOATS),
        action_mask=draw(st.lists(st.booleans(), min_size=choices, max_size=choices)),
        observations=[draw(seen(sensor)) for sensor in sensors],
    )


@st.composite
def seen(draw: Any, sensor: dict[str, Any]) -> wire.ObservationProto:
    """What one agent's sensor sees."""
    if "compression_type" in sensor:
        return wire.ObservationProto(**sensor, compressed_data=draw(st.binary(max_size=6)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    data = random.normal(size=int(np.prod(sensor["shape"]))).astype(np.float32)
    return wire.ObservationProto(
        **sensor, float_data=wire.ObservationProto.FloatData(data=data.tolist())
    )


def agrees(read: GameMessage, message: wire.UnityMessageProto) -> None:
    """Assert that `read` is what protobuf's own classes hold."""
    output = message.unity_output.rl_output
    assert read.side_channel == output.side_channel
    assert set(read.agents) == set(output.agentInfos)
    for key, said in output.agentInfos.items():
        infos, records = list(said.value), read.agents[key]
        assert records.id.tolist() == [each.id for each in infos]
        assert records.reward.tolist() == [each.reward for each in infos]
        assert records.done.tolist() == [each.done for each in infos]
        assert records.interrupted.tolist() == [each.max_step_reached for each in infos]
        assert records.group_id.tolist() == [each.group_id for each in infos]
        assert records.group_reward.tolist() == [each.group_reward for each in infos]
        masks = [list(each.action_mask) for each in infos]
        assert (records.mask is None) == (not masks[0])
        assert records.mask is None or records.mask.tolist() == masks
        assert len(records.observations) == len(infos[0].observations)
        for index, sensor in enumerate(records.observations):
            _agree(sensor, [each.observations[index] for each in infos])


def _agree(sensor: Observation, said: list[wire.ObservationProto]) -> None:
    """Whether all agents' observations were read as they were said."""
    first = said[0]
    assert (sensor.name, sensor.shape) == (first.name, tuple(first.shape))
    assert sensor.kind == ("goal" if first.observation_type == wire.GOAL_SIGNAL else "default")
    assert sensor.dimension_properties == tuple(first.dimension_properties)
    assert sensor.mapping == tuple(first.compressed_channel_mapping)
    if first.compression_type == wire.PNG:
        assert sensor.values is None
        assert sensor.png == tuple(each.compressed_data for each in said)
    else:
        assert sensor.values is not None
        numbers = [list(each.float_data.data) for each in said]
        assert sensor.values.reshape(len(said), -1).tolist() == numbers
