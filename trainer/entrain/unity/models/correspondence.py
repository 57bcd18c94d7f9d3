"""Maps a policy's weights and Adam's moments to those of mlagents-learn, and back.

A `Link` converts one tensor in both directions. The links of a policy are in the order of the
parameters of mlagents-learn's optimizer, after `stock_names.CONSTANTS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from entrain.policy.actor_critic import ActorCritic
from entrain.policy.critic import REWARD_STREAM
from entrain.policy.spread import ParameterSpread
from entrain.policy.trunk import RecurrentBackbone
from entrain.unity.models.observation_statistics import observations_of, their_statistics
from entrain.unity.models.stock_names import (
    BODY,
    BRANCHES,
    CRITIC,
    EXTRINSIC,
    GAUSSIAN,
    LSTM,
    POLICY,
)

Tensors: TypeAlias = Mapping[str, Tensor]

_HIDDEN = "backbone.trunk.hidden_layers.layers"
_MEMORY = "backbone.memory.layers.0"


@dataclass(frozen=True)
class Link:
    """A tensor of mlagents-learn and the equivalent piece of a parameter of ours."""

    part: str
    """Part that holds their tensor: `POLICY` or `CRITIC`."""

    names: tuple[str, ...]
    """Their names in that part; several are always used together."""

    ours: str
    """Name of our parameter."""

    piece: Callable[[Tensor], Tensor]
    """Takes the view of our parameter, or of its moments, in the shape of theirs."""

    columns: Sequence[int] | None = None
    """For each of our columns, its column in mlagents-learn; None if the order is the same."""

    def weight(self, theirs: Tensors) -> Tensor:
        """The content of our piece, from `theirs`, the part's tensors by name."""
        return self._in_our_order(theirs[self.names[0]])

    def moment(self, moments: Tensors, power: int, weights: Tensors) -> Tensor:
        """The moments of our piece.

        Args:
            moments: theirs, by the names of the weights.
            power: 1 of mean gradients, 2 of mean squared ones.
            weights: theirs.
        """
        del power, weights
        return self._in_our_order(moments[self.names[0]])

    def their_weights(self, piece: Tensor) -> Tensors:
        """Their tensors, from our piece."""
        return {self.names[0]: self._in_their_order(piece)}

    def their_moments(self, moments: Tensor, power: int, piece: Tensor) -> Tensors:
        """Their moments, from the moments of our piece; arguments as in `moment`."""
        del power, piece
        return {self.names[0]: self._in_their_order(moments)}

    def _in_our_order(self, theirs: Tensor) -> Tensor:
        if self.columns is None or theirs.dim() != 2 or theirs.shape[1] != len(self.columns):
            return theirs
        return theirs[:, torch.tensor(self.columns)]

    def _in_their_order(self, ours: Tensor) -> Tensor:
        if self.columns is None:
            return ours.clone()
        theirs = torch.empty_like(ours, memory_format=torch.contiguous_format)
        theirs[:, torch.tensor(self.columns)] = ours
        return theirs


class SummedBias(Link):
    """Two biases that are always added, where we have one.

    Both have the gradient of the sum, and so the same moments.
    """

    def weight(self, theirs: Tensors) -> Tensor:
        """See `Link.weight`."""
        first, second = (theirs[name] for name in self.names)
        return first + second if first.shape == second.shape else first

    def their_weights(self, piece: Tensor) -> Tensors:
        """See `Link.their_weights`."""
        first, second = self.names
        return {first: piece.clone(), second: torch.zeros_like(piece)}

    def their_moments(self, moments: Tensor, power: int, piece: Tensor) -> Tensors:
        """See `Link.their_moments`."""
        del power, piece
        return {name: moments.clone() for name in self.names}


@dataclass(frozen=True)
class Spread(Link):
    """The logarithm of sigma, where we have a parameter x whose bounded value is that of sigma^2.

        log_sigma = 1/2 * (logaddexp(x, low) - softplus(x - high))

    so a gradient of x is theirs times d log_sigma / d x.
    """

    low: float = 0.0
    high: float = 0.0

    def weight(self, theirs: Tensors) -> Tensor:
        """See `Link.weight`; values beyond our bounds are clamped to just inside them."""
        room = 1e-3 * (self.high - self.low)
        value = 2.0 * theirs[self.names[0]].double()
        x = value.clamp(self.low + room, self.high - room)
        return x + torch.log(-torch.expm1(self.low - x)) - torch.log(-torch.expm1(x - self.high))

    def moment(self, moments: Tensors, power: int, weights: Tensors) -> Tensor:
        """See `Link.moment`."""
        return moments[self.names[0]] * self._slope(self.weight(weights)) ** power

    def their_weights(self, piece: Tensor) -> Tensors:
        """See `Link.their_weights`."""
        x = piece.double()
        low, above = torch.tensor(self.low).double(), x - self.high
        value = torch.logaddexp(x, low) - torch.nn.functional.softplus(above)
        return {self.names[0]: (0.5 * value).to(piece.dtype)}

    def their_moments(self, moments: Tensor, power: int, piece: Tensor) -> Tensors:
        """See `Link.their_moments`."""
        slope = self._slope(piece.double()) ** power
        return {self.names[0]: (moments.double() / slope).to(moments.dtype)}

    def _slope(self, x: Tensor) -> Tensor:
        """Derivative of log_sigma with respect to x."""
        return 0.5 * (torch.sigmoid(x - self.low) - torch.sigmoid(x - self.high))


def links_of(policy: ActorCritic) -> tuple[Link, ...]:
    """The links of all parameters of a policy that mlagents-learn could have, see `warm_start`."""
    is_shared = policy.config.network.shared
    links = [*_body(policy, POLICY, 0), *_heads(policy)]
    if not is_shared:
        links += _body(policy, CRITIC, 1)
    stream = policy.value_head.streams.index(REWARD_STREAM)
    own = slice(stream, stream + 1)
    part = POLICY if is_shared else CRITIC
    return (*links, *_linear(part, EXTRINSIC, "value_head", own))


def their_tensors(policy: ActorCritic) -> Mapping[str, Tensors]:
    """{`POLICY`: weights and statistics, `CRITIC`: the same}, in the order of mlagents-learn's."""
    parameters = dict(policy.named_parameters())
    statistics = their_statistics(policy)
    parts: dict[str, dict[str, Tensor]] = {POLICY: dict(statistics), CRITIC: dict(statistics)}
    for link in links_of(policy):
        piece = link.piece(parameters[link.ours].detach()).cpu()
        parts[link.part] |= link.their_weights(piece)
    return {**parts, CRITIC: parts[POLICY]} if policy.config.network.shared else parts


def their_moments(policy: ActorCritic, moments: Tensors, power: int) -> Iterator[Tensor]:
    """Their moments of every trained parameter, in the order of mlagents-learn's optimizer.

    Args:
        policy: with the weights that the moments belong to.
        moments: {name of a parameter: its moments}.
        power: 1 of mean gradients, 2 of mean squared ones.
    """
    parameters = dict(policy.named_parameters())
    for link in links_of(policy):
        piece = link.piece(parameters[link.ours].detach()).cpu()
        yield from link.their_moments(link.piece(moments[link.ours]), power, piece).values()


def _body(policy: ActorCritic, part: str, group: int) -> Iterator[Link]:
    columns = _columns(policy)
    for index in range(len(policy.config.network.hidden_sizes)):
        name, own = f"{BODY}.{2 * index}", f"{_HIDDEN}.{index}"
        yield Link(
            part,
            (f"{name}.weight",),
            f"{own}.weight",
            lambda tensor: tensor[group].t(),
            None if index else columns,
        )
        yield Link(part, (f"{name}.bias",), f"{own}.bias", lambda tensor: tensor[group, 0])
    if isinstance(policy.backbone, RecurrentBackbone):
        for name, own in (("weight_ih", "weight_input"), ("weight_hh", "weight_recurrent")):
            names = (f"{LSTM}.{name}_l0",)
            yield Link(part, names, f"{_MEMORY}.{own}", lambda tensor: tensor[group])
        both = (f"{LSTM}.bias_ih_l0", f"{LSTM}.bias_hh_l0")
        yield SummedBias(part, both, f"{_MEMORY}.bias", lambda tensor: tensor[group, 0])


def _columns(policy: ActorCritic) -> Sequence[int] | None:
    """[F] each feature's column in mlagents-learn, which has the order of the sensors."""
    starts, start = [], 0
    for observation in policy.spec.observations:
        starts.append(start)
        start += observation.size
    columns = [
        starts[number] + index
        for number, own in observations_of(policy)
        for index in range(own.stop - own.start)
    ]
    return None if columns == sorted(columns) else columns


def _heads(policy: ActorCritic) -> Iterator[Link]:
    action, spread = policy.spec.action, policy.action_head.spread
    if isinstance(spread, ParameterSpread):
        bounds = policy.config.action
        yield Spread(
            POLICY,
            (f"{GAUSSIAN}.log_sigma",),
            "action_head.spread.parameter",
            lambda tensor: tensor.unsqueeze(0),
            low=bounds.min_log_sigma_sq,
            high=bounds.max_log_sigma_sq,
        )
    start = action.continuous_size
    if start:
        yield from _linear(POLICY, f"{GAUSSIAN}.mu", "action_head", slice(0, start))
    for index, size in enumerate(action.branches):
        own = slice(start, start + size)
        yield from _linear(POLICY, f"{BRANCHES}.{index}", "action_head", own)
        start += size


def _linear(part: str, name: str, ours: str, own: slice) -> Iterator[Link]:
    for kind in ("weight", "bias"):
        yield Link(part, (f"{name}.{kind}",), f"{ours}.{kind}", lambda tensor: tensor[own])
