"""Acting on a device, with numbers that come from the processor and go back: in three ways.

As the trainer does it; with arrays that are pinned, so that copies need not wait for one another;
and with forward and sampling recorded once as a CUDA graph and replayed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entrain.inference.policy import TorchPolicy
from entrain.policy.actor_critic import ActorCritic

Arrays = Mapping[str, np.ndarray[Any, Any]]
Act = Callable[[Arrays, np.ndarray[Any, Any]], Arrays]
"""From {observation: [K, ...]} and noise [K, D + N] to {"value" or kind of action: [K, ...]}."""


def as_shipped(policy: ActorCritic, rows: int) -> Act:
    """The policy that the trainer acts with."""
    acting = TorchPolicy(policy)
    state = np.zeros((rows, acting.state_size), np.float32)
    reset = np.zeros(rows, np.bool_)

    def act(observation: Arrays, noise: np.ndarray[Any, Any]) -> Arrays:
        distribution, value, _ = acting.evaluate(observation, state, reset)
        return {**distribution.sample(acting.prepare_noise(noise)), "value": value}

    return act


class Staged:
    """Acts on arrays that stay where they are: pinned ones here, others on the device."""

    def __init__(
        self, policy: ActorCritic, observation: Arrays, noise: np.ndarray[Any, Any]
    ) -> None:
        """Make the arrays.

        Args:
            policy: on the device.
            observation: as many rows as there will be each time.
            noise: likewise.
        """
        self._policy = policy
        self._device = policy.initial_state(0).device
        self._is_cuda = self._device.type == "cuda"
        rows = len(noise)
        inputs = {**observation, "": noise.astype(np.float32)}
        self._here = {name: self._pinned(torch.from_numpy(each)) for name, each in inputs.items()}
        self._there = {name: each.to(self._device) for name, each in self._here.items()}
        self._state = policy.initial_state(rows)
        self._reset = torch.zeros(1, rows, dtype=torch.bool, device=self._device)
        self._outputs = self._compute()
        self._answers = {
            name: self._pinned(torch.empty_like(each, device="cpu"))
            for name, each in self._outputs.items()
        }
        self._replay: Callable[[], None] | None = None

    def record(self) -> None:
        """Record the computation as a CUDA graph; RuntimeError if it cannot be."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._compute()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._compute()
        self._replay = graph.replay

    def __call__(self, observation: Arrays, noise: np.ndarray[Any, Any]) -> Arrays:
        """Act once. The arrays that are returned change with the next call."""
        for name, array in {**observation, "": noise}.items():
            np.copyto(self._here[name].numpy(), array)
            self._there[name].copy_(self._here[name], non_blocking=True)
        if self._replay is None:
            self._outputs = self._compute()
        else:
            self._replay()
        for name, each in self._outputs.items():
            self._answers[name].copy_(each, non_blocking=True)
        if self._is_cuda:
            torch.cuda.current_stream(self._device).synchronize()
        return {name: each.numpy() for name, each in self._answers.items()}

    def _compute(self) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            observation = {name: each[None] for name, each in self._there.items() if name}
            output = self._policy(observation, self._state, self._reset)
            action = output.distribution.sample(self._there[""][None])
            return {**{name: each[0] for name, each in action.items()}, "value": output.value[0]}

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self._is_cuda else tensor.clone()
