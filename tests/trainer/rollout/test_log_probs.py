"""Log-probabilities of many batches in one call are those of each batch, to the bit."""

from typing import Any

import numpy as np
import pytest

from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.inference.policy import InferencePolicy, make_inference_policy
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.weights import PolicyWeights
from entrain.rollout.log_probs import LogProbs
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import allowing_all, allows_all

ACTIONS = {
    "dimensions": ActionSpec((-1.0,) * 3, (1.0,) * 3),
    "many dimensions": ActionSpec((-1.0,) * 17, (1.0,) * 17),
    "choices": ActionSpec(branches=(2,)),
    "many choices": ActionSpec(branches=(3, 11, 2)),
    "both": ActionSpec((-1.0, 0.0), (1.0, 2.0), (2, 3)),
}
PLAIN = PolicyConfig()
IN_TORCH = PolicyConfig(network=NetworkConfig(layer_norm=True))


def spec_of(action: ActionSpec) -> BehaviourSpec:
    return BehaviourSpec("b", (ObservationSpec("x", (4,)),), action)


def batch(policy: InferencePolicy, rows: int, seed: int) -> LogProbs:
    generator = np.random.default_rng(seed)
    distribution, *_ = policy.evaluate(
        {"x": generator.standard_normal((rows, 4)).astype(np.float32)},
        np.zeros((rows, 0), np.float32),
        np.zeros(rows, np.bool_),
    )
    mask = np.ones((rows, policy.spec.action.num_choices), np.bool_)
    distribution = distribution.masked(mask) if mask.size else distribution
    noise = policy.prepare_noise(generator.random((rows, policy.noise_size)))
    return LogProbs(distribution, distribution.sample(noise))


@pytest.mark.parametrize("config", [PLAIN, IN_TORCH], ids=["numpy", "torch"])
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_they_are_those_of_each_batch(action: ActionSpec, config: PolicyConfig) -> None:
    policy = make_inference_policy(ActorCritic(spec_of(action), config, seed=0))
    parts = [batch(policy, rows, seed=rows) for rows in (1, 5, 64, 2, 64)]
    alone: list[Any] = [part.distribution.log_prob(part.action) for part in parts]
    assert LogProbs.joined(parts).tobytes() == np.concatenate(alone).tobytes()
    assert LogProbs.joined(parts[:1]).tobytes() == alone[0].tobytes()


@pytest.mark.parametrize("config", [PLAIN, IN_TORCH], ids=["numpy", "torch"])
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_weights_that_are_published_before_they_are_computed_change_nothing(
    action: ActionSpec, config: PolicyConfig
) -> None:
    policy = make_inference_policy(ActorCritic(spec_of(action), config, seed=0))
    before = batch(policy, 3, seed=1)
    alone: list[Any] = [before.distribution.log_prob(before.action)]
    weights = policy.weights
    policy.publish(PolicyWeights(0.5 * weights.parameters + 0.1, weights.buffers), version=1)
    after = batch(policy, 5, seed=1)
    alone.append(after.distribution.log_prob(after.action))
    joined = LogProbs.joined([before, after])
    assert joined.tobytes() == np.concatenate(alone).tobytes()
    assert LogProbs.joined([before]).tobytes() == alone[0].tobytes()
    assert not np.array_equal(joined[:3], joined[3:6])


def test_a_mask_that_allows_all_is_known_by_a_glance_and_changes_nothing() -> None:
    spec = spec_of(ACTIONS["many choices"])
    mask = allowing_all(spec, 6)
    assert mask.all()
    assert mask.shape == (6, 16)
    assert allows_all(mask)
    assert allows_all(mask[:1])
    assert not allows_all(mask[:0])
    assert not allows_all(np.ones((6, 16), np.bool_))
    assert not allows_all(np.broadcast_to(np.False_, (6, 16)))
    policy = make_inference_policy(ActorCritic(spec, PLAIN, seed=0))
    distribution = batch(policy, 6, seed=1).distribution
    noise = policy.prepare_noise(np.random.default_rng(2).random((6, policy.noise_size)))
    action = distribution.sample(noise)
    masked = distribution.masked(mask)
    assert masked.sample(noise)["discrete"].tolist() == action["discrete"].tolist()
    assert masked.log_prob(action).tobytes() == distribution.log_prob(action).tobytes()
