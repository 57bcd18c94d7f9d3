"""Compressed images: what their channels become, and what is refused before it is unpacked."""

import builtins
import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from entrain_envs.errors import MissingExtraError
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.images import check_pixels, read_images
from entrain_envs.unity.messages import Observation
from entrain_envs.unity.png import SIGNATURE

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 4, 9), np.uint8)
"""[H, W, C]; three PNGs hold it."""


def png(pixels: npt.NDArray[np.uint8], **options: Any) -> bytes:
    """A file of [H, W] or [H, W, C] pixels."""
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format="PNG", **options)
    return written.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def made_png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    data: bytes = b"",
    more: bytes = b"",
) -> bytes:
    """A file with any header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), more, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return SIGNATURE + b"".join(parts)


def read(
    *contents: bytes,
    shape: Sequence[int] = (3, 4, 3),
    mapping: Sequence[int] = (),
    channels_first: bool = False,
    **options: Any,
) -> npt.NDArray[Any]:
    """The images of agents 7, 8, ..."""
    return read_images(
        Observation("eye", tuple(shape), mapping=tuple(mapping), png=contents),
        channels_first=channels_first,
        where="'Ball', observation 0 ('eye')",
        agents=range(7, 7 + len(contents)),
        **options,
    )


def test_pixels_of_two_agents() -> None:
    first, second = PICTURE[:, :, :3], PICTURE[:, :, 3:6]
    images = read(png(first), png(second))
    assert images.dtype == np.uint8
    assert (images == np.stack([first, second])).all()


def test_a_shape_with_channels_first() -> None:
    images = read(png(PICTURE[:, :, :3]), shape=(3, 3, 4), channels_first=True)
    assert (images == PICTURE[None, :, :, :3]).all()


def test_several_pngs_are_one_image() -> None:
    content = b"".join(png(PICTURE[:, :, at : at + 3]) for at in (0, 3, 6))
    assert (read(content, shape=(3, 4, 9))[0] == PICTURE).all()
    # Two channels of the last PNG were only added because a PNG has three.
    assert (read(content, shape=(3, 4, 7))[0] == PICTURE[:, :, :7]).all()


def test_a_mapping_drops_orders_and_averages() -> None:
    content = png(PICTURE[:, :, :3]) + png(PICTURE[:, :, 3:6])
    ordered = read(content, shape=(3, 4, 4), mapping=(1, 0, -1, 2, 3, -1))
    assert ordered.dtype == np.uint8
    assert (ordered[0] == PICTURE[:, :, [1, 0, 3, 4]]).all()
    averaged = read(content, shape=(3, 4, 2), mapping=(0, 0, 0, 1, -1, -1))
    assert averaged.dtype == np.float32
    np.testing.assert_allclose(averaged[0, :, :, 0], PICTURE[:, :, :3].mean(axis=2) / 255, 1e-6)
    np.testing.assert_allclose(averaged[0, :, :, 1], PICTURE[:, :, 3] / 255, 1e-6)


def test_one_channel_without_a_mapping_is_the_mean_of_the_colours() -> None:
    grey = read(png(PICTURE[:, :, :3]), shape=(3, 4, 1))
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey[0, :, :, 0], PICTURE[:, :, :3].mean(axis=2) / 255, 1e-6)
    with_alpha = read(png(PICTURE[:, :, :4]), shape=(3, 4, 1))
    assert (with_alpha == grey).all()
    np.testing.assert_allclose(
        read(png(PICTURE[:, :, 0]), shape=(3, 4, 1))[0, :, :, 0], PICTURE[:, :, 0] / 255, 1e-6
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(PICTURE[:, :2, :3]), r"declares 3 x 2 pixels; expected the sensor's 3 x 4"),
        (made_png(30_000, 30_000), r"declares 30000 x 30000 pixels"),
        (png(PICTURE[:, :, 0]), r"1 files have 1 channels; expected 3, as the sensor's shape"),
        (b"", r"0 files have 0 channels"),
        (b"GIF89a", r"byte 0 begins no PNG"),
        (png(PICTURE[:, :, :3]) + b"x", r"begins no PNG"),
        (png(PICTURE[:, :, :3])[:-3], r"does not end"),
        (SIGNATURE, r"does not end"),
        (SIGNATURE + chunk(b"IDAT", b""), r"b'IDAT' is out of place"),
        (SIGNATURE + chunk(b"IHDR", b"123"), r"its header has 3 bytes"),
        (made_png(4, 3, depth=16), r"16 bits a channel and colour type 2"),
        (made_png(4, 3, colour=3), r"8 bits a channel and colour type 3"),
        (made_png(4, 3), r"cannot be unpacked"),
        (made_png(4, 3, data=zlib.compress(bytes(20))), r"cannot be unpacked"),
        (made_png(4, 3, data=b"nonsense"), r"cannot be unpacked"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_agent(content: bytes, words: str) -> None:
    with pytest.raises(UnityMessageError, match=words) as refused:
        read(png(PICTURE[:, :, :3]), content)
    assert str(refused.value).startswith("'Ball', observation 0 ('eye'), agent 8, a PNG of")


@pytest.mark.parametrize(
    ("shape", "mapping", "words"),
    [
        ((3, 4), (), r"the shape \[3, 4\]; expected three dimensions"),
        ((3, 0, 3), (), r"the shape \[3, 0, 3\]"),
        ((3, 4, 3), (0, 1, 1), r"maps the channels of its PNGs to \[0, 1, 1\]; expected each of 0"),
        ((3, 4, 3), (0, 1, 3), r"maps the channels"),
        ((3, 4, 2), (0, 1, -2), r"maps the channels"),
        ((3, 4, 3), (0, 1, 2, -1), r"have 3 channels; expected 4, as the sensor's mapping"),
    ],
)
def test_declarations_that_do_not_fit(
    shape: Sequence[int], mapping: Sequence[int], words: str
) -> None:
    with pytest.raises(UnityMessageError, match=words):
        read(png(PICTURE[:, :, :3]), shape=shape, mapping=mapping)


def test_small_files_that_are_huge_pictures_are_never_unpacked(
    request: pytest.FixtureRequest,
) -> None:
    declared = 20_000
    bomb = made_png(declared, declared, data=zlib.compress(bytes(1_000_000)))
    row = bytes(1 + 3 * 4)
    # The right size by its header, but a thousand times as much data, also in a text.
    text = b"note\0\0" + zlib.compress(bytes(30_000_000))
    hidden = made_png(
        4, 3, data=zlib.compress(row * 3 + bytes(30_000_000)), more=chunk(b"zTXt", text)
    )
    tracemalloc.start()
    request.addfinalizer(tracemalloc.stop)
    with pytest.raises(UnityMessageError, match="take 1,200,000,000 bytes"):
        read(bomb, shape=(declared, declared, 3))
    with pytest.raises(UnityMessageError, match="declares 20000 x 20000"):
        read(bomb)
    assert not read(hidden).any()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000


def test_images_that_are_too_many_are_refused() -> None:
    eye = Observation("eye", (3, 4, 3), png=(b"", b""))
    mean = Observation("mean", (3, 4, 1), png=(b"",))
    floats = Observation("ray", (9000,), values=np.zeros((1, 9000), np.float32))
    check_pixels([eye, floats, mean], most_bytes=120)
    with pytest.raises(UnityMessageError, match=r"1 of \[3, 4, 1\], take 120 bytes; expected at m"):
        check_pixels([eye, floats, mean], most_bytes=119)


def test_a_missing_pillow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any) -> Any:
        if name == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *rest)

    content = png(PICTURE[:, :, :3])
    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(MissingExtraError, match=r"pip install pillow \(the extra entrain-envs"):
        read(content)


@settings(max_examples=150)
@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(png(PICTURE[:, :, :3]) + png(PICTURE[:, :, 3:6]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    try:
        assert read(bytes(content[:end]), shape=(3, 4, 6)).shape == (1, 3, 4, 6)
    except UnityMessageError as error:
        assert "agent 7" in str(error)
