"""The losses and statistics of one gradient step of a soft actor-critic, by torch or by hand.

Shapes: G critics, R rows, D continuous dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from entrain import metrics, replay_metrics
from entrain_envs.shapes import Float


@dataclass(frozen=True)
class CriticStep:
    """A step of the critics."""

    error: Float[Tensor, "G R"]
    """[G, R] Q - y."""

    value: Float[Tensor, "G R"]
    """[G, R] Q of the actions in the replay."""

    gradient_norm: Float[Tensor, ""]
    """[] before it was clipped."""

    def metrics(self) -> Mapping[str, Tensor]:
        """{name: []} for the report."""
        return {
            replay_metrics.LOSS_Q.name: mean_over_rows(self.error.square().mean(dim=0)),
            replay_metrics.Q_MEAN.name: mean_over_rows(self.value.mean(dim=0)),
            metrics.GRADIENT_NORM.name: self.gradient_norm,
        }


@dataclass(frozen=True)
class ActorStep:
    """A step of the actor."""

    loss: Float[Tensor, ""]
    """[] mean of alpha log_prob - min_g Q_g."""

    log_prob: Float[Tensor, " R"]
    """[R] nats, as in `SoftActions`."""

    log_sigma_sq: Float[Tensor, "R D"] | None
    """[R, D]; None without continuous actions."""

    continuous: Float[Tensor, "R D"]
    """[R, D] the actions as sampled."""


def mean_over_rows(values: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """[] of [R]; 0 if there are none, as on a rank without a step to learn from."""
    return values.sum() / max(1, len(values))
