"""Side channels: bytes worked out by hand, and streams that a stranger may send."""

import logging
import math
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.statistics import Statistic
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.side_channels import (
    MOST_MESSAGES,
    MOST_UNKNOWN,
    Gaussian,
    MultiRange,
    SideChannelReader,
    Uniform,
    messages,
    write_engine,
    write_parameter,
    write_sampler,
    write_statistic,
)

# e951342c-4f7e-11ea-b238-784f4387d1f7: .NET turns the first three groups round.
ENGINE = "2c3451e9 7e4f ea11 b238 784f4387d1f7"
PARAMETERS = "1e894c53 0f81 ea11 a9d0 822485860400"
STATISTICS = "b7f7d8a1 c8ce f950 b78b d3e165a78520"


def test_engine_settings_by_hand() -> None:
    assert write_engine(
        width=84,
        height=80,
        quality_level=5,
        time_scale=20.0,
        target_frame_rate=-1,
        capture_frame_rate=60,
    ) == bytes.fromhex(
        f"{ENGINE} 0c000000 00000000 54000000 50000000"  # 84 x 80
        f"{ENGINE} 08000000 01000000 05000000"
        f"{ENGINE} 08000000 02000000 0000a041"  # 20.0
        f"{ENGINE} 08000000 03000000 ffffffff"
        f"{ENGINE} 08000000 04000000 3c000000"
    )


def test_parameters_by_hand() -> None:
    assert write_parameter("mass", 0.5) == bytes.fromhex(
        f"{PARAMETERS} 10000000 04000000 6d617373 00000000 0000003f"
    )
    assert write_sampler("m", Uniform(-1.0, 2.0), seed=7) == bytes.fromhex(
        f"{PARAMETERS} 19000000 01000000 6d 01000000 07000000 00000000 000080bf 00000040"
    )
    assert write_sampler("m", Gaussian(1.0, 0.5), seed=7) == bytes.fromhex(
        f"{PARAMETERS} 19000000 01000000 6d 01000000 07000000 01000000 0000803f 0000003f"
    )
    assert write_sampler("m", MultiRange(((0.0, 1.0), (2.0, 4.0))), seed=-1) == bytes.fromhex(
        f"{PARAMETERS} 25000000 01000000 6d 01000000 ffffffff 02000000 04000000"
        "00000000 0000803f 00000040 00008040"
    )


def test_statistics_by_hand() -> None:
    stream = bytes.fromhex(
        f"{STATISTICS} 0d000000 01000000 61 0000003f 03000000"
        f"{ENGINE} 01000000 ff"  # known, and of no use here
    )
    assert SideChannelReader("game 0").read(stream) == [Statistic("a", 0.5, "histogram")]


def test_statistics_that_are_no_numbers_are_left_out() -> None:
    kept = Statistic("speed", 2.0, "last")
    stream = write_statistic(Statistic("speed", math.nan)) + write_statistic(kept)
    assert SideChannelReader("game 0").read(stream) == [kept]


def test_names_are_ascii() -> None:
    with pytest.raises(UnityMessageError, match="the name 'größe' cannot be sent"):
        write_parameter("größe", 1.0)


def test_numbers_that_a_game_cannot_hold_are_refused() -> None:
    with pytest.raises(UnityMessageError, match=r"1e\+39"):
        write_parameter("mass", 1e39)
    with pytest.raises(UnityMessageError, match="2147483648"):
        write_sampler("mass", Uniform(0.0, 1.0), seed=2**31)


def test_unknown_channels_are_counted_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    reader = SideChannelReader("game 3")
    stream = b"".join(UUID(int=number).bytes_le + bytes(4) for number in range(1, MOST_UNKNOWN + 6))
    with caplog.at_level(logging.WARNING):
        assert reader.read(stream) == []
        reader.read(stream)
    assert len(caplog.records) == MOST_UNKNOWN + 1
    assert "game 3: messages on side channel 00000000-0000-0000-0000-000000000001" in caplog.text
    assert reader.unknown[UUID(int=1)] == 2
    assert reader.unknown[UUID(int=0)] == 10


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (bytes(19), "damaged at byte 0: 19 bytes begin a message"),
        (bytes(16) + struct.pack("<i", 1), "a message has 1 bytes"),
        (bytes(16) + struct.pack("<i", -1), "a message has -1 bytes"),
        (bytes(20) * (MOST_MESSAGES + 1), "more than 10,000 side channel messages"),
        (bytes.fromhex(f"{STATISTICS} 00000000"), "a statistic of 0 bytes"),
        (bytes.fromhex(f"{STATISTICS} 0d000000 02000000 61 0000003f 03000000"), "of 13 bytes"),
        (bytes.fromhex(f"{STATISTICS} 0d000000 01000000 61 0000003f 04000000"), "from 0 to 3"),
        (write_statistic(Statistic("a" * 201, 1.0)), "at most 200 characters"),
    ],
)
def test_damaged_streams_are_refused_in_words(stream: bytes, words: str) -> None:
    with pytest.raises(UnityMessageError, match=words):
        SideChannelReader("game 0").read(stream)


@given(st.lists(st.tuples(st.uuids(), st.binary(max_size=30)), max_size=4), st.data())
def test_a_stream_is_read_as_it_was_written(
    written: list[tuple[UUID, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(
        channel.bytes_le + struct.pack("<i", len(content)) + content for channel, content in written
    )
    assert list(messages(stream)) == written
    if stream:
        shorter = stream[: data.draw(st.integers(0, len(stream) - 1))]
        try:
            assert list(messages(shorter)) == written[: len(list(messages(shorter)))]
        except UnityMessageError as error:
            assert "damaged" in str(error)
