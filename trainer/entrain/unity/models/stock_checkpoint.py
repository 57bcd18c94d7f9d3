"""Reads a `checkpoint.pt` of mlagents-learn: weights, steps, and the optimizer's moments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.quoting import shortened
from entrain.unity.models.stock_names import (
    ADAM,
    ALIASES,
    CRITIC,
    POLICY,
    STATISTICS,
    STEPS,
    VALUES,
)
from entrain.unity.models.tensor_file import is_plain, read_tensor_file

FILE_NAME = "checkpoint.pt"

LARGEST_STEPS = 2**53


@dataclass(frozen=True)
class StockMoments:
    """Adam's moments of each parameter, by part and name; parameters never trained have none."""

    mean: Mapping[str, Mapping[str, Tensor]]
    """{part: {name: mean gradient}}; empty without moments."""

    mean_square: Mapping[str, Mapping[str, Tensor]]
    """{part: {name: mean squared gradient}}."""

    num_steps: int
    """Gradient steps; 0 if the file has no moments that fit its weights."""


@dataclass(frozen=True)
class StockCheckpoint:
    """A policy in a checkpoint of PPO, under mlagents-learn's names."""

    path: Path

    policy: Mapping[str, Tensor]
    """{name: tensor} of the actor, and of the critic too if they share layers."""

    critic: Mapping[str, Tensor]
    """{name: tensor} of the critic."""

    steps: int
    """Agent steps that it had trained."""

    moments: StockMoments

    others: tuple[str, ...]
    """Other parts, such as networks of curiosity."""

    @property
    def is_shared(self) -> bool:
        """Whether actor and critic share their layers."""
        return any(name.startswith(f"{VALUES}.") for name in self.policy)

    def part(self, name: str) -> Mapping[str, Tensor]:
        """The tensors of `POLICY` or `CRITIC`."""
        return self.policy if name == POLICY else self.critic


def stock_file_in(path: Path, behaviour: str) -> Path | None:
    """The file that `path` names: itself, or that of `behaviour` in the results of a run."""
    if path.is_file():
        return path
    # Behaviours are named by strangers, and may not lead out of the folder.
    file = path / behaviour / FILE_NAME
    return file if file.is_file() and file.parent.parent == path and behaviour != ".." else None


def load_stock_checkpoint(path: Path) -> StockCheckpoint:
    """Read the file, or `checkpoint.pt` in the folder of a behaviour; nothing in it is run.

    Raises:
        CheckpointError: there is none, it is damaged, too large, or not of mlagents-learn's PPO.
    """
    path = path / FILE_NAME if path.is_dir() else path
    loaded = read_tensor_file(path)
    parts = {name: _tensors(path, loaded, name) for name in (POLICY, CRITIC, STEPS)}
    step = next(iter(parts[STEPS].values()), torch.zeros(1, dtype=torch.int64))
    if step.numel() != 1 or not 0 <= int(step) < LARGEST_STEPS:
        raise CheckpointError(f"{path}: '{STEPS}' is no number of steps; the file is damaged")
    return StockCheckpoint(
        path,
        parts[POLICY],
        parts[CRITIC],
        int(step),
        _moments(loaded, parts),
        tuple(shortened(str(name), 40) for name in loaded if name not in {*parts, ADAM})[:10],
    )


def _tensors(path: Path, loaded: Mapping[Any, Any], part: str) -> Mapping[str, Tensor]:
    tensors = loaded.get(part)
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and is_plain(each) for name, each in tensors.items()
    ):
        found = shortened(", ".join(sorted(map(str, loaded))), 200)
        raise CheckpointError(
            f"{path} has no tensors under '{part}', as a PPO checkpoint of mlagents-learn has "
            f"(it has: {found or 'nothing'})"
        )
    return tensors


def optimizer_order(parts: Mapping[str, Mapping[str, Tensor]]) -> Sequence[tuple[str, str]]:
    """[(part, name)] of every parameter, in the order in which mlagents-learn's Adam has them.

    Those of the actor, as the file has them, then those of the critic if it has layers of its own.
    """
    is_shared = any(name.startswith(f"{VALUES}.") for name in parts[POLICY])
    return [
        (part, name)
        for part in ((POLICY,) if is_shared else (POLICY, CRITIC))
        for name in parts[part]
        if not name.startswith(f"{ALIASES}.") and name.rpartition(".")[2] not in STATISTICS
    ]


def _moments(loaded: Mapping[Any, Any], parts: Mapping[str, Mapping[str, Tensor]]) -> StockMoments:
    """The moments in the file; none at all if they do not fit its weights."""
    mean: dict[str, dict[str, Tensor]] = {POLICY: {}, CRITIC: {}}
    mean_square: dict[str, dict[str, Tensor]] = {POLICY: {}, CRITIC: {}}
    steps: set[int] = set()
    order = optimizer_order(parts)
    try:
        adam = loaded[ADAM]
        (group,) = adam["param_groups"]
        if list(group["params"]) != list(range(len(order))):
            raise ValueError("the optimizer has other parameters than the networks")
        for (part, name), first, second, step in _kept(adam["state"], order, parts):
            mean[part][name], mean_square[part][name] = first, second
            steps.add(step)
        (num_steps,) = steps
    except (
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        return StockMoments({}, {}, 0)
    return StockMoments(mean, mean_square, num_steps)


def _kept(
    state: Any, order: Sequence[tuple[str, str]], parts: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[tuple[tuple[str, str], Tensor, Tensor, int]]:
    """((part, name), mean, mean square, steps) of each parameter that has moments.

    Raises:
        ValueError: they belong to other weights, or are not moments.
    """
    for index, kept in state.items():
        part, name = order[index]
        weight = parts[part][name]
        mean, mean_square, step = kept["exp_avg"], kept["exp_avg_sq"], int(kept["step"])
        if not 0 < step < LARGEST_STEPS:
            raise ValueError(f"moments of '{name}' are of {step} steps")
        for each in (mean, mean_square):
            if not is_plain(each) or each.shape != weight.shape:
                raise ValueError(f"moments of '{name}' have another shape")
            if not bool(torch.isfinite(each).all()):
                raise ValueError(f"moments of '{name}' are not finite")
        if bool((mean_square < 0).any()):
            raise ValueError(f"mean squares of '{name}' are negative")
        yield (part, name), mean, mean_square, step
