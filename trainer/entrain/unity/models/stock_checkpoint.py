"""Reads a `checkpoint.pt` of mlagents-learn: tensors alone, whatever else the file may hold.

Such a file is a pickle in a zip archive, so it could run code. torch's restricted loader builds
tensors, numbers and containers and refuses everything else.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.quoting import shortened

FILE_NAME = "checkpoint.pt"

LARGEST_BYTES = 2**31
"""Of everything in the archive, unpacked. The largest stock networks have a hundredth of this."""

POLICY, CRITIC, STEPS = "Policy", "Optimizer:critic", "global_step"


@dataclass(frozen=True)
class StockCheckpoint:
    """What a checkpoint of PPO holds of a policy, under mlagents-learn's names."""

    path: Path

    policy: Mapping[str, Tensor]
    """{name: tensor} of the actor, and of the critic too if they share layers."""

    critic: Mapping[str, Tensor]
    """{name: tensor} of the critic."""

    steps: int
    """Agent steps that it had trained."""

    @property
    def is_shared(self) -> bool:
        """Whether actor and critic share their layers."""
        return any(name.startswith("value_heads.") for name in self.policy)


def load_stock_checkpoint(path: Path) -> StockCheckpoint:
    """Read the file, or `checkpoint.pt` in the folder of a behaviour; nothing in it is run.

    Raises:
        CheckpointError: there is none, it is damaged, too large, or not of mlagents-learn's PPO.
    """
    path = path / FILE_NAME if path.is_dir() else path
    loaded = _load(path)
    parts = {name: _tensors(path, loaded, name) for name in (POLICY, CRITIC, STEPS)}
    step = next(iter(parts[STEPS].values()), torch.zeros(1, dtype=torch.int64))
    if step.numel() != 1:
        raise CheckpointError(f"{path}: '{STEPS}' is no single number; the file is damaged")
    return StockCheckpoint(path, parts[POLICY], parts[CRITIC], int(step))


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(each.file_size for each in archive.infolist())
        if size > LARGEST_BYTES:
            raise CheckpointError(
                f"{path} unpacks to {size:,} bytes; a checkpoint of mlagents-learn has at most "
                f"{LARGEST_BYTES:,}"
            )
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is no checkpoint of mlagents-learn, or is damaged: it is no zip archive"
        ) from None
    except Exception as error:  # a hostile file may make torch raise anything
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged, and was not loaded: "
            f"{type(error).__name__}: {reason}"
        ) from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(loaded).__name__}; a checkpoint of mlagents-learn is a dict"
        )
    return loaded


def _tensors(path: Path, loaded: Mapping[Any, Any], part: str) -> Mapping[str, Tensor]:
    tensors = loaded.get(part)
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and _is_plain(each) for name, each in tensors.items()
    ):
        found = shortened(", ".join(sorted(map(str, loaded))), 200)
        raise CheckpointError(
            f"{path} has no tensors under '{part}', as a PPO checkpoint of mlagents-learn has "
            f"(it has: {found or 'nothing'})"
        )
    return tensors


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of numbers, as large as it says: strides of zero can feign a size."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.dtype in {torch.float32, torch.float64, torch.int64}
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
