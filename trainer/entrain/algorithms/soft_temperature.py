"""The temperature of a soft actor-critic: what one nat of entropy is worth, in units of the reward.

It is fixed (or follows a schedule), or it is adapted in every gradient step so that the entropy of
the policy is what a target says.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from entrain import metrics
from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.coefficients import (
    COEFFICIENT_RANGE,
    ScheduledTemperature,
    interpolate,
    nats_per_dimension,
)
from entrain.algorithms.optimizer import Adam
from entrain.config.policy import EntropyConfig, EntropyTargetConfig
from entrain.ranks import ALONE, Ranks
from entrain.state import State, Stateful
from entrain_envs.shapes import Float


class SoftTemperature(Stateful, Protocol):
    """Decides alpha for each gradient step."""

    def begin(self, progress: float) -> None:
        """The steps that come are those of the update at `progress` in [0, 1]."""
        ...

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """[] a constant."""
        ...

    def step(self, log_prob: Float[Tensor, " R"], greatest: Float[Tensor, " R"]) -> None:
        """Adapt alpha to the actions of R rows.

        Args:
            log_prob: [R] nats, whose expectation is minus the entropy; a constant.
            greatest: [R] nats, the largest entropy that the discrete choices could have.
        """
        ...

    def metrics(self) -> Metrics:
        """Of the update that is over, and of all ranks."""
        ...

    def take_over(self, state: State) -> None:
        """Begin where `state` was, but for its moments."""
        ...

    def agree(self) -> None:
        """Take the temperature of the first rank."""
        ...

    def snapshot(self) -> Any:
        """A copy of everything that a step changes."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot."""
        ...


class FixedTemperature:
    """alpha is an option, constant or on a schedule."""

    def __init__(self, config: EntropyConfig, *, device: torch.device) -> None:
        """Begin with the option's first value."""
        self._schedule = ScheduledTemperature(config)
        self._device = device
        self.begin(0.0)

    def begin(self, progress: float) -> None:
        """See `SoftTemperature.begin`."""
        self.alpha = torch.tensor(self._schedule.coefficient(progress), device=self._device)
        """See `SoftTemperature.alpha`."""

    def step(self, log_prob: Float[Tensor, " R"], greatest: Float[Tensor, " R"]) -> None:
        """Nothing depends on the entropy."""

    def metrics(self) -> Metrics:
        """See `SoftTemperature.metrics`."""
        return {metrics.ENTROPY_COEFFICIENT.name: self.alpha.item()}

    def take_over(self, state: State) -> None:
        """Nothing: alpha follows from the options."""

    def agree(self) -> None:
        """All ranks have the same options."""

    def snapshot(self) -> None:
        """Nothing: the schedule says what alpha is."""

    def restore(self, snapshot: None) -> None:
        """Nothing was taken."""

    def state(self) -> State:
        """alpha, from which an adapted one may begin; for itself it follows from the options."""
        return {"alpha": float(self.alpha)}

    def load_state(self, state: State) -> None:
        """Nothing is loaded."""


class AdaptiveTemperature:
    """alpha rises while the entropy is below its target, and falls while it is above.

        minimise over ln alpha:  mean of -ln alpha * (log_prob + target)
        target = D * per_dimension + fraction * sum_b ln (allowed choices of b), in each row

    by Adam: the dual of "maximise the return subject to H >= target". Haarnoja et al. descend
    -alpha * (...) by ln alpha in their code and by alpha in their paper; the steps of Adam are as
    long as its learning rate either way.

    Source: Haarnoja et al. 2018, section 5, eq. 18 (arXiv:1812.05905).
    """

    def __init__(
        self,
        config: EntropyConfig,
        target: EntropyTargetConfig,
        *,
        dimensions: int,
        learning_rate: float,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """Begin at `config.coefficient`, above 0.

        Args:
            config: of entropy.
            target: of `config`.
            dimensions: D, of the continuous action.
            learning_rate: of ln alpha.
            device: where the policy learns.
            ranks: that learn together.
        """
        self._target = target
        self._dimensions = dimensions
        self._learning_rate = learning_rate
        learned = nn.ParameterDict(
            {"log_alpha": torch.full((1,), math.log(config.coefficient), device=device)}
        )
        self._optimizer = Adam(learned, epsilon=1e-8, max_grad_norm=0.0, ranks=ranks)
        self._progress = 0.0
        self._ranks = ranks
        self._newest: tuple[Tensor, int] | None = None
        """[2] nats, target and entropy of the newest step, and its rows; None before the first."""

    def begin(self, progress: float) -> None:
        """See `SoftTemperature.begin`."""
        self._progress = progress

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """See `SoftTemperature.alpha`."""
        return self._optimizer.weights[0].exp()

    def target(self, greatest: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
        """[R] nats, given the largest entropy of the choices."""
        config = self._target
        fraction = interpolate(config.fraction, config.final_fraction, self._progress)
        of_dimensions = self._dimensions * nats_per_dimension(config, self._progress)
        return of_dimensions + fraction * greatest

    def step(self, log_prob: Float[Tensor, " R"], greatest: Float[Tensor, " R"]) -> None:
        """See `SoftTemperature.step`."""
        rows = max(1, len(log_prob))
        wanted = self.target(greatest).to(log_prob.dtype).sum() / rows
        found = -log_prob.sum() / rows
        self._newest = torch.stack([wanted, found]), len(log_prob)
        # The gradient of the loss by ln alpha: mean of -(log_prob + target).
        self._optimizer.gradient.copy_(found - wanted)
        self._optimizer.descend(learning_rate=self._learning_rate, weight=len(log_prob))
        least, most = (math.log(bound) for bound in COEFFICIENT_RANGE)
        self._optimizer.weights.clamp_(least, most)

    def metrics(self) -> Metrics:
        """See `SoftTemperature.metrics`; the distance is positive above the target."""
        coefficient = {metrics.ENTROPY_COEFFICIENT.name: self.alpha.item()}
        if self._newest is None:
            return coefficient
        own, num_rows = self._newest
        wanted, found = self._ranks.mean(own, weight=num_rows).tolist()
        return {
            **coefficient,
            metrics.ENTROPY_TARGET.name: wanted,
            metrics.ENTROPY_DISTANCE.name: found - wanted,
        }

    def agree(self) -> None:
        """See `SoftTemperature.agree`."""
        self._optimizer.agree()

    def snapshot(self) -> Any:
        """See `SoftTemperature.snapshot`."""
        return self._optimizer.snapshot()

    def restore(self, snapshot: Any) -> None:
        """See `SoftTemperature.restore`."""
        self._optimizer.restore(snapshot)

    def state(self) -> State:
        """The logarithm of alpha, and Adam's moments."""
        return {
            "log_alpha": float(self._optimizer.weights[0]),
            "optimizer": self._optimizer.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on there; a run whose temperature was fixed before begins at its option."""
        if "log_alpha" in state:
            self.take_over(state)
            self._optimizer.load_state(state["optimizer"])

    def take_over(self, state: State) -> None:
        """See `SoftTemperature.take_over`; one that was fixed is adapted from there on."""
        if state.get("alpha", 0.0) > 0.0:
            self._optimizer.weights.fill_(math.log(state["alpha"]))
        if "log_alpha" in state:
            self._optimizer.weights.fill_(state["log_alpha"])
