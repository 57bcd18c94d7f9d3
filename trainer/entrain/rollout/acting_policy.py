"""What collecting experience needs of a policy; an `ActorCritic` has it."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from entrain.policy.actor_critic import PolicyOutput
from entrain.policy_config import PolicyConfig
from entrain_envs.spec import BehaviourSpec


class ActingPolicy(Protocol):
    """Looks at observations, and knows what it looks at."""

    def __call__(
        self, observation: Mapping[str, Tensor], state: Tensor, reset: Tensor
    ) -> PolicyOutput:
        """Distribution and value of {name: [T, B, *shape]}, state [B, S], reset [T, B]."""
        ...

    @property
    def spec(self) -> BehaviourSpec:
        """What the simulator sends, and how one acts."""
        ...

    @property
    def inputs(self) -> BehaviourSpec:
        """What the policy looks at: that, and what the actor adds."""
        ...

    @property
    def config(self) -> PolicyConfig:
        """Its network's options say what the actor adds, and how sequences are learned from."""
        ...

    @property
    def num_values(self) -> int:
        """V, value heads."""
        ...

    @property
    def noise_size(self) -> int:
        """Uniform numbers that one action takes."""
        ...

    @property
    def state_size(self) -> int:
        """S, numbers in one agent's recurrent state; 0 without memory."""
        ...

    def environment_action(self, action: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the simulator is told: sampled actions brought into the spec's bounds."""
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The weights; the device they are on is where the actor computes."""
        ...
