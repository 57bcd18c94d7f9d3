"""Copies the weights of one policy into another one, as far as both have the same layers."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
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
    """The outcome of a warm start: the tensors taken over, and sentences about the rest."""

    number: int
    """Of tensors taken over."""

    left: tuple[str, ...]
    """A sentence for each part that only one of the two has, or that differs in form."""

    changed: tuple[str, ...]
    """A sentence for each input or output that means something else now."""


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
    unread = _unread(theirs, misfits, apart, policy)
    misfits |= _beginning(unread, own)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    for name in fitting:
        own[name].copy_(theirs[name])
    if keeps_critic:
        _use_units(trained, policy)
    left = (
        *_not_taken((*apart.values(), *misfits.values())),
        *_of_critic(trained, policy),
        *_left_behind(theirs, own, (*apart, *unread), trained),
    )
    return TakenOver(len(fitting), left, tuple(differences(trained, policy)))


def _not_taken(misfits: Iterable[str]) -> Iterator[str]:
    """A sentence for each reason; many are counted."""
    reasons = [*dict.fromkeys(filter(None, misfits))]
    for reason in reasons[:_SHOWN]:
        yield f"not taken over: {reason}"
    if len(reasons) > _SHOWN:
        yield f"not taken over: {len(reasons) - _SHOWN} more that do not fit"


def _of_critic(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    if isinstance(policy, ActorCritic) and _critics_layers(trained) != _critics_layers(policy):
        yield f"not taken over: a critic; {_critics_layers(trained)}"


def _left_behind(
    theirs: Iterable[str], own: Collection[str], apart: tuple[str, ...], trained: ActorNetwork
) -> Iterable[str]:
    """A sentence for each part of which `policy` has nothing; `apart` begin names already said."""
    return dict.fromkeys(
        f"left behind: this policy has no {missing_part(name, own, trained.inputs)}"
        for name in theirs
        if name not in own and not name.startswith(apart)
    )


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
    return {
        **dict.fromkeys(own, ""),
        **_spread_out(missing, own, module_of),
        **_spread_out(others, own, layer_of),
        **_beginning(apart, own),
    }


def _spread_out(
    misfits: Mapping[str, str], names: Iterable[str], group_of: Callable[[str], str]
) -> dict[str, str]:
    """{each name of a group that has a misfit: the first misfit of that group}."""
    first = {group_of(name): words for name, words in reversed([*misfits.items()])}
    return {name: first[group_of(name)] for name in names if group_of(name) in first}


def _beginning(words: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """{each name that begins as a key of `words`: what that key says}."""
    return {name: why for name in names for it, why in words.items() if name.startswith(it)}


def _require_any_layer(misfits: Mapping[str, str], policy: ActorNetwork) -> None:
    layers = [misfits[name] for name in _layers(misfits, policy)]
    if layers and all(layers):
        raise CheckpointError(f"none of its layers fits this policy: {layers[0]}")


def _layers(names: Iterable[str], policy: ActorNetwork) -> list[str]:
    """Those of `names` that are weights of layers before the heads."""
    statistics = _statistics(policy)
    return [it for it in names if it.startswith(_BACKBONE) and module_of(it) != statistics]


def _unread(
    theirs: Iterable[str],
    misfits: Mapping[str, str],
    apart: Collection[str],
    policy: ActorNetwork,
) -> Mapping[str, str]:
    """{beginning of names: why} of last layers that would read other features than they did.

    So it is if the layers before them are others, or if the nearest one keeps weights of chance. If
    only an earlier one is of another size, what comes after it is worth having.
    """
    before, now = (_layers(it, policy) for it in (theirs, misfits))
    nearest = [name for name in now if layer_of(name) == layer_of(now[-1])]
    are_others = set(before) != set(now) or any(it.startswith(_BACKBONE) for it in apart)
    if not are_others and not any(misfits[name] for name in nearest):
        return {}
    heads = {_HEAD: "its action head", _VALUE_HEAD: "its critic's last layer"}
    why = "the layers before it are others"
    return {it: f"{whose}: {why}" for it, whose in heads.items() if it not in apart}


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
    whole, alone = policy.state_dict(), policy.without_critic().state_dict()
    return {
        name: whole[name] if whole[name].shape == it.shape else whole[name][:1]
        for name, it in alone.items()
    }


def _in_form_of(policy: ActorNetwork, trained: ActorNetwork) -> dict[str, Tensor]:
    """{name: tensor}, with statistics and log-variances as `policy` has them.

    A network's output begins at the parameter that a log-variance was.
    """
    was, now = _statistics(trained), _statistics(policy)
    theirs = {
        f"{now}.{name.removeprefix(f'{was}.')}" if name.startswith(f"{was}.") else name: it
        for name, it in trained.state_dict().items()
    }
    own = policy.action_head.spread
    parameter = theirs.get(f"{_SPREAD}parameter")
    if parameter is not None and isinstance(own, NetworkSpread):
        del theirs[f"{_SPREAD}parameter"]
        flat = torch.zeros(len(parameter), own.weight.shape[1], device=parameter.device)
        theirs |= {f"{_SPREAD}weight": flat, f"{_SPREAD}bias": parameter}
    return theirs


def _statistics(policy: ActorNetwork) -> str:
    """The name of the module that holds the statistics of observations."""
    name: str
    name, _ = next(it for it in policy.named_modules() if it[1] is policy.normalizer)
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
