"""One gradient step of a soft actor-critic: its losses, their gradients, and what it keeps."""

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.algorithms.off_policy import Method
from entrain.algorithms.sac import SAC
from entrain.config.policy import PolicyConfig
from entrain.metrics import require_declared
from entrain_envs.spec import ActionSpec, ObservationSpec
from made_batches import critics_of, double, made_batch, made_sac, rows_of
from made_rollouts import same_state

INF = math.inf
ACTIONS = {
    "bounded": ActionSpec(low=(-2.0, -1.0), high=(2.0, 3.0)),
    "half": ActionSpec(low=(-1.0, -INF), high=(1.0, INF)),
    "discrete": ActionSpec(branches=(2, 3)),
    "hybrid": ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,)),
}
every_action = pytest.mark.parametrize("kind", ACTIONS)
ROWS = 6


def deep(kind: str, **options: Any) -> SAC:
    options = {"network": {"hidden_sizes": (5,), "activation": "tanh"}, **options}
    return made_sac(ACTIONS[kind], **options)


def test_it_is_a_method_of_off_policy_learning() -> None:
    method: Method = deep("hybrid")
    assert method.is_finite
    assert repr(method) == "<SAC of 'walker': alpha 1>"


@every_action
@pytest.mark.parametrize("log_sigma_sq", ["parameter", "network"])
def test_the_actors_gradient_is_that_of_finite_differences(kind: str, log_sigma_sq: str) -> None:
    # alpha is fixed at 0.3; the noise is the same in every evaluation.
    sac = deep(
        kind,
        dtype=torch.float64,
        entropy={"coefficient": 0.3},
        action={"log_sigma_sq": log_sigma_sq},
    )
    batch, weights = double(made_batch(ACTIONS[kind], ROWS)), sac.weights.parameters
    with torch.no_grad():
        weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(4)))

    def loss() -> Tensor:
        sac._generator.manual_seed(8)
        actions = sac._act(sac._at(batch.observation, batch.action_mask))
        return sac.actor_loss(batch, actions, sac.alpha)

    sac._optimizer.gradient.zero_()
    torch.autograd.backward(loss())
    assert_finite_differences(loss, weights, sac._optimizer.gradient)


def assert_finite_differences(
    loss: Callable[[], Tensor], weights: Tensor, gradient: Tensor
) -> None:
    assert gradient.any()
    for index in range(len(weights)):
        sides = []
        for shift in (1e-6, -1e-6):
            before = weights[index].item()
            weights[index] += shift
            with torch.no_grad():
                sides.append(loss().item())
            weights[index] = before
        assert gradient[index].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6)


@every_action
def test_critics_descend_towards_their_targets_alone(kind: str) -> None:
    # alpha is fixed at 0.3.
    sac = deep(kind, dtype=torch.float64, entropy={"coefficient": 0.3})
    batch = double(made_batch(ACTIONS[kind], ROWS))
    critics = critics_of(sac)
    following = sac._act(sac._at(batch.next_observation, batch.next_action_mask))

    def loss() -> Tensor:
        # The targets are constants: they come of weights of their own.
        error = critics._of_taken(batch) - critics.targets(batch, following, alpha=sac.alpha)
        return 0.5 * error.square().mean(dim=1).sum()

    weights = critics._optimizer.weights
    before, actor = weights.clone(), sac.weights.parameters.clone()
    critics.step(batch, following, alpha=sac.alpha, learning_rate=0.0)
    assert torch.equal(weights, before)
    assert_finite_differences(loss, weights, critics._optimizer.gradient.clone())
    assert torch.equal(sac.weights.parameters, actor)


def test_a_target_by_hand() -> None:
    # alpha is fixed at 0.5. V = sum_c p_c (min over critics of sum_c p_c Q_c ...) + alpha H.
    sac = made_sac(ActionSpec(branches=(2,)), entropy={"coefficient": 0.5})
    with torch.no_grad():
        sac.policy.action_head.weight.zero_()
        sac.policy.action_head.bias.copy_(torch.tensor([math.log(3.0), 0.0]))
        target = critics_of(sac)._target
        target.head.weight.zero_()
        target.head.bias.copy_(torch.tensor([[[4.0, 8.0]], [[6.0, 0.0]]]))
    batch = made_batch(
        ActionSpec(branches=(2,)),
        3,
        reward=torch.tensor([1.0, 1.0, 1.0]),
        bootstrap=torch.tensor([0.9, 0.0, 0.9]),
        next_action_mask=torch.tensor([[True, True], [True, True], [False, True]]),
    )
    following = sac._act(sac._at(batch.next_observation, batch.next_action_mask))
    found = critics_of(sac).targets(batch, following, alpha=sac.alpha)
    # Chances 3/4, 1/4: the critics expect 5 and 4.5; with the first choice forbidden, 8 and 0.
    entropy = math.log(4) - 0.75 * math.log(3)
    assert found.tolist() == pytest.approx([1 + 0.9 * (4.5 + 0.5 * entropy), 1.0, 1.0])


def test_what_follows_an_end_never_matters_not_even_if_it_is_not_finite() -> None:
    batches = [
        made_batch(
            ACTIONS["bounded"],
            ROWS,
            bootstrap=torch.zeros(ROWS),
            next_observation={"where": torch.full((ROWS, 3), filler)},
        )
        for filler in (0.0, 1e30)
    ]
    states = []
    for batch in batches:
        sac = deep("bounded")
        sac.step(batch)
        states.append(sac.state())
    assert same_state(*states)


def test_a_choice_that_is_forbidden_everywhere_changes_no_bit_of_what_is_learned() -> None:
    # alpha is adapted. The weights that belong to the forbidden choice differ between the two.
    spec = ActionSpec(branches=(3, 2))
    allowed = torch.tensor([True, False, True, True, True])
    masks: dict[str, Any] = {
        name: allowed.expand(ROWS, 5) for name in ("action_mask", "next_action_mask")
    }
    taken = torch.tensor([[0, 1], [2, 0], [2, 1], [0, 0], [0, 1], [2, 0]])
    batch = made_batch(spec, ROWS, action={"discrete": taken}, **masks)
    learned = []
    for forbidden in (0.0, 1e6):
        sac = made_sac(spec, network={"hidden_sizes": (5,)})
        with torch.no_grad():
            sac.policy.action_head.bias[1] = forbidden
            for critics in (sac._critics._critics, critics_of(sac)._target):
                critics.head.bias[:, :, 1] = forbidden
        metrics = [sac.step(batch) for _ in range(3)]
        assert sac.policy.action_head.bias[1] == forbidden
        learned.append((metrics[-1], sac.alpha, sac.policy.action_head.weight[[0, 2, 3, 4]]))
    (one, alpha, weight), (other, its_alpha, its_weight) = learned
    assert one == other
    assert torch.equal(alpha, its_alpha)
    assert torch.equal(weight, its_weight)


def test_critics_read_the_action_that_the_environment_gets() -> None:
    # 2 tanh(u) of half range 2 around 0 is tanh(u); without bounds the number itself.
    sac = deep("half")
    taken = torch.tensor([[0.5, 30.0], [-9.0, -2.0]])
    read = sac._critics._as_read(taken)
    torch.testing.assert_close(read[:, 0], torch.tanh(taken[:, 0]))
    assert torch.equal(read[:, 1], taken[:, 1])
    clipped = deep("bounded", action={"distribution": "gaussian"})
    found = clipped._critics._as_read(torch.tensor([[0.5, 7.0], [-4.0, -1.0]]))
    assert found.tolist() == [[0.5, 1.0], [-1.0, -1.0]]


def test_targets_follow_as_the_options_say() -> None:
    sac = deep("bounded", algorithm={"target_rate": 0.25, "target_every": 2})
    critics = critics_of(sac)
    first = critics._targets.weights.clone()
    sac.step(made_batch(ACTIONS["bounded"], ROWS))
    assert torch.equal(critics._targets.weights, first)
    sac.step(made_batch(ACTIONS["bounded"], ROWS))
    expected = first + 0.25 * (critics._optimizer.weights - first)
    torch.testing.assert_close(critics._targets.weights, expected)


@every_action
def test_an_update_that_is_taken_back_and_one_that_is_resumed_are_the_same_to_the_bit(
    kind: str,
) -> None:
    batch = made_batch(ACTIONS[kind], ROWS)
    one, other = (
        deep(kind, seed=seed, normalize_observations=True, algorithm={"learning_rate": 0.01})
        for seed in (0, 1)
    )
    one.step(batch)
    other.load_state(copy.deepcopy(one.state()))
    assert same_state(one.state(), other.state())
    snapshot = one.snapshot()
    one.observe({"where": torch.randn(9, 3)})
    one.begin(0.5)
    one.step(batch)
    assert not same_state(one.state(), other.state())
    one.restore(snapshot)
    assert same_state(one.state(), other.state())
    for each in (one, other):
        each.begin(0.25)
        each.step(batch)
    assert same_state(one.state(), other.state())
    assert torch.equal(
        one._critics._critics.normalizer.shift, other._critics._critics.normalizer.shift
    )


def test_what_is_observed_reaches_actor_and_critics_alike() -> None:
    sac = deep("bounded", normalize_observations=True)
    sac.observe({"where": 5.0 + 2.0 * torch.randn(400, 3)})
    shift = sac.policy.normalizer.shift
    assert shift.tolist() == pytest.approx([5.0] * 3, abs=0.5)
    for critics in (sac._critics._critics, critics_of(sac)._target):
        assert torch.equal(critics.normalizer.shift[:3], shift)
        # The action is shown as it is.
        assert critics.normalizer.shift[3:].tolist() == [0.0, 0.0]


def test_metrics_have_their_standard_names_and_are_finite() -> None:
    sac = deep("hybrid", action={"distribution": "gaussian"})
    of_step = sac.step(made_batch(ACTIONS["hybrid"], ROWS))
    assert set(of_step) == {
        "loss/q", "loss/policy", "value/q", "policy/entropy", "policy/gradient_norm"
    }  # fmt: skip
    of_update = sac.finish()
    assert set(of_update) == {
        "policy/learning_rate", "policy/sigma/0", "policy/entropy/0", "policy/clipped_actions",
        "entropy/coefficient", "entropy/target", "entropy/distance",
    }  # fmt: skip
    require_declared([*of_step, *of_update])
    assert all(value.isfinite() for value in of_step.values())
    assert all(math.isfinite(value) for value in of_update.values())
    assert "policy/sigma/0" not in deep("discrete").finish()


def test_a_rank_without_steps_takes_part_without_a_gradient() -> None:
    sac = deep("hybrid")
    before = sac.state()
    found = sac.step(made_batch(ACTIONS["hybrid"], 0))
    assert all(float(value) == 0.0 for value in found.values())
    after = sac.state()
    assert same_state({"policy": before["policy"]}, {"policy": after["policy"]})


def test_options_that_change_are_learned_by_from_the_next_update_on() -> None:
    sac = deep("bounded", entropy={"coefficient": 0.3})
    before = sac.weights.parameters.clone()
    options = sac.policy.config.model_dump(mode="json")
    options["algorithm"] |= {"learning_rate": 0.5, "learning_rate_schedule": "linear"}
    options["entropy"] |= {"coefficient": 0.1}
    sac.change(PolicyConfig.model_validate(options))
    sac.begin(0.5)
    assert sac.alpha.item() == pytest.approx(0.1)
    sac.step(made_batch(ACTIONS["bounded"], ROWS))
    # The first step of Adam is as long as the learning rate: 0.25 at half of the run.
    assert (sac.weights.parameters - before).abs().max().item() == pytest.approx(0.25, rel=1e-3)
    assert sac.finish()["policy/learning_rate"] == 0.25


def test_an_image_is_learned_from_as_the_bytes_that_came() -> None:
    eye = ObservationSpec("eye", (8, 8, 3), "uint8")
    sac = made_sac(
        ACTIONS["hybrid"], observations=(eye,), network={"hidden_sizes": (5,), "image_features": 4}
    )
    seen = torch.randint(0, 256, (ROWS, 8, 8, 3), dtype=torch.uint8)
    batch = made_batch(
        ACTIONS["hybrid"], ROWS, observation={"eye": seen}, next_observation={"eye": seen}
    )
    first = sac.step(batch)["loss/q"]
    losses = [sac.step(batch)["loss/q"] for _ in range(30)]
    assert losses[-1] < first


class Beside:
    """One of two ranks in threads of one process; of `Ranks`, what a gradient step asks for."""

    def __init__(self, number: int, barrier: Barrier, said: list[Any]) -> None:
        self._number = number
        self._barrier = barrier
        self._said = said

    def _both(self, mine: Any) -> tuple[Any, Any]:
        self._said[self._number] = mine
        self._barrier.wait()
        both = tuple(self._said)
        self._barrier.wait()
        return both[0], both[1]

    def mean(self, x: Tensor, *, weight: int) -> Tensor:
        one, other = self._both((x.clone(), weight))
        total = one[0] * one[1] + other[0] * other[1]
        return torch.as_tensor(total / (one[1] + other[1]))

    def broadcast(self, x: Tensor) -> None:
        x.copy_(self._both(x.clone())[0])


def test_two_ranks_learn_what_one_learns_from_the_steps_of_both() -> None:
    # alpha is adapted. Choices alone, for a continuous action has noise of its own on each rank.
    spec, barrier, said = ActionSpec(branches=(2, 3)), Barrier(2), [None, None]
    batch = made_batch(spec, 9)
    shares = [rows_of(batch, slice(0, 3)), rows_of(batch, slice(3, 9))]

    def learn(number: int) -> SAC:
        ranks: Any = Beside(number, barrier, said)
        policy = made_sac(spec, seed=number, network={"hidden_sizes": (5,)}).policy
        sac = SAC(policy, seed=number, device=torch.device("cpu"), ranks=ranks)
        sac.agree()
        for _ in range(3):
            sac.step(shares[number])
        return sac

    with ThreadPoolExecutor(2) as threads:
        ranks = list(threads.map(learn, range(2)))
    alone = made_sac(spec, seed=0, network={"hidden_sizes": (5,)})
    for _ in range(3):
        alone.step(batch)
    assert torch.equal(ranks[0].weights.parameters, ranks[1].weights.parameters)
    assert torch.equal(ranks[0].alpha, ranks[1].alpha)
    for sac in ranks:
        torch.testing.assert_close(sac.weights.parameters, alone.weights.parameters)
        torch.testing.assert_close(sac.alpha, alone.alpha)
        found, expected = (critics_of(it)._targets.weights for it in (sac, alone))
        torch.testing.assert_close(found, expected)
