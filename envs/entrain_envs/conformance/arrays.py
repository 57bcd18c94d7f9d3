"""Reads the arrays of one behaviour in a Step, and says what is wrong with their bytes.

This module does not know which rows may come when.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entrain_envs.conformance.extras import have_extras
from entrain_envs.conformance.recognition import (
    Layout,
    floats_are_swapped,
    ids_are_swapped,
    in_words,
    other_dtype,
    rows_meant,
)
from entrain_envs.conformance.results import Results
from entrain_envs.spec import BehaviourSpec, ObservationSpec
from entrain_envs.wire import trainer_pb2 as pb

BYTE_ORDER = "write each number with its lowest byte first (little-endian), whatever the machine"


@dataclass(frozen=True)
class Rows:
    """K rows of one behaviour."""

    behaviour: str
    agent_id: npt.NDArray[np.int64]
    step_type: npt.NDArray[np.uint8]
    reward: npt.NDArray[np.float32]
    observations: tuple[npt.NDArray[np.generic], ...]
    """Each [K, numbers of a row]."""

    action_mask: npt.NDArray[np.bool_]
    """[K, choices]."""

    late: npt.NDArray[np.bool_]
    """[K] whether a fallback acted before the row."""

    def content(self, row: int) -> bytes:
        """All observations of a row, to compare it with another."""
        return b"".join(values[row].tobytes() for values in self.observations)


class ArrayJudge:
    """Reads the arrays of one behaviour, Step after Step."""

    def __init__(self, spec: BehaviourSpec, results: Results) -> None:
        self.spec = spec
        self._results = results
        self._layouts: Mapping[str, Layout] = {
            each.name: Layout(each)
            for each in spec.observations
            if each.dtype == "float32" and each.kind != "entities"
        }

    def read(self, message: pb.BehaviourStep) -> Rows | None:
        """The rows; None if they cannot be read, which has failed a rule."""
        rows = rows_meant(
            [
                len(message.agent_id) / 8,
                float(len(message.step_type)),
                len(message.reward) / 4,
                *(
                    len(content) / max(1, spec.num_bytes)
                    for spec, content in zip(
                        self.spec.observations, message.observations, strict=False
                    )
                ),
            ]
        )
        if not self._have_heads(message, rows) or not self._have_observations(message, rows):
            return None
        mask = self._mask(message.action_mask, rows)
        if mask is None or not have_extras(message, rows, self._results):
            return None
        self._results.passed("row-counts", "dtypes", "shapes")
        read = Rows(
            message.behaviour,
            np.frombuffer(message.agent_id, "<i8"),
            np.frombuffer(message.step_type, np.uint8),
            np.frombuffer(message.reward, "<f4"),
            tuple(
                np.frombuffer(content, spec.numpy_dtype).reshape(rows, spec.size)
                for spec, content in zip(self.spec.observations, message.observations, strict=True)
            ),
            mask,
            np.frombuffer(message.late, np.uint8) > 0 if message.late else np.zeros(rows, np.bool_),
        )
        self._judge_numbers(read)
        self._judge_masks(read, bool(message.action_mask))
        if not self._results.has_failed("byte-order"):
            self._judge_layout(read)
        return read

    def _fail(self, rule: str, arrived: str, remedy: str) -> None:
        self._results.failed(rule, f"behaviour '{self.spec.name}', {arrived}", remedy)

    def _have_heads(self, message: pb.BehaviourStep, rows: int) -> bool:
        for field, content, dtype, size, others in (
            ("agent_id", message.agent_id, "int64", 8, {4: "int32", 1: "int8"}),
            ("step_type", message.step_type, "uint8", 1, {4: "int32", 8: "int64"}),
            ("reward", message.reward, "float32", 4, {8: "float64"}),
        ):
            if len(content) == rows * size:
                continue
            other = next(
                (name for width, name in others.items() if len(content) == rows * width), ""
            )
            arrived = f"{field} has {len(content)} bytes; expected {rows * size}: {dtype}[{rows}]"
            if other:
                remedy = f"write {field} as {dtype}, {size} bytes a row"
                self._fail("dtypes", f"{arrived}. They are the bytes of {other}[{rows}]", remedy)
            else:
                self._fail("row-counts", arrived, f"write one {dtype} of {field} for each agent_id")
            return False
        return True

    def _have_observations(self, message: pb.BehaviourStep, rows: int) -> bool:
        specs, contents = self.spec.observations, message.observations
        if len(specs) != len(contents):
            self._fail(
                "shapes",
                f"{len(contents)} observations arrived; expected {len(specs)}: "
                f"{', '.join(map(str, specs))}",
                "send one entry of `observations` for each of Hello's, in Hello's order",
            )
            return False
        return all(
            self._has_rows(spec, content, rows)
            for spec, content in zip(specs, contents, strict=True)
        )

    def _has_rows(self, spec: ObservationSpec, content: bytes, rows: int) -> bool:
        if len(content) == rows * spec.num_bytes:
            return True
        shape = [rows, *spec.shape]
        arrived = (
            f"observation '{spec.name}' has {len(content)} bytes; "
            f"expected {rows * spec.num_bytes}: {spec.dtype}{shape}"
        )
        if other := other_dtype(spec, content, rows):
            self._fail(
                "dtypes",
                f"{arrived}. They are the bytes of {other}{shape}",
                f"convert to {spec.dtype} before writing, or declare the dtype that is sent",
            )
        else:
            rule = "row-counts" if len(content) % max(1, spec.num_bytes) == 0 else "shapes"
            self._fail(
                rule,
                f"{arrived}; {in_words(spec, content, rows)}",
                "write for each agent_id, also those of last and FIRST rows, exactly the numbers "
                "of the shape that Hello declares, or declare the shape that is sent",
            )
        return False

    def _mask(self, content: bytes, rows: int) -> npt.NDArray[np.bool_] | None:
        choices = self.spec.action.num_choices
        if not content:
            return np.ones((rows, choices), np.bool_)
        if len(content) != rows * choices:
            self._fail(
                "mask",
                f"action_mask has {len(content)} bytes; expected {rows * choices}: "
                f"uint8[{rows}, {choices}], or none",
                "write a byte for each choice of each branch, for every row, last ones too",
            )
            return None
        values = np.frombuffer(content, np.uint8).reshape(rows, choices)
        if values.size and values.max() > 1:
            remedy = "write 1 where a choice is allowed and 0 where not; no bits, no 255"
            self._fail("mask", f"action_mask holds {values.max()}; expected 0 or 1", remedy)
        return values > 0

    def _judge_numbers(self, rows: Rows) -> None:
        if ids_are_swapped(rows.agent_id):
            arrived = (
                f"agent_id {int(rows.agent_id[0])} arrived, which with its bytes in the other "
                f"order is {int(rows.agent_id.byteswap()[0])}"
            )
            self._fail("byte-order", arrived, BYTE_ORDER)
        elif rows.agent_id.any():
            self._results.passed("byte-order")
        named = [("reward", rows.reward)] + [
            (f"observation '{spec.name}'", values.astype(np.float32))
            for spec, values in zip(self.spec.observations, rows.observations, strict=True)
            if spec.dtype == "float32"
        ]
        for name, values in named:
            self._judge_floats(name, values, rows)

    def _judge_floats(self, name: str, values: npt.NDArray[np.float32], rows: Rows) -> None:
        if floats_are_swapped(values):
            odd = values[values != 0].flat[0]
            self._fail(
                "byte-order",
                f"{name} holds {odd:g} and the like, which with their bytes in the other order "
                f"are {values[values != 0].byteswap().flat[0]:g} and the like",
                BYTE_ORDER,
            )
        elif not np.isfinite(values).all():
            bad = ~np.isfinite(values.reshape(len(values), -1))
            row = int(bad.any(axis=1).argmax())
            number = values.reshape(len(values), -1)[row][bad[row]][0]
            self._fail(
                "finite",
                f"{name}, row {row} (agent {int(rows.agent_id[row])}) holds {number}",
                "find where the simulator divides by zero or lets a body leave the world",
            )
        elif len(values):
            self._results.passed("finite")
            if values.any():
                self._results.passed("byte-order")

    def _judge_masks(self, rows: Rows, was_sent: bool) -> None:
        if not was_sent:
            return
        first_choice = 0
        acts = rows.step_type <= pb.STEP_TYPE_MID
        for branch, choices in enumerate(self.spec.action.branches):
            allowed = rows.action_mask[:, first_choice : first_choice + choices].any(axis=1)
            first_choice += choices
            stuck = acts & ~allowed
            if stuck.any():
                row = int(stuck.argmax())
                self._fail(
                    "mask",
                    f"row {row} (agent {int(rows.agent_id[row])}) allows none of the {choices} "
                    f"choices of branch {branch}",
                    "allow at least one choice, or end the agent's episode",
                )
                return
        self._results.passed("mask")

    def _judge_layout(self, rows: Rows) -> None:
        for spec, values in zip(self.spec.observations, rows.observations, strict=True):
            layout = self._layouts.get(spec.name)
            if layout is None:
                continue
            layout.look(values, rows.agent_id, rows.step_type)
            if layout.is_in_columns:
                self._fail(
                    "row-major",
                    f"observation '{spec.name}': read column after column the numbers make sense "
                    f"({layout.columns_signs} signs against {layout.rows_signs}), as they are not",
                    "write all numbers of the first agent, then all of the second, and so on "
                    "(C order; transpose an array of [numbers, agents])",
                )
            elif layout.is_in_rows:
                self._results.passed("row-major")
