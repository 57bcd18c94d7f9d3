"""Adam with gradient clipping, over a policy's weights as one vector.

Everything it needs to go on exactly, or to go back, is three vectors and a count.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from entrain.algorithms.weights import FlatWeights, as_arrays, load_tensors
from entrain.state import State

Snapshot: TypeAlias = Mapping[str, Tensor]
"""Weights and moments at one moment."""


class Optimizer:
    """Moves the weights of one module, which it owns."""

    def __init__(self, module: nn.Module, *, epsilon: float, max_grad_norm: float) -> None:
        """Start with moments of zero.

        Args:
            module: on its device already.
            epsilon: added to Adam's denominator.
            max_grad_norm: longer gradients are shortened to this; 0 leaves all as they are.
        """
        self._weights = FlatWeights(module)
        self._max_grad_norm = max_grad_norm
        vector = self._weights.vector
        # betas as in Kingma & Ba 2015 (arXiv:1412.6980); `fused` is one kernel for all of it.
        self._adam = torch.optim.Adam([vector], betas=(0.9, 0.999), eps=epsilon, fused=True)
        self._moments = {
            "step": torch.zeros((), device=vector.device),
            "exp_avg": torch.zeros_like(vector.data),
            "exp_avg_sq": torch.zeros_like(vector.data),
        }
        self._adam.state[vector] = self._moments

    def step(self, loss: Tensor, *, learning_rate: float) -> Tensor:
        """Go one step down the gradient of `loss`.

        Returns:
            [] length of the gradient before it was clipped.
        """
        self._weights.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._clip(self._weights.gradient)
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()
        return norm

    def _clip(self, gradient: Tensor) -> Tensor:
        """Shorten `gradient` in place, all weights together; return its length before.

            gradient *= min(1, max_grad_norm / (|gradient| + 1e-6))

        Source: Pascanu et al. 2013 (arXiv:1211.5063); 1e-6 as in torch.nn.utils.clip_grad_norm_.
        """
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if self._max_grad_norm > 0.0:
            gradient.mul_((self._max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
        return norm

    @property
    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return bool(torch.isfinite(self._weights.vector).all())

    def snapshot(self) -> Snapshot:
        """A copy of weights and moments, on their device."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def restore(self, snapshot: Snapshot) -> None:
        """Be as when `snapshot` was taken, bit for bit."""
        for name, tensor in self._tensors().items():
            tensor.copy_(snapshot[name])

    def state(self) -> State:
        """Step count and moments, by the names of the weights. The weights are the policy's."""
        return {
            "step": np.array(self._moments["step"].numpy(force=True)),
            **{
                moment: as_arrays(self._weights.named(self._moments[moment]))
                for moment in ("exp_avg", "exp_avg_sq")
            },
        }

    def load_state(self, state: State) -> None:
        """Set step count and moments; CheckpointError if they are of another network."""
        for moment in ("exp_avg", "exp_avg_sq"):
            load_tensors(
                self._weights.named(self._moments[moment]), state[moment], f"{moment} of weight"
            )
        self._moments["step"].copy_(torch.from_numpy(state["step"]))

    def _tensors(self) -> dict[str, Tensor]:
        return {"weights": self._weights.vector.data, **self._moments}
