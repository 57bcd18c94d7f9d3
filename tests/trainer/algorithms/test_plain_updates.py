"""Gradients by hand: every update is that of torch, whatever the policy and its objective."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrain.algorithms.entropy import PriorDivergence
from entrain.algorithms.fast import epochs
from entrain.algorithms.fast.epochs import is_plain
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, MemoryConfig, NetworkConfig
from entrain.experience import PerDimensionRollout, Rollout
from entrain.policy import parallel_groups
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.parallel_groups import ParallelGroups
from entrain_envs.spec import ActionSpec
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, made_policy, made_rollout
from recurrent_cases import behind, in_float64, move

CPU = torch.device("cpu")
EVEN = ActionSpec(branches=(3, 3))
ONE_SIDED = ActionSpec(low=(-1.0, 0.0), high=(1.0, float("inf")), branches=(2, 4))
LENGTHS = (14, 0, 23, 7)

OBJECTIVES = ("bonus", "soft_return", "entropy_critic")
NO_MEMORY = MemoryConfig()


def policies(case: dict[str, Any], *, seed: int = 0) -> ActorCritic:
    """One policy of a case; the same one each time."""
    return made_policy(
        case["action"],
        seed=seed,
        distribution=case["distribution"],
        initial_log_sigma_sq=-0.5,
        entropy=EntropyConfig(
            coefficient=case["coefficient"],
            objective=case["objective"],
            dimensions=case["dimensions"],
        ),
        network=NetworkConfig(
            hidden_sizes=case["hidden"],
            shared=case["shared"],
            activation=case["activation"],
            memory=case["memory"],
        ),
        normalize_values=case["normalizes_values"],
        policy_lag=case["policy_lag"],
    )


def rollouts(case: dict[str, Any]) -> list[Rollout]:
    """What a case's policy did, in float64, for two updates."""
    acting = policies(case)
    rollout_type = PerDimensionRollout if case["surrogate"] == "per_dimension" else Rollout
    made = []
    for seed in range(2):
        rollout = made_rollout(
            acting,
            LENGTHS,
            seed=seed,
            filler=1e9,
            late=case["late"],
            rollout_type=rollout_type,
        )
        if case["masks"]:
            rollout = with_masks(rollout, case["action"], seed=seed)
        made.append(in_float64(behind(rollout) if case["policy_lag"] else rollout))
    return made


def updated(
    case: dict[str, Any], update: Literal["auto", "torch"], learned_from: Sequence[Rollout]
) -> tuple[PPO, list[Any]]:
    """A learner after its updates, and their metrics."""
    learning = policies(case).double()
    if case["policy_lag"]:
        move(learning, seed=11)
    without_memory = {**case, "memory": NO_MEMORY}
    prior = policies(without_memory, seed=7).double() if case["prior"] else None
    ppo = PPO(
        learning,
        PPOConfig(
            update=update,
            minibatch_size=case["minibatch_size"],
            num_epochs=2,
            learning_rate=1e-3,
            surrogate=case["surrogate"],
            clip_range=0.05,
            value_clip_range=case["value_clip_range"],
            advantage_normalization=case["advantages"],
            clip_gradients=case["clip_gradients"],
        ),
        discount=0.9,
        seed=3,
        device=CPU,
        regularizer=PriorDivergence(prior, learning) if prior is not None else None,
    )
    metrics = [
        ppo.update(rollout, progress=0.25 * index) for index, rollout in enumerate(learned_from)
    ]
    return ppo, metrics


def with_masks(rollout: Rollout, action: ActionSpec, *, seed: int) -> Rollout:
    """Some choices forbidden that were not taken."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rollout.action_mask.shape, generator=generator) < 0.5
    first = 0
    for branch, size in enumerate(action.branches):
        chosen = rollout.action["discrete"][..., branch].clamp(0, size - 1)
        mask[..., first : first + size].scatter_(-1, chosen.unsqueeze(-1), value=True)
        first += size
    rollout.action_mask.copy_(mask)
    return rollout


def weights(ppo: PPO) -> torch.Tensor:
    """All of a learner's."""
    return ppo.weights.parameters.clone()


cases = st.fixed_dictionaries(
    {
        "action": st.sampled_from([CONTINUOUS, DISCRETE, HYBRID, EVEN, ONE_SIDED]),
        "distribution": st.sampled_from(["gaussian", "squashed_gaussian"]),
        "coefficient": st.sampled_from([0.0, 0.05]),
        "objective": st.sampled_from(OBJECTIVES),
        "dimensions": st.sampled_from(["sum", "mean"]),
        "hidden": st.sampled_from([(), (8,), (8, 5)]),
        "shared": st.booleans(),
        "activation": st.sampled_from(["tanh", "relu", "elu", "silu"]),
        "normalizes_values": st.booleans(),
        "minibatch_size": st.sampled_from([8, 44]),
        "surrogate": st.sampled_from(["joint", "per_dimension"]),
        "value_clip_range": st.sampled_from([0.0, 0.1]),
        "advantages": st.sampled_from(["minibatch", "rollout", "none"]),
        "clip_gradients": st.sampled_from(["together", "apart"]),
        "prior": st.booleans(),
        "masks": st.booleans(),
        "late": st.sampled_from([0.0, 0.3, 0.95, 1.0]),
        "layers": st.integers(1, 2),
        "sequence_length": st.sampled_from([1, 6, 50]),
        "burn_in": st.integers(0, 1),
        "refresh_states": st.booleans(),
        "policy_lag": st.integers(0, 1),
    }
)


@pytest.mark.parametrize("kind", ["none", "lstm", "gru", "mingru"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_updates_by_hand_are_those_of_torch(
    kind: Literal["none", "lstm", "gru", "mingru"], case: dict[str, Any]
) -> None:
    # Episodes end every fourth step, so sequences hold resets, and columns end in padding.
    names = ("layers", "sequence_length", "burn_in", "refresh_states")
    options = {} if kind == "none" else {name: case[name] for name in names}
    require_same_updates({**case, "memory": MemoryConfig(kind=kind, size=3, **options)})


def require_same_updates(case: dict[str, Any]) -> None:
    """Both ways, from the same rollouts."""
    learned_from = rollouts(case)
    by_hand, its_metrics = updated(case, "auto", learned_from)
    by_torch, metrics = updated(case, "torch", learned_from)

    torch.testing.assert_close(weights(by_hand), weights(by_torch), rtol=1e-10, atol=1e-10)
    for one, other in zip(its_metrics, metrics, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


PLAIN: dict[str, Any] = {
    "action": HYBRID,
    "distribution": "gaussian",
    "coefficient": 0.05,
    "objective": "bonus",
    "dimensions": "sum",
    "hidden": (8,),
    "shared": False,
    "activation": "tanh",
    "normalizes_values": True,
    "minibatch_size": 600,
    "surrogate": "joint",
    "value_clip_range": 0.0,
    "advantages": "minibatch",
    "clip_gradients": "together",
    "prior": False,
    "masks": False,
    "late": 0.0,
    "memory": NO_MEMORY,
    "policy_lag": 0,
}


def test_a_minibatch_that_is_done_in_pieces_is_one_gradient_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epochs, "CHUNK", 7)
    require_same_updates(PLAIN)


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
@pytest.mark.parametrize("size", [20, 600])
def test_sequences_with_burn_in_resets_and_padding_are_learned_by_hand(
    kind: Literal["lstm", "gru", "mingru"], size: int
) -> None:
    memory = MemoryConfig(kind=kind, size=4, sequence_length=8, burn_in=3, refresh_states=True)
    require_same_updates({**PLAIN, "memory": memory, "minibatch_size": size})


@pytest.mark.parametrize("surrogate", ["joint", "per_dimension"])
@pytest.mark.parametrize("kind", ["none", "lstm"])
def test_what_an_older_policy_did_is_learned_by_hand(
    kind: Literal["none", "lstm"], surrogate: str
) -> None:
    memory = NO_MEMORY if kind == "none" else MemoryConfig(kind=kind, size=3, sequence_length=6)
    options = {"policy_lag": 1, "surrogate": surrogate, "distribution": "squashed_gaussian"}
    require_same_updates({**PLAIN, **options, "memory": memory, "value_clip_range": 0.1})


def test_sequences_of_policy_and_critic_are_learned_in_two_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel_groups, "MIN_NUMBERS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    ran: set[str] = set()
    run = ParallelGroups.run

    def noted(self: ParallelGroups, work: Any, *jobs: Any) -> tuple[Any, Any]:
        ran.add(getattr(work, "__name__", ""))
        return run(self, work, *jobs)

    monkeypatch.setattr(ParallelGroups, "run", noted)
    require_same_updates({**PLAIN, "memory": MemoryConfig(kind="lstm", size=4)})
    assert {"_unrolled", "_gradients_of"} <= ran


@pytest.mark.parametrize(
    ("update", "network", "by"),
    [
        ("auto", NetworkConfig(hidden_sizes=(8,)), "by hand (numpy)"),
        ("torch", NetworkConfig(hidden_sizes=(8,)), "by torch"),
        ("auto", NetworkConfig(hidden_sizes=(8,), layer_norm=True), "by torch"),
        (
            "auto",
            NetworkConfig(hidden_sizes=(8,), memory=MemoryConfig(kind="gru", size=4)),
            "by hand (numpy)",
        ),
    ],
)
def test_the_log_says_how_gradients_are_computed(
    update: Literal["auto", "torch"],
    network: NetworkConfig,
    by: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    PPO(made_policy(network=network), PPOConfig(update=update), discount=0.9, seed=0, device=CPU)

    assert f"policy 'walker' learns with gradients {by}" in caplog.text


def test_a_regularizer_of_its_own_is_left_to_torch() -> None:
    def bounded(distribution: Any, observation: Any, action_mask: Any) -> torch.Tensor:
        del observation, action_mask
        return torch.tanh(distribution.entropy())

    assert not is_plain(made_policy(), bounded)
