"""Exports a trained policy as one ONNX file, after comparing its outputs with those of torch.

The file holds everything between a simulator's raw observations and its raw actions: normalizer,
networks, bounds. Running it needs neither torch nor this package.

    inputs    each observation by its name, [batch, *shape]; if that is one of the names below,
                  with "observation." in front
              previous_action [batch, D + C], if the policy observes it: action_mean of the step
                  before, clipped to [-10, 10], then a one-hot of each discrete_action
              previous_reward [batch, 1], if the policy observes it: received for that action
              action_mask [batch, C] bool, if there are C discrete choices
              state_in [batch, S], if the policy has a memory: state_out of the step before
    outputs   continuous_action [batch, D]        the action, without noise, in environment units
              action_mean, log_sigma_sq [batch, D]  of the Gaussian, before bounds
              discrete_action [batch, N] int64    the most likely allowed choices
              logits [batch, C]                   the lowest float where a choice is forbidden
              state_out [batch, S]                recurrent state after this step

previous_action, previous_reward and state_in are zeros at the first step of an episode.
"""

import copy
import importlib
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from entrain.errors import ExportError, MissingExtraError
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.onnx_names import free_name, name_ends
from entrain_envs.spec import BehaviourSpec

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
"""{name of an input or output: array}."""

FORMAT_VERSION = 1
"""Raised when one of the names above changes its meaning."""

ACTION_OUTPUTS = ("continuous_action", "action_mean", "log_sigma_sq", "discrete_action", "logits")
MASK_INPUT = "action_mask"
STATE_INPUT = "state_in"
STATE_OUTPUT = "state_out"
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


class DeterministicPolicy(nn.Module):
    """Computes actions without noise, and the parameters of their distribution, for one step.

    The state is that of the actor alone. A critic with a memory of its own has another, which the
    actor does not need.
    """

    def __init__(self, policy: ActorNetwork, state_size: int) -> None:
        """Wrap a policy with its critic, or the actor alone.

        Args:
            policy: not copied.
            state_size: S, of the actor alone.
        """
        super().__init__()
        self._policy = policy
        self._state_size = state_size
        self._critic_state_size = policy.state_size - state_size
        self._has_mask = policy.spec.action.num_choices > 0
        self._names = policy.inputs.observation_names

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Take inputs in the order of `random_inputs`, [batch, ...] each; outputs by name."""
        # A batch is one step (T = 1) of as many columns.
        steps = [values.unsqueeze(0) for values in inputs[: len(self._names)]]
        batch = inputs[0].shape[0]
        reset = torch.zeros((1, batch), dtype=torch.bool, device=inputs[0].device)
        observation = dict(zip(self._names, steps, strict=True))
        output = self._policy(observation, self._state(inputs), reset)
        distribution = output.distribution
        if self._has_mask:
            distribution = distribution.masked(inputs[len(self._names)].unsqueeze(0))
        action = self._policy.environment_action(distribution.mode())
        named = {f"{kind}_action": values for kind, values in action.items()}
        named.update(distribution.parameters())
        outputs = {name: named[name].squeeze(0) for name in ACTION_OUTPUTS if name in named}
        if self._state_size:
            outputs[STATE_OUTPUT] = output.state[:, : self._state_size]
        return outputs

    def _state(self, inputs: Sequence[Tensor]) -> Tensor:
        if not self._state_size:
            return self._policy.initial_state(1).expand(inputs[0].shape[0], -1)
        if not self._critic_state_size:
            return inputs[-1]
        # The actor's part comes first.
        return nn.functional.pad(inputs[-1], (0, self._critic_state_size))


def export_policy(policy: ActorNetwork, path: Path, *, metadata: Mapping[str, str]) -> ExportCheck:
    """Write the policy to `path`, and replace a file there only if the new one agrees with torch.

    Args:
        policy: left untouched.
        path: of the ONNX file; its folder exists.
        metadata: written into the file, together with behaviour, spec and format version.

    Raises:
        MissingExtraError: a package that exporting needs is not installed.
        ExportError: the outputs of the file differ from those of the policy, or the policy cannot
            be translated.
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
    """Returns the file's inputs in order, without the state: observations, and the mask if any.

    An observation that has the name of something else in the file gets a prefix.
    """
    other = {*ACTION_OUTPUTS, MASK_INPUT, STATE_INPUT, STATE_OUTPUT}
    names = [
        free_name(name, other.union(spec.observation_names), prefix="observation.")
        if name in other
        else name
        for name in spec.observation_names
    ]
    return [*names, MASK_INPUT] if spec.action.branches else names


def _require_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise MissingExtraError(
                f"exporting a policy needs the package {name}; install it with: "
                "pip install onnx onnxscript onnxruntime (the extra entrain-rl[export])"
            ) from None


def _own_metadata(policy: ActorNetwork) -> dict[str, str]:
    spec = policy.spec
    described = {
        "observations": [asdict(observation) for observation in policy.inputs.observations],
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


def _write(policy: ActorNetwork, path: Path, metadata: Mapping[str, str]) -> None:
    actor = policy.without_critic()
    module = DeterministicPolicy(actor, actor.state_size).eval()
    # Not 0 or 1 rows: torch.export would treat those as constants.
    inputs = random_inputs(policy, rows=3)
    example = tuple(torch.from_numpy(values) for values in inputs.values())
    with torch.no_grad():
        outputs = module(*example)
    model = _translate(module, example)
    name_ends(model.graph, inputs=tuple(inputs), outputs=tuple(outputs))
    onnx = importlib.import_module("onnx")
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def _translate(module: DeterministicPolicy, example: tuple[Tensor, ...]) -> Any:
    """The module as an `onnx.ModelProto`; ExportError if it uses what ONNX does not have."""
    batch = torch.export.Dim("batch")
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                verbose=False,
                dynamic_shapes={"inputs": tuple({0: batch} for _ in example)},
            )
        assert program is not None
        return program.model_proto
    except Exception as error:
        # A user's own network may do anything, and torch raises errors of any class.
        cause = _first_cause(error)
        reason = str(cause).strip().partition("\n")[0]
        raise ExportError(
            f"torch cannot translate this policy to ONNX: {type(cause).__name__}: {reason}; "
            "with network.custom, use operations that ONNX has (docs/networks.md), otherwise "
            "other versions of torch and onnxscript"
        ) from error


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages of the exporter that do not concern users."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # It warns that torchvision is missing, which nothing here uses.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export deep-copies a class that torch itself has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            # Every input has the axis `batch`, as intended.
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used")
            yield
    finally:
        registration.setLevel(level)


def _check(policy: ActorNetwork, candidate: Path, path: Path) -> ExportCheck:
    """Run both on random observations; ExportError, naming `path`, if they deviate."""
    module = DeterministicPolicy(policy, policy.without_critic().state_size).eval()
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(candidate, providers=["CPUExecutionProvider"])
    largest = 0.0
    for rows in CHECKED_BATCH_SIZES:
        # Each keeps its own state, so that small deviations can add up over the steps.
        states: tuple[Arrays, Arrays] = ({}, {})
        for step in range(CHECKED_STEPS):
            inputs = random_inputs(policy, rows=rows, seed=step)
            expected = _run_torch(module, {**inputs, **states[0]})
            names = list(expected)
            values = session.run(names, {**inputs, **states[1]})
            arrived = dict(zip(names, values, strict=True))
            states = (_carried(expected), _carried(arrived))
            largest = max(largest, _compare(arrived, expected, path, f"step {step} of {rows} rows"))
    rows_in_all = CHECKED_STEPS * sum(CHECKED_BATCH_SIZES)
    return ExportCheck(path=path, rows=rows_in_all, largest_deviation=largest)


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
            inputs[name] = generator.integers(0, 256, shape, dtype=np.uint8)
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
    reference = expected.astype(np.float64)
    difference = np.abs(arrived.astype(np.float64) - reference)
    return float((difference / np.maximum(1.0, np.abs(reference))).max(initial=0.0))
