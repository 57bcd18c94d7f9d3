"""Critics without target networks: what was done and what would be done next are one batch.

Batch renormalisation keeps values from running away, which is what target networks are for. It must
not see (s, a) and (s', a') as two batches: actions of the replay and of the policy have different
means, so each would be normalised by statistics that the other one's values were not learned with.

    Q(s, a), Q(s', a')  of one pass over the rows of both, in training
    y = reward + bootstrap * (min_g Q_g(s', a') - alpha log_prob(a')), a constant
    running statistics  go on by those of that pass
    for the actor       Q(s, pi(s)) by running statistics, in evaluation

Rows after which nothing of worth follows have no (s', a') in the pass: nobody reads their values.
Where several ranks learn, each normalises its own share of the batch by that share; running
statistics are those of all ranks.

Source: Bhatt et al. 2024, "CrossQ: Batch normalization in deep reinforcement learning for greater
sample efficiency and simplicity" (arXiv:1902.05605).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from entrain.algorithms.soft_actions import SoftActions, expected_values
from entrain.algorithms.soft_critics import SoftCritics, TargetCritics
from entrain.config.policy import algorithm_options
from entrain.config.sac import SACConfig
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.batch_renorm import running_statistics, take_over_batch
from entrain.ranks import ALONE, Ranks
from entrain.tensor_fields import map_tensors
from entrain.transitions import ReplayBatch
from entrain_envs.shapes import Bool, Float


class CrossCritics(SoftCritics):
    """Critics that are normalised by batches, and learn from their own values."""

    def _compared(
        self, batch: ReplayBatch, following: SoftActions, alpha: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "G R"], Float[Tensor, " R"]]:
        """See `SoftCritics`. Running statistics go on."""
        follows = batch.bootstrap > 0.0
        following = map_tensors(following, lambda rows: rows[follows])
        now, later = self._in_one_pass(batch, following, follows)
        chosen = self._critics.of_chosen(now, batch.action.get("discrete"))
        with torch.no_grad():
            least = expected_values(later, following.chances, self.branches).amin(dim=0)
            value = least - alpha * following.log_prob
            target = batch.reward.clone()
            target[follows] += batch.bootstrap[follows] * value
        return chosen, target

    def _in_one_pass(
        self, batch: ReplayBatch, following: SoftActions, follows: Bool[Tensor, " R"]
    ) -> tuple[Float[Tensor, "G R Q"], Float[Tensor, "G K Q"]]:
        """[G, R, Q] of what was done, and [G, K, Q] of what would be done in the K rows after."""
        observation = {
            name: torch.cat([seen, batch.next_observation[name][follows]])
            for name, seen in batch.observation.items()
        }
        actions = torch.cat([self._taken(batch), self._as_read(following.continuous)])
        self._critics.train()
        values = self._critics(observation, actions)
        self._critics.eval()
        take_over_batch(self._critics, rows=len(actions), ranks=self._ranks)
        rows = batch.num_steps
        return values[:, :rows], values[:, rows:]

    @property
    def _beside(self) -> Mapping[str, Tensor]:
        return running_statistics(self._critics)


def make_critics(
    policy: ActorNetwork, *, seed: int, device: torch.device, ranks: Ranks = ALONE
) -> SoftCritics:
    """The critics that the options of `policy` ask for; see `SoftCritics`."""
    normalises = algorithm_options(policy.config, SACConfig).batch_norm is not None
    kind = CrossCritics if normalises else TargetCritics
    return kind(policy, seed=seed, device=device, ranks=ranks)
