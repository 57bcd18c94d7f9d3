"""Acting in numpy is acting by the policy's own forward, up to rounding."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from entrain.algorithms.weights import FlatWeights, weights_of
from entrain.config.policy import PolicyConfig
from entrain.inference import numpy_network
from entrain.inference.numpy_distributions import (
    ArrayBranches,
    ArrayCategorical,
    ArrayDistribution,
)
from entrain.inference.numpy_network import NumpyNetwork
from entrain.inference.policy import (
    InferencePolicy,
    NumpyPolicy,
    TorchPolicy,
    make_inference_policy,
)
from entrain.policy import trunk
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.categorical import Branches
from entrain.policy.trunk import Trunk
from entrain.policy.weights import PolicyWeights
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Array

INF = math.inf
OBSERVATIONS = (
    ObservationSpec("joints", (4,)),
    ObservationSpec("height", ()),
    ObservationSpec("touch", (2, 3), "uint8", "vector"),
)
ACTIONS = {
    "continuous": ActionSpec(low=(-2.0, 0.0, -INF), high=(2.0, INF, INF)),
    "discrete": ActionSpec(branches=(3, 3)),
    "ragged": ActionSpec(branches=(3, 1, 5)),
    "hybrid": ActionSpec(low=(-1.0, -5.0), high=(1.0, 5.0), branches=(4, 2)),
}
NETWORKS: Mapping[str, Any] = {
    "tanh": {"hidden_sizes": (16, 8)},
    "relu": {"hidden_sizes": (16,), "activation": "relu"},
    "elu, shared": {"hidden_sizes": (16,), "activation": "elu", "shared": True},
    "silu": {"hidden_sizes": (8, 8, 8), "activation": "silu"},
    "no layers": {"hidden_sizes": ()},
    "lstm": {"hidden_sizes": (8,), "memory": {"kind": "lstm", "size": 6, "layers": 2}},
    "gru, shared": {"hidden_sizes": (), "shared": True, "memory": {"kind": "gru", "size": 5}},
    "gru": {"hidden_sizes": (4,), "memory": {"kind": "gru", "size": 6, "layers": 2}},
    "mingru": {"hidden_sizes": (4,), "memory": {"kind": "mingru", "size": 6, "layers": 2}},
    "mingru, shared": {"hidden_sizes": (), "shared": True, "memory": {"kind": "mingru", "size": 5}},
}


def make_policy(
    action: ActionSpec = ACTIONS["hybrid"],
    *,
    network: Any = NETWORKS["tanh"],
    squashed: bool = False,
    clip: float = 1.0,
    log_sigma_sq: str = "parameter",
    observations: tuple[ObservationSpec, ...] = OBSERVATIONS,
    **options: Any,
) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    config = PolicyConfig.model_validate(
        {
            "network": network,
            "observation_clip": 1.5,
            **options,
            "action": {
                "distribution": "squashed_gaussian" if squashed else "gaussian",
                "clip": clip,
                "log_sigma_sq": log_sigma_sq,
            },
        }
    )
    policy = ActorCritic(BehaviourSpec("b", observations, action), config, seed=3)
    learn(policy)
    return policy


def learn(policy: ActorCritic) -> None:
    """Change everything that learning changes."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    returns = torch.randn(50, policy.num_values, generator=generator)
    policy.value_head.follow(7.0 + 3.0 * returns)
    policy.normalizer.update(
        {name: torch.from_numpy(values) for name, values in observe(50, seed=8).items()}
    )


def observe(rows: int, *, seed: int = 1) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    return {
        "joints": random.normal(1.0, 3.0, (rows, 4)).astype(np.float32),
        "height": random.normal(-2.0, 1.0, rows).astype(np.float32),
        "touch": random.integers(0, 256, (rows, 2, 3), np.uint8),
    }


def both(policy: ActorNetwork) -> tuple[NumpyPolicy, TorchPolicy]:
    quick = make_inference_policy(policy)
    assert isinstance(quick, NumpyPolicy)
    return quick, TorchPolicy(policy)


class Said(NamedTuple):
    """What a policy says of some rows."""

    distribution: ArrayDistribution
    value: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]


def publish(policy: ActorNetwork, *acting: InferencePolicy, version: int = 1) -> None:
    """Let them act by the weights of `policy`."""
    for each in acting:
        each.publish(PolicyWeights.of(policy), version)


def evaluations(
    policy: ActorNetwork, quick: NumpyPolicy, slow: TorchPolicy, rows: int = 7
) -> tuple[Said, Said]:
    random = np.random.default_rng(2)
    state = random.normal(size=(rows, policy.state_size)).astype(np.float32)
    before, reset = state.copy(), random.random(rows) < 0.4
    observation: Mapping[str, Array] = observe(rows)
    for values in observation.values():
        values.flags.writeable = False
    found, expected = (Said(*each.evaluate(observation, state, reset)) for each in (quick, slow))
    np.testing.assert_array_equal(state, before)
    return found, expected


def mask_of(policy: ActorCritic, rows: int = 7) -> npt.NDArray[np.bool_]:
    """At random; each branch's last choice is always allowed."""
    branches = policy.spec.action.branches
    mask = np.random.default_rng(4).random((rows, sum(branches))) < 0.5
    mask[:, np.cumsum(branches, dtype=np.int64) - 1] = True
    return mask


def assert_close(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def assert_same_action(
    found: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]
) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.shape == expected[name].shape
        assert values.dtype == expected[name].dtype
        assert_close(values, expected[name])


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_say_the_same(network: Any) -> None:
    policy = make_policy(network=network)
    found, expected = evaluations(policy, *both(policy))
    assert_close(found.value, expected.value)
    assert_close(found.state, expected.state)
    assert found.value.dtype == found.state.dtype == np.float32
    noise = np.full((7, policy.noise_size), 0.5)
    quick, slow = both(policy)
    assert_same_action(
        found.distribution.sample(quick.prepare_noise(noise.copy())),
        expected.distribution.sample(slow.prepare_noise(noise)),
    )


@pytest.mark.parametrize("is_masked", [False, True], ids=["free", "masked"])
@pytest.mark.parametrize("squashed", [False, True], ids=["plain", "squashed"])
@pytest.mark.parametrize("log_sigma_sq", ["parameter", "network"])
@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_are_sampled_judged_and_bounded_alike(
    kind: str, log_sigma_sq: str, squashed: bool, is_masked: bool
) -> None:
    policy = make_policy(ACTIONS[kind], squashed=squashed, log_sigma_sq=log_sigma_sq)
    quick, slow = both(policy)
    found, expected = (said.distribution for said in evaluations(policy, quick, slow))
    if is_masked:
        found, expected = found.masked(mask_of(policy)), expected.masked(mask_of(policy))
    noise = np.random.default_rng(6).random((7, policy.noise_size))
    action = expected.sample(slow.prepare_noise(noise))
    assert_same_action(found.sample(quick.prepare_noise(noise.copy())), action)
    assert_same_action(found.mode(), expected.mode())
    assert_close(found.log_prob(action), expected.log_prob(action))
    parts = found.log_prob_per_dimension(action)
    assert parts.shape == (7, policy.noise_size)
    assert parts.dtype == np.float32
    assert_close(parts, expected.log_prob_per_dimension(action))
    assert_close(parts.sum(axis=1), expected.log_prob(action))
    assert_same_action(quick.environment_action(action), slow.environment_action(action))


def test_both_reach_the_bounds_at_action_clip() -> None:
    # Of low -2, high 2 at clip 3: 3 -> 2, 1.5 -> 1, beyond is cut; without a range nothing changes.
    policy = make_policy(ACTIONS["continuous"], clip=3.0)
    action = {"continuous": np.array([[3, 1.5, 3], [-4, -1, -4], [1.5, 6, 7]], np.float32)}
    for acting in both(policy):
        bounded = acting.environment_action(action)["continuous"]
        np.testing.assert_array_equal(bounded, [[2, 1.5, 3], [-2, 0, -4], [1, 6, 7]])


def test_what_is_learned_is_acted_by_once_it_is_published_and_not_before() -> None:
    policy = make_policy()
    quick, slow = both(policy)
    before = evaluations(policy, quick, slow)
    learn(policy)
    for was, still in zip(before, evaluations(policy, quick, slow), strict=True):
        np.testing.assert_array_equal(still.value, was.value)
        assert_same_action(still.distribution.mode(), was.distribution.mode())
    assert quick.version == slow.version == 0
    publish(policy, quick, slow, version=3)
    assert quick.version == slow.version == 3
    found, expected = evaluations(policy, quick, slow)
    assert_close(found.value, expected.value)
    action = before[0].distribution.mode()
    assert_close(found.distribution.log_prob(action), expected.distribution.log_prob(action))
    assert not np.allclose(found.value, before[0].value)


@pytest.mark.parametrize("kind", ["quick", "slow"])
def test_published_weights_are_a_copy_of_parameters_and_buffers(kind: str) -> None:
    policy = make_policy()
    acting: InferencePolicy = NumpyPolicy(policy) if kind == "quick" else TorchPolicy(policy)
    learn(policy)
    publish(policy, acting)
    fresh = TorchPolicy(policy)
    random = np.random.default_rng(2)
    state, reset = np.zeros((7, 0), np.float32), random.random(7) < 0.4
    expected = Said(*fresh.evaluate(observe(7), state, reset))
    learn(policy)
    found = Said(*acting.evaluate(observe(7), state, reset))
    assert_close(found.value, expected.value)
    action = expected.distribution.mode()
    assert_close(found.distribution.log_prob(action), expected.distribution.log_prob(action))


class Counted(nn.Module):
    """A user's network: how it acts depends on a buffer that no checkpoint holds."""

    count: Tensor

    def __init__(self, observations: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.feature_size = 1
        self.register_buffer("count", torch.zeros(1), persistent=False)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        return observation["joints"][:, :1] * 0 + self.count


def test_a_users_network_acts_through_a_deep_copy_with_all_its_buffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Counted] = []

    def construct(observations: dict[str, tuple[int, ...]]) -> Counted:
        made.append(Counted(observations))
        return made[-1]

    monkeypatch.setattr(trunk, "load_class", lambda _: construct)
    policy = make_policy(network={"custom": "anything:at_all"}, normalize_observations=False)
    acting = make_inference_policy(policy)
    constructed = len(made)
    assert isinstance(acting, TorchPolicy)
    state, reset = np.zeros((2, 0), np.float32), np.zeros(2, np.bool_)
    before = Said(*acting.evaluate(observe(2), state, reset)).value
    for network in made:
        network.count.add_(1.0)
    np.testing.assert_array_equal(Said(*acting.evaluate(observe(2), state, reset)).value, before)
    publish(policy, acting)
    assert (Said(*acting.evaluate(observe(2), state, reset)).value != before).all()
    assert len(made) == constructed


def test_weights_that_an_optimizer_moved_and_changed_are_published() -> None:
    policy = make_policy()
    quick, slow = both(policy)
    flat = FlatWeights(policy)
    flat.weights.mul_(1.5)
    publish(policy, quick, slow)
    found, expected = evaluations(policy, quick, slow)
    assert_close(found.value, expected.value)
    with torch.no_grad():
        own = policy(
            {name: torch.from_numpy(values[None]) for name, values in observe(7).items()},
            torch.zeros(7, 0),
            torch.zeros(1, 7, dtype=torch.bool),
        )
    assert_close(found.value, own.value[0].numpy())


def test_no_rows_are_looked_at_too() -> None:
    for network in NETWORKS.values():
        policy = make_policy(network=network)
        found, expected = evaluations(policy, *both(policy), rows=0)
        assert found.value.shape == expected.value.shape == (0, 1)
        assert found.state.shape == expected.state.shape


def test_numbers_far_out_stay_finite() -> None:
    policy = make_policy(network=NETWORKS["lstm"], normalize_observations=False)
    quick, slow = both(policy)
    observation = {name: values * values.dtype.type(1) for name, values in observe(7).items()}
    observation["joints"] *= np.float32(1e6)
    state, reset = np.ones((7, policy.state_size), np.float32), np.zeros(7, np.bool_)
    found = Said(*quick.evaluate(observation, state, reset))
    expected = Said(*slow.evaluate(observation, state, reset))
    assert_close(found.state, expected.state)
    assert_close(found.value, expected.value)


def test_numbers_at_the_end_of_their_range_are_cut_without_a_word() -> None:
    policy = make_policy(ActionSpec(low=(-3e38,), high=(3e38,)))
    quick, slow = both(policy)
    observation = observe(7)
    observation["joints"][:] = np.finfo(np.float32).max
    state, reset = np.zeros((7, 0), np.float32), np.zeros(7, np.bool_)
    policy.normalizer.scale[:4] = 1e4
    publish(policy, quick, slow)
    found = Said(*quick.evaluate(observation, state, reset))
    assert_close(found.value, Said(*slow.evaluate(observation, state, reset)).value)
    action = {"continuous": np.full((7, 1), 5.0, np.float32)}
    assert_same_action(quick.environment_action(action), slow.environment_action(action))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_many_rows_are_evaluated_in_chunks_of_equal_size(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_network, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(numpy_network, "MIN_CHUNK", 4)
    forward, sizes = NumpyNetwork._forward, []

    def counted(self: NumpyNetwork, *arguments: Any) -> Any:
        sizes.append(len(arguments[2]))
        return forward(self, *arguments)

    monkeypatch.setattr(NumpyNetwork, "_forward", counted)
    policy = make_policy(network=network)
    found, expected = evaluations(policy, *both(policy), rows=9)
    assert sizes == [3, 3, 3]
    assert_close(found.value, expected.value)
    assert_close(found.state, expected.state)
    assert_same_action(found.distribution.mode(), expected.distribution.mode())


@pytest.mark.parametrize(
    ("observation", "network"),
    [
        (ObservationSpec("eye", (36, 36, 1), "uint8"), {}),
        (ObservationSpec("others", (3, 5), "float32", "entities"), {}),
        (ObservationSpec("eye", (36, 36, 1), "uint8"), {"memory": {"kind": "lstm", "size": 4}}),
    ],
    ids=["image", "entities", "memory"],
)
def test_many_rows_are_evaluated_in_chunks_in_torch_to_the_same(
    observation: ObservationSpec, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BehaviourSpec("b", (observation,), ActionSpec(branches=(3,)))
    policy = ActorCritic(spec, PolicyConfig.model_validate({"network": network}), seed=0)
    acting = make_inference_policy(policy)
    assert isinstance(acting, TorchPolicy)
    generator = np.random.default_rng(0)
    seen = (255 * generator.random((9, *observation.shape))).astype(observation.numpy_dtype)
    state = generator.random((9, policy.state_size), np.float32)
    rows = {observation.name: seen}, state, np.zeros(9, np.bool_)
    whole = acting.evaluate(*rows)
    monkeypatch.setattr(acting._policy.backbone.trunk, "_most", 4)
    sizes: list[int] = []

    def counted(self: Trunk, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        sizes.append(rows)
        return forward(self, observation, rows)

    forward = Trunk.forward
    monkeypatch.setattr(Trunk, "forward", counted)
    in_chunks = acting.evaluate(*rows)
    assert sizes == [3, 3, 3]
    for found, expected in zip(in_chunks[1:], whole[1:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_same_action(in_chunks[0].mode(), whole[0].mode())


@pytest.mark.parametrize("branches", [(2,), (3, 1, 5), (4, 4, 4), (11, 8), (2,) * 9])
@pytest.mark.parametrize("rows", [1, 2, 300])
def test_choices_are_those_of_the_formulas_row_by_row_to_the_bit(
    branches: tuple[int, ...], rows: int
) -> None:
    random = np.random.default_rng(7)
    logits = random.normal(size=(rows, sum(branches))).astype(np.float32)
    noise = random.random((rows, len(branches)))
    found = ArrayCategorical(logits, ArrayBranches(Branches(branches)))
    padded = np.full((rows, len(branches), max(branches)), np.finfo(np.float32).min)
    for branch, end in enumerate(np.cumsum(branches)):
        padded[:, branch, : branches[branch]] = logits[:, end - branches[branch] : end]
    with np.errstate(over="ignore"):
        log_probs = padded - padded.max(axis=-1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(axis=-1, keepdims=True))
    cumulative = np.exp(log_probs).cumsum(axis=-1)
    choice = np.count_nonzero(cumulative <= noise[..., np.newaxis] * cumulative[..., -1:], axis=-1)
    parts = np.take_along_axis(log_probs, choice[..., np.newaxis], axis=-1)[..., 0]
    action = found.sample(noise)
    np.testing.assert_array_equal(action["discrete"], choice)
    np.testing.assert_array_equal(found.mode()["discrete"], log_probs.argmax(axis=-1))
    np.testing.assert_array_equal(found.log_prob_per_dimension(action), parts)
    np.testing.assert_array_equal(found.log_prob(action), parts.sum(axis=-1))


def test_a_policy_without_its_critic_acts_too() -> None:
    for network in (NETWORKS["tanh"], NETWORKS["lstm"], NETWORKS["no layers"]):
        policy = make_policy(network=network).without_critic()
        found, expected = evaluations(policy, *both(policy))
        assert found.value.shape == expected.value.shape == (7, 0)
        action = expected.distribution.mode()
        assert_same_action(found.distribution.mode(), action)
        assert_close(found.state, expected.state)


@pytest.mark.parametrize(
    "options",
    [
        {"network": {"layer_norm": True}},
        {"observations": (*OBSERVATIONS, ObservationSpec("eye", (20, 20, 3), "uint8"))},
        {"observations": (*OBSERVATIONS, ObservationSpec("goal", (2,), kind="goal"))},
    ],
    ids=["layer norm", "image", "goal"],
)
def test_other_networks_act_by_their_own_forward(options: Any) -> None:
    config = PolicyConfig.model_validate({"network": options.get("network", {})})
    spec = BehaviourSpec("b", options.get("observations", OBSERVATIONS), ACTIONS["hybrid"])
    assert isinstance(make_inference_policy(ActorCritic(spec, config, seed=0)), TorchPolicy)


def test_double_precision_acts_by_the_policys_own_forward() -> None:
    assert isinstance(make_inference_policy(make_policy().double()), TorchPolicy)


@pytest.mark.parametrize("kind", ["quick", "slow"])
def test_a_twin_acts_by_the_same_weights_and_is_moved_by_itself(kind: str) -> None:
    policy = make_policy()
    acting: InferencePolicy = NumpyPolicy(policy) if kind == "quick" else TorchPolicy(policy)
    acting.version = 4
    state, reset = np.zeros((7, 0), np.float32), np.ones(7, np.bool_)
    expected = Said(*acting.evaluate(observe(7), state, reset))
    twin = acting.twin()
    assert twin.version == 4
    learn(policy)
    publish(policy, acting, version=5)
    np.testing.assert_array_equal(twin.evaluate(observe(7), state, reset)[1], expected.value)
    twin.publish(acting.weights, acting.version)
    assert_close(
        twin.evaluate(observe(7), state, reset)[1], acting.evaluate(observe(7), state, reset)[1]
    )
    assert twin.version == 5


def test_weights_by_name_are_those_that_a_checkpoint_has() -> None:
    policy = make_policy()
    acting = NumpyPolicy(policy)
    named = acting.weights.named(policy)
    saved = weights_of(policy)
    assert list(named) == list(saved)
    learn(policy)  # the module's own weights do not matter
    again = acting.weights.named(policy)
    for name, array in saved.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
