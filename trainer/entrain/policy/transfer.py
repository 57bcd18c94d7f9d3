"""Copies the weights of one policy into another one, as far as both have the same tensors."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.spread import NetworkSpread
from entrain.policy.trunk import Trunk

_SPREAD = "action_head.spread"
"""Of the parameters behind log-variances."""

_SHOWN = 8
"""Of the tensors that are named."""


@torch.no_grad()
def take_over(trained: ActorNetwork, policy: ActorNetwork) -> tuple[int, tuple[str, ...]]:
    """Overwrite the weights and statistics of `policy` by those of `trained` that fit.

    Returns:
        number: of tensors taken over.
        left: what was not, a sentence for each.

    Raises:
        CheckpointError: nothing that acts fits, or the layers compute otherwise.
    """
    _require_same_activation(trained, policy)
    if not isinstance(policy, ActorCritic):
        trained = trained.without_critic()
    theirs = _in_form_of(policy, trained.state_dict())
    groups = _statistics(policy)
    misfits = {name: _misfit(name, theirs, own) for name, own in policy.state_dict().items()}
    for group in groups:
        # Statistics belong together: a count without its mean would be worse than none.
        of_group = {name: it for name, it in misfits.items() if name.startswith(f"{group}.")}
        words = next((it for it in of_group.values() if it), "")
        misfits |= dict.fromkeys(of_group, words)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if not any(name.startswith("backbone") and "normalizer" not in name for name in fitting):
        first = next((it for it in misfits.values() if it), "it has no layers")
        raise CheckpointError(f"none of its layers fits this policy: {first}")
    own = policy.state_dict()
    for name in fitting:
        own[name].copy_(theirs[name])
    _use_units(trained, policy)
    left = [f"not taken over: {it}" for it in dict.fromkeys(filter(None, misfits.values()))]
    if len(left) > _SHOWN:
        left[_SHOWN:] = [f"not taken over: {len(left) - _SHOWN} more that do not fit"]
    return len(fitting), (*left, *_differences(trained, policy))


def _in_form_of(policy: ActorNetwork, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """With log-variances as `policy` has them: a network's output begins at their parameter."""
    own = policy.action_head.spread
    parameter = theirs.pop(f"{_SPREAD}.parameter", None)
    if parameter is None:
        return theirs
    if isinstance(own, NetworkSpread):
        flat = torch.zeros(len(parameter), own.weight.shape[1], device=parameter.device)
        return {**theirs, f"{_SPREAD}.weight": flat, f"{_SPREAD}.bias": parameter}
    return {**theirs, f"{_SPREAD}.parameter": parameter}


def _statistics(policy: ActorNetwork) -> tuple[str, ...]:
    """The names of modules that hold nothing but statistics."""
    normalizers: tuple[nn.Module, ...] = (policy.normalizer,)
    if isinstance(policy, ActorCritic):
        normalizers += (policy.value_head.normalizer,)
    return tuple(name for name, module in policy.named_modules() if _is_one(module, normalizers))


def _is_one(module: nn.Module, of: tuple[nn.Module, ...]) -> bool:
    return any(module is each for each in of)


def _misfit(name: str, theirs: dict[str, Tensor], own: Tensor) -> str:
    if name not in theirs:
        return f"it has no '{name}'"
    if theirs[name].shape != own.shape:
        return f"'{name}' is {list(theirs[name].shape)}, this policy needs {list(own.shape)}"
    return ""


def _require_same_activation(trained: ActorNetwork, policy: ActorNetwork) -> None:
    trunks = [each.backbone.trunk for each in (trained, policy)]
    activations = [it.hidden_layers.activation for it in trunks if isinstance(it, Trunk)]
    if len(set(activations)) > 1:
        theirs, own = activations
        raise CheckpointError(
            f"its layers were trained with network.activation {theirs}, and this policy's is "
            f"{own}; set network.activation: {theirs}"
        )


def _use_units(trained: ActorNetwork, policy: ActorNetwork) -> None:
    """Let values be in this policy's units: those of its rewards, normalised or not."""
    if not isinstance(policy, ActorCritic):
        return
    units = [(it.config.normalize_rewards, it.config.reward_scale) for it in (trained, policy)]
    if not policy.value_head.normalizer.normalizes:
        policy.value_head.stop_normalizing()
    elif units[0] != units[1]:
        policy.value_head.normalizer.forget()


def _differences(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    before, now = (
        [(it.name, list(it.shape)) for it in each.spec.observations] for each in (trained, policy)
    )
    if before != now:
        yield f"its observations were {before} and are {now}"
    if trained.config.normalize_observations != policy.config.normalize_observations:
        yield (
            f"normalize_observations was {str(trained.config.normalize_observations).lower()}, "
            "with which its first layer was trained"
        )
