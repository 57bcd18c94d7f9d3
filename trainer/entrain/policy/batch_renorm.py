"""Batch renormalisation: features are normalised by their batch, and held near running statistics.

Shapes: G groups, R rows, F features. Which rows are one batch is the caller's choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from entrain.config.sac import BatchNormConfig
from entrain.policy.layers import ACTIVATIONS, Activation, HiddenLayers
from entrain.ranks import ALONE, Ranks
from entrain_envs.shapes import Float, Int

EPSILON = 1e-3
"""Added to variances, as by Bhatt et al. 2024."""

R_MAX, D_MAX = 3.0, 5.0
"""Bounds of the correction, those that Ioffe 2017 ends at."""


class GroupedBatchRenorm(nn.Module):
    """Normalises each feature of each group over the rows, then applies a learned scale and shift.

    In training, `mean` and `sigma` being those of the batch,

        y = ((x - mean) / sigma * r + d) * weight + bias
        r = sigma / running_sigma               between 1 / R_MAX and R_MAX
        d = (mean - running_mean) / running_sigma         at most D_MAX in size

    where r and d are constants for the gradient. Within their bounds y is what it would be by
    running statistics, while the gradient is that of batch normalisation. During the warm-up r = 1
    and d = 0, which is batch normalisation itself. In evaluation

        y = (x - running_mean) / running_sigma * weight + bias

    sigma = sqrt(variance + EPSILON), the variance divided by R. Running statistics change only when
    `take_over` is called.

    Source: Ioffe 2017, "Batch renormalization", arXiv:1702.03275; a warm-up that ends at once
    instead of bounds that widen as in Bhatt et al. 2024, arXiv:1902.05605.
    """

    running_mean: Float[Tensor, "G 1 F"]
    """[G, 1, F], 0 at first."""

    running_variance: Float[Tensor, "G 1 F"]
    """[G, 1, F], 1 at first."""

    num_batches: Int[Tensor, ""]
    """[] int64, whose statistics were taken over."""

    def __init__(self, groups: int, size: int, config: BatchNormConfig) -> None:
        super().__init__()
        self._config = config
        self.weight = nn.Parameter(torch.ones(groups, 1, size))
        self.bias = nn.Parameter(torch.zeros(groups, 1, size))
        self.register_buffer("running_mean", torch.zeros(groups, 1, size))
        self.register_buffer("running_variance", torch.ones(groups, 1, size))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))
        self.batch: tuple[Tensor, Tensor] | None = None
        """Mean and variance, [G, 1, F] each, of the newest batch in training."""

    def forward(self, x: Float[Tensor, "G R F"]) -> Float[Tensor, "G R F"]:
        """[G, R, F] to the same. A batch without rows has mean and variance 0."""
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_variance + EPSILON)
            return torch.addcmul(self.bias - self.running_mean * scale, x, scale)
        with torch.no_grad():
            rows = max(1, x.shape[1])
            mean = x.sum(dim=1, keepdim=True) / rows
            centred = x - mean
            variance = centred.square().sum(dim=1, keepdim=True) / rows
            self.batch = mean, variance
            r, d = self._correction(mean, variance)
            inverse = torch.rsqrt(variance + EPSILON)
        normalised: Tensor = _Renormalise.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, centred, inverse, r, d
        )
        return normalised

    def _correction(
        self, mean: Float[Tensor, "G 1 F"], variance: Float[Tensor, "G 1 F"]
    ) -> tuple[Float[Tensor, "G 1 F"], Float[Tensor, "G 1 F"]]:
        """[G, 1, F] each: r and d."""
        sigma = torch.sqrt(self.running_variance + EPSILON)
        r = (torch.sqrt(variance + EPSILON) / sigma).clamp(1.0 / R_MAX, R_MAX)
        d = ((mean - self.running_mean) / sigma).clamp(-D_MAX, D_MAX)
        # Without asking a GPU for the number.
        is_warm = self.num_batches >= self._config.warmup_steps
        return torch.where(is_warm, r, 1.0), torch.where(is_warm, d, 0.0)

    @torch.no_grad()
    def take_over(self, mean: Float[Tensor, "G 1 F"], variance: Float[Tensor, "G 1 F"]) -> None:
        """Let the running statistics go on by those of a batch.

        running = momentum * running + (1 - momentum) * batch
        """
        share = 1.0 - self._config.momentum
        self.running_mean.lerp_(mean, share)
        self.running_variance.lerp_(variance, share)
        self.num_batches += 1


class _Renormalise(torch.autograd.Function):
    """y = (centred * inverse * r + d) * weight + bias, with its gradient by hand.

        z                    = centred * inverse
        gradient of x        = weight * r * inverse * (g - mean(g) - z * mean(g * z))
        gradient of weight   = sum of g * (z * r + d)
        gradient of bias     = sum of g

    g being the gradient of y, and means and sums over the rows. By autograd it takes twice as long,
    and most of a gradient step's time is between its products of matrices.

    Source: Ioffe & Szegedy 2015, section 3, arXiv:1502.03167.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - what autograd calls
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        centred: Tensor,
        inverse: Tensor,
        r: Tensor,
        d: Tensor,
    ) -> Tensor:
        """[G, R, F]; `x` is only what the gradient is of, `centred` is x - mean."""
        del x
        scale = weight * r * inverse
        ctx.save_for_backward(centred, inverse, r, d, scale)
        return torch.addcmul(torch.addcmul(bias, weight, d), centred, scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Of x, weight and bias."""
        centred, inverse, r, d, scale = ctx.saved_tensors
        of_bias = g.sum(dim=1, keepdim=True)
        of_z = (g * centred).sum(dim=1, keepdim=True) * inverse
        of_x = None
        if ctx.needs_input_grad[0]:
            rows = max(1, g.shape[1])
            of_x = torch.addcmul(-scale * of_bias / rows, g, scale)
            of_x.addcmul_(centred, -scale * inverse * of_z / rows)
        return of_x, of_z * r + of_bias * d, of_bias, None, None, None, None


class BatchRenormalisedLayers(HiddenLayers):
    """Hidden layers whose inputs, and whose outputs after each activation, are normalised."""

    def __init__(
        self,
        groups: int,
        inputs: int,
        sizes: Sequence[int],
        config: BatchNormConfig,
        *,
        activation: Activation,
        layer_norm: bool = False,
        generator: torch.Generator,
    ) -> None:
        """See `HiddenLayers`; `config` is of the normalisation."""
        super().__init__(
            groups,
            inputs,
            sizes,
            activation=activation,
            layer_norm=layer_norm,
            generator=generator,
        )
        self.norms = nn.ModuleList(
            GroupedBatchRenorm(groups, size, config) for size in (inputs, *sizes)
        )

    def forward(
        self, features: Float[Tensor, "R inputs"] | Float[Tensor, "_ R inputs"]
    ) -> Float[Tensor, "G R F"]:
        """See `HiddenLayers.forward`."""
        first, *others = self.norms
        hidden: Tensor = first(features.expand(self.groups, -1, -1))
        activation = ACTIVATIONS[self.activation]
        for layer, norm in zip(self.layers, others, strict=True):
            hidden = norm(activation(layer(hidden)))
        return hidden


@torch.no_grad()
def take_over_batch(module: nn.Module, *, rows: int, ranks: Ranks = ALONE) -> None:
    """Let all running statistics within `module` go on by those of the batch it has just seen.

        mean     = mean over rows of all ranks of x
        variance = mean over rows of all ranks of (x - mean)^2

    Args:
        module: in training.
        rows: of this rank's batch.
        ranks: that learn together; with their rows it is one batch.
    """
    norms = list(_norms(module))
    batches = [norm.batch for norm in norms if norm.batch is not None]
    means = [mean for mean, _ in batches]
    # Two messages for all layers together.
    together = ranks.mean(_joined(means), weight=rows)
    spread = _joined([variance for _, variance in batches])
    spread = spread + (_joined(means) - together).square()
    sizes = [mean.numel() for mean in means]
    variances = torch.split(ranks.mean(spread, weight=rows), sizes)
    for norm, mean, variance in zip(norms, torch.split(together, sizes), variances, strict=True):
        norm.take_over(mean.view_as(norm.running_mean), variance.view_as(norm.running_variance))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def running_statistics(module: nn.Module) -> Mapping[str, Tensor]:
    """{name: tensor} of all batch renormalisation within `module`, the tensors themselves."""
    return {
        f"{name}.{own}": buffer
        for name, part in module.named_modules()
        if isinstance(part, GroupedBatchRenorm)
        for own, buffer in part.named_buffers()
    }


def _norms(module: nn.Module) -> Iterator[GroupedBatchRenorm]:
    return (part for part in module.modules() if isinstance(part, GroupedBatchRenorm))
