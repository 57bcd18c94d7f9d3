"""What `auto` chooses for what is observed, and what is said of it."""

from typing import Any

import pytest

from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.auto_options import choose_activation, choose_image_encoder
from entrain.policy.inputs import describe_inputs
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

JOINTS = ObservationSpec("joints", (12,))
CAMERA = ObservationSpec("camera", (4, 84, 84, 1), "uint8")
MAP = ObservationSpec("map", (7, 7, 3), "uint8", "image", (0.0,), (10.0,))
FOES = ObservationSpec("foes", (16, 5), kind="entities")
GOAL = ObservationSpec("order", (3, 2), kind="goal")
TABLE = ObservationSpec("table", (48, 10), "uint8")


def behaviour(*observations: ObservationSpec) -> BehaviourSpec:
    return BehaviourSpec("walker", observations, ActionSpec(branches=(2,)))


@pytest.mark.parametrize(
    ("observations", "activation"),
    [((JOINTS,), "tanh"), ((JOINTS, FOES), "tanh"), ((CAMERA,), "relu"), ((JOINTS, MAP), "relu")],
)
def test_images_are_seen_with_relu_and_vectors_with_tanh(
    observations: tuple[ObservationSpec, ...], activation: str
) -> None:
    spec = behaviour(*observations)
    assert choose_activation(spec, NetworkConfig()) == activation
    assert choose_activation(spec, NetworkConfig(activation="elu")) == "elu"
    policy = ActorCritic(spec, PolicyConfig(), seed=1)
    layers: Any = policy.get_submodule("backbone.trunk.hidden_layers")
    assert layers.activation == activation


@pytest.mark.parametrize(
    ("shape", "encoder"),
    [
        ((36, 36, 3), "nature_cnn"),
        ((4, 84, 84), "nature_cnn"),
        ((35, 99, 3), "simple"),
        ((4, 20, 20, 3), "simple"),
        ((19, 19, 3), "small"),
        ((7, 7, 3), "small"),
        ((3, 3, 2), "small"),
    ],
)
def test_each_image_gets_the_largest_encoder_that_fits(
    shape: tuple[int, ...], encoder: str
) -> None:
    image = ObservationSpec("seen", shape, "uint8")
    assert image.kind == "image"
    assert choose_image_encoder(image, NetworkConfig()) == encoder
    assert choose_image_encoder(image, NetworkConfig(image_encoder="resnet")) == "resnet"
    ActorCritic(behaviour(image), PolicyConfig(), seed=1)


def test_it_is_said_what_each_observation_was_taken_for() -> None:
    spec = behaviour(JOINTS, ObservationSpec("height", ()), CAMERA, MAP, FOES, GOAL, TABLE)
    assert describe_inputs(spec, NetworkConfig()) == [
        "joints: vector of 12 numbers",
        "height: vector of 1 number",
        "camera: image 84 x 84, 4 frames of 1 channel, divided by 255, encoder nature_cnn",
        "map: image 7 x 7, 3 channels, divided by 10, encoder small",
        "foes: at most 16 entities of 5 numbers",
        "order: goal of 3 x 2 numbers",
        "table: vector of 48 x 10 numbers (an image? then entrain-env --kind table=image)",
    ]
