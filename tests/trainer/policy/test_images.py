"""Images: either channel order, bytes divided by 255, and a message for sizes too small."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.errors import ConfigError
from entrain.policy.images import (
    Convolution,
    ImageEncoder,
    ImageEncoderName,
    minimum_size,
    pixel_range,
)
from entrain_envs.spec import ObservationSpec

ENCODERS: tuple[ImageEncoderName, ...] = get_args(ImageEncoderName)
LEAST = {
    "small": 1,
    "simple": 20,
    "nature_cnn": 36,
    "resnet": 1,
    "match3": 5,
    "fully_connected": 1,
}
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_encoder(
    *shape: int, encoder: ImageEncoderName = "simple", dtype: str = "float32", groups: int = 2
) -> ImageEncoder:
    return ImageEncoder(ObservationSpec("camera", shape, dtype), encoder, 6, groups, generator())


def weights(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of each convolution, in order."""
    return [(c.weight, c.bias) for c in module.modules() if isinstance(c, Convolution)]


@pytest.mark.parametrize(
    ("encoder", "strides", "padding"),
    [
        ("small", (1, 1), 1),
        ("simple", (4, 2), 0),
        ("nature_cnn", (4, 2, 1), 0),
        ("match3", (1, 1), 0),
        ("fully_connected", (), 0),
    ],
)
def test_plain_encoders_are_the_published_convolutions(
    encoder: ImageEncoderName, strides: tuple[int, ...], padding: int
) -> None:
    ours, image = image_encoder(3, 40, 44, encoder=encoder), torch.rand(5, 3, 40, 44)
    for group, tower in enumerate(ours.towers):
        hidden = image
        for (weight, bias), stride in zip(weights(tower), strides, strict=True):
            hidden = functional.conv2d(hidden, weight, bias, stride, padding).relu()
        linear = hidden.flatten(1) @ ours.linear.weight[group] + ours.linear.bias[group]
        torch.testing.assert_close(ours(image, 5)[group], linear.relu(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "kernels"),
    [
        ("small", [(16, 3, 3, 3), (32, 16, 3, 3)]),
        ("simple", [(16, 3, 8, 8), (32, 16, 4, 4)]),
        ("nature_cnn", [(32, 3, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]),
        ("match3", [(35, 3, 3, 3), (144, 35, 3, 3)]),
        ("fully_connected", []),
        (
            "resnet",
            [(16, 3, 3, 3), *4 * [(16, 16, 3, 3)], (32, 16, 3, 3), *9 * [(32, 32, 3, 3)]],
        ),
    ],
)
def test_kernels_are_the_published_ones(
    encoder: ImageEncoderName, kernels: list[tuple[int, ...]]
) -> None:
    ours = image_encoder(3, 40, 40, encoder=encoder)
    for tower in ours.towers:
        assert [tuple(weight.shape) for weight, _ in weights(tower)] == kernels


def test_the_resnet_is_impalas() -> None:
    ours, image = image_encoder(3, 9, 11, encoder="resnet", groups=1), torch.randn(2, 3, 9, 11)
    layers = iter(weights(ours))

    def convolved(x: Tensor) -> Tensor:
        weight, bias = next(layers)
        return functional.conv2d(x, weight, bias, padding=1)

    hidden = image
    for _ in range(3):
        hidden = functional.max_pool2d(convolved(hidden), 3, stride=2, padding=1)
        for _ in range(2):
            hidden = hidden + convolved(convolved(hidden.relu()).relu())
    assert hidden.shape == (2, 32, 2, 2)
    linear = hidden.relu().flatten(1) @ ours.linear.weight[0]
    torch.testing.assert_close(ours(image, 2)[0], linear.relu(), atol=1e-4, rtol=1e-4)


@every_encoder
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_channel_orders_see_the_same(encoder: ImageEncoderName, channels: int) -> None:
    channels_last = image_encoder(40, 44, channels, encoder=encoder)
    channels_first = image_encoder(channels, 40, 44, encoder=encoder)
    image = torch.rand(3, 40, 44, channels)
    torch.testing.assert_close(
        channels_last(image, 3),
        channels_first(image.permute(0, 3, 1, 2).contiguous(), 3),
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((36, 40, 3), 3),
        ((3, 36, 40), 3),
        ((36, 40, 36), 36),
        ((40, 36, 36), 40),
        ((35, 36, 36), 35),
        ((36, 36, 40), 40),
        ((36, 40), 1),
        ((4, 36, 40, 3), 12),
        ((4, 3, 36, 40), 12),
        ((36, 40, 3, 4), 12),
    ],
)
def test_the_convolutions_see_the_channels_where_the_shape_says_they_are(
    shape: tuple[int, ...], channels: int
) -> None:
    spec = ObservationSpec("camera", shape, "uint8", "image")
    ((weight, _), *_) = weights(ImageEncoder(spec, "simple", 6, 1, generator()))
    assert weight.shape[1] == channels


@every_encoder
def test_bytes_are_fractions_of_255_and_floats_are_taken_as_they_are(
    encoder: ImageEncoderName,
) -> None:
    image = torch.randint(0, 256, (4, 36, 36, 3), dtype=torch.uint8)
    from_bytes = image_encoder(36, 36, 3, encoder=encoder, dtype="uint8")
    from_floats = image_encoder(36, 36, 3, encoder=encoder)
    features = from_bytes(image, 4)
    torch.testing.assert_close(features, from_floats(image.float() / 255, 4))
    assert not torch.allclose(features, from_floats(image.float(), 4))


@pytest.mark.parametrize("order", ["nhwc", "nchw", "hwcn"])
def test_every_order_of_a_stack_shows_each_frames_channels_side_by_side(order: str) -> None:
    frames = torch.rand(2, 4, 3, 36, 40)
    image = frames.permute(0, *(1 + "nchw".index(axis) for axis in order)).contiguous()
    spec = ObservationSpec("camera", tuple(image.shape[1:]), kind="image")
    stack = ImageEncoder(spec, "simple", 6, 2, generator())
    flat = image_encoder(12, 36, 40)
    torch.testing.assert_close(stack(image, 2), flat(frames.flatten(1, 2), 2))


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("uint8", (), (), (0, 255)),
        ("uint8", (0.0,), (255.0,), (0, 255)),
        ("uint8", (0.0,), (1.0,), None),
        ("uint8", (0.0,), (10.0,), (0, 10)),
        ("float32", (), (), None),
        ("float32", (0.0,), (1.0,), None),
        ("float32", (-1.0,), (1.0,), None),
        ("float32", (0.0,), (255.0,), (0, 255)),
        ("float32", (-20.0,), (60.0,), (-20, 60)),
        ("float32", (-math.inf,), (math.inf,), None),
        ("float32", (5.0,), (5.0,), None),
        ("uint8", (0.0,), (1e300,), (0, 255)),
    ],
)
def test_pixels_go_from_0_to_1_by_their_own_bounds(
    dtype: str,
    low: tuple[float, ...],
    high: tuple[float, ...],
    expected: tuple[float, float] | None,
) -> None:
    spec = ObservationSpec("camera", (9, 9, 1), dtype, "image", low, high)
    assert pixel_range(spec) == expected
    least, largest = expected or (0.0, 1.0)
    image = torch.full((1, 9, 9, 1), largest).to(torch.uint8 if dtype == "uint8" else torch.float32)
    ours = ImageEncoder(spec, "small", 6, 1, generator())
    plain = image_encoder(9, 9, 1, encoder="small", groups=1)
    torch.testing.assert_close(ours(image, 1), plain((image - least) / (largest - least), 1))


@every_encoder
def test_the_least_size_works_and_one_less_is_refused_with_the_remedy(
    encoder: ImageEncoderName,
) -> None:
    least = LEAST[encoder]
    assert minimum_size(encoder) == least
    features = image_encoder(least, least, 1, encoder=encoder)(torch.rand(2, least, least, 1), 2)
    assert features.shape == (2, 2, 6)
    if least == 1:
        return
    for height, width in ((least - 1, 99), (99, least - 1)):
        with pytest.raises(
            ConfigError,
            match=rf"image 'camera' is {height} x {width} .* {encoder} needs at least "
            rf"{least} x {least}: .* auto, small or resnet, .*entrain-env --kind camera=vector",
        ):
            image_encoder(height, width, 1, encoder=encoder)


@every_encoder
def test_each_group_sees_with_weights_of_its_own(encoder: ImageEncoderName) -> None:
    ours, image = image_encoder(36, 36, 3, encoder=encoder), torch.rand(4, 36, 36, 3)
    features = ours(image, 4)
    assert not torch.allclose(features[0], features[1])
    torch.autograd.backward(features[0].sum())
    for tower, is_reached in zip(ours.towers, (True, False), strict=True):
        for parameter in tower.parameters():
            assert parameter.grad is not None
            assert (parameter.grad != 0).any() == is_reached


@every_encoder
def test_keeping_the_first_group_leaves_what_it_sees(encoder: ImageEncoderName) -> None:
    ours, image = image_encoder(36, 36, 3, encoder=encoder), torch.rand(4, 36, 36, 3)
    before = ours(image, 4)
    parameters = sum(parameter.numel() for parameter in ours.parameters())
    ours.keep_first_group()
    after = ours(image, 4)
    assert after.shape == (1, 4, 6)
    torch.testing.assert_close(after[0], before[0])
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters / 2


@every_encoder
def test_initial_weights_are_orthogonal_and_follow_from_the_generator(
    encoder: ImageEncoderName,
) -> None:
    before = torch.get_rng_state()
    first, second = (image_encoder(36, 36, 3, encoder=encoder) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    for weight, bias in weights(first):
        flat = weight.flatten(1)
        small = flat if len(flat) <= flat.shape[1] else flat.T
        torch.testing.assert_close(small @ small.T, 2 * torch.eye(len(small)), atol=1e-4, rtol=0)
        assert (bias == 0).all()


@every_encoder
def test_no_images_give_no_features(encoder: ImageEncoderName) -> None:
    ours = image_encoder(36, 36, 3, encoder=encoder, dtype="uint8")
    assert ours(torch.zeros(1, 0, 36, 36, 3, dtype=torch.uint8), 0).shape == (2, 0, 6)


def test_bytes_keep_all_digits_in_double_precision() -> None:
    ours = image_encoder(20, 20, 1, dtype="uint8").double()
    features = ours(torch.full((1, 20, 20, 1), 51, dtype=torch.uint8), 1)
    assert features.dtype == torch.float64
    exact = image_encoder(20, 20, 1).double()(torch.full((1, 20, 20, 1), 0.2).double(), 1)
    expected = torch.where(exact > 0, exact * (51 / 255) / 0.2, exact)
    # The second input is a float32 0.2, off by 1e-8 of it; the first is exact.
    assert math.isclose(features.sum().item(), expected.sum().item(), rel_tol=1e-7)
