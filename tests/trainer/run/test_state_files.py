"""A state that goes through its two documents comes back as it was, to the bit."""

import json
import math
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entrain.run.state_files import decode_state, encode_state
from entrain.state import State

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64",
]  # fmt: skip

arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
numpy_scalars = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, ()).map(lambda array: array[()])
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | arrays
    | numpy_scalars
)  # fmt: skip
keys = st.text(max_size=5) | st.sampled_from(
    [
        "",
        "/",
        "$array",
        "$",
        "__metadata__",
        "a/b",
        "a%2Fb",
        "0",
        "\ud800",
        "%D800",
        "%5F_metadata__",
    ]
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
states = st.dictionaries(keys, values, max_size=4)


def round_trip(state: State) -> State:
    return decode_state(*encode_state(state))


def assert_same(one: Any, other: Any) -> None:
    """Equal in type, shape, dtype and every bit, NaN and the sign of zero included."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            assert_same(mine, yours)
    elif isinstance(one, float):
        assert math.isnan(one) == math.isnan(other)
        assert math.isnan(one) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    else:
        assert one == other


@settings(max_examples=120, deadline=None)
@given(states)
@example({"": [np.array(False)], "0": b""})
@example({"": {"": {"": b"a"}, "/": b"b"}, "/": b"c", "//": b"d"})
@example({"\ud800": np.ones(1), "%D800": np.zeros(1)})
@example({"__metadata__": np.ones(1), "%5F_metadata__": np.zeros(1)})
def test_any_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert_same(round_trip(state), state)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_in_every_shape(dtype: str) -> None:
    array = np.arange(6).astype(dtype).reshape(2, 3)
    state = {"matrix": array, "empty": array[:, :0], "point": array[1, 2].reshape(())}
    assert_same(round_trip(state), state)


def test_an_array_of_no_dimension_and_a_numpy_scalar_are_told_apart() -> None:
    state = round_trip({"array": np.array(2.5), "scalar": np.float64(2.5), "float": 2.5})
    assert isinstance(state["array"], np.ndarray)
    assert type(state["scalar"]) is np.float64
    assert type(state["float"]) is float


def test_values_in_memory_order_of_their_own_come_back_by_index() -> None:
    counting = np.arange(24, dtype=np.float32).reshape(4, 6)
    state = {
        "every_other": counting[::2, 1::2],
        "backwards": counting[::-1],
        "transposed": counting.T,
        "fortran": np.asfortranarray(counting),
        "broadcast": np.broadcast_to(np.float32(3), (2, 2)),
        "big_endian": counting.astype(">f4"),
    }
    back = round_trip(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)
        assert back[name].dtype == np.float32


def test_nan_keeps_its_bits_in_arrays() -> None:
    signalling = np.array([0x7FA00001, 0xFFC12345], np.uint32).view(np.float32)
    assert round_trip({"x": signalling})["x"].tobytes() == signalling.tobytes()


def test_restored_arrays_are_new_and_writable() -> None:
    original = np.zeros(3)
    restored = round_trip({"x": original})["x"]
    restored[:] = 1.0
    assert original.sum() == 0.0


def test_integers_beyond_64_bits_survive() -> None:
    # The state of numpy's PCG64 has 128.
    state = {"state": 2**127 + 1, "increment": -(2**100)}
    assert round_trip(state) == state


def test_the_json_is_readable_and_strict() -> None:
    document, _ = encode_state({"env_steps": 7, "worst": -math.inf, "weights": np.zeros(2)})
    assert json.loads(document, parse_constant=pytest.fail) == {
        "env_steps": 7,
        "worst": {"$float": "-inf"},
        "weights": {"$array": "weights"},
    }


def test_tensors_are_named_by_their_path() -> None:
    state = {"policies": {"a/b": {"weights": [np.zeros(1), np.ones(1)]}}}
    _, tensors = encode_state(state)
    names = set(safetensors.numpy.load(tensors))
    assert names == {"policies/a%2Fb/weights/0", "policies/a%2Fb/weights/1"}


def test_a_long_list_of_arrays_keeps_its_order() -> None:
    state = {"layers": [np.full(1, i) for i in range(12)]}
    assert [int(layer[0]) for layer in round_trip(state)["layers"]] == list(range(12))


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ((1, 2), "tuple"),
        ({1, 2}, "set"),
        (1j, "complex"),
        (object(), "object"),
        (np.array(["text"]), "<U4"),
        (np.array([object()]), "object"),
        (np.zeros(1, "datetime64[s]"), "datetime64"),
        (np.zeros(1, [("a", "f4")]), "void|f4"),
        (np.zeros(1, np.complex128), "complex128"),
    ],
)
def test_what_a_state_may_not_hold_is_named_with_its_path(value: object, word: str) -> None:
    with pytest.raises(TypeError, match=f"'walker/optimizer/1' is an? .*({word})"):
        encode_state({"walker": {"optimizer": [0, value]}})


def test_a_key_that_is_no_string_is_named_with_its_path() -> None:
    with pytest.raises(TypeError, match="'slots' has the key 3; keys must be strings"):
        encode_state({"slots": {3: "x"}})


def test_a_torch_tensor_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="'weights' is a Tensor"):
        encode_state({"weights": torch.zeros(1)})


def test_documents_that_do_not_belong_together_are_refused() -> None:
    document, _ = encode_state({"x": np.zeros(2)})
    _, tensors = encode_state({"y": np.zeros(2)})
    with pytest.raises(ValueError, match="there is no array 'x'"):
        decode_state(document, tensors)


@pytest.mark.parametrize("document", [b"[]", b"3", b"{", b"\xff"])
def test_a_document_that_is_no_state_is_refused(document: bytes) -> None:
    _, tensors = encode_state({})
    with pytest.raises(ValueError, match=r"."):
        decode_state(document, tensors)


def test_tensors_that_are_no_safetensors_are_refused() -> None:
    document, _ = encode_state({})
    with pytest.raises(ValueError, match=r"."):
        decode_state(document, b"not safetensors")
