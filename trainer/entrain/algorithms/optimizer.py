"""Adam with gradient clipping, over a policy's weights as one vector.

Its whole state is three vectors and a count, which makes snapshots cheap. It is written out because
torch.optim.Adam takes several times as long to find its tensors as to update a small network, and
gradient steps are most of a run's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.algorithms.weights import FlatWeights, as_arrays, load_tensors
from entrain.ranks import ALONE, Ranks
from entrain.state import State

BETA_1 = 0.9
"""Decay of the mean gradient, unless it is given."""

BETA_2 = 0.999
"""Decay of the mean squared gradient."""


@dataclass(frozen=True)
class Snapshot:
    """Weights and moments at one moment."""

    weights: Tensor
    mean: Tensor
    mean_square: Tensor
    num_steps: int


class Adam:
    """Moves the weights of one module, which it owns.

        mean        = beta_1 * mean        + (1 - beta_1) * gradient
        mean_square = beta_2 * mean_square + (1 - beta_2) * gradient^2
        weights    -= learning_rate * (mean / (1 - beta_1^t))
                      / (sqrt(mean_square / (1 - beta_2^t)) + epsilon)

    after its t-th step, everything elementwise over [P] weights.

    Source: Kingma & Ba 2015, algorithm 1 (arXiv:1412.6980).
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        epsilon: float,
        max_grad_norm: float,
        beta_1: float = BETA_1,
        apart: Mapping[str, Tensor] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Start with moments of zero.

        Args:
            module: on its device already.
            epsilon: added to the denominator.
            max_grad_norm: longer gradients are shortened to this; 0 leaves all as they are.
            beta_1: decay of the mean gradient.
            apart: {name: bool of the weight's shape}, all of the module's; where they are true,
                weights are clipped by themselves. None clips all together.
            ranks: every step is along the mean gradient of all of them.
        """
        self._ranks = ranks
        self._flat = FlatWeights(module)
        self._epsilon = epsilon
        self._beta_1 = beta_1
        self._max_grad_norm = max_grad_norm
        self._is_apart: Tensor | None = None
        if apart is not None and max_grad_norm > 0.0:
            flags = [apart[name].flatten() for name, _ in module.named_parameters()]
            self._is_apart = torch.cat(flags).to(self._flat.weights)
        self._mean = torch.zeros_like(self._flat.weights)
        self._mean_square = torch.zeros_like(self._flat.weights)
        self._num_steps = 0
        self._count = torch.zeros((), device=self._flat.weights.device)
        """[] float32, in which torch is told the number of steps."""

    def agree(self) -> None:
        """Take the weights of the first rank."""
        self._ranks.broadcast(self._flat.weights)

    def step(self, loss: Tensor, *, learning_rate: float, weight: int = 1) -> Tensor:
        """Go one step down the gradient of `loss`.

        Args:
            loss: [] a mean over steps.
            learning_rate: of this step.
            weight: how many steps, which is the weight of this rank's gradient among those of all.

        Returns:
            [] length of the gradient before it was clipped.
        """
        self.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        return self.descend(learning_rate=learning_rate, weight=weight)

    def descend(self, *, learning_rate: float, weight: int = 1) -> Tensor:
        """Go one step down `gradient`, as `step` does down that of a loss."""
        gradient = self._ranks.mean(self.gradient, weight=weight)
        norm = self._clip(gradient)
        self._num_steps += 1
        # One pass over all that it reads and writes; by single operations it would be eight.
        torch._fused_adam_(
            [self._flat.weights],
            [gradient],
            [self._mean],
            [self._mean_square],
            [],
            [self._count.fill_(self._num_steps)],
            lr=learning_rate,
            beta1=self._beta_1,
            beta2=BETA_2,
            weight_decay=0.0,
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
        )
        return norm

    def _clip(self, gradient: Tensor) -> Tensor:
        """Shorten `gradient` in place; return its length before, that of all weights.

            gradient *= min(1, max_grad_norm / (|gradient| + 1e-6))

        Source: Pascanu et al. 2013 (arXiv:1211.5063); 1e-6 as in torch.nn.utils.clip_grad_norm_.
        """
        if self._is_apart is None:
            return self._shorten(gradient)
        apart = gradient * self._is_apart
        rest = gradient - apart
        norms = self._shorten(apart), self._shorten(rest)
        torch.add(apart, rest, out=gradient)
        return torch.hypot(*norms)

    def _shorten(self, gradient: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if self._max_grad_norm > 0.0 and gradient.is_cuda:
            # Without waiting for the device.
            gradient.mul_((self._max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
        elif self._max_grad_norm > 0.0:
            factor = self._max_grad_norm / (norm.item() + 1e-6)
            # NaN is passed on.
            if not factor >= 1.0:
                gradient.mul_(factor)
        return norm

    @property
    def gradient(self) -> Tensor:
        """[P] the gradient of the next step, to be overwritten; in the order of `weights`."""
        return self._flat.gradient

    @property
    def named_weights(self) -> Mapping[str, Tensor]:
        """{name: weights}, views of `weights`."""
        return self._flat.named(self._flat.weights)

    @property
    def named_gradient(self) -> Mapping[str, Tensor]:
        """{name: gradient}, views of `gradient`."""
        return self._flat.named(self._flat.gradient)

    @property
    def weights(self) -> Tensor:
        """[P] the weights themselves, as one vector in the order of the module's parameters."""
        return self._flat.weights

    @property
    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return bool(torch.isfinite(self._flat.weights).all())

    def snapshot(self) -> Snapshot:
        """A copy of weights and moments, on their device."""
        return Snapshot(
            weights=self._flat.weights.clone(),
            mean=self._mean.clone(),
            mean_square=self._mean_square.clone(),
            num_steps=self._num_steps,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Return to `snapshot`, bit for bit."""
        self._flat.weights.copy_(snapshot.weights)
        self._mean.copy_(snapshot.mean)
        self._mean_square.copy_(snapshot.mean_square)
        self._num_steps = snapshot.num_steps

    def state(self) -> State:
        """Step count, and moments by the names of the weights. The weights are the policy's."""
        return {
            "num_steps": self._num_steps,
            "mean": as_arrays(self._flat.named(self._mean)),
            "mean_square": as_arrays(self._flat.named(self._mean_square)),
        }

    def load_state(self, state: State) -> None:
        """Set step count and moments; CheckpointError if they are of another network."""
        for name, moment in (("mean", self._mean), ("mean_square", self._mean_square)):
            load_tensors(self._flat.named(moment), state[name], f"Adam {name} of weight")
        self._num_steps = int(state["num_steps"])
