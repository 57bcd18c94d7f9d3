"""Critics without target networks: one batch of what was done and what would be done next."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.algorithms.cross_critics import CrossCritics
from entrain.algorithms.sac import SAC
from entrain.algorithms.soft_actions import SoftActions
from entrain.errors import ConfigError
from entrain.policy.batch_renorm import EPSILON, running_statistics
from entrain.ranks import Ranks
from entrain.transitions import ReplayBatch
from entrain_envs.spec import ActionSpec, ObservationSpec
from made_batches import double, made_batch, made_sac, rows_of
from made_rollouts import same_state
from ranks_in_threads import together

ROWS = 6
ACTIONS = {
    "bounded": ActionSpec(low=(-2.0, -1.0), high=(2.0, 3.0)),
    "discrete": ActionSpec(branches=(2, 3)),
    "hybrid": ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,)),
}
every_action = pytest.mark.parametrize("kind", ACTIONS)
SOME_END = torch.tensor([0.9, 0.0, 0.9, 0.9, 0.0, 0.81])


def made_cross(kind: str, *, algorithm: Any = None, **options: Any) -> SAC:
    options = {"network": {"hidden_sizes": (5,), "activation": "tanh"}, **options}
    return made_sac(ACTIONS[kind], algorithm={"batch_norm": {}, **(algorithm or {})}, **options)


def batch_of(kind: str, **fields: Any) -> ReplayBatch:
    """Some rows end, and of each branch's choices one is forbidden now and then."""
    spec = ACTIONS[kind]
    allowed = torch.ones(ROWS, spec.num_choices, dtype=torch.bool)
    allowed[::2, :1] = False
    return made_batch(spec, ROWS, **{"bootstrap": SOME_END, "next_action_mask": allowed, **fields})


def critics_of(sac: SAC) -> CrossCritics:
    critics = sac._critics
    assert isinstance(critics, CrossCritics)
    return critics


class SlowCritic:
    """One critic, of plain torch."""

    def __init__(self, sac: SAC, group: int) -> None:
        network = critics_of(sac)._critics
        self.parameters = {
            name.removeprefix("backbone.trunk.hidden_layers."): it[group].detach().requires_grad_()
            for name, it in network.named_parameters()
        }

    def __call__(self, rows: Tensor) -> Tensor:
        of = self.parameters
        hidden = self._normalised(rows, "norms.0")
        hidden = torch.tanh(hidden @ of["layers.0.weight"] + of["layers.0.bias"])
        return self._normalised(hidden, "norms.1") @ of["head.weight"] + of["head.bias"]

    def _normalised(self, rows: Tensor, name: str) -> Tensor:
        norm = nn.BatchNorm1d(rows.shape[1], eps=EPSILON, affine=False).double()
        scale, shift = (self.parameters[f"{name}.{it}"] for it in ("weight", "bias"))
        values: Tensor = norm(rows) * scale + shift
        return values


def slow_loss(
    sac: SAC, batch: ReplayBatch, following: SoftActions
) -> tuple[Tensor, list[SlowCritic]]:
    """The critics' loss, one row and one choice at a time."""
    critics = [SlowCritic(sac, group) for group in range(2)]
    follows = [row for row in range(ROWS) if batch.bootstrap[row] > 0]
    shown = [batch.observation["where"], batch.next_observation["where"][follows]]
    if "continuous" in batch.action:
        taken = [batch.action["continuous"], following.continuous[follows]]
        shown = [
            torch.cat([seen, sac.policy.bounds.relative(action)], dim=1)
            for seen, action in zip(shown, taken, strict=True)
        ]
    values = [critic(torch.cat(shown)) for critic in critics]
    branches = sac.policy.spec.action.branches
    starts = [sum(branches[:index]) for index in range(len(branches))]

    def said(of: Tensor, row: int) -> Tensor:
        if not branches:
            return of[row, 0]
        chosen = batch.action["discrete"][row].tolist()
        places = [start + choice for start, choice in zip(starts, chosen, strict=True)]
        return of[row, places].sum()

    def expected(of: Tensor, row: int) -> float:
        place = ROWS + follows.index(row)
        if not branches:
            return of[place, 0].item()
        return sum(
            (following.chances[row, branch, choice] * of[place, start + choice]).item()
            for branch, start in enumerate(starts)
            for choice in range(branches[branch])
        )

    losses = []
    for row in range(ROWS):
        target = batch.reward[row].item()
        if row in follows:
            soft = min(expected(of, row) for of in values)
            soft -= sac.alpha.item() * following.log_prob[row].item()
            target += batch.bootstrap[row].item() * soft
        losses += [0.5 * (said(of, row) - target) ** 2 / ROWS for of in values]
    return torch.stack(losses).sum(), critics


@every_action
def test_loss_and_gradient_are_those_of_plain_torch_row_by_row(kind: str) -> None:
    # alpha is fixed at 0.3; what follows is the same for both.
    sac = made_cross(kind, dtype=torch.float64, entropy={"coefficient": 0.3})
    critics, batch = critics_of(sac), double(batch_of(kind))
    with torch.no_grad():
        weights = critics._optimizer.weights
        weights.add_(torch.randn(len(weights), generator=torch.Generator().manual_seed(5)))
        following = sac._act(sac._at(batch.next_observation, batch.next_action_mask))
    expected, slow = slow_loss(sac, batch, following)
    torch.autograd.backward(expected)
    found = critics.step(batch, following, alpha=sac.alpha, learning_rate=0.0)
    torch.testing.assert_close(found.metrics()["loss/q"], expected.detach())
    for name, gradient in critics._optimizer.named_gradient.items():
        short = name.removeprefix("backbone.trunk.hidden_layers.")
        for group, critic in enumerate(slow):
            torch.testing.assert_close(gradient[group], critic.parameters[short].grad)


def test_the_actor_is_judged_by_running_statistics_each_row_by_itself() -> None:
    sac = made_cross("hybrid")
    for seed in range(3):
        sac.step(made_batch(ACTIONS["hybrid"], ROWS, seed=seed))
    critics, batch = critics_of(sac), batch_of("hybrid")
    before = copy.deepcopy(running_statistics(critics._critics))
    actions = sac._act(sac._at(batch.observation, batch.action_mask))
    of_all = critics.least_value(batch.observation, actions)
    for row in range(ROWS):
        of_row = slice(row, row + 1)
        one = rows_of(batch, of_row)
        alone = critics.least_value(one.observation, rows_of(actions, of_row))
        torch.testing.assert_close(alone[0], of_all[row])
    for name, statistic in running_statistics(critics._critics).items():
        assert torch.equal(statistic, before[name])


def test_there_is_no_target_network_and_the_policy_is_not_normalised_by_batches() -> None:
    sac = made_cross("bounded")
    assert set(sac.state()["critics"]) == {"critics", "optimizer"}
    assert len(running_statistics(critics_of(sac)._critics)) == 6
    assert not running_statistics(sac.policy)


@every_action
def test_what_follows_an_end_never_matters_not_even_if_it_is_not_finite(kind: str) -> None:
    states = []
    for filler in (0.0, torch.nan):
        following = torch.where((SOME_END > 0).unsqueeze(1), torch.eye(3)[[0, 1, 2] * 2], filler)
        # The actor still acts there; its own numbers are not looked at.
        sac = made_cross(kind)
        batch = batch_of(kind, next_observation={"where": following})
        with torch.no_grad():
            actions = sac._act(sac._at(batch.next_observation, batch.next_action_mask))
        critics_of(sac).step(batch, actions, alpha=sac.alpha, learning_rate=0.01)
        states.append(critics_of(sac).state())
    assert same_state(*states)


def test_a_batch_after_which_nothing_follows_is_learned_from() -> None:
    sac = made_cross("bounded", algorithm={"learning_rate": 0.03})
    batch = batch_of("bounded", bootstrap=torch.zeros(ROWS))
    first = sac.step(batch)["loss/q"]
    losses = [sac.step(batch)["loss/q"] for _ in range(30)]
    assert losses[-1] < 0.5 * first


@every_action
def test_an_update_that_is_taken_back_and_one_that_is_resumed_are_the_same_to_the_bit(
    kind: str,
) -> None:
    # With r and d from the third step on; the actor takes every second one.
    algorithm = {"batch_norm": {"warmup_steps": 2, "momentum": 0.5}, "policy_every": 2}
    batch = batch_of(kind)
    one, other = (made_cross(kind, seed=seed, algorithm=algorithm) for seed in (0, 1))
    for _ in range(3):
        one.step(batch)
    other.load_state(copy.deepcopy(one.state()))
    assert same_state(one.state(), other.state())
    snapshot = one.snapshot()
    one.step(batch)
    assert not same_state(one.state(), other.state())
    one.restore(snapshot)
    assert same_state(one.state(), other.state())
    for _ in range(2):
        found = [each.step(batch) for each in (one, other)]
    assert found[0] == found[1]
    assert same_state(one.state(), other.state())


def test_the_actor_takes_a_step_with_every_third_of_the_critics() -> None:
    sac = made_cross("bounded", algorithm={"policy_every": 3})
    moved, alphas = [], []
    for _ in range(6):
        before = sac.weights.parameters.clone(), critics_of(sac)._optimizer.weights.clone()
        found = sac.step(batch_of("bounded"))
        moved.append(not torch.equal(before[0], sac.weights.parameters))
        assert moved[-1] == ("loss/policy" in found)
        assert not torch.equal(before[1], critics_of(sac)._optimizer.weights)
        alphas.append(sac.alpha.item())
    assert moved == [True, False, False, True, False, False]
    assert len(set(alphas)) == 2


def test_critics_may_be_wider_than_the_actor_and_adam_may_forget_sooner() -> None:
    sac = made_cross("bounded", algorithm={"critic_hidden_sizes": (7, 4), "adam_beta_1": 0.5})
    state = critics_of(sac).state()["critics"]
    for number, width in enumerate((7, 4)):
        name = f"backbone.trunk.hidden_layers.layers.{number}.weight"
        assert state[name].shape[-1] == width
    assert sac.policy.backbone.feature_size == 5
    critics = critics_of(sac)
    sac.step(batch_of("bounded"))
    gradient = critics._optimizer.gradient.clone()
    # The first mean gradient is a half of the gradient, as beta_1 says; so for the actor.
    torch.testing.assert_close(critics._optimizer._mean, 0.5 * gradient)
    torch.testing.assert_close(sac._optimizer._mean, 0.5 * sac._optimizer.gradient)


def test_two_ranks_keep_the_same_weights_and_running_statistics() -> None:
    # The second one has no step to learn from in the second batch.
    batch = batch_of("hybrid")
    shares = [[slice(0, 2), slice(2, 6)], [slice(0, 6), slice(6, 6)]]

    def learn(rank: int, ranks: Ranks) -> SAC:
        made = made_cross("hybrid", seed=rank)
        sac = SAC(made.policy, seed=rank, device=torch.device("cpu"), ranks=ranks)
        sac.agree()
        for share in shares:
            sac.step(rows_of(batch, share[rank]))
        return sac

    one, other = together(learn)
    statistics = [running_statistics(critics_of(sac)._critics) for sac in (one, other)]
    for name, statistic in statistics[0].items():
        assert torch.equal(statistic, statistics[1][name]), name
        assert torch.isfinite(statistic).all()
    assert int(statistics[0]["backbone.trunk.hidden_layers.norms.0.num_batches"]) == 2
    assert torch.equal(one.weights.parameters, other.weights.parameters)
    critics = [critics_of(sac)._optimizer.weights for sac in (one, other)]
    assert torch.equal(*critics)


def test_a_layer_that_goals_generate_is_refused_with_a_remedy() -> None:
    goal = ObservationSpec("goal", (2,), kind="goal")
    seen = (ObservationSpec("where", (3,)), goal)
    with pytest.raises(ConfigError, match=r"with algorithm\.batch_norm it must be concatenate"):
        made_cross("bounded", observations=seen)
    network = {"hidden_sizes": (5,), "goal_conditioning": "concatenate"}
    sac = made_cross("bounded", observations=seen, network=network)
    assert len(running_statistics(critics_of(sac)._critics)) == 6
