"""Batches of steps as a replay would sample them, made by hand, and soft actor-critics for them."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from entrain.algorithms.sac import SAC
from entrain.algorithms.soft_critics import TargetCritics
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_actor_network
from entrain.tensor_fields import map_tensors
from entrain.transitions import ReplayBatch
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

ONE_HOT = ObservationSpec("where", (3,))
CPU = torch.device("cpu")
Fields = TypeVar("Fields")
"""A frozen dataclass of tensors."""


def made_sac(
    acts: ActionSpec,
    /,
    *,
    observations: tuple[ObservationSpec, ...] = (ONE_HOT,),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    network: Any = None,
    algorithm: Any = None,
    **options: Any,
) -> SAC:
    """A table if `network` names no hidden layers; observations are taken as they are."""
    config = PolicyConfig.model_validate(
        {
            "network": {"hidden_sizes": (), **(network or {})},
            "algorithm": {"kind": "sac", **(algorithm or {})},
            "normalize_observations": False,
            **options,
        }
    )
    policy = make_actor_network(BehaviourSpec("walker", observations, acts), config, seed=seed)
    return SAC(policy.to(dtype), seed=seed, device=CPU)


def made_batch(acts: ActionSpec, rows: int, /, *, seed: int = 0, **fields: Any) -> ReplayBatch:
    """Random steps between three one-hot situations; `fields` replace what they name."""
    generator = torch.Generator().manual_seed(seed)

    def situations() -> dict[str, Tensor]:
        return {"where": torch.eye(3)[torch.randint(3, (rows,), generator=generator)]}

    taken = {}
    if acts.continuous_size:
        shape = (rows, acts.continuous_size)
        taken["continuous"] = torch.randn(shape, generator=generator)
    if acts.branches:
        columns = [torch.randint(n, (rows,), generator=generator) for n in acts.branches]
        taken["discrete"] = torch.stack(columns, dim=1)
    values: dict[str, Any] = {
        "observation": situations(),
        "action": taken,
        "action_mask": torch.ones(rows, acts.num_choices, dtype=torch.bool),
        "reward": torch.randn(rows, generator=generator),
        "next_observation": situations(),
        "next_action_mask": torch.ones(rows, acts.num_choices, dtype=torch.bool),
        "bootstrap": torch.full((rows,), 0.9),
    }
    return ReplayBatch(**{**values, **fields})


def double(batch: ReplayBatch) -> ReplayBatch:
    """The same in float64."""

    def converted(values: object) -> object:
        if isinstance(values, dict):
            return {name: converted(each) for name, each in values.items()}
        assert isinstance(values, Tensor)
        return values.double() if values.is_floating_point() else values

    fields = {name: converted(values) for name, values in vars(batch).items()}
    return ReplayBatch(**fields)  # type: ignore[arg-type]


def critics_of(sac: SAC) -> TargetCritics:
    """Its critics, which have targets."""
    critics = sac._critics
    assert isinstance(critics, TargetCritics)
    return critics


def rows_of(fields: Fields, rows: slice) -> Fields:
    """These rows alone."""
    return map_tensors(fields, lambda tensor: tensor[rows])
