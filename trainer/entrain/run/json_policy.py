"""Exports a plain policy as JSON, for programs that have no ONNX: some sixty lines evaluate it.

    {"format": "entrain-policy-1", "behaviour": ..., "run": ..., "env_steps": ...,
     "observations": [names], "sizes": [numbers of each],
     "shift": [F], "scale": [F], "clip": number or null,
     "activation": "tanh", "relu", "elu" or "silu",
     "layers": [{"weight": [[inputs] of each output], "bias": [outputs]}], "head": the same,
     "continuous": [{"squashed": bool, "unit", "center", "half_range": number,
                     "low", "high": number or null}],
     "branches": [numbers of choices]}

`evaluate` says what is computed from it, without noise: what the ONNX file of `export` computes.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch

from entrain.errors import ExportError
from entrain.inference.numpy_network import is_plain
from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.layers import HiddenLayers
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain.run.durable import replace_file
from entrain.run.export_check import TOLERANCE, ExportCheck, random_inputs, relative_deviation
from entrain.run.onnx_policy import MASK_INPUT, DeterministicPolicy, input_names

FORMAT = "entrain-policy-1"
"""Changed when a field changes its meaning."""

CHECKED_ROWS = 32

Document: TypeAlias = dict[str, Any]
Numbers: TypeAlias = npt.NDArray[np.float64]

_ACTIVATIONS: Final[Mapping[str, Callable[[Numbers], Numbers]]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


def export_json(policy: ActorNetwork, path: Path, *, metadata: Mapping[str, str]) -> ExportCheck:
    """Write the policy to `path` if what is written computes what torch does.

    Args:
        policy: left untouched.
        path: of the JSON file; its folder exists.
        metadata: written beside behaviour and format.

    Raises:
        ExportError: the policy is not plain, or the outputs deviate.
    """
    actor = policy.without_critic().cpu()
    _require_plain(actor, path)
    document: Document = {"format": FORMAT, "behaviour": actor.spec.name, **metadata}
    text = json.dumps({**document, **_described(actor)}, separators=(",", ":")) + "\n"
    largest = _checked(actor, json.loads(text), path)
    replace_file(path, text)
    return ExportCheck(path=path, rows=CHECKED_ROWS, largest_deviation=largest)


def _require_plain(actor: ActorNetwork, path: Path) -> None:
    has_memory = isinstance(actor.backbone, RecurrentBackbone)
    is_shown_more = len(actor.inputs.observations) != len(actor.spec.observations)
    if not is_plain(actor) or has_memory or is_shown_more:
        raise ExportError(
            f"{path}: '{actor.spec.name}' is no plain policy. JSON has those that see vectors "
            "alone, through hidden layers, without memory, layer_norm, previous_action and "
            "previous_reward; export this one as ONNX"
        )


def _described(actor: ActorNetwork) -> Document:
    trunk = cast("Trunk", actor.backbone.trunk)
    hidden = cast("HiddenLayers", trunk.hidden_layers)
    normalizer = trunk.normalizer
    layers = [
        # [1, inputs, outputs] and [1, 1, outputs]: the one network that is left.
        _layer(layer.weight[0].T, layer.bias.reshape(-1))  # type: ignore[index, operator]
        for layer in hidden.layers
    ]
    return {
        "observations": list(normalizer.size_by_name),
        "sizes": list(normalizer.size_by_name.values()),
        "shift": _numbers(normalizer.shift),
        "scale": _numbers(normalizer.scale),
        "clip": _finite(normalizer.clip),
        "activation": hidden.activation,
        "layers": layers,
        "head": _layer(actor.action_head.weight, actor.action_head.bias),
        "continuous": list(_dimensions(actor.bounds)),
        "branches": list(actor.spec.action.branches),
    }


def _layer(weight: torch.Tensor, bias: torch.Tensor) -> Document:
    return {"weight": [_numbers(row) for row in weight], "bias": _numbers(bias)}


def _dimensions(bounds: ActionBounds) -> Iterator[Document]:
    columns = {
        name: _numbers(getattr(bounds, name))
        for name in ("unit", "center", "half_range", "low", "high")
    }
    size = len(bounds.center)
    squashed = [False] * size
    if isinstance(bounds, SquashedActionBounds):
        squashed = bounds.squashed.tolist()
    for index in range(size):
        yield {"squashed": squashed[index]} | {name: each[index] for name, each in columns.items()}


def _numbers(tensor: torch.Tensor) -> list[float | None]:
    """With as many digits as float32 needs. JSON has no infinity."""
    return [_finite(float(str(each))) for each in tensor.detach().numpy()]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def evaluate(
    document: Document, observation: Mapping[str, npt.ArrayLike]
) -> tuple[Numbers, Numbers]:
    """The policy's outputs for observations {name: [K, ...]}.

    Returns:
        [K, D] continuous actions in the environment's units, [K, C] logits of all branches.
    """
    parts = [np.asarray(observation[name], np.float64) for name in document["observations"]]
    hidden = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    clip = math.inf if document["clip"] is None else document["clip"]
    hidden = np.clip((hidden - document["shift"]) * document["scale"], -clip, clip)
    for layer in document["layers"]:
        hidden = _ACTIVATIONS[document["activation"]](_affine(layer, hidden))
    outputs = _affine(document["head"], hidden)
    size = len(document["continuous"])
    columns = [
        _bounded(dimension, outputs[:, index])
        for index, dimension in enumerate(document["continuous"])
    ]
    continuous = np.stack(columns, axis=1) if columns else np.zeros((len(outputs), 0))
    return continuous, outputs[:, size:]


def _affine(layer: Document, inputs: Numbers) -> Numbers:
    product: Numbers = inputs @ np.asarray(layer["weight"], np.float64).T
    product += layer["bias"]
    return product


def _bounded(dimension: Document, values: Numbers) -> Numbers:
    if dimension["squashed"]:
        values = np.tanh(values)
    scaled = dimension["center"] + dimension["half_range"] * values / dimension["unit"]
    low = -math.inf if dimension["low"] is None else dimension["low"]
    high = math.inf if dimension["high"] is None else dimension["high"]
    bounded: Numbers = np.clip(scaled, low, high)
    return bounded


def _checked(actor: ActorNetwork, document: Document, path: Path) -> float:
    """Returns the largest deviation from torch; ExportError if it exceeds the tolerance."""
    inputs = random_inputs(actor, rows=CHECKED_ROWS)
    if MASK_INPUT in inputs:
        inputs[MASK_INPUT][:] = True
    module = DeterministicPolicy(actor, actor.state_size).eval()
    with torch.no_grad():
        expected = module(*(torch.from_numpy(values) for values in inputs.values()))
    names = input_names(actor.inputs)
    observation = {
        spec.name: inputs[name] for name, spec in zip(names, actor.spec.observations, strict=False)
    }
    continuous, logits = evaluate(document, observation)
    largest = 0.0
    for name, arrived in (("continuous_action", continuous), ("logits", logits)):
        if name in expected:
            largest = max(largest, relative_deviation(arrived, expected[name].numpy()))
    if not largest <= TOLERANCE:
        raise ExportError(
            f"{path}: what would be written deviates from torch by {largest:.3g}, more than "
            f"{TOLERANCE:g}; nothing was published: export this policy as ONNX"
        )
    return largest
