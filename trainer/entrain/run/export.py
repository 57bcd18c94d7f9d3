"""A trained policy as one ONNX file, published only after it was seen to agree with torch.

The file holds everything between a simulator's raw observations and its raw actions: normalizer,
networks, bounds. Running it needs neither torch nor this package.

    inputs    each observation by its name, [batch, *shape]
              action_mask [batch, C] bool, if there are C discrete choices
    outputs   continuous_action [batch, D]        what to do, without noise, in environment units
              action_mean, log_sigma_sq [batch, D]  of the Gaussian, before bounds
              discrete_action [batch, N] int64    the most likely allowed choices
              logits [batch, C]                   the lowest float where a choice is forbidden
"""

import copy
import importlib
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from entrain.errors import ExportError, MissingExtraError
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import BehaviourSpec

FORMAT_VERSION = 1
"""Of the names above; it rises when one of them changes its meaning."""

OUTPUT_NAMES = ("continuous_action", "action_mean", "log_sigma_sq", "discrete_action", "logits")
CHECKED_BATCH_SIZES = (1, 7)
TOLERANCE = 1e-4
"""Largest deviation from torch that is published, relative to a number or absolute below 1."""


@dataclass(frozen=True)
class ExportCheck:
    """What a published file was held against."""

    path: Path

    rows: int
    """Random observations compared."""

    largest_deviation: float
    """Over all outputs and rows, relative to a number or absolute below 1."""


class DeterministicPolicy(nn.Module):
    """One batch of observations in, actions without noise and the distribution's numbers out."""

    def __init__(self, policy: ActorCritic) -> None:
        super().__init__()
        self._policy = policy
        self._has_mask = policy.spec.action.num_choices > 0
        self._names = tuple(observation.name for observation in policy.spec.observations)

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Take the inputs of `input_names`, [batch, ...] each; return outputs by name."""
        # A batch is one step (T = 1) of as many columns.
        steps = [values.unsqueeze(0) for values in inputs]
        batch = inputs[0].shape[0]
        state = self._policy.initial_state(1).expand(batch, -1)
        reset = torch.zeros((1, batch), dtype=torch.bool, device=state.device)
        observation = dict(zip(self._names, steps, strict=False))
        distribution = self._policy(observation, state, reset).distribution
        if self._has_mask:
            distribution = distribution.masked(steps[-1])
        action = self._policy.environment_action(distribution.mode())
        outputs = {f"{kind}_action": values for kind, values in action.items()}
        outputs.update(distribution.parameters())
        return {name: outputs[name].squeeze(0) for name in OUTPUT_NAMES if name in outputs}


def export_policy(policy: ActorCritic, path: Path, *, metadata: Mapping[str, str]) -> ExportCheck:
    """Write the policy to `path`, replacing what is there only if the new file agrees with torch.

    Args:
        policy: left untouched.
        path: of the ONNX file; its folder exists.
        metadata: put into the file beside behaviour, spec and format version; env steps, say.

    Raises:
        MissingExtraError: a package that exporting needs is not installed.
        ExportError: the file computes something else than the policy.
    """
    _require_packages()
    policy = copy.deepcopy(policy).cpu()
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        candidate = Path(folder) / path.name
        _write(policy, candidate, {**_own_metadata(policy), **metadata})
        check = _check(policy, candidate, path)
        with candidate.open("rb") as file:
            os.fsync(file.fileno())
        candidate.replace(path)
    return check


def input_names(spec: BehaviourSpec) -> list[str]:
    """The file's inputs in order; an observation named like an output gets a prefix."""
    taken = {*OUTPUT_NAMES, "action_mask"}
    names = [
        f"observation.{observation.name}" if observation.name in taken else observation.name
        for observation in spec.observations
    ]
    return [*names, "action_mask"] if spec.action.branches else names


def _require_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise MissingExtraError(
                f"exporting a policy needs the package {name}; "
                "install it with: pip install 'entrain[export]'"
            ) from None


def _own_metadata(policy: ActorCritic) -> dict[str, str]:
    spec = policy.spec
    described = {
        "observations": [asdict(observation) for observation in spec.observations],
        "action": {
            "low": [_finite_or_null(bound) for bound in spec.action.low],
            "high": [_finite_or_null(bound) for bound in spec.action.high],
            "branches": spec.action.branches,
        },
    }
    return {
        "format_version": str(FORMAT_VERSION),
        "behaviour": spec.name,
        "spec": json.dumps(described),
        "action_distribution": policy.config.action.distribution,
    }


def _finite_or_null(bound: float) -> float | None:
    # JSON has no infinity.
    return bound if math.isfinite(bound) else None


def _write(policy: ActorCritic, path: Path, metadata: Mapping[str, str]) -> None:
    actor = copy.deepcopy(policy)
    actor.keep_actor()
    module = DeterministicPolicy(actor).eval()
    # Any number of rows but 0 and 1, which would be taken for constants.
    example = tuple(torch.from_numpy(values) for values in random_inputs(policy, rows=3).values())
    with torch.no_grad():
        outputs = module(*example)
    batch = torch.export.Dim("batch")
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            input_names=input_names(policy.spec),
            output_names=list(outputs),
            dynamic_shapes={"inputs": tuple({0: batch} for _ in example)},
        )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling users about its own affairs."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # It warns that torchvision is missing, which nothing here uses.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export deep-copies a class that torch itself has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            # Every input has the axis `batch`, which is what is wanted.
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used")
            yield
    finally:
        registration.setLevel(level)


def _check(policy: ActorCritic, candidate: Path, path: Path) -> ExportCheck:
    """Run both on random observations; ExportError, naming `path`, if they deviate."""
    module = DeterministicPolicy(policy).eval()
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(candidate, providers=["CPUExecutionProvider"])
    largest = 0.0
    for rows in CHECKED_BATCH_SIZES:
        inputs = random_inputs(policy, rows=rows)
        with torch.no_grad():
            expected = module(*(torch.from_numpy(values) for values in inputs.values()))
        arrived = session.run(list(expected), inputs)
        for (name, tensor), values in zip(expected.items(), arrived, strict=True):
            deviation = _deviation(values, tensor.numpy())
            largest = max(largest, deviation)
            if not deviation <= TOLERANCE:
                raise ExportError(
                    f"{path}: output '{name}' of the exported file deviates from torch by "
                    f"{deviation:.3g} at batch size {rows}, more than {TOLERANCE:g}; nothing was "
                    "published: try other versions of onnxscript and onnxruntime"
                )
    return ExportCheck(path=path, rows=sum(CHECKED_BATCH_SIZES), largest_deviation=largest)


def random_inputs(policy: ActorCritic, *, rows: int) -> dict[str, npt.NDArray[Any]]:
    """{input: [rows, ...]}, spread three times as wide as what the policy has seen."""
    generator = np.random.default_rng(rows)
    spec, normalizer = policy.spec, policy.normalizer
    normal = generator.standard_normal((rows, normalizer.feature_size), dtype=np.float32)
    features = normalizer.shift.numpy() + 3.0 * normal / normalizer.scale.numpy()
    ends = np.cumsum([observation.size for observation in spec.observations])
    inputs: dict[str, npt.NDArray[Any]] = {}
    for name, observation, vector in zip(
        input_names(spec), spec.observations, np.split(features, ends[:-1], axis=1), strict=False
    ):
        is_pixels = observation.dtype == "uint8"
        pixels = generator.integers(0, 256, vector.shape, dtype=np.uint8)
        inputs[name] = (pixels if is_pixels else vector).reshape(rows, *observation.shape)
    if spec.action.branches:
        inputs["action_mask"] = _random_mask(spec.action.branches, generator, rows=rows)
    return inputs


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
    """Largest difference, relative to a number or absolute below 1; infinite if shapes differ."""
    if arrived.shape != expected.shape or arrived.dtype != expected.dtype:
        return float("inf")
    reference = expected.astype(np.float64)
    difference = np.abs(arrived.astype(np.float64) - reference)
    return float((difference / np.maximum(1.0, np.abs(reference))).max(initial=0.0))
