"""Observations brought to a common scale: running mean and variance, or a fixed scale for pixels.

The statistics are buffers of the policy: saved, moved and exported with its weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain_envs.spec import BehaviourSpec, ObservationSpec

VARIANCE_EPSILON = 1e-8
"""Added to the variance; gymnasium's NormalizeObservation takes the same."""


class ObservationNormalizer(nn.Module):
    """One scaler for each named observation: {name: [..., *shape]} to the same as float32.

    Until the first `update` it changes nothing.
    """

    def __init__(self, spec: BehaviourSpec, *, normalize: bool, clip: float) -> None:
        """Choose each observation's scaler.

        Args:
            spec: names, shapes and dtypes.
            normalize: whether float observations get running statistics.
            clip: where normalised numbers are cut, at plus and minus this.
        """
        super().__init__()
        self._names = tuple(observation.name for observation in spec.observations)
        self.scalers = nn.ModuleList(
            _scaler(observation, normalize=normalize, clip=clip)
            for observation in spec.observations
        )

    def forward(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scale every observation."""
        return {
            name: scaler(observation[name])
            for name, scaler in zip(self._names, self.scalers, strict=True)
        }

    @torch.no_grad()
    def update(self, observation: Mapping[str, Tensor]) -> None:
        """Take rows {name: [N, *shape]} into the statistics; every row counts, so give valid ones.

        The outcome does not depend on how rows are divided over calls.
        """
        for name, scaler in zip(self._names, self.scalers, strict=True):
            if isinstance(scaler, RunningScaler):
                scaler.update(observation[name])


class RunningScaler(nn.Module):
    """(x - mean) / sqrt(variance + epsilon), cut at plus and minus `clip`."""

    count: Tensor
    """[] float64, rows seen."""

    mean: Tensor
    """[*shape] float64."""

    squares: Tensor
    """[*shape] float64, sum of squared deviations from the mean."""

    shift: Tensor
    """[*shape] float32, what is subtracted."""

    scale: Tensor
    """[*shape] float32, what is multiplied by."""

    def __init__(self, shape: tuple[int, ...], *, clip: float) -> None:
        super().__init__()
        self._clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(shape, dtype=torch.float64))
        # They follow from the others, but are saved with them: loading then needs no extra step.
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @property
    def variance(self) -> Tensor:
        """[*shape] float64, of all rows seen (divided by their number); 1 before the first."""
        return self.squares / self.count if self.count > 0 else torch.ones_like(self.squares)

    def forward(self, values: Tensor) -> Tensor:
        """[..., *shape] normalised."""
        return values.sub(self.shift).mul_(self.scale).clamp_(-self._clip, self._clip)

    def update(self, values: Tensor) -> None:
        """Merge the moments of [N, *shape] into those of all rows before.

        With n rows before, b now, and delta = (mean of now) - (mean of before):

            mean    += delta * b / (n + b)
            squares += (squares of now) + delta^2 * n * b / (n + b)

        Source: Chan, Golub & LeVeque 1983, eq. 2.1.
        """
        rows = len(values)
        if rows == 0:
            return
        values = values.double()
        batch_mean = values.mean(dim=0)
        batch_squares = (values - batch_mean).square().sum(dim=0)
        delta = batch_mean - self.mean
        total = self.count + rows
        self.mean += delta * (rows / total)
        self.squares += batch_squares + delta.square() * (self.count * rows / total)
        self.count.copy_(total)
        self.shift.copy_(self.mean)
        self.scale.copy_(torch.rsqrt(self.variance + VARIANCE_EPSILON))


class PixelScaler(nn.Module):
    """uint8 0..255 to float 0..1."""

    def forward(self, values: Tensor) -> Tensor:
        """[..., *shape] uint8 to float32."""
        return values * (1.0 / 255.0)


def _scaler(observation: ObservationSpec, *, normalize: bool, clip: float) -> nn.Module:
    if observation.dtype == "uint8":
        return PixelScaler()
    return RunningScaler(observation.shape, clip=clip) if normalize else nn.Identity()
