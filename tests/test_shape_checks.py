"""The suite checks the shapes in annotations; production does not, and needs neither library."""

import importlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from entrain.algorithms.losses import masked_mean
from entrain.algorithms.returns import generalized_advantage
from entrain.policy.distributions import DiagonalGaussian
from entrain_envs import shapes
from entrain_envs.shapes import Bool, Float, Int
from entrain_envs.timestep import ActionBatch
from support.shape_checks import CHECKED, CHECKED_CALLS, Tests, check_shapes

Float32s = np.ndarray[Any, np.dtype[np.float32]]


def test_arguments_of_different_sizes_are_caught() -> None:
    with pytest.raises(TypeCheckError, match="parameter 'mask'"):
        masked_mean(torch.zeros(3, 2), torch.ones(3, 4, dtype=torch.bool))


def test_an_argument_of_another_kind_is_caught() -> None:
    rows = torch.zeros(3, 2)
    with pytest.raises(TypeCheckError, match="parameter 'boundary'"):
        generalized_advantage(rows, rows, rows, rows, discount=0.9, gae_lambda=0.9)


def test_a_method_is_checked() -> None:
    gaussian = DiagonalGaussian(torch.zeros(5, 2), torch.zeros(2))
    action = {"continuous": torch.zeros(2)}
    # It would be broadcast to all five rows without a word.
    with pytest.raises(TypeCheckError, match="return value"):
        gaussian.log_prob(action)


def test_fields_of_different_sizes_are_caught() -> None:
    with pytest.raises(TypeCheckError, match="parameter 'discrete'"):
        ActionBatch(np.zeros((3, 1), np.float32), np.zeros((2, 1), np.int32), policy_version=0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_test_may_ask_for_no_checks() -> None:
    ActionBatch(np.zeros((3, 1), np.float32), np.zeros((2, 1), np.int32), policy_version=0)


def made_module(**functions: Any) -> ModuleType:
    module = ModuleType(__name__)
    vars(module).update(functions)
    check_shapes(module)
    return module


def doubled(x: Float[torch.Tensor, "T B"]) -> Float[torch.Tensor, "T B"]:
    return torch.cat([x, x])


def test_a_result_of_another_shape_is_caught() -> None:
    x = torch.zeros(2, 3)
    assert doubled(x).shape == (4, 3)
    with pytest.raises(TypeCheckError, match="return value"):
        made_module(doubled=doubled).doubled(x)


def test_only_the_first_calls_of_each_test_are_checked() -> None:
    module = made_module(doubled=doubled)
    for _ in range(CHECKED_CALLS):
        with pytest.raises(TypeCheckError):
            module.doubled(torch.zeros(2, 3))
    assert module.doubled(torch.zeros(2, 3)).shape == (4, 3)
    Tests.begun += 1
    with pytest.raises(TypeCheckError):
        module.doubled(torch.zeros(2, 3))


def counted(x: Int[torch.Tensor, " K"], name: int) -> int:
    return len(x)


def test_types_without_shapes_are_left_to_the_type_checker() -> None:
    module = made_module(counted=counted, plain=isinstance)
    assert module.counted(torch.zeros(3, dtype=torch.int64), "not a number") == 3
    assert module.plain is isinstance


def named(rows: Float[Float32s, "K 2"], mask: Bool[torch.Tensor, ""] | None = None) -> int:
    return len(rows)


def test_arrays_of_numpy_and_options_are_checked() -> None:
    module = made_module(named=named)
    assert module.named(np.zeros((3, 2), np.float32)) == 3
    with pytest.raises(TypeCheckError, match="parameter 'rows'"):
        module.named(np.zeros((3, 1), np.float32))
    with pytest.raises(TypeCheckError, match="parameter 'mask'"):
        module.named(np.zeros((3, 2), np.float32), torch.zeros((), dtype=torch.int64))


@pytest.mark.parametrize("name", CHECKED)
def test_what_is_listed_has_shapes_to_check(name: str) -> None:
    importlib.import_module(name)
    forms = [id(getattr(shapes, form)) for form in shapes.__all__]
    assert any(
        id(value) in forms
        for module in list(sys.modules.values())
        if f"{module.__name__}.".startswith(f"{name}.")
        for value in list(vars(module).values())
    )


def test_production_imports_neither_library() -> None:
    program = (
        "import sys, entrain.app.commands, entrain_envs.timestep\n"
        "print([name for name in ('jaxtyping', 'beartype') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
