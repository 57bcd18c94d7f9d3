"""Copies the weights of one policy into another one, as far as both have the same tensors."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from entrain.errors import CheckpointError
from entrain.policy.action_bounds import has_range
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, of_critic
from entrain.policy.spread import NetworkSpread
from entrain.policy.trunk import Trunk
from entrain.quoting import listed

_HEAD = "action_head."
"""Begins the names of what is behind distributions of actions."""

_SPREAD = f"{_HEAD}spread"
"""Of the parameters behind log-variances."""

_SHOWN = 8
"""Of the tensors that are named."""


@torch.no_grad()
def take_over(trained: ActorNetwork, policy: ActorNetwork) -> tuple[int, tuple[str, ...]]:
    """Overwrite the weights and statistics of `policy` by those of `trained` that fit.

    An actor's layers go to an actor's layers: PPO's with a critic beside them, or those of an
    algorithm whose critics are kept elsewhere. A critic's go to a critic's if both policies share
    layers with it, or neither does.

    Returns:
        number: of tensors taken over.
        left: what was not, and what means something else now, a sentence for each.

    Raises:
        CheckpointError: no layer fits, or the layers compute otherwise.
    """
    _require_same_activation(trained, policy)
    keeps_critic = _critics_layers(trained) == _critics_layers(policy)
    theirs = _in_form_of(policy, trained if keeps_critic else trained.without_critic())
    own = policy.state_dict() if keeps_critic else _of_actor(policy)
    if _actions(trained) != _actions(policy):
        own = {name: it for name, it in own.items() if not name.startswith(_HEAD)}
    misfits = _misfits(theirs, own, _statistics(policy))
    fitting = [name for name, misfit in misfits.items() if not misfit]
    for name in fitting:
        own[name].copy_(theirs[name])
    if keeps_critic:
        _use_units(trained, policy)
    left = [f"not taken over: {it}" for it in dict.fromkeys(filter(None, misfits.values()))]
    if len(left) > _SHOWN:
        left[_SHOWN:] = [f"not taken over: {len(left) - _SHOWN} more that do not fit"]
    return len(fitting), (*left, *_left_out(trained, policy), *_differences(trained, policy))


def _misfits(
    theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], statistics: Sequence[str]
) -> Mapping[str, str]:
    """{name: why it is not taken over, or ""}; CheckpointError if that holds for every layer."""
    misfits = {name: _misfit(name, theirs, it) for name, it in own.items()}
    for group in statistics:
        # Statistics belong together: a count without its mean would be worse than none.
        of_group = {name: it for name, it in misfits.items() if name.startswith(f"{group}.")}
        words = next((it for it in of_group.values() if it), "")
        misfits |= dict.fromkeys(of_group, words)
    beginnings = tuple(f"{group}." for group in statistics)
    layers = [
        misfit
        for name, misfit in misfits.items()
        if name.startswith("backbone.") and not name.startswith(beginnings)
    ]
    if layers and all(layers):
        raise CheckpointError(f"none of its layers fits this policy: {layers[0]}")
    return misfits


def _left_out(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    """The parts of `policy` that are not looked for in `trained`."""
    if isinstance(policy, ActorCritic) and _critics_layers(trained) != _critics_layers(policy):
        yield f"not taken over: a critic; {_critics_layers(trained)}"
    if _actions(trained) != _actions(policy):
        yield (
            f"not taken over: its action head, of {_actions(trained)}; this policy's is of "
            f"{_actions(policy)}"
        )


def _critics_layers(policy: ActorNetwork) -> str:
    """Where its critic's layers are, in words."""
    if not isinstance(policy, ActorCritic):
        return "that policy has none"
    if policy.config.network.shared:
        return "that policy's shares the actor's layers (network.shared)"
    return "that policy's has layers of its own (network.shared: false)"


def _of_actor(policy: ActorNetwork) -> dict[str, Tensor]:
    """{name: the actor's part of the tensor, a view of it}, without the value head."""
    has_two_groups = isinstance(policy, ActorCritic) and not policy.config.network.shared
    statistics = tuple(f"{each}." for each in _statistics(policy))
    found = {}
    for name, tensor in policy.state_dict().items():
        if name.startswith("value_head."):
            continue
        if not has_two_groups or name.startswith(statistics):
            found[name] = tensor
            continue
        is_critic = of_critic(name, tensor)
        if not is_critic.all():
            found[name] = tensor[:1] if is_critic.any() else tensor
    return found


def _actions(policy: ActorNetwork) -> str:
    """The meaning of the outputs of its action head, in words."""
    action = policy.spec.action
    parts = [f"{action.continuous_size} continuous dimensions"] if action.continuous_size else []
    return " and ".join(
        [*parts, *([f"branches {list(action.branches)}"] if action.branches else [])]
    )


def _in_form_of(policy: ActorNetwork, trained: ActorNetwork) -> dict[str, Tensor]:
    """With log-variances as `policy` has them: a network's output begins at their parameter."""
    theirs, own = trained.state_dict(), policy.action_head.spread
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


def _misfit(name: str, theirs: Mapping[str, Tensor], own: Tensor) -> str:
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
    if trained.config.observation_clip != policy.config.observation_clip:
        yield (
            f"observation_clip was {trained.config.observation_clip:g} and is "
            f"{policy.config.observation_clip:g}: its layers are shown other numbers beyond the "
            "smaller one"
        )
    if _actions(trained) == _actions(policy):
        changed = [
            f"{name} {_meaning(policy)[name]} instead of {was}"
            for name, was in _meaning(trained).items()
            if was != _meaning(policy)[name]
        ]
        if changed:
            yield f"the same outputs are other actions now: {', '.join(changed)}"


def _meaning(policy: ActorNetwork) -> Mapping[str, str]:
    """{option or bounds: value}, which decide what its continuous outputs are to a simulator."""
    action, options = policy.spec.action, policy.config.action
    if not action.continuous_size:
        return {}
    bounds = [f"{low:g} to {high:g}" for low, high in zip(action.low, action.high, strict=True)]
    scaled = {
        "action.distribution": options.distribution,
        "action.clip": f"{options.clip:g}",
    }
    return {
        **(scaled if any(has_range(action)) else {}),
        "action.min_log_sigma_sq": f"{options.min_log_sigma_sq:g}",
        "action.max_log_sigma_sq": f"{options.max_log_sigma_sq:g}",
        "bounds": listed(bounds if len(set(bounds)) > 1 else bounds[:1]),
    }
