"""Normalises vectors and goals, and concatenates them to one row of features per timestep.

Shapes: R rows, F features: the observations flattened and concatenated in the order given. The
statistics are buffers of the policy: saved, moved and exported with its weights.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

import torch
from torch import Tensor, nn

from entrain.ranks import ALONE, Ranks
from entrain_envs.shapes import Float, Shaped
from entrain_envs.spec import WIDEST_BOUNDS, ObservationSpec

VARIANCE_EPSILON = 1e-8
"""Added to the variance, as in gymnasium's NormalizeObservation."""


class ObservationNormalizer(nn.Module):
    """(x - mean) / sqrt(variance + epsilon), clipped at plus and minus `clip`.

    Mean and variance are those of all rows that `update` was given, whatever the dtype. Before the
    first, and without `normalize`, numbers with bounds are mapped to [-1, 1] and others stay as
    they are; see `scaled_bounds`. A policy without vectors or goals has a normalizer with F = 0.
    """

    count: Tensor
    """[] float64, rows seen."""

    mean: Tensor
    """[F] float64."""

    squares: Tensor
    """[F] float64, sum of squared deviations from the mean."""

    shift: Tensor
    """[F] float32, subtracted from the numbers. It and `scale` follow from the statistics, but are
    saved with them, so that loading needs no further step."""

    scale: Tensor
    """[F] float32, the factor after the subtraction."""

    is_running: Tensor
    """[F] bool, true where the statistics decide shift and scale."""

    def __init__(
        self,
        observations: Sequence[ObservationSpec],
        *,
        normalize: bool,
        clip: float,
        fixed: Set[str] = frozenset(),
        unclipped: Set[str] = frozenset(),
    ) -> None:
        """Start with the scales that follow from the bounds.

        Args:
            observations: the vectors and goals.
            normalize: whether numbers are normalised by running statistics.
            clip: the largest absolute value after normalisation.
            fixed: names of observations that are clipped but not normalised.
            unclipped: names of observations that keep numbers of any size.
        """
        super().__init__()
        self.size_by_name: Mapping[str, int] = {spec.name: spec.size for spec in observations}
        self._shape_by_name = {spec.name: spec.shape for spec in observations}
        self.clip = clip if normalize else float("inf")
        is_fixed = _flags((spec.size, spec.name in fixed) for spec in observations)
        size = len(is_fixed)
        # Nothing in front, because torch concatenates no empty list.
        none = torch.zeros(2, 0, dtype=torch.float64)
        low, high = torch.cat([none, *(scaled_bounds(spec) for spec in observations)], dim=1)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("shift", ((low + high) / 2.0).float())
        self.register_buffer("scale", (2.0 / (high - low)).float())
        is_running = ~is_fixed & normalize
        self.register_buffer("is_running", is_running, persistent=False)
        # Only where something is not clipped, for numbers cost less than a tensor.
        self.limit: Tensor | None
        is_free = _flags((spec.size, spec.name in unclipped) for spec in observations)
        limit = torch.where(is_free, torch.inf, self.clip) if unclipped else None
        self.register_buffer("limit", limit, persistent=False)
        self._learns = bool(is_running.any())

    @property
    def feature_size(self) -> int:
        """F, numbers in one row."""
        return len(self.mean)

    @property
    def variance(self) -> Tensor:
        """[F] float64, of all rows seen (divided by N, not N - 1); 1 before the first."""
        return self.squares / self.count if self.count > 0 else torch.ones_like(self.squares)

    def forward(
        self, observation: Mapping[str, Shaped[Tensor, "..."]], rows: int
    ) -> Float[Tensor, "R F"]:
        """{name: [..., *shape]}, `rows` of them, to [rows, F] float32."""
        values = self._flatten(observation, rows).sub(self.shift).mul_(self.scale)
        if self.limit is not None:
            return values.clamp_(-self.limit, self.limit)
        return values.clamp_(-self.clip, self.clip)

    @torch.no_grad()
    def follow(self, other: "ObservationNormalizer") -> None:
        """Show all observations of `other`, which are among these, as `other` does."""
        for own, its in ((self.shift, other.shift), (self.scale, other.scale)):
            pieces = self._pieces(own)
            for name, piece in other._pieces(its).items():
                pieces[name].copy_(piece)

    def _pieces(self, features: Tensor) -> dict[str, Tensor]:
        """{name: its part}, views of [..., F]."""
        pieces = torch.split(features, list(self.size_by_name.values()), dim=-1)
        return dict(zip(self.size_by_name, pieces, strict=True))

    @torch.no_grad()
    def update(
        self, observation: Mapping[str, Shaped[Tensor, "N ..."]], *, ranks: Ranks = ALONE
    ) -> None:
        """Add valid rows, {name: [N, *shape]} of each rank, to the statistics.

        With n rows before, b now, and delta = (mean of now) - (mean of before):

            mean    += delta * b / (n + b)
            squares += (squares of now) + delta^2 * n * b / (n + b)

        so the result does not depend on how the rows are divided among calls.

        Source: Chan, Golub & LeVeque 1983, eq. 2.1.
        """
        if not self._learns:
            return
        own_rows = len(next(iter(observation.values())))
        rows = ranks.total(own_rows)
        if rows == 0:
            return
        # One copy of the rows in float64, and no other: rollouts may be large.
        values = self._flatten(observation, own_rows).to(torch.float64, copy=True)
        batch_mean = ranks.mean(values.mean(dim=0), weight=own_rows)
        batch_squares = ranks.sum(values.sub_(batch_mean).square_().sum(dim=0))
        delta = batch_mean - self.mean
        total = self.count + rows
        self.mean += delta * (rows / total)
        self.squares += batch_squares + delta.square() * (self.count * rows / total)
        self.count.copy_(total)
        deviation = torch.sqrt(self.variance + VARIANCE_EPSILON)
        self.shift.copy_(torch.where(self.is_running, self.mean, self.shift))
        self.scale.copy_(torch.where(self.is_running, 1.0 / deviation, self.scale))

    def split(self, features: Shaped[Tensor, "R F"]) -> dict[str, Shaped[Tensor, "R ..."]]:
        """[R, F] features back into {name: [R, *shape]}."""
        return {
            name: piece.reshape(-1, *self._shape_by_name[name])
            for name, piece in self._pieces(features).items()
        }

    def _flatten(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        vectors = [
            observation[name].reshape(rows, size) for name, size in self.size_by_name.items()
        ]
        if len(vectors) == 1:
            return vectors[0]
        return torch.cat(vectors, dim=-1) if vectors else self.shift.new_empty(rows, 0)


def scaled_bounds(spec: ObservationSpec) -> Float[Tensor, "2 size"]:
    """[2, size] float64, what each number of a vector lies between: what becomes -1 and 1.

    uint8 without bounds lies between 0 and 255. Numbers without bounds, with equal ones, or with
    ones as far apart as those of int32, stay as they are: -1 and 1 become -1 and 1.
    """
    low, high = spec.low, spec.high
    if not low:
        low, high = ((0.0,), (255.0,)) if spec.dtype == "uint8" else ((-1.0,), (1.0,))
    known = torch.tensor((low, high), dtype=torch.float64)
    width = known[1] - known[0]
    is_known = (width > 0.0) & (width < WIDEST_BOUNDS)
    unknown = torch.tensor(((-1.0,), (1.0,)), dtype=torch.float64)
    return torch.where(is_known, known, unknown).expand(2, spec.size)


def _flags(parts: Iterable[tuple[int, bool]]) -> Tensor:
    """[F] bool from parts of (how many, which value)."""
    return torch.tensor([flag for size, flag in parts for _ in range(size)], dtype=torch.bool)
