"""Processor time to read what an ML-Agents game sends and to write its actions, per message.

Side by side with the same work done agent by agent with protobuf's generated classes, in turns,
medians of processor time. The first message has a terminal record and a zero reward in it. Images
are read to pixels, those that are PNGs too: half of them are a drawn scene, half are noise.

    python -m benchmarks.unity_codec
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from entrain_envs.timestep import ActionBatch, UInt8Array
from entrain_envs.unity import codec, game_codec
from entrain_envs.unity.images import read_images
from entrain_envs.unity.messages import AgentRecords, Observation
from entrain_envs.unity.wire import exchange_pb2 as wire

KEY = "Ball?team=0"
ROUNDS = 7


def records(count: int, shape: tuple[int, ...], *, as_png: bool = False) -> AgentRecords:
    """Of so many agents with one sensor."""
    random = np.random.default_rng(1)
    done = np.zeros(count, np.bool_)
    done[0] = count > 1
    reward = random.normal(size=count).astype(np.float32)
    reward[-1] = 0.0
    if as_png:
        pngs = tuple(png(shape[0], is_noise=bool(row % 2)) for row in range(count))
        sensor = Observation("sensor", shape, png=pngs)
    else:
        sensor = Observation("sensor", shape, values=random.random((count, *shape), np.float32))
    return AgentRecords(
        id=np.arange(count),
        reward=reward,
        done=done,
        interrupted=np.zeros(count, np.bool_),
        group_id=np.zeros(count, np.int64),
        group_reward=np.zeros(count, np.float32),
        observations=(sensor,),
    )


def png(side: int, *, is_noise: bool) -> bytes:
    """A picture of side x side pixels."""
    random = np.random.default_rng(side)
    pixels: UInt8Array = random.integers(0, 256, (side, side, 3), np.uint8)
    if not is_noise:
        across, down = np.meshgrid(np.arange(side), np.arange(side))
        pixels = np.stack([across, down, across + down], axis=2) * 127 // side
        for left, top in random.integers(0, side - side // 8, (20, 2)):
            pixels[top : top + side // 8, left : left + side // 8] = random.integers(0, 256, 3)
    written = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(written, format="PNG")
    return written.getvalue()


def decode(message: bytes) -> int:
    """Read a message, and the pixels of its images."""
    total = 0
    for said in codec.decode(message).agents.values():
        for sensor in said.observations:
            if sensor.png:
                total += len(read_images(sensor, channels_first=False, where="a sensor"))
    return total


def decode_each(message: bytes) -> int:
    """Read a message agent by agent."""
    output = wire.UnityMessageProto.FromString(message).unity_output.rl_output
    total = 0
    for said in output.agentInfos.values():
        infos = list(said.value)
        sensors = [
            np.array([_numbers(each.observations[index]) for each in infos], np.float32)
            for index in range(len(infos[0].observations))
        ]
        total += len(sensors)
        total += len(np.array([each.reward for each in infos], np.float32))
        total += len(np.array([each.id for each in infos], np.int64))
        total += sum(each.done for each in infos) + sum(each.max_step_reached for each in infos)
    return total


def _numbers(seen: wire.ObservationProto) -> object:
    """Of one agent's sensor."""
    if seen.compression_type == wire.PNG:
        return np.array(Image.open(io.BytesIO(seen.compressed_data)), np.float32) / 255.0
    return seen.float_data.data


def encode_each(actions: ActionBatch) -> bytes:
    """Write actions agent by agent."""
    message = wire.UnityMessageProto(header=wire.HeaderProto(status=200))
    rows = message.unity_input.rl_input.agent_actions[KEY].value
    for row in actions.continuous:
        action = wire.AgentActionProto(vector_actions_deprecated=row, continuous_actions=row)
        rows.append(action)
    return message.SerializeToString()


def cost_us(*works: Callable[[], object]) -> list[float]:
    """Processor time of each in microseconds: medians over rounds taken in turns."""
    repeats = [max(1, int(0.05 / once(work))) for work in works]
    measured: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, count, times in zip(works, repeats, measured, strict=True):
            began = time.process_time()
            for _ in range(count):
                work()
            times.append((time.process_time() - began) / count * 1e6)
    return [statistics.median(times) for times in measured]


def once(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return max(1e-6, time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    print("| agents | numbers each | read | read each | write | write each |")
    print("|---|---|---|---|---|---|")
    for count, shape, as_png in (
        (1, (8,), False),
        (12, (8,), False),
        (64, (8,), False),
        (256, (8,), False),
        (16, (84, 84, 3), False),
        (16, (256, 256, 3), False),
        (16, (84, 84, 3), True),
        (16, (256, 256, 3), True),
    ):
        told = " | ".join(f"{cost:,.0f} us" for cost in costs_of(count, shape, as_png=as_png))
        numbers = f"{int(np.prod(shape)):,}{', PNG' if as_png else ''}"
        print(f"| {count} | {numbers} | {told} |", flush=True)


def costs_of(count: int, shape: tuple[int, ...], *, as_png: bool) -> list[float]:
    """Read, read each, write, write each."""
    message = game_codec.encode_records({KEY: records(count, shape, as_png=as_png)})
    actions = ActionBatch(
        continuous=np.zeros((count, 2), np.float32),
        discrete=np.empty((count, 0), np.int32),
        policy_version=0,
    )
    return cost_us(
        lambda: decode(message),
        lambda: decode_each(message),
        lambda: codec.encode_actions({KEY: actions}),
        lambda: encode_each(actions),
    )


if __name__ == "__main__":
    main()
