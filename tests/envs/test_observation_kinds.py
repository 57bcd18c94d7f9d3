"""What an observation is taken for if its simulator does not say, and how an image is read."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrain_envs.observation_kinds import image_layout, is_channels_first
from entrain_envs.spec import ObservationSpec

PIXELS = ((0.0,), (255.0,))
FRACTIONS = ((0.0,), (1.0,))
BOARD = ((0.0,), (2.0,))
ENDLESS = ((-np.inf,), (np.inf,))
NONE = ((), ())


@pytest.mark.parametrize(
    ("shape", "dtype", "bounds", "kind"),
    [
        ((84, 84), "uint8", PIXELS, "image"),
        ((84, 84), "uint8", NONE, "image"),
        ((84, 84), "float32", FRACTIONS, "image"),
        ((84, 84), "float32", PIXELS, "image"),
        ((84, 84), "float32", NONE, "vector"),
        ((84, 84), "float32", ENDLESS, "vector"),
        ((19, 19), "uint8", BOARD, "vector"),
        ((4, 4), "uint8", BOARD, "vector"),
        # A stack of four RAMs.
        ((4, 128), "uint8", PIXELS, "vector"),
        ((15, 99), "uint8", PIXELS, "vector"),
        ((48, 48, 3), "uint8", PIXELS, "image"),
        ((48, 48, 1), "uint8", PIXELS, "image"),
        ((4, 48, 48), "uint8", PIXELS, "image"),
        ((7, 7, 3), "uint8", PIXELS, "image"),
        ((10, 10, 6), "uint8", FRACTIONS, "image"),
        ((3, 3, 2), "float32", FRACTIONS, "image"),
        ((1, 64, 64), "float32", ENDLESS, "image"),
        ((8, 8, 4), "float32", NONE, "image"),
        ((2, 2, 9), "uint8", PIXELS, "vector"),
        ((5, 1, 9), "float32", NONE, "vector"),
        ((4, 48, 48, 3), "uint8", PIXELS, "image"),
        ((4, 3, 48, 48), "uint8", NONE, "image"),
        ((4, 10, 10, 6), "float32", FRACTIONS, "image"),
        ((4, 48, 48, 3), "float32", NONE, "vector"),
        ((4, 48, 48, 3), "float32", ENDLESS, "vector"),
        ((2, 4, 48, 48, 3), "uint8", PIXELS, "vector"),
        ((128,), "uint8", PIXELS, "vector"),
        ((), "uint8", PIXELS, "vector"),
    ],
)
def test_shape_dtype_and_bounds_say_what_an_observation_is(
    shape: tuple[int, ...],
    dtype: str,
    bounds: tuple[tuple[float, ...], tuple[float, ...]],
    kind: str,
) -> None:
    assert ObservationSpec("seen", shape, dtype, "", *bounds).kind == kind


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((48, 64), "48 x 64, 1 channel"),
        ((48, 64, 3), "48 x 64, 3 channels"),
        ((3, 48, 64), "48 x 64, 3 channels"),
        ((4, 84, 84), "84 x 84, 4 channels"),
        ((4, 48, 64, 3), "48 x 64, 4 frames of 3 channels"),
        ((4, 3, 48, 64), "48 x 64, 4 frames of 3 channels"),
        ((4, 84, 84, 1), "84 x 84, 4 frames of 1 channel"),
        ((1, 48, 64, 3), "48 x 64, 3 channels"),
        ((48, 64, 3, 4), "48 x 64, 4 frames of 3 channels"),
        ((10, 10, 10, 6), "10 x 10, 10 frames of 6 channels"),
    ],
)
def test_an_images_shape_is_read(shape: tuple[int, ...], words: str) -> None:
    layout = image_layout(shape)
    assert str(layout) == words
    # The order puts height and width last, whatever comes first.
    ordered = np.transpose(np.empty(shape), layout.to_channels_first).shape
    assert ordered[-2:] == (layout.height, layout.width)
    assert np.prod(ordered[:-2]) == layout.frames * layout.channels


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 8, 16), False),
        ((7, 7, 20), False),
        ((11, 11, 40), False),
        ((32, 16, 16), True),
        ((4, 84, 84), True),
        ((84, 84, 4), False),
        ((3, 48, 64), True),
        ((48, 64, 3), False),
        ((16, 16, 16), False),
    ],
)
def test_the_shape_says_whether_channels_come_first(shape: tuple[int, ...], expected: bool) -> None:
    assert is_channels_first(shape) == expected


sizes = st.integers(1, 200)


@given(side=sizes, channels=sizes)
def test_a_square_image_is_seen_as_one_however_many_channels_it_has(
    side: int, channels: int
) -> None:
    assume(side != channels)
    assert not is_channels_first((side, side, channels))
    assert is_channels_first((channels, side, side))


@given(ascending=st.lists(sizes, min_size=3, max_size=3, unique=True).map(sorted), is_tall=...)
def test_an_oblong_image_has_fewer_channels_than_rows_or_columns(
    ascending: list[int], is_tall: bool
) -> None:
    channels, width, height = ascending
    if not is_tall:
        width, height = height, width
    assert not is_channels_first((height, width, channels))
    assert is_channels_first((channels, height, width))
