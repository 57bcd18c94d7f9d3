"""Critics of actions: what reward is to come if an action is taken, said by several networks.

    observation, continuous action -> backbone -> one output, or one for each discrete choice

The networks are groups of one backbone, so that they are computed as one batch of matrices. Values
of several branches add up: Q(s, a) = sum_b Q_b(s, a_continuous, a_b).

Shapes: G critics, R rows, D continuous dimensions, N branches, C choices of all of them; Q outputs:
C, or 1 without branches.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.config.sac import SACConfig
from entrain.policy.categorical import Branches
from entrain.policy.critic import VALUE_GAIN
from entrain.policy.inputs import ACTION_TAKEN, critic_inputs, critic_network
from entrain.policy.layers import GroupedLinear
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.trunk import make_backbone
from entrain_envs.shapes import Float, Int, Shaped
from entrain_envs.spec import BehaviourSpec


class ActionCritics(nn.Module):
    """G critics of the actions of one behaviour, with weights of their own."""

    def __init__(
        self, spec: BehaviourSpec, config: PolicyConfig, *, groups: int, seed: int
    ) -> None:
        """Draw the initial weights, which `seed` alone decides.

        Args:
            spec: the behaviour's observations and actions.
            config: `network`, the options of observations and those of critics are used.
            groups: G.
            seed: of a generator of its own.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        inputs = critic_inputs(spec, config.network)
        self.backbone = make_backbone(
            inputs,
            config.model_copy(update={"network": critic_network(config)}),
            groups,
            generator,
            batch_norm=algorithm_options(config, SACConfig).batch_norm,
        )
        self.branches = Branches(spec.action.branches) if spec.action.branches else None
        self.head = GroupedLinear(
            groups,
            self.backbone.feature_size,
            max(1, spec.action.num_choices),
            gain=VALUE_GAIN,
            generator=generator,
        )

    def forward(
        self,
        observation: Mapping[str, Shaped[Tensor, "R ..."]],
        continuous: Float[Tensor, "R D"],
    ) -> Float[Tensor, "G R Q"]:
        """Evaluate R actions.

        Args:
            observation: {name: [R, *shape]} as they came over the wire.
            continuous: [R, D] as the environment gets it, see `ActionBounds.relative`; D may be 0.

        Returns:
            [G, R, C] the value of each choice, together with `continuous`; [G, R, 1] without any.
        """
        rows = len(continuous)
        shown = {name: values.unsqueeze(0) for name, values in observation.items()}
        if continuous.shape[1]:
            shown[ACTION_TAKEN] = continuous.unsqueeze(0)
        reset = torch.ones(1, rows, dtype=torch.bool, device=continuous.device)
        features, _ = self.backbone(shown, self.backbone.initial_state(rows), reset)
        values: Tensor = self.head(features)
        return values

    def of_chosen(
        self, values: Float[Tensor, "G R Q"], choices: Int[Tensor, "R N"] | None
    ) -> Float[Tensor, "G R"]:
        """[G, R] what each critic says of whole actions.

        Args:
            values: as returned by `forward`.
            choices: [R, N]; None without branches.
        """
        if self.branches is None or choices is None:
            return values.squeeze(-1)
        padded = self.branches.pad(values, 0.0)
        index = choices.unsqueeze(-1).expand(*padded.shape[:-1], 1)
        return padded.gather(-1, index).flatten(-2).sum(dim=-1)

    @property
    def normalizer(self) -> ObservationNormalizer:
        """How vectors and goals are shown to the critics."""
        return self.backbone.normalizer
