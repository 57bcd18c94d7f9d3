"""From a rollout to minibatches: padding is left behind, the rest is shuffled anew each epoch.

Shapes: T steps, B columns of the rollout; N valid steps; M steps of one minibatch. Sequences for
policies with memory will be another class with the same `epoch`.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from entrain.experience import Minibatch, Rollout


class StepMinibatches:
    """Every valid step by itself, a sequence of length 1: for policies without memory."""

    def __init__(
        self,
        rollout: Rollout,
        *,
        advantage: Tensor,
        return_: Tensor,
        size: int,
        device: torch.device,
    ) -> None:
        """Collect the valid steps on `device`.

        The number of minibatches is the one that brings their size closest to `size`; they are
        equally large, but for one step where it does not divide evenly. So no epoch ends with a
        gradient from the few steps that happened to be left over.

        Args:
            rollout: with at least one valid step.
            advantage: [T, B] of each action.
            return_: [T, B] the critic's target.
            size: steps of one minibatch, M.
            device: where the policy is.
        """
        is_valid = rollout.valid.flatten()
        self._num_steps = int(is_valid.sum())
        if self._num_steps == 0:
            raise ValueError("the rollout has no valid step; there is nothing to learn from")
        self._count = max(1, round(self._num_steps / size))
        valid = is_valid.nonzero().squeeze(1)

        def steps(tensor: Tensor) -> Tensor:
            """[T, B, ...] to [1, N, ...]: only valid rows, whatever the others hold."""
            return tensor.flatten(0, 1).index_select(0, valid).unsqueeze(0).to(device)

        self.steps = Minibatch(
            observation={name: steps(tensor) for name, tensor in rollout.observation.items()},
            action={name: steps(tensor) for name, tensor in rollout.action.items()},
            action_mask=steps(rollout.action_mask),
            log_prob=steps(rollout.log_prob),
            value=steps(rollout.value),
            advantage=steps(advantage),
            return_=steps(return_),
            reset=steps(rollout.reset),
            mask=steps(rollout.valid),
            initial_state=rollout.initial_state.new_zeros(self._num_steps, 0, device=device),
        )
        """All N of them in order, [1, N]."""

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        return self._count

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in an order that `generator` decides."""
        steps = self.steps
        order = torch.randperm(self._num_steps, generator=generator).to(steps.mask.device)

        def pieces(tensor: Tensor) -> Sequence[Tensor]:
            # One gather for the whole epoch; a minibatch is then a view of it.
            return tensor.index_select(1, order).tensor_split(self._count, dim=1)

        def named_pieces(tensors: Mapping[str, Tensor]) -> Sequence[Mapping[str, Tensor]]:
            columns = [pieces(tensor) for tensor in tensors.values()]
            return [dict(zip(tensors, row, strict=True)) for row in zip(*columns, strict=True)]

        for fields in zip(
            named_pieces(steps.observation),
            named_pieces(steps.action),
            pieces(steps.action_mask),
            pieces(steps.log_prob),
            pieces(steps.value),
            pieces(steps.advantage),
            pieces(steps.return_),
            pieces(steps.reset),
            pieces(steps.mask),
            steps.initial_state.tensor_split(self._count),
            strict=True,
        ):
            yield Minibatch(*fields)
