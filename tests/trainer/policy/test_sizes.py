"""How large a policy would be, held against the networks; what is too large is refused in words."""

import re

import pytest

from entrain.config.algorithm import PPOConfig
from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.config.run import ServerConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.sizes import check_size, weights_by_part
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

STEER = ActionSpec((-1.0,), (1.0,))
EYES = ObservationSpec("eyes", (300,))
GOAL = ObservationSpec("goal", (40,), kind="goal")
CAMERA = ObservationSpec("camera", (44, 60, 3), "uint8")
FRAMES = ObservationSpec("frames", (4, 40, 40), "uint8")
OTHERS = ObservationSpec("others", (9, 70), kind="entities")


@pytest.mark.parametrize(
    ("observations", "action", "network"),
    [
        ((EYES,), STEER, NetworkConfig()),
        ((EYES,), STEER, NetworkConfig(shared=True, hidden_sizes=(128, 96, 32))),
        ((EYES,), ActionSpec(branches=(500, 20, 7)), NetworkConfig(previous_action=True)),
        ((EYES, GOAL), STEER, NetworkConfig()),
        ((EYES, GOAL), STEER, NetworkConfig(hidden_sizes=(64,))),
        ((EYES, GOAL), STEER, NetworkConfig(goal_conditioning="concatenate")),
        ((EYES, CAMERA), STEER, NetworkConfig()),
        ((CAMERA, FRAMES), STEER, NetworkConfig(image_encoder="nature_cnn", shared=True)),
        ((CAMERA,), STEER, NetworkConfig(image_encoder="resnet")),
        ((CAMERA,), STEER, NetworkConfig(image_encoder="match3")),
        ((CAMERA,), STEER, NetworkConfig(image_encoder="fully_connected")),
        ((EYES, OTHERS), STEER, NetworkConfig(entity_features=96)),
        ((EYES,), STEER, NetworkConfig(memory=MemoryConfig(kind="lstm"))),
        ((EYES,), STEER, NetworkConfig(memory=MemoryConfig(kind="gru", layers=3, size=64))),
        ((EYES,), STEER, NetworkConfig(memory=MemoryConfig(kind="mingru", layers=3, size=64))),
    ],
)
def test_the_reckoned_weights_are_those_of_the_networks(
    observations: tuple[ObservationSpec, ...], action: ActionSpec, network: NetworkConfig
) -> None:
    spec = BehaviourSpec("walker", observations, action)
    policy = ActorCritic(spec, PolicyConfig(network=network), seed=1)
    real = sum(parameter.numel() for parameter in policy.parameters())
    # Biases, convolutions (under 100,000 weights each) and the critic's head are left out: they do
    # not grow with the spec.
    images = sum(observation.kind == "image" for observation in observations)
    groups = 1 if network.shared else 2
    reckoned = sum(weights_by_part(spec, network, num_networks=groups).values())
    assert 0.97 * real - 2 * images * 100_000 < reckoned <= 1.01 * real


def refusal(spec: BehaviourSpec, options: PolicyConfig | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        check_size(spec, options or PolicyConfig(), ServerConfig())
    return str(raised.value)


def test_too_many_choices_are_refused_with_how_many_weights_they_need() -> None:
    # 64 features times 2^27 choices; 300 inputs times 64 units, twice, and the hidden layers.
    words = refusal(BehaviourSpec("walker", (EYES,), ActionSpec(branches=(2**27,))))
    assert f"{64 * 2**27:,} for {2**27:,} choices" in words
    assert "allows 100,000,000" in words
    assert "raise server.max_weights" in words


def test_critics_of_actions_and_their_targets_count() -> None:
    # An actor, two critics and two targets; each reads 10^6 numbers into 64 units.
    sky, options = ObservationSpec("sky", (10**6,)), {"network": {"hidden_sizes": (64,)}}
    sac = PolicyConfig.model_validate({**options, "algorithm": {"kind": "sac"}})
    words = refusal(BehaviourSpec("walker", (sky,), STEER), sac)
    assert f"{5 * 64 * 10**6:,} for observation 'sky', float32[1000000]" in words


@pytest.mark.parametrize(("kind", "networks"), [("ppo", 1), ("soft_q", 3), ("sac", 5)])
def test_a_network_of_values_of_choices_has_a_head_for_them(kind: str, networks: int) -> None:
    options = PolicyConfig.model_validate(
        {"network": {"hidden_sizes": (64,)}, "algorithm": {"kind": kind}}
    )
    sky = ObservationSpec("sky", (1,))
    words = refusal(BehaviourSpec("walker", (sky,), ActionSpec(branches=(10**7,))), options)
    assert f"({networks * 64 * 10**7:,} for 10,000,000 choices" in words


def test_critics_have_widths_of_their_own_and_without_targets_count_once() -> None:
    # An actor of 64 units and three critics of 100, which read 10^6 numbers.
    sky, options = ObservationSpec("sky", (10**6,)), {"network": {"hidden_sizes": (64,)}}
    algorithm = {"kind": "sac", "critics": 3, "critic_hidden_sizes": [100], "batch_norm": {}}
    sac = PolicyConfig.model_validate({**options, "algorithm": algorithm})
    words = refusal(BehaviourSpec("walker", (sky,), STEER), sac)
    assert f"{(64 + 3 * 100) * 10**6:,} for observation 'sky', float32[1000000]" in words


def test_too_large_an_observation_is_refused_by_its_name() -> None:
    words = refusal(BehaviourSpec("walker", (ObservationSpec("sky", (10**7,)),), STEER))
    assert f"{2 * 64 * 10**7:,} for observation 'sky', float32[10000000]" in words


def test_a_rollout_that_would_not_fit_is_refused() -> None:
    film = ObservationSpec("film", (3, 4000, 4000), "uint8")
    words = refusal(
        BehaviourSpec("walker", (film,), STEER),
        PolicyConfig(network=NetworkConfig(image_encoder="simple", image_features=1)),
    )
    # 48 MB times 2048 steps.
    assert re.search(r"rollout of 2,048 steps \(48,000,021 bytes each; .*'film'", words)
    assert "would take 93,750 MiB, and this trainer allows 16,384" in words


def test_a_log_probability_of_each_dimension_is_reckoned_where_it_is_stored() -> None:
    spec = BehaviourSpec(
        "walker", (ObservationSpec("film", (3, 4000, 4000), "uint8"),), ActionSpec((-1.0,), (1.0,))
    )
    network = NetworkConfig(image_encoder="simple", image_features=1)
    options = PolicyConfig(network=network, algorithm=PPOConfig(surrogate="per_dimension"))
    # One number of 4 bytes more than in the test before.
    assert "(48,000,025 bytes each" in refusal(spec, options)


def test_a_minibatch_of_very_many_entities_is_refused() -> None:
    crowd = ObservationSpec("crowd", (10**6, 1), kind="entities")
    words = refusal(
        BehaviourSpec("walker", (crowd,), STEER), PolicyConfig(rollout_steps=64, total_steps=64)
    )
    assert "a minibatch of 64 steps of observation 'crowd'" in words


def test_branches_are_reckoned_as_they_are_padded() -> None:
    # 1,000 branches as wide as the widest: 10^9 numbers a row.
    action = ActionSpec(branches=(10**6, *[2] * 999))
    words = refusal(BehaviourSpec("walker", (ObservationSpec("eye", ()),), action))
    assert "1,000 branches of up to 1,000,000 choices" in words


def test_what_people_use_is_far_from_the_limits() -> None:
    cameras = tuple(ObservationSpec(f"camera {i}", (128, 128, 3), "uint8") for i in range(4))
    spec = BehaviourSpec("walker", (EYES, *cameras, OTHERS), ActionSpec(branches=(10_000,)))
    check_size(spec, PolicyConfig(network=NetworkConfig(image_encoder="resnet")), ServerConfig())
