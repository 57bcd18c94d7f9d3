"""What strangers do on the port of a game, each as a function that `attackers.attack` runs.

They return how often each status ended their calls; OK is an answer. Nothing here imports torch.
"""

import io
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import numpy as np
from PIL import Image

from entrain_envs.errors import EntrainEnvsError
from entrain_envs.statistics import Statistic
from entrain_envs.unity import game_codec
from entrain_envs.unity.codec import decode
from entrain_envs.unity.conversation import Conversation, Moved
from entrain_envs.unity.messages import AgentRecords, BrainParameters, Initialization, Observation
from entrain_envs.unity.png import SIGNATURE
from entrain_envs.unity.service import METHOD
from entrain_envs.unity.side_channels import SideChannelReader, write_statistic
from entrain_envs.unity.varints import field, head, varint

HELLO = game_codec.encode_hello(Initialization("AcademySingleton", "1.5.0", "3.0.0"))
NOTHING = game_codec.encode_nothing()

Call = Callable[[bytes], str]
"""Sends a message and returns the status that ended the call."""


@contextmanager
def calling(address: str, *, seconds: float = 60.0) -> Iterator[Call]:
    """A connection of its own."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        raw: Any = channel
        exchange = raw.unary_unary(METHOD)

        def call(message: bytes) -> str:
            try:
                exchange(message, timeout=seconds, wait_for_ready=True)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

        yield call


def records(name: str, *, count: int = 2, eye: Observation | None = None, **changes: Any) -> bytes:
    """A message of so many agents of a behaviour, which see two numbers, and the eye."""
    key = f"{name}?team=0"
    numbers = Observation("speed", (2,), values=np.zeros((count, 2), np.float32))
    fields: dict[str, Any] = {
        "id": np.arange(count),
        "reward": np.zeros(count, np.float32),
        "done": np.zeros(count, np.bool_),
        "interrupted": np.zeros(count, np.bool_),
        "group_id": np.ones(count, np.int64),
        "group_reward": np.zeros(count, np.float32),
        "observations": (numbers,) if eye is None else (numbers, eye),
        "mask": np.zeros((count, 3), np.bool_),
    }
    side_channel = changes.pop("side_channel", b"")
    return game_codec.encode_records(
        {key: AgentRecords(**{**fields, **changes})},
        behaviours=[BrainParameters(key, 1, (3,))],
        side_channel=side_channel,
    )


def png(side: int) -> bytes:
    """A black picture."""
    written = io.BytesIO()
    Image.new("RGB", (side, side)).save(written, format="PNG")
    return written.getvalue()


def send_game_noise(address: str, games: int, seed: int) -> dict[str, int]:
    """As so many games, one after the other, say a few things of which most are damaged."""
    draw, sound = random.Random(seed), sound_messages()
    statuses: Counter[str] = Counter()
    for _ in range(games):
        with calling(address) as call:
            if draw.random() < 0.8:
                statuses.update([call(HELLO), call(NOTHING)])
            usual = draw.choice(sound)
            for _ in range(4):
                statuses[call(damaged(usual, draw))] += 1
            # The next one would wait whether this one has gone.
            call(game_codec.encode_leaving())
    return dict(statuses)


def sound_messages() -> list[bytes]:
    """Such as games send."""
    statistic = write_statistic(Statistic("Score", 1.0, "mean"))
    eye = Observation("eye", (64, 64, 3), png=(png(64),) * 2)
    floats = Observation("eye", (40, 40, 3), values=np.zeros((2, 40, 40, 3), np.float32))
    return [
        records("fly", side_channel=statistic),
        records("spider", eye=eye),
        records("bird", eye=floats),
    ]


def read_noise(_address: str, games: int, seed: int) -> dict[str, int]:
    """Read what so many games say, of which most is damaged, without a network."""
    draw, sound = random.Random(seed), sound_messages()
    told: Counter[str] = Counter()
    for _ in range(games):
        game, channels = Conversation(), SideChannelReader("a game")
        try:
            for message in (HELLO, NOTHING):
                game.receive(decode(message))
            game.reset()
            usual = draw.choice(sound)
            for _ in range(4):
                event = game.receive(decode(damaged(usual, draw)))
                if isinstance(event, Moved):
                    channels.read(event.side_channel)
                told["read"] += 1
        except EntrainEnvsError as error:
            assert len(str(error)) < 2000, str(error)
            told["refused"] += 1
    return dict(told)


def damaged(message: bytes, draw: random.Random) -> bytes:
    """A message of which some bytes are others, are missing, or come twice; or another one."""
    content = bytearray(message)
    if draw.random() < 0.05:
        return draw.choice((HELLO, NOTHING, draw.randbytes(draw.randrange(300))))
    for _ in range(draw.choice((0, 1, 1, 1, 3))):
        at = draw.randrange(max(1, len(content)))
        match draw.choice((0, 0, 0, 0, 0, 0, 1, 2, 3, 4)):
            case 0:
                content[at : at + 1] = draw.randbytes(1)
            case 1:
                del content[at : at + draw.randrange(1, 9)]
            case 2:
                content[at:at] = content[at : at + draw.randrange(1, 200)]
            case 3:
                content[at:at] = varint(draw.choice([2**31 - 1, 2**31, 2**63, 2**64 - 1]))
            case _:
                content = content[:at]
    return bytes(content)


def send_long(address: str, mib: float) -> dict[str, str]:
    """Send messages of about this size that hold far too much; {what: how its call ended}."""
    size = int(mib * 2**20)
    deep = b"x"
    while len(deep) < min(size, 100_000):
        deep = field(2, deep)
    messages = {
        "a number without an end": b"\xff" * size,
        "records": _in_records(b"\x0a\x00" * (size // 2)),
        "sensors": _in_records(field(1, b"\x6a\x00" * 9_000) * (size // 18_000)),
        "sensors of short records": _in_records(field(1, b"\x6a\x00" * 8_000) * (size // 16_000)),
        "behaviours": field(2, field(1, b"\x12\x00" * (size // 2))),
        "descriptions": field(2, field(2, b"\x2a\x00" * (size // 2))),
        "nested fields": field(2, deep),
        "a length of 2 GiB": field(2, head(1, 2**31 - 1) + bytes(size)),
        "a text": field(1, field(2, b"x" * size)),
        "a side channel": records("fly", side_channel=bytes(size)),
    }
    ends = {}
    for what, message in messages.items():
        with calling(address) as call:
            call(HELLO)
            call(NOTHING)
            ends[what] = call(message)
    return ends


def _in_records(content: bytes) -> bytes:
    return field(2, field(1, field(2, field(1, b"fly?team=0") + field(2, content))))


def send_bombs(address: str, mib: float) -> dict[str, str]:
    """Send small files that are, or say that they are, pictures of such a size or larger.

    Returns {what: how its call ended}.
    """
    size = int(mib * 2**20)
    side = int((size / 3) ** 0.5)
    bomb = png(side)
    sensors = 300 * 2**20 // size
    many = tuple(Observation(f"eye-{i}", (side, side, 3), png=(bomb,)) for i in range(sensors))
    bombs = {
        "a header that lies": ((64, 64, 3), made_png(30_000, 30_000, zlib.compress(bytes(10)))),
        "pixels without an end": ((64, 64, 3), made_png(64, 64, zlib.compress(bytes(size), 9))),
        "a text without an end": ((64, 64, 3), made_png(64, 64, b"", text=bytes(size))),
        "a zip": ((64, 64, 3), b"PK\x03\x04" + bytes(1000)),
        "no pixels": ((64, 64, 3), made_png(64, 64, b"")),
        "huge pictures": ((16_000, 16_000, 3), made_png(16_000, 16_000, b"")),
    }
    messages = {
        what: records("spider", eye=Observation("eye", shape, png=(content, content)))
        for what, (shape, content) in bombs.items()
    }
    messages["pictures of many sensors"] = records(
        "spiders", count=1, observations=many, group_id=[1]
    )
    ends = {}
    for what, message in messages.items():
        with calling(address) as call:
            call(HELLO)
            call(NOTHING)
            ends[what] = call(message)
    return ends


def made_png(width: int, height: int, data: bytes, *, text: bytes = b"") -> bytes:
    """A file whose header says this, with so many pixels and words."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    words = _chunk(b"zTXt", b"k\0\0" + zlib.compress(text, 9)) if text else b""
    chunks = (_chunk(b"IHDR", header), words, _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return SIGNATURE + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def report_game_statistics(address: str, steps: int, names: int, first: int = 0) -> dict[str, int]:
    """Report so many new names in each message of records; how often each status came."""
    statuses: Counter[str] = Counter()
    with calling(address) as call:
        call(HELLO)
        call(NOTHING)
        for step in range(steps):
            begin = first + step * names
            said = [Statistic(f"name-{n}", 1.0, "mean") for n in range(begin, begin + names)]
            statuses[
                call(records("reporter", side_channel=b"".join(map(write_statistic, said))))
            ] += 1
        call(game_codec.encode_leaving())
    return dict(statuses)


def fall_silent(address: str, lasting_s: float) -> dict[str, int]:
    """Take part, and then neither call nor end for so long."""
    with calling(address) as call:
        statuses = Counter(
            [call(HELLO), call(NOTHING), call(records("sloth")), call(records("sloth"))]
        )
        time.sleep(lasting_s)
    return dict(statuses)


def call_without_reading(address: str, calls: int, mib: float) -> dict[str, int]:
    """Begin so many calls of that size each, and look at no answer until all were begun."""
    message = records("fly", side_channel=bytes(int(mib * 2**20)))
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        raw: Any = channel
        exchange = raw.unary_unary(METHOD)
        exchange(HELLO)
        exchange(NOTHING)
        begun = [exchange.future(message, timeout=60.0) for _ in range(calls)]
        statuses = Counter(each.code().name for each in begun)
        with suppress(grpc.RpcError):
            exchange(game_codec.encode_leaving())
        return dict(statuses)
