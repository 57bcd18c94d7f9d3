"""Arrays in a safetensors file: as its own library has them, and never as a whole in memory."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entrain import state as state_module
from entrain.run.array_file import DTYPES, ArrayFile, BytesSource, read_arrays
from entrain.run.checkpoint import CheckpointStore
from entrain.run.state_files import decode_state, encode_in_pieces, encode_state
from entrain.state import AnyArray, PiecewiseArray

MIB = 1 << 20


class Counted(PiecewiseArray):
    """[N, ...] whose rows are counted from 0; it knows how many are asked for at once."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.uint8) -> None:
        super().__init__(shape, np.dtype(dtype))
        self.most = 0

    def rows(self, begin: int, end: int) -> AnyArray:
        self.most = max(self.most, end - begin)
        values = np.empty((end - begin, *self.shape[1:]), self.dtype)
        values.T[:] = np.arange(begin, end) % 251
        return values


def written(arrays: dict[str, Any]) -> bytes:
    file = ArrayFile(arrays)
    content = b"".join(file.pieces())
    assert len(content) == file.num_bytes
    return content


arrays_of_any_kind = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
        lambda name: not name.startswith("_")
    ),
    st.sampled_from(sorted(set(DTYPES) - {"complex64"})).flatmap(
        lambda dtype: hnp.arrays(
            np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(arrays=arrays_of_any_kind)
def test_the_library_of_safetensors_reads_what_is_written_and_the_other_way_round(
    arrays: dict[str, AnyArray],
) -> None:
    theirs = safetensors.numpy.load(written(arrays))
    ours = read_arrays(BytesSource(safetensors.numpy.save(arrays)))
    assert theirs.keys() == ours.keys() == arrays.keys()
    for name, array in arrays.items():
        for found in (theirs[name], ours[name]):
            assert found.dtype == array.dtype
            assert found.shape == array.shape
            assert np.asarray(found).tobytes() == array.tobytes()


def test_big_endian_and_turned_arrays_are_written_row_by_row() -> None:
    turned = np.arange(6, dtype=">f4").reshape(2, 3).T
    found = safetensors.numpy.load(written({"x": turned}))["x"]
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_an_array_in_pieces_is_read_back_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "PIECE_BYTES", 16)
    image = Counted((9, 2, 3))
    content = written({"image": image, "plain": np.ones(3)})
    # Sixteen bytes have room for two rows of six.
    assert image.most == 2
    assert safetensors.numpy.load(content)["image"].tolist() == np.asarray(image).tolist()
    found = read_arrays(BytesSource(content))
    assert isinstance(found["plain"], np.ndarray)
    again = found["image"]
    assert isinstance(again, PiecewiseArray)
    assert [len(piece) for piece in again.pieces()] == [2, 2, 2, 2, 1]
    assert np.asarray(again).tolist() == np.asarray(image).tolist()
    assert np.asarray(again, np.float64).dtype == np.float64
    assert again.rows(3, 5).tolist() == image.rows(3, 5).tolist()
    assert again.nbytes == 54
    # And so is a state that holds it, again and again.
    state = {"rows": {"image": image}}
    once = encode_state(state)
    assert encode_state(decode_state(*once)) == once


HEADER = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def file_of(header: Any, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_a_file_by_hand_is_read() -> None:
    found = read_arrays(BytesSource(file_of(HEADER, np.array([1, 2], "<f4").tobytes())))
    assert found["x"].tolist() == [1.0, 2.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not safetensors",
        (1 << 60).to_bytes(8, "little") + b"{}",
        file_of(b"["),
        file_of([]),
        file_of({"x": 3}),
        file_of({"x": {**HEADER["x"], "dtype": "F8"}}),
        file_of({"x": {**HEADER["x"], "shape": [3]}}),
        file_of({"x": {**HEADER["x"], "shape": [-2]}}),
        file_of({"x": {**HEADER["x"], "shape": [True, 2]}}),
        file_of({"x": {**HEADER["x"], "shape": [2.0]}}),
        file_of({"x": {**HEADER["x"], "data_offsets": [4, 12]}}, bytes(12)),
        file_of({"x": {**HEADER["x"], "data_offsets": [0, 12]}}, bytes(12)),
        file_of({**HEADER, "y": HEADER["x"]}),
        file_of(HEADER, bytes(7)),
        file_of(HEADER, bytes(9)),
        file_of(b'{"x": {}, "x": {}}'),
        file_of({**HEADER, "__metadata__": {"piecewise": "{"}}),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        read_arrays(BytesSource(content))


def test_saving_and_loading_take_a_small_part_of_what_a_large_array_has(tmp_path: Path) -> None:
    rows = Counted((64, MIB))
    store = CheckpointStore(tmp_path, keep=1)
    tracemalloc.start()
    try:
        store.save({"algorithm": {"replay": rows, "weights": np.ones(3)}}, step=7)
        saving = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        replay = store.load_newest().state["algorithm"]["replay"]
        assert all(
            np.array_equal(*pair) for pair in zip(replay.pieces(), rows.pieces(), strict=True)
        )
        loading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(saving, loading) < 40 * MIB
    assert rows.most == 4
    document, _ = encode_in_pieces({"replay": rows})
    assert json.loads(document) == {"replay": {"$array": "replay"}}
