"""The guesses of the conformance kit: what they recognise, and what they leave alone."""

import gymnasium
import numpy as np
import pytest
from websockets.datastructures import Headers

from entrain_envs.conformance.recognition import (
    Layout,
    floats_are_swapped,
    ids_are_swapped,
    in_words,
    other_dtype,
    rows_meant,
)
from entrain_envs.conformance.websocket_port import shown_token
from entrain_envs.spec import ObservationSpec

BODY = ObservationSpec("body", (3,))


def floats(*values: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_usual_numbers_are_recognised_in_either_byte_order(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 10, 24).astype(np.float32)
    assert not floats_are_swapped(values)
    assert floats_are_swapped(values.byteswap())


def test_zeros_ones_and_small_numbers_are_left_alone() -> None:
    assert not floats_are_swapped(floats(0, 0, 0))
    assert not floats_are_swapped(floats(1, 1, 0))
    assert not floats_are_swapped(floats(1e-12, 2e-12, 3e-12))
    assert floats_are_swapped(floats(1, 0, 0, 1).byteswap())


def test_swapped_ids_are_recognised() -> None:
    ids = np.asarray([0, 1, 2, 300], np.int64)
    assert not ids_are_swapped(ids)
    assert ids_are_swapped(ids.byteswap())
    assert not ids_are_swapped(np.asarray([2**50, 2**51 + 1], np.int64))


def test_rows_are_those_that_most_arrays_have() -> None:
    assert rows_meant([2, 2, 1.0, 2]) == 2
    assert rows_meant([1.5, 3, 3]) == 3
    assert rows_meant([0.5]) == 0


def test_other_dtypes_are_told_by_length_and_numbers() -> None:
    values = np.arange(6.0)
    assert other_dtype(BODY, values.astype("<f8").tobytes(), 2) == "float64"
    assert other_dtype(BODY, values.astype("<i8").tobytes(), 2) == "int64"
    assert other_dtype(BODY, values.astype("u1").tobytes(), 2) == "uint8"
    assert other_dtype(BODY, values.astype("<f2").tobytes(), 2) == "float16"
    assert other_dtype(BODY, bytes(4 * 7), 2) == ""


def test_lengths_are_put_into_words() -> None:
    camera = ObservationSpec("camera", (4, 5), "uint8")
    assert in_words(BODY, bytes(4 * 8), 2) == "each row has 4 numbers, off by one in a dimension"
    assert in_words(camera, bytes(2 * 25), 2).endswith("off by one in a dimension")
    assert in_words(camera, bytes(2 * 7), 2) == "each row has 7 numbers"
    assert in_words(BODY, bytes(4 * 9), 2) == "that is 3 rows of 3 numbers, for 2 agents"
    assert in_words(BODY, bytes(4 * 5), 2) == "1 numbers are missing, so no whole number of rows"


def looked(*, columns: bool, sparse: bool = False, seed: int = 0) -> Layout:
    """Five agents of three numbers, of which one begins an episode in each Step."""
    layout, random = Layout(BODY), np.random.default_rng(seed)
    agents = np.arange(5)
    values = random.normal(0, 5, (5, 3))
    for step in range(40):
        types = np.full(5, 2, np.uint8)
        types[step % 5] = 1
        if sparse:
            values = np.eye(3)[random.integers(0, 3, 5)]
        else:
            values = values + random.normal(0, 0.01, (5, 3))
            values[step % 5] = random.normal(0, 5, 3)
        sent = values.T.reshape(5, 3) if columns else values
        layout.look(sent, agents, types)
    return layout


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_told_from_rows_where_agents_begin_one_by_one(seed: int) -> None:
    assert looked(columns=True, seed=seed).is_in_columns
    assert looked(columns=False, seed=seed).is_in_rows


@pytest.mark.parametrize("columns", [False, True])
def test_cart_poles_are_told_from_columns_of_them(columns: bool) -> None:
    # Their carts move all the time, so what begins is less than half of all change.
    layout = Layout(ObservationSpec("cart", (4,)))
    carts = [gymnasium.make("CartPole-v1") for _ in range(6)]
    for seed, cart in enumerate(carts):
        cart.action_space.seed(seed)
    seen = np.asarray([cart.reset(seed=seed)[0] for seed, cart in enumerate(carts)])
    for _ in range(100):
        types = np.full(6, 2, np.uint8)
        for index, cart in enumerate(carts):
            seen[index], _, has_fallen, *_ = cart.step(cart.action_space.sample())
            if has_fallen:
                seen[index], types[index] = cart.reset()[0], 1
        layout.look(seen.T.reshape(6, 4) if columns else seen, np.arange(6), types)
    assert (layout.is_in_rows, layout.is_in_columns) == (not columns, columns)


@pytest.mark.parametrize("seed", range(5))
def test_one_hot_numbers_are_no_sign_of_either(seed: int) -> None:
    layout = looked(columns=False, sparse=True, seed=seed)
    assert not layout.is_in_columns


def test_bounds_tell_columns_from_rows() -> None:
    spec = ObservationSpec("body", (2,), low=(0, 100), high=(1, 200))
    layout = Layout(spec)
    types = np.full(3, 2, np.uint8)
    for _ in range(3):
        layout.look(np.asarray([[0, 1], [0.5, 100], [150, 200]]), np.arange(3), types)
    assert layout.is_in_columns


def test_tokens_come_in_the_header_or_in_a_subprotocol() -> None:
    # base64url of "secret" without padding
    offered = ["entrain.v1", "entrain.token.c2VjcmV0"]
    assert shown_token(Headers(), offered) == "secret"
    assert shown_token(Headers(Authorization="Bearer other"), offered) == "other"
    assert shown_token(Headers(Authorization="Basic x"), offered) == ""
    assert shown_token(Headers(), ["entrain.token.%"]) == ""
    assert shown_token(Headers(), []) == ""
