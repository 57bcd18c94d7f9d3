"""Builds an ONNX graph of opset 9, node by node, in the few operations that game engines read.

torch's exporter writes opset 18, and shapes that depend on the batch as operations of their own;
the importers of Barracuda and Sentis refuse or misread many of those. Here the batch is always the
first dimension, and no other depends on it.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from entrain.unity.models.names import IR_VERSION, OPSET

LARGEST = float(np.finfo(np.float32).max)


class Graph:
    """Nodes of one graph, in the order in which they are computed. Values are known by name."""

    def __init__(self) -> None:
        self._onnx = importlib.import_module("onnx")
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int]) -> str:
        """A float input, [batch, *shape]."""
        self._inputs.append(self._value(name, "FLOAT", ("batch", *shape)))
        return name

    def output(self, name: str, value: str, shape: Sequence[int], *, kind: str = "FLOAT") -> None:
        """Let `value`, [batch, *shape], be an output of this name."""
        self._rename(value, name)
        self._outputs.append(self._value(name, kind, ("batch", *shape)))

    def constant_output(self, name: str, values: npt.NDArray[Any]) -> None:
        """An output whose value is in the file: games read it without running anything."""
        initializer = self.constant(values)
        node = self._onnx.helper.make_node("Identity", [initializer], [name], name=name)
        self._nodes.append(node)
        self._outputs.append(self._value(name, "FLOAT", values.shape))

    def constant(self, values: Tensor | npt.NDArray[Any] | float) -> str:
        """A number or array; floats become float32, whole numbers int64."""
        array = np.asarray(values.numpy(force=True) if isinstance(values, Tensor) else values)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        name = self._new("constant")
        self._initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """The first output of a new node."""
        output = self._new(operation.lower())
        made = self._onnx.helper.make_node(operation, inputs, [output], name=output, **attributes)
        self._nodes.append(made)
        return output

    def linear(self, x: str, weight: Tensor, bias: Tensor) -> str:
        """[batch, inputs] @ [inputs, outputs] + [outputs]."""
        # As torch writes its linear layers: game engines know this form best.
        kernel, offset = self.constant(weight.t().contiguous()), self.constant(bias.flatten())
        return self.node("Gemm", x, kernel, offset, transB=1)

    def reshape(self, x: str, *shape: int) -> str:
        """The same numbers, [batch, *shape]."""
        return self.node("Reshape", x, self.constant(np.array([-1, *shape])))

    def columns(self, x: str, start: int, end: int) -> str:
        """x[:, start:end] of [batch, numbers]."""
        return self.node("Slice", x, axes=[1], starts=[start], ends=[end])

    def concat(self, parts: Sequence[str]) -> str:
        """Side by side, [batch, ...] each of two dimensions."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=1)

    def clip(self, x: str, low: float, high: float) -> str:
        """Within [low, high]; infinite bounds do not count."""
        if low == -np.inf and high == np.inf:
            return x
        return self.node("Clip", x, min=max(low, -LARGEST), max=min(high, LARGEST))

    def affine(self, x: str, scale: Tensor, shift: Tensor) -> str:
        """Returns x * scale + shift, without what changes nothing."""
        if bool((scale != 1.0).any()):
            x = self.node("Mul", x, self.constant(scale))
        if bool((shift != 0.0).any()):
            x = self.node("Add", x, self.constant(shift))
        return x

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The whole as the bytes of a file, after ONNX's own checks."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "policy", self._inputs, self._outputs, self._initializers
        )
        model = helper.make_model(
            graph,
            producer_name="entrain",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        self._onnx.checker.check_model(model, full_check=True)
        written: bytes = model.SerializeToString()
        return written

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def _rename(self, value: str, name: str) -> None:
        """Give an inner value the name of an output; nothing may have been made an input."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == value else each for each in names]

    def _value(self, name: str, kind: str, shape: Sequence[int | str]) -> Any:
        elements = getattr(self._onnx.TensorProto, kind)
        return self._onnx.helper.make_tensor_value_info(name, elements, list(shape))
