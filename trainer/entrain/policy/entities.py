"""Attention over a set of entities, whose order and number do not matter.

Shapes: R rows, G groups, N entities at most, E features, A heads of E / A features each.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.policy.layers import HIDDEN_GAIN, GroupedLayerNorm, GroupedLinear, keep_first_group
from entrain_envs.shapes import Float, Shaped
from entrain_envs.spec import ObservationSpec

ATTENTION_GAIN = 1.0
"""Of the initial weights of queries, keys, values and output, which have no activation."""


class EntityEncoder(nn.Module):
    """G encoders of one set: attention among the entities, then the mean over them.

        x = layer_norm(relu(linear(entity)))
        y = layer_norm(x + linear(attention(x)))
        features = mean of y over the entities that are there; zeros if none is

    An entity whose numbers are all zero is absent: it is left out of the attention and the mean.

    Source: Vaswani et al. 2017, arXiv:1706.03762; over entities, Baker et al. 2020,
    arXiv:1909.07528.
    """

    def __init__(
        self,
        observation: ObservationSpec,
        features: int,
        heads: int,
        groups: int,
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights: orthogonal, biases zero.

        Args:
            observation: of entities, [N, numbers of each].
            features: E, a multiple of `heads`.
            heads: A.
            groups: G, each with weights of its own.
            generator: of the weights.
        """
        super().__init__()
        self.name = observation.name
        self.feature_size = features
        self._entities, self._numbers = observation.shape
        self._heads = heads
        self._groups = groups

        def linear(inputs: int, outputs: int, gain: float) -> GroupedLinear:
            return GroupedLinear(groups, inputs, outputs, gain=gain, generator=generator)

        self.embedding = linear(self._numbers, features, HIDDEN_GAIN)
        self.embedding_norm = GroupedLayerNorm(groups, features)
        self.query = linear(features, features, ATTENTION_GAIN)
        self.key = linear(features, features, ATTENTION_GAIN)
        self.value = linear(features, features, ATTENTION_GAIN)
        self.output = linear(features, features, ATTENTION_GAIN)
        self.output_norm = GroupedLayerNorm(groups, features)

    def forward(
        self, entities: Shaped[Tensor, "*leading N numbers"], rows: int
    ) -> Float[Tensor, "G R E"]:
        """[..., N, numbers], `rows` sets, to [G, rows, E]."""
        entities = entities.reshape(rows, self._entities, self._numbers).to(
            self.embedding.weight.dtype
        )
        is_there = (entities != 0).any(dim=-1)
        each = entities.flatten(0, 1).expand(self._groups, -1, -1)
        x = self.embedding_norm(functional.relu(self.embedding(each)))
        y = self.output_norm(x + self.output(self._attention(x, is_there)))
        y = y.view(self._groups, rows, self._entities, self.feature_size)
        # Selected, not multiplied by zero, so that absent entities get no gradient.
        total = torch.where(is_there.unsqueeze(-1), y, 0.0).sum(dim=2)
        return total / is_there.sum(dim=-1, keepdim=True).clamp(min=1)

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self._groups = 1
        keep_first_group(self)

    def _attention(self, x: Tensor, is_there: Tensor) -> Tensor:
        """[G, R * N, E] to the same: attention to the entities that are there, [R, N] bool."""
        # For an empty set the softmax would be NaN. All are attended to; the result is not used.
        is_seen = is_there | ~is_there.any(dim=-1, keepdim=True)
        # The same mask for all groups, heads and queries: [R, 1, 1, N].
        mask = is_seen[:, None, None, :].repeat(self._groups, 1, 1, 1)
        # [G * R, A, N, E / A]
        query, key, value = (
            layer(x)
            .view(mask.shape[0], self._entities, self._heads, self.feature_size // self._heads)
            .transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return seen.transpose(1, 2).reshape(x.shape)
