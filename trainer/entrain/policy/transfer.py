"""Copies the weights of one policy into another one, as far as both have the same layers."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, of_critic
from entrain.policy.auto_options import choose_image_encoder
from entrain.policy.encoders import of_kind
from entrain.policy.meaning import actions, differences
from entrain.policy.network_parts import ENCODERS, layer_of, missing_part, module_of
from entrain.policy.spread import NetworkSpread, ParameterSpread
from entrain.policy.trunk import Trunk

_BACKBONE, _HEAD, _VALUE_HEAD = "backbone.", "action_head.", "value_head."
"""Begin the names of layers, and of what is behind distributions of actions and behind values."""

_SPREAD = f"{_HEAD}spread."
"""Begins those of the parameters behind log-variances."""

_SHOWN = 8
"""Of the sentences about what was not taken over."""


@dataclass(frozen=True)
class TakenOver:
    """What a policy has of a trained one."""

    number: int
    """Of tensors."""

    left: tuple[str, ...]
    """What it has not, a sentence for each; empty if each of them has all of the other."""

    changed: tuple[str, ...]
    """What means something else now, a sentence for each."""


@torch.no_grad()
def take_over(trained: ActorNetwork, policy: ActorNetwork) -> TakenOver:
    """Overwrite the weights and statistics of `policy` by those of `trained` that fit.

    A layer fits as a whole or not at all. An actor's layers go to an actor's layers: PPO's with a
    critic beside them, or those of an algorithm whose critics are kept elsewhere. A critic's go to
    a critic's if both policies share layers with it, or neither does. The last layers are left out
    if those before them are not the layers that they were trained to read.

    Raises:
        CheckpointError: no layer fits, or the layers compute otherwise.
    """
    _require_same_activation(trained, policy)
    keeps_critic = _critics_layers(trained) == _critics_layers(policy)
    theirs = _in_form_of(policy, trained if keeps_critic else trained.without_critic())
    own = policy.state_dict() if keeps_critic else _of_actor(policy)
    apart = dict(_apart(trained, policy))
    misfits = _misfits(theirs, own, apart, policy)
    _require_any_layer(misfits, policy)
    behind = _left_behind(theirs, own, apart, trained)
    if _reads_others(theirs, own, misfits, apart, policy):
        misfits = _without_heads(misfits, apart)
        behind = {name: it for name, it in behind.items() if not name.startswith(_HEAD)}
    fitting = [name for name, misfit in misfits.items() if not misfit]
    for name in fitting:
        own[name].copy_(theirs[name])
    if keeps_critic:
        _use_units(trained, policy)
    left = (
        *_not_taken(misfits, apart),
        *_of_critic(trained, policy),
        *dict.fromkeys(behind.values()),
    )
    return TakenOver(len(fitting), left, tuple(differences(trained, policy)))


def _not_taken(misfits: Mapping[str, str], apart: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each reason, those of whole parts first; many are counted."""
    reasons = [*dict.fromkeys((*apart.values(), *filter(None, misfits.values())))]
    for reason in reasons[:_SHOWN]:
        yield f"not taken over: {reason}"
    if len(reasons) > _SHOWN:
        yield f"not taken over: {len(reasons) - _SHOWN} more that do not fit"


def _of_critic(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    if isinstance(policy, ActorCritic) and _critics_layers(trained) != _critics_layers(policy):
        yield f"not taken over: a critic; {_critics_layers(trained)}"


# Which tensors fit


def _apart(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[tuple[str, str]]:
    """(beginning of names, why) of what both have and compute otherwise, whatever its shapes."""
    was, now = (it.config.network.memory.kind for it in (trained, policy))
    if was != now and "none" not in {was, now}:
        yield f"{_BACKBONE}memory.", f"its memory, of kind {was}; this policy's is of kind {now}"
    both = zip(_encoders(trained), _encoders(policy), strict=False)
    for index, ((name, before), (_, present)) in enumerate(both):
        if before != present:
            yield (
                f"{ENCODERS}{index}.",
                f"its encoder of '{name}', {before}; this policy's is {present}",
            )
    if actions(trained) != actions(policy):
        words = f"its action head, of {actions(trained)}; this policy's is of {actions(policy)}"
        yield _HEAD, words
    elif _is_narrower(trained, policy):
        yield _SPREAD, "log-variances, which are outputs of its network (action.log_sigma_sq)"


def _encoders(policy: ActorNetwork) -> Iterator[tuple[str, str]]:
    """(observation, layers) of each of its encoders."""
    network = policy.config.network
    for it in of_kind(policy.inputs, "image", "entities") if network.custom is None else ():
        is_image = it.kind == "image"
        yield it.name, choose_image_encoder(it, network) if is_image else "of entities"


def _is_narrower(trained: ActorNetwork, policy: ActorNetwork) -> bool:
    """Whether it has parameters for what is computed by the trained network."""
    was, now = (it.action_head.spread for it in (trained, policy))
    return isinstance(was, NetworkSpread) and isinstance(now, ParameterSpread)


def _misfits(
    theirs: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    apart: Mapping[str, str],
    policy: ActorNetwork,
) -> dict[str, str]:
    """{name of each of our tensors: why it is not taken over, or ""}."""
    others = {
        name: f"'{name}' is {list(theirs[name].shape)}, this policy needs {list(it.shape)}"
        for name, it in own.items()
        if name in theirs and theirs[name].shape != it.shape
    }
    missing = {
        name: f"that policy has no {missing_part(name, theirs, policy.inputs)}"
        for name in own
        if name not in theirs
    }
    # Half a layer would be worse than none: a bias beside other weights, a count without its mean.
    misfits = dict.fromkeys(own, "")
    misfits |= _spread_out(missing, own, module_of)
    misfits |= _spread_out(others, own, layer_of)
    for beginning, why in apart.items():
        misfits |= {name: why for name in own if name.startswith(beginning)}
    return misfits


def _spread_out(
    misfits: Mapping[str, str], names: Iterable[str], group_of: Callable[[str], str]
) -> dict[str, str]:
    """{each name of a group that has a misfit: the first misfit of that group}."""
    first: dict[str, str] = {}
    for name, words in misfits.items():
        first.setdefault(group_of(name), words)
    return {name: first[group_of(name)] for name in names if group_of(name) in first}


def _require_any_layer(misfits: Mapping[str, str], policy: ActorNetwork) -> None:
    layers = [misfits[name] for name in _layers(misfits, policy)]
    if layers and all(layers):
        raise CheckpointError(f"none of its layers fits this policy: {layers[0]}")


def _layers(names: Iterable[str], policy: ActorNetwork) -> list[str]:
    """Those of `names` that are weights of layers before the heads."""
    statistics = _statistics(policy)
    return [it for it in names if it.startswith(_BACKBONE) and module_of(it) not in statistics]


def _left_behind(
    theirs: Mapping[str, Tensor],
    own: Collection[str],
    apart: Mapping[str, str],
    trained: ActorNetwork,
) -> Mapping[str, str]:
    """{name of each of their tensors that has no counterpart: a sentence about its part}."""
    return {
        name: f"left behind: this policy has no {missing_part(name, own, trained.inputs)}"
        for name in theirs
        if name not in own and not name.startswith(tuple(apart))
    }


# The last layers


def _without_heads(misfits: Mapping[str, str], apart: Mapping[str, str]) -> dict[str, str]:
    """The same, but for the last layers, which are left out as they have read other features."""
    words = {_HEAD: "its action head", _VALUE_HEAD: "its critic's last layer"}
    return {
        **misfits,
        **{
            name: f"{whose}: the layers before it are others"
            for beginning, whose in words.items()
            for name in misfits
            if name.startswith(beginning) and beginning not in apart
        },
    }


def _reads_others(
    theirs: Iterable[str],
    own: Iterable[str],
    misfits: Mapping[str, str],
    apart: Iterable[str],
    policy: ActorNetwork,
) -> bool:
    """Whether the last layers would read other features than they were trained to.

    So it is if the layers before them are others, or if the nearest one keeps weights of chance. If
    only an earlier one is of another size, what comes after it is worth having.
    """
    before, now = (_layers(it, policy) for it in (theirs, own))
    if set(before) != set(now) or any(it.startswith(_BACKBONE) for it in apart):
        return True
    return any(misfits[name] for name in now if layer_of(name) == layer_of(now[-1]))


# In the other policy's form


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
        if name.startswith(_VALUE_HEAD):
            continue
        if not has_two_groups or name.startswith(statistics):
            found[name] = tensor
            continue
        is_critic = of_critic(name, tensor)
        if not is_critic.all():
            found[name] = tensor[:1] if is_critic.any() else tensor
    return found


def _in_form_of(policy: ActorNetwork, trained: ActorNetwork) -> dict[str, Tensor]:
    """{name: tensor}, with statistics and log-variances as `policy` has them.

    A network's output begins at the parameter that a log-variance was.
    """
    (was, *_), (now, *_) = _statistics(trained), _statistics(policy)
    theirs = {
        f"{now}.{name.removeprefix(f'{was}.')}" if name.startswith(f"{was}.") else name: it
        for name, it in trained.state_dict().items()
    }
    own = policy.action_head.spread
    parameter = theirs.pop(f"{_SPREAD}parameter", None)
    if parameter is None:
        return theirs
    if isinstance(own, NetworkSpread):
        flat = torch.zeros(len(parameter), own.weight.shape[1], device=parameter.device)
        return {**theirs, f"{_SPREAD}weight": flat, f"{_SPREAD}bias": parameter}
    return {**theirs, f"{_SPREAD}parameter": parameter}


def _statistics(policy: ActorNetwork) -> tuple[str, ...]:
    """The names of modules that hold nothing but statistics; that of observations comes first."""
    normalizers: tuple[nn.Module, ...] = (policy.normalizer,)
    if isinstance(policy, ActorCritic):
        normalizers += (policy.value_head.normalizer,)
    return tuple(_name_of(each, policy) for each in normalizers)


def _name_of(module: nn.Module, policy: ActorNetwork) -> str:
    name: str = next(name for name, each in policy.named_modules() if each is module)
    return name


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
