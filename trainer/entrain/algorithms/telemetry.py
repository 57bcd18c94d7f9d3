"""What an update says about itself, gathered without slowing it down.

During an epoch terms are only kept; at its end they are joined and become numbers in one transfer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.losses import is_clipped, kl_estimate, masked_mean


@dataclass(frozen=True)
class LossTerms:
    """The parts of the loss at each step of a minibatch, [L, M] each, not yet weighed."""

    policy: Tensor
    """The surrogate, as minimised."""

    value: Tensor
    """The critic's squared error."""

    entropy: Tensor
    """What the regularizer says, in nats; maximised."""

    log_ratio: Tensor
    """ln p(a) / p_old(a), before this minibatch's gradient step."""


class EpochLog:
    """The minibatches of one epoch."""

    def __init__(self) -> None:
        self._terms: list[LossTerms] = []
        self._masks: list[Tensor] = []
        self._gradient_norms: list[Tensor] = []

    def add(self, terms: LossTerms, mask: Tensor, gradient_norm: Tensor) -> None:
        """Keep one minibatch: terms and mask [L, M], norm []."""
        self._terms.append(terms)
        self._masks.append(mask)
        self._gradient_norms.append(gradient_norm)

    @torch.no_grad()
    def metrics(self, *, clip_range: float) -> Metrics:
        """Means over all steps of the epoch, masked; of the gradient norm, over minibatches."""
        mask = torch.cat([mask.flatten() for mask in self._masks])

        def mean(x: Tensor) -> Tensor:
            return masked_mean(x, mask)

        log_ratio = torch.cat([terms.log_ratio.flatten() for terms in self._terms])
        entropy = mean(torch.cat([terms.entropy.flatten() for terms in self._terms]))
        means = {
            "loss/policy": mean(torch.cat([terms.policy.flatten() for terms in self._terms])),
            "loss/value": mean(torch.cat([terms.value.flatten() for terms in self._terms])),
            "loss/entropy": -entropy,
            "policy/entropy": entropy,
            "policy/kl": mean(kl_estimate(log_ratio)),
            "policy/clip_fraction": mean(
                is_clipped(log_ratio.exp(), clip_range=clip_range).float()
            ),
            "policy/gradient_norm": torch.stack(self._gradient_norms).mean(),
        }
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))


def mean_over_epochs(epochs: list[Metrics]) -> dict[str, float]:
    """The mean of each metric over the epochs of one update."""
    return {name: sum(epoch[name] for epoch in epochs) / len(epochs) for name in epochs[0]}
