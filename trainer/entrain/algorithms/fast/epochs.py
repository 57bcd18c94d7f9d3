"""Epochs of PPO over a plain policy's steps, with gradients by hand.

Shapes: N steps of a rollout, R rows of a chunk, K minibatches.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.entropy import Entropy, MeanEntropy, PriorDivergence, Regularizer
from entrain.algorithms.fast.actions import make_parts
from entrain.algorithms.fast.advantages import normalized_by_minibatch
from entrain.algorithms.fast.arrays import quiet
from entrain.algorithms.fast.loss import OutputGradients, PlainLoss, Terms
from entrain.algorithms.fast.memory import SequenceSteps
from entrain.algorithms.fast.network import PlainNetwork
from entrain.algorithms.fast.steps import PlainSteps, plain_steps
from entrain.algorithms.minibatches import Minibatches, Sequences
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.ppo_loss import PPOLoss
from entrain.algorithms.telemetry import EpochLog
from entrain.algorithms.unrolling import run_burn_in
from entrain.inference.arrays import FloatArray, view
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.layers import HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.spread import ParameterSpread
from entrain.policy.trunk import Trunk
from entrain.ranks import Ranks
from entrain_envs.timestep import Int64Array

CHUNK = 512
"""Rows whose activations are computed at once: those of two layers of 64 stay in a processor's
cache."""


def is_plain(policy: ActorCritic, regularizer: Regularizer) -> bool:
    """Whether `PlainSteps` can take the gradient steps of this policy."""
    has_plain_prior = not isinstance(regularizer, PriorDivergence) or isinstance(
        regularizer.spread, ParameterSpread | None
    )
    trunk = policy.backbone.trunk
    return (
        policy.action_head.weight.device.type == "cpu"
        and isinstance(trunk, Trunk)
        and isinstance(trunk.encoder, ObservationNormalizer)
        and isinstance(trunk.hidden_layers, HiddenLayers)
        and not policy.config.network.layer_norm
        and policy.has_plain_spread
        and has_plain_prior
        and isinstance(regularizer, (Entropy, MeanEntropy, PriorDivergence))
    )


class PlainGradientSteps:
    """Moves the weights of a policy that `is_plain`; see `GradientSteps`."""

    def __init__(self, loss: PPOLoss, optimizer: Adam, *, ranks: Ranks) -> None:
        """Take the parts of a `PPO`."""
        policy, config, regularizer = loss.policy, loss.config, loss.regularizer
        weights, gradient = optimizer.named_weights, optimizer.named_gradient
        is_squashed = policy.config.action.distribution == "squashed_gaussian"
        self._policy = policy
        self._regularizer = regularizer
        self._normalizes = config.advantage_normalization == "minibatch"
        self._is_soft = loss.is_soft
        self._optimizer = optimizer
        self._ranks = ranks
        self._gradient = view(optimizer.gradient)
        self._network = PlainNetwork(policy, weights, gradient)
        self._parts = make_parts(
            policy.action_head,
            weights,
            gradient,
            is_squashed=is_squashed,
            prior_log_sigma_sq=_prior_log_sigma_sq(regularizer),
        )
        self._loss = PlainLoss(config, self._parts, regularizer, is_squashed=is_squashed)

    def over(self, minibatches: Minibatches, coefficients: Coefficients) -> "PlainEpochs":
        """See `GradientSteps.over`."""
        steps = plain_steps(minibatches.all_steps, self._policy, self._regularizer)
        return PlainEpochs(
            self, steps, minibatches, coefficients, policy=self._policy, ranks=self._ranks
        )

    def in_order(self, steps: PlainSteps, starts: Int64Array) -> tuple[PlainSteps, FloatArray]:
        """Steps with advantages as the loss takes them, and what regularizers are divided by.

        Args:
            steps: in the order of an epoch.
            starts: [K + 1] where its minibatches start, and N.

        Returns:
            The steps, and [K] a scale for each minibatch.
        """
        ones = np.ones(len(starts) - 1)
        if not self._normalizes:
            return steps, ones
        advantage, scale = normalized_by_minibatch(
            steps.advantage, starts, ranks=self._ranks, weight=steps.weight
        )
        return steps.with_advantage(advantage), scale if self._is_soft else ones

    @quiet
    def descend(
        self,
        minibatch: PlainSteps,
        in_sequences: SequenceSteps | None,
        coefficients: Coefficients,
        terms: Terms,
        *,
        first: int,
        scale: float,
        squares: "HeadSquares | None",
    ) -> Tensor:
        """One gradient step; a rank whose part is empty takes part in it without a gradient.

        Args:
            minibatch: its steps.
            in_sequences: the same, if the policy has a memory.
            coefficients: of the loss.
            terms: of the epoch, where those of the minibatch are written.
            first: of its rows there.
            scale: by which its regularizer is divided.
            squares: what to add the gradients of both heads to.

        Returns:
            [] length of the gradient before it was clipped.
        """
        count = len(minibatch.advantage)
        size = max(1, count) if self._network.has_memory else CHUNK
        for part in self._parts:
            part.begin()
        if count == 0:
            self._gradient.fill(0.0)
        for start in range(0, count, size):
            rows = minibatch if count <= size else minibatch[start : start + size]
            outputs, value = self._network.forward(rows.features, in_sequences)
            of_rows, gradients = self._loss(
                outputs, value, rows, coefficients, count=count, scale=scale
            )
            terms.put(slice(first + start, first + start + len(outputs)), of_rows)
            if squares is not None and self._network.reads_weights:
                squares.add(self._network, gradients, count=count)
            self._network.backward(gradients.action, gradients.value, adds=start > 0)
        if count:
            for part in self._parts:
                part.end()
        return self._optimizer.descend(learning_rate=coefficients.learning_rate, weight=count)


class HeadSquares:
    """Of one minibatch: see `PPOLoss.head_squares`."""

    def __init__(self) -> None:
        self.values = torch.zeros(2, dtype=torch.float64)
        """[2] of the critic and of the policy."""

    def add(self, network: PlainNetwork, gradients: OutputGradients, *, count: int) -> None:
        """Count the gradients of some of the minibatch's `count` rows."""
        heads = network.of_critic(gradients.value), network.of_policy(gradients.action)
        self.values += torch.tensor([_square(it) * count**2 for it in heads], dtype=torch.float64)


class PlainEpochs:
    """Epochs over one rollout; see `Epochs`."""

    def __init__(
        self,
        gradient_steps: PlainGradientSteps,
        steps: PlainSteps,
        minibatches: Minibatches,
        coefficients: Coefficients,
        *,
        policy: ActorCritic,
        ranks: Ranks,
    ) -> None:
        self._policy = policy
        self._ranks = ranks
        self._gradient_steps = gradient_steps
        self._steps = steps
        self._minibatches = minibatches
        self._coefficients = coefficients

    def run(self, generator: torch.Generator, cancelled: Callable[[], bool]) -> EpochLog:
        """See `Epochs.run`."""
        order = self._minibatches.order(generator)
        starts = order.starts
        steps, scales = self._gradient_steps.in_order(self._steps[order.steps], starts)
        terms = Terms.empty(len(order.steps), steps.log_prob.shape[1], steps.log_prob.dtype)
        norms: list[Tensor] = []
        squares: HeadSquares | None = None
        for first, last, scale, sequences in zip(
            starts[:-1], starts[1:], scales, order.sequences, strict=True
        ):
            if self._ranks.any_so_far(cancelled()):
                raise UpdateCancelled
            is_first = squares is None and last > first
            if is_first:
                squares = HeadSquares()
            norm = self._gradient_steps.descend(
                steps[first:last],
                None if sequences is None else self._in_sequences(sequences),
                self._coefficients,
                terms,
                first=first,
                scale=float(scale),
                squares=squares if is_first else None,
            )
            norms.append(norm)
        return EpochLog.of(
            {name: _tensor(array) for name, array in vars(terms).items()},
            norms,
            head_squares=None if squares is None else squares.values,
            weight=None if steps.weight is None else torch.from_numpy(steps.weight).unsqueeze(0),
            weighs=self._minibatches.all_steps.estimate.late_share < 1.0,
        )

    def _in_sequences(self, sequences: Sequences) -> SequenceSteps:
        """With states as of the present weights."""
        reset = self._minibatches.all_steps.steps.reset[0][sequences.rows]
        state = run_burn_in(self._policy, sequences.burn_in, sequences.state)
        return SequenceSteps(sequences.mask, reset & sequences.mask, state)


def _tensor(terms: FloatArray) -> Tensor:
    """[1, N], or [1, N, A]."""
    tensor = torch.from_numpy(terms).unsqueeze(0)
    return tensor.squeeze(-1) if tensor.dim() > 2 and tensor.shape[-1] == 1 else tensor


def _square(gradient: FloatArray) -> float:
    numbers = gradient.astype(np.float64).ravel()
    return float(numbers @ numbers)


def _prior_log_sigma_sq(regularizer: Regularizer) -> FloatArray | None:
    if not isinstance(regularizer, PriorDivergence):
        return None
    if not isinstance(regularizer.spread, ParameterSpread):
        return None
    with torch.no_grad():
        log_sigma_sq: FloatArray = view(regularizer.spread())
    return log_sigma_sq
