"""Test cases in float64: policies with memory, their rollouts, and padding that is changed.

The policy that learns is not the one that acted: its weights have moved since, so that no ratio is
1 and both kinds of clipping are at work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import MemoryConfig, NetworkConfig
from entrain.experience import Estimate, Minibatch, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import ActionSpec
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, made_policy, made_rollout

COEFFICIENTS = Coefficients(
    learning_rate=1e-3, clip_range=0.05, entropy_coefficient=0.1, value_clip_range=0.05
)
WHOLE_ROLLOUT = 10_000
DISCOUNT = 0.9
Gradients: TypeAlias = Mapping[str, Tensor]
Experience = TypeVar("Experience", Rollout, Estimate, Minibatch)


@dataclass(frozen=True)
class Case:
    """One policy with memory, and columns of these lengths that it made."""

    lengths: tuple[int, ...] = (7, 0, 12, 5)
    kind: Literal["lstm", "gru", "mingru"] = "lstm"
    action: ActionSpec = HYBRID
    shared: bool = True
    layers: int = 1
    sequence_length: int = 4
    burn_in: int = 0
    refresh_states: bool = False
    policy_lag: int = 0
    """1: it learns from what an older policy did."""

    seed: int = 0

    def policy(self) -> ActorCritic:
        """As it acted, in float32."""
        memory = MemoryConfig(
            kind=self.kind,
            size=3,
            layers=self.layers,
            sequence_length=self.sequence_length,
            burn_in=self.burn_in,
            refresh_states=self.refresh_states,
        )
        network = NetworkConfig(hidden_sizes=(4,), shared=self.shared, memory=memory)
        return made_policy(self.action, seed=self.seed, network=network, policy_lag=self.policy_lag)

    def rollout(self, *, filler: float = 0.0, extra_rows: int = 0) -> Rollout:
        """What it did, in float64."""
        acting = self.policy()
        rollout = in_float64(
            made_rollout(acting, self.lengths, seed=self.seed, filler=filler, extra_rows=extra_rows)
        )
        return behind(rollout) if self.policy_lag else rollout

    def ppo(self, **options: Any) -> PPO:
        """Of the policy, some learning later; options of PPO."""
        learning = self.policy().double()
        move(learning, seed=self.seed)
        return PPO(
            learning, config(**options), discount=DISCOUNT, seed=0, device=torch.device("cpu")
        )


def move(policy: ActorCritic, *, seed: int) -> None:
    """Change its weights, as learning would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.1)


def behind(rollout: Rollout) -> Rollout:
    """The same, done by a policy that is older than any that learns."""
    return replace(rollout, policy_version=torch.full_like(rollout.policy_version, -1))


def config(**options: Any) -> PPOConfig:
    """One minibatch, and every kind of clipping."""
    return PPOConfig(
        **{
            "minibatch_size": WHOLE_ROLLOUT,
            "gae_lambda": 0.7,
            "value_clip_range": 0.05,
            "clip_range": COEFFICIENTS.clip_range,
            **options,
        }
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Ragged columns of all kinds of policies with memory, however they are cut."""
    sequence_length = draw(st.integers(1, 11))
    lengths = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(lambda n: sum(n) >= 2)
    return Case(
        lengths=tuple(draw(lengths)),
        kind=draw(st.sampled_from(["lstm", "gru", "mingru"])),
        action=draw(st.sampled_from([CONTINUOUS, DISCRETE, HYBRID])),
        shared=draw(st.booleans()),
        layers=draw(st.integers(1, 2)),
        sequence_length=sequence_length,
        burn_in=draw(st.integers(0, sequence_length)),
        refresh_states=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


def policy_of(ppo: PPO) -> ActorCritic:
    """The policy that it improves."""
    return ppo._policy


def whole(ppo: PPO, rollout: Rollout) -> Minibatch:
    """All sequences of a rollout, in one minibatch."""
    (minibatch,) = ppo.minibatches(rollout).epoch(torch.Generator())
    return minibatch


def loss_of(ppo: PPO, minibatch: Minibatch) -> Tensor:
    return ppo.loss(ppo.loss.terms(minibatch, COEFFICIENTS), minibatch.mask, COEFFICIENTS)


def gradients_of(ppo: PPO, loss: Tensor) -> Gradients:
    """{name: of every parameter}, zeros where the loss does not depend on it."""
    policy = policy_of(ppo)
    policy.zero_grad(set_to_none=False)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {}
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None
        gradients[name] = parameter.grad.clone()
    return gradients


def assert_same(
    one: tuple[Tensor, Gradients], other: tuple[Tensor, Gradients], *, tolerance: float = 1e-9
) -> None:
    """Both (loss, gradients) agree, and are finite."""
    assert one[0].isfinite()
    torch.testing.assert_close(one[0], other[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(other[1], one[1], rtol=0, atol=tolerance)


def in_float64(rollout: Rollout) -> Rollout:
    """The same numbers, of which further computation is exact to about 1e-16."""

    def doubled(_: str, tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.is_floating_point() else tensor

    return each(rollout, doubled)


def padded(minibatch: Minibatch, rows: int) -> Minibatch:
    """The same sequences with so many more rows of padding at their end."""

    def longer(name: str, tensor: Tensor) -> Tensor:
        if name == "sequence_state":
            return tensor
        return torch.cat([tensor, tensor.new_zeros(rows, *tensor.shape[1:])])

    return replace(each(minibatch, longer), is_padded=True)


def poisoned(minibatch: Minibatch, number: float) -> Minibatch:
    """With `number` wherever there is padding; choices out of range, and none of them allowed."""

    def fill(name: str, tensor: Tensor) -> Tensor:
        if name in {"sequence_state", "valid"}:
            return tensor
        is_padding = ~minibatch.mask.view(*minibatch.mask.shape, *[1] * (tensor.dim() - 2))
        if tensor.is_floating_point():
            return tensor.masked_fill(is_padding, number)
        if tensor.dtype == torch.bool:
            return tensor.masked_fill(is_padding, name == "reset")
        return tensor.masked_fill(is_padding, 99)

    return each(minibatch, fill)


def each(experience: Experience, change: Callable[[str, Tensor], Tensor]) -> Experience:
    """A rollout or minibatch with every tensor changed by `change(field's name, tensor)`."""

    def changed(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: change(name, tensor) for key, tensor in value.items()}
        if isinstance(value, Rollout):
            return each(value, change)
        if isinstance(value, Estimate):
            return each(value, change)
        return change(name, value) if isinstance(value, Tensor) else value

    values = {name: changed(name, value) for name, value in vars(experience).items()}
    return type(experience)(**values)


def tensors_of(experience: Experience) -> list[Tensor]:
    """Copies of all that it holds, but for burn-in."""
    tensors: list[Tensor] = []

    def collect(_: str, tensor: Tensor) -> Tensor:
        tensors.append(tensor.clone())
        return tensor

    each(experience, collect)
    return tensors
