"""Compares an exported file with torch, on random observations and over several steps."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from entrain.errors import ExportError
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.onnx_policy import (
    MASK_INPUT,
    STATE_INPUT,
    STATE_OUTPUT,
    Arrays,
    DeterministicPolicy,
    input_names,
)
from entrain_envs.spec import ObservationSpec

CHECKED_BATCH_SIZES = (1, 7)
CHECKED_STEPS = 4
"""Consecutive steps that are compared, so that the recurrent state takes part."""
TOLERANCE = 1e-4
"""Largest deviation from torch that is accepted, relative to a number or absolute below 1."""


@dataclass(frozen=True)
class ExportCheck:
    """How an exported file was compared with torch."""

    path: Path

    rows: int
    """Random observations compared."""

    largest_deviation: float
    """Over all outputs and rows, relative to a number or absolute below 1."""


def check_export(policy: ActorNetwork, candidate: Path, path: Path) -> ExportCheck:
    """Run a file and its policy on random observations.

    Args:
        policy: on the CPU.
        candidate: the file.
        path: where it will be, for messages.

    Raises:
        ExportError: they deviate, or onnxruntime refuses the file.
    """
    module = DeterministicPolicy(policy, policy.without_critic().state_size).eval()
    run = _runner(candidate, path)
    largest = 0.0
    for rows in CHECKED_BATCH_SIZES:
        # Each keeps its own state, so that small deviations can add up over the steps.
        states: tuple[Arrays, Arrays] = ({}, {})
        for step in range(CHECKED_STEPS):
            inputs = random_inputs(policy, rows=rows, seed=step)
            expected = _run_torch(module, {**inputs, **states[0]})
            names = list(expected)
            values = run(names, {**inputs, **states[1]})
            arrived = dict(zip(names, values, strict=True))
            states = (_carried(expected), _carried(arrived))
            largest = max(largest, _compare(arrived, expected, path, f"step {step} of {rows} rows"))
    rows_in_all = CHECKED_STEPS * sum(CHECKED_BATCH_SIZES)
    return ExportCheck(path=path, rows=rows_in_all, largest_deviation=largest)


def _runner(candidate: Path, path: Path) -> Callable[[list[str], Arrays], Sequence[Any]]:
    """Runs the exported file; any exception of onnxruntime becomes an ExportError naming `path`."""
    onnxruntime = importlib.import_module("onnxruntime")

    def run(names: list[str], inputs: Arrays) -> Sequence[Any]:
        try:
            outputs: Sequence[Any] = session.run(names, inputs)
        except Exception as error:
            raise _refused(path, error) from error
        return outputs

    try:
        session = onnxruntime.InferenceSession(candidate, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refused(path, error) from error
    return run


def _refused(path: Path, error: Exception) -> ExportError:
    reason = str(error).strip().partition("\n")[0]
    return ExportError(
        f"{path}: onnxruntime refuses the exported file: {reason}; nothing was published: "
        "try other versions of torch, onnxscript and onnxruntime"
    )


def _run_torch(module: DeterministicPolicy, inputs: Arrays) -> Arrays:
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(values) for values in inputs.values()))
    return {name: values.numpy() for name, values in outputs.items()}


def _carried(outputs: Arrays) -> Arrays:
    return {STATE_INPUT: outputs[STATE_OUTPUT]} if STATE_OUTPUT in outputs else {}


def _compare(arrived: Arrays, expected: Arrays, path: Path, where: str) -> float:
    """Returns the largest deviation; ExportError if it exceeds the tolerance."""
    largest = 0.0
    for name, values in expected.items():
        deviation = _deviation(arrived[name], values)
        if not deviation <= TOLERANCE:
            raise ExportError(
                f"{path}: output '{name}' of the exported file deviates from torch by "
                f"{deviation:.3g} at {where}, more than {TOLERANCE:g}; nothing was "
                "published: try other versions of onnxscript and onnxruntime"
            )
        largest = max(largest, deviation)
    return largest


def random_inputs(policy: ActorNetwork, *, rows: int, seed: int = 0) -> Arrays:
    """Returns random values of the file's inputs in order, {input: [rows, ...]}.

    The standard deviation of vectors is three times that of the observations in training.
    """
    generator = np.random.default_rng((rows, seed))
    spec, normalizer = policy.inputs, policy.normalizer
    normal = generator.standard_normal((rows, normalizer.feature_size), dtype=np.float32)
    features = normalizer.shift.numpy() + 3.0 * normal / normalizer.scale.numpy()
    vectors = normalizer.split(torch.from_numpy(features))
    inputs: Arrays = {}
    for name, observation in zip(input_names(spec), spec.observations, strict=False):
        shape = (rows, *observation.shape)
        if observation.dtype == "uint8":
            inputs[name] = _random_bytes(observation, generator, shape)
        elif observation.name in vectors:
            inputs[name] = vectors[observation.name].numpy()
        else:
            inputs[name] = generator.standard_normal(shape, dtype=np.float32)
        if observation.kind == "entities":
            # Some entities are absent; in the first row, all are.
            inputs[name][generator.random(shape[:-1]) < 0.4] = 0.0
            inputs[name][0] = 0.0
    if spec.action.branches:
        inputs[MASK_INPUT] = _random_mask(spec.action.branches, generator, rows=rows)
    if policy.state_size:
        shape = (rows, policy.without_critic().state_size)
        inputs[STATE_INPUT] = generator.standard_normal(shape, dtype=np.float32)
    return inputs


def _random_bytes(
    observation: ObservationSpec, generator: np.random.Generator, shape: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """Within the observation's bounds, so that clipping hides no deviation."""
    low = np.clip(observation.low or (0.0,), 0, 255)
    high = np.clip(observation.high or (255.0,), 0, 255)
    size = (shape[0], observation.size)
    numbers = generator.integers(np.ceil(low), np.floor(high) + 1, size)
    return numbers.astype(np.uint8).reshape(shape)


def _random_mask(
    branches: tuple[int, ...], generator: np.random.Generator, *, rows: int
) -> npt.NDArray[np.bool_]:
    masks = []
    for choices in branches:
        mask = generator.random((rows, choices)) < 0.5
        # At least one choice of each branch is allowed.
        mask[np.arange(rows), generator.integers(0, choices, rows)] = True
        masks.append(mask)
    return np.concatenate(masks, axis=1)


def _deviation(arrived: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Returns the largest difference, as for TOLERANCE; infinity if shapes or types differ."""
    if arrived.shape != expected.shape or arrived.dtype != expected.dtype:
        return float("inf")
    return relative_deviation(arrived, expected)


def relative_deviation(arrived: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Returns the largest difference, as for TOLERANCE."""
    reference = expected.astype(np.float64)
    difference = np.abs(arrived.astype(np.float64) - reference)
    return float((difference / np.maximum(1.0, np.abs(reference))).max(initial=0.0))
