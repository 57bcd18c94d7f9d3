"""Runs one epoch over minibatches, with torch or another way to compute the gradient."""

from collections.abc import Callable
from typing import Protocol

import torch

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.minibatches import Minibatches
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.ppo_loss import PPOLoss
from entrain.algorithms.telemetry import EpochLog
from entrain.experience import Minibatch
from entrain.ranks import Ranks


class Epochs(Protocol):
    """Epochs over the minibatches of one rollout."""

    def run(self, generator: torch.Generator, cancelled: Callable[[], bool]) -> EpochLog:
        """Take one gradient step for each minibatch.

        Args:
            generator: decides their order.
            cancelled: asked before each step.

        Raises:
            UpdateCancelled: it is so; with several ranks, it was so on one of them before the
                newest gradient step.
        """
        ...


class GradientSteps(Protocol):
    """Moves the weights of one policy down the gradient of its loss."""

    def over(self, minibatches: Minibatches, coefficients: Coefficients) -> Epochs:
        """Prepare epochs over these minibatches.

        Args:
            minibatches: of one rollout.
            coefficients: of the loss.
        """
        ...


class TorchSteps:
    """Gradients by torch, for policies of any architecture."""

    def __init__(self, loss: PPOLoss, optimizer: Adam, *, ranks: Ranks) -> None:
        """Take the parts of a `PPO`."""
        self._loss = loss
        self._optimizer = optimizer
        self._ranks = ranks

    def over(self, minibatches: Minibatches, coefficients: Coefficients) -> "TorchEpochs":
        """See `GradientSteps.over`."""
        return TorchEpochs(self._loss, self._optimizer, minibatches, coefficients, self._ranks)


class TorchEpochs:
    """See `TorchSteps`."""

    def __init__(
        self,
        loss: PPOLoss,
        optimizer: Adam,
        minibatches: Minibatches,
        coefficients: Coefficients,
        ranks: Ranks,
    ) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._minibatches = minibatches
        self._coefficients = coefficients
        self._ranks = ranks

    def run(self, generator: torch.Generator, cancelled: Callable[[], bool]) -> EpochLog:
        """See `Epochs.run`."""
        log = EpochLog(weighs=self._minibatches.all_steps.estimate.late_share < 1.0)
        for minibatch in self._minibatches.epoch(generator):
            if self._ranks.any_so_far(cancelled()):
                raise UpdateCancelled
            self._descend(minibatch, log)
        return log

    def _descend(self, minibatch: Minibatch, log: EpochLog) -> None:
        """One gradient step. A rank whose part is empty takes part in it without a gradient."""
        coefficients, num_steps = self._coefficients, minibatch.num_steps
        rate = coefficients.learning_rate
        if num_steps == 0:
            self._loss.scaled_advantage(minibatch)
            nothing = torch.zeros((), device=minibatch.mask.device, requires_grad=True)
            log.add_empty(self._optimizer.step(nothing, learning_rate=rate, weight=0))
            return
        terms = self._loss.terms(minibatch, coefficients)
        mask = minibatch.padding_mask
        if log.head_squares is None:
            log.head_squares = self._loss.head_squares(terms, mask, coefficients)
        loss = self._loss(terms, mask, coefficients)
        norm = self._optimizer.step(loss, learning_rate=rate, weight=num_steps)
        log.add(terms, minibatch.mask, norm)
