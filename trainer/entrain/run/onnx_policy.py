"""The policy as an exported file computes it: named arrays in, named arrays out, without noise.

`export` says what each input and output is.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor, nn

from entrain.policy.actor_critic import ActorNetwork
from entrain.run.onnx_names import free_name
from entrain_envs.spec import BehaviourSpec

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
"""{name of an input or output: array}."""

ACTION_OUTPUTS = ("continuous_action", "action_mean", "log_sigma_sq", "discrete_action", "logits")
MASK_INPUT = "action_mask"
STATE_INPUT = "state_in"
STATE_OUTPUT = "state_out"


class DeterministicPolicy(nn.Module):
    """Computes actions without noise, and the parameters of their distribution, for one step.

    The state is that of the actor alone. A critic with a memory of its own has another, which the
    actor does not need.
    """

    def __init__(self, policy: ActorNetwork, state_size: int) -> None:
        """Wrap a policy with its critic, or the actor alone.

        Args:
            policy: not copied.
            state_size: S, of the actor alone.
        """
        super().__init__()
        self._policy = policy
        self._state_size = state_size
        self._critic_state_size = policy.state_size - state_size
        self._has_mask = policy.spec.action.num_choices > 0
        self._names = policy.inputs.observation_names

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Take inputs in the order of `random_inputs`, [batch, ...] each; outputs by name."""
        # A batch is one step (T = 1) of as many columns.
        steps = [values.unsqueeze(0) for values in inputs[: len(self._names)]]
        batch = inputs[0].shape[0]
        reset = torch.zeros((1, batch), dtype=torch.bool, device=inputs[0].device)
        observation = dict(zip(self._names, steps, strict=True))
        output = self._policy(observation, self._state(inputs), reset)
        distribution = output.distribution
        if self._has_mask:
            distribution = distribution.masked(inputs[len(self._names)].unsqueeze(0))
        action = self._policy.environment_action(distribution.mode())
        named = {f"{kind}_action": values for kind, values in action.items()}
        named.update(distribution.parameters())
        outputs = {name: named[name].squeeze(0) for name in ACTION_OUTPUTS if name in named}
        if self._state_size:
            outputs[STATE_OUTPUT] = output.state[:, : self._state_size]
        return outputs

    def _state(self, inputs: Sequence[Tensor]) -> Tensor:
        if not self._state_size:
            return self._policy.initial_state(1).expand(inputs[0].shape[0], -1)
        if not self._critic_state_size:
            return inputs[-1]
        # The actor's part comes first.
        return nn.functional.pad(inputs[-1], (0, self._critic_state_size))


def input_names(spec: BehaviourSpec) -> list[str]:
    """Returns the file's inputs in order, without the state: observations, and the mask if any.

    An observation that has the name of something else in the file gets a prefix.
    """
    other = {*ACTION_OUTPUTS, MASK_INPUT, STATE_INPUT, STATE_OUTPUT}
    names = [
        free_name(name, other.union(spec.observation_names), prefix="observation.")
        if name in other
        else name
        for name in spec.observation_names
    ]
    return [*names, MASK_INPUT] if spec.action.branches else names
