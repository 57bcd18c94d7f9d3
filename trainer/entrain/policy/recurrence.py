"""Recurrent memory: what a policy remembers from one timestep to the next.

Shapes: T steps, B columns, G groups (policy and critic, or both as one), R = T * B rows, F features
in and H out, S numbers of state per column. The caller keeps the state and passes it in.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from entrain.config.policy import MemoryConfig
from entrain.policy.layers import keep_first_group
from entrain.policy.mingru import MinGRULayer, columns_reset
from entrain.policy.parallel_groups import Arguments, ParallelGroups, Tensors
from entrain.policy.recurrent_layers import GRULayer, LibraryLayer, LSTMLayer, RecurrentLayer
from entrain.policy.reset_rows import ResetRows
from entrain_envs.shapes import Bool, Float

LIBRARY_LAYERS: Mapping[str, type[LibraryLayer]] = {"lstm": LSTMLayer, "gru": GRULayer}


class RecurrentMemory(nn.Module):
    """Stacked recurrent layers; each of G groups has its own weights and state.

    The state of a column is ordered by group, within a group by layer, and within a layer it is the
    output and then, for an LSTM, the cells. So the part of group 0 comes first.
    """

    def __init__(
        self,
        layer: type[RecurrentLayer],
        groups: int,
        widths: Sequence[int],
        *,
        generator: torch.Generator,
    ) -> None:
        """Layers from widths[0] features to widths[1] to widths[2] ...; all but [0] are equal."""
        super().__init__()
        self.layers = nn.ModuleList(
            layer(groups, inputs, size, generator=generator) for inputs, size in pairwise(widths)
        )
        self.feature_size = widths[-1]
        self._parts = layer.parts
        self._groups = groups

    @property
    def state_size(self) -> int:
        """S."""
        return self._groups * len(self.layers) * self._parts * self.feature_size

    def keep_first_group(self) -> None:
        """Drop all groups but the first, and their state."""
        self._groups = 1
        keep_first_group(self)

    def forward(
        self,
        hidden: Float[Tensor, "G R F"],
        state: Float[Tensor, "B S"],
        reset: Bool[Tensor, "T B"],
    ) -> tuple[Float[Tensor, "G R H"], Float[Tensor, "B S"]]:
        """Process T steps of B columns.

        Args:
            hidden: [G, T * B, F], row t * B + b is step t of column b.
            state: [B, S] before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.

        Returns:
            hidden: [G, T * B, feature_size], the last layer's outputs.
            state: [B, S] after the last step.
        """
        # Replaced by zero, not multiplied by it: NaN * 0 is NaN.
        state = state.masked_fill(reset[:1].t(), 0.0)
        if len(reset) == 1:
            return self._step(hidden, state)
        # [G, L, P, B, H]
        parts = state.view(
            -1, self._groups, len(self.layers), self._parts, self.feature_size
        ).permute(1, 2, 3, 0, 4)
        hidden, parts = self._unroll(hidden, parts, reset)
        return hidden, parts.permute(3, 0, 1, 2, 4).reshape(-1, self.state_size)

    def _step(self, hidden: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of all groups at once. Acting waits for it, so it makes few small views."""
        shape = (state.shape[0], self._groups, len(self.layers) * self._parts, self.feature_size)
        # L * P times [G, B, H]
        parts = state.view(shape).transpose(0, 1).unbind(2)
        after: tuple[Tensor, ...] = ()
        for layer in self._each_layer():
            after += layer.step(hidden, parts[len(after) : len(after) + self._parts])
            hidden = after[-self._parts]
        return hidden, torch.stack(after, dim=2).transpose(0, 1).flatten(1)

    def _unroll(self, hidden: Tensor, parts: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        """Several steps of all groups.

        Args:
            hidden: [G, T * B, F].
            parts: [G, L, P, B, H] of state before the first step; cleared where that resets.
            reset: [T, B], as of `forward`.

        Returns:
            hidden: [G, T * B, H].
            parts: [G, L, P, B, H] after the last step.
        """
        raise NotImplementedError

    def _each_layer(self) -> Sequence[RecurrentLayer]:
        return cast("Sequence[RecurrentLayer]", self.layers)


class LibraryMemory(RecurrentMemory):
    """LSTMs or GRUs: sequences by torch's kernels, one call a layer and group."""

    def __init__(
        self,
        layer: type[LibraryLayer],
        groups: int,
        widths: Sequence[int],
        *,
        generator: torch.Generator,
    ) -> None:
        """See `RecurrentMemory`."""
        super().__init__(layer, groups, widths, generator=generator)
        self._parallel_groups = ParallelGroups()

    def _unroll(self, hidden: Tensor, parts: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        """See `RecurrentMemory._unroll`."""
        rows = ResetRows(reset) if bool(reset[1:].any()) else None
        columns = parts.shape[3]
        flags = None if rows is None else rows.flags.to(hidden.dtype)
        groups: list[Arguments] = [
            (
                features.view(-1, columns, features.shape[-1])
                if rows is None
                else rows.put_in(features),
                parts[group],
                flags,
                *[weight for layer in self._library() for weight in layer.weights_of(group)],
            )
            for group, features in enumerate(hidden)
        ]
        outputs, after = [], []
        numbers = (hidden.shape[1] if rows is None else len(rows.flags) * columns) * parts.shape[-1]
        for states in self._parallel_groups(self._all_layers, groups, numbers=numbers):
            for index in range(0, len(states), self._parts):
                x, *cells = states[index : index + self._parts]
                after += [x[-1] if rows is None else rows.take_last(x), *cells]
            outputs.append(x.flatten(0, 1) if rows is None else rows.take_out(x))
        return torch.stack(outputs), torch.stack(after).view(parts.shape)

    def _all_layers(
        self, x: Tensor, state: Tensor, flags: Tensor | None, *weights: Tensor
    ) -> Tensors:
        """One group's output of every layer, [M, B, H], each followed by its cells, [B, H].

        Args:
            x: [M, B, F], M rows including the inserted ones.
            state: [L, P, B, H] before the first row.
            flags: [M, B, 2] see `RecurrentLayer.unroll`.
            weights: of every layer, one after the other.
        """
        after: Tensors = ()
        count = len(weights) // len(self.layers)
        for index, layer in enumerate(self._library()):
            own = weights[index * count : (index + 1) * count]
            x, cells = layer.unroll(own, x, state[index].unbind(), flags)
            after += (x, *cells)
        return after

    def _library(self) -> Sequence[LibraryLayer]:
        return cast("Sequence[LibraryLayer]", self.layers)


class ScannedMemory(RecurrentMemory):
    """minGRUs: all groups at once, and no rows are put in where columns begin anew."""

    def _unroll(self, hidden: Tensor, parts: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        """See `RecurrentMemory._unroll`."""
        begins = columns_reset(reset)
        after = []
        for index, layer in enumerate(cast("Sequence[MinGRULayer]", self.layers)):
            output = layer.unroll(hidden, parts[:, index, 0], begins)
            after.append(output[:, -1])
            hidden = output.flatten(1, 2)
        return hidden, torch.stack(after, dim=1).unsqueeze(2)


def make_memory(
    config: MemoryConfig, groups: int, inputs: int, *, generator: torch.Generator
) -> RecurrentMemory:
    """The memory of G networks whose trunks give `inputs` features each; its kind is not none."""
    widths = (inputs, *[config.size] * config.layers)
    if config.kind == "mingru":
        return ScannedMemory(MinGRULayer, groups, widths, generator=generator)
    return LibraryMemory(LIBRARY_LAYERS[config.kind], groups, widths, generator=generator)
