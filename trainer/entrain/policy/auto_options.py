"""Resolves `auto` in the network's options from the observations. No other module does.

Checkpoints do not hold these choices: changing one here changes the networks of older runs.
"""

from entrain.config.policy import NetworkConfig
from entrain.policy.images import ImageEncoderName, minimum_size
from entrain.policy.layers import Activation
from entrain_envs.observation_kinds import image_layout
from entrain_envs.spec import BehaviourSpec, ObservationSpec

BY_SIZE: tuple[ImageEncoderName, ...] = ("nature_cnn", "simple", "small")
"""From the encoder for the largest images to the one that takes any."""


def choose_activation(inputs: BehaviourSpec, network: NetworkConfig) -> Activation:
    """Of the hidden layers: relu if an image is observed, otherwise tanh."""
    if network.activation != "auto":
        return network.activation
    return "relu" if any(each.kind == "image" for each in inputs.observations) else "tanh"


def choose_image_encoder(image: ObservationSpec, network: NetworkConfig) -> ImageEncoderName:
    """The published one if the image is large enough for it, otherwise one that fits."""
    if network.image_encoder != "auto":
        return network.image_encoder
    layout = image_layout(image.shape)
    side = min(layout.height, layout.width)
    return next(encoder for encoder in BY_SIZE if side >= minimum_size(encoder))
