"""A hybrid distribution is its continuous and its discrete part together."""

import math

import torch
from torch import Tensor

from entrain.policy.distributions import Branches, DiagonalGaussian, Hybrid, MultiCategorical

MASK = torch.tensor([True, False, True]).expand(5, 3)


def parts() -> tuple[DiagonalGaussian, MultiCategorical]:
    gaussian = DiagonalGaussian(torch.randn(5, 2), torch.tensor([-1.0, 0.5]))
    return gaussian, MultiCategorical(torch.randn(5, 3), Branches((3,)))


def noise() -> Tensor:
    return torch.rand(5, 3, dtype=torch.float64).clamp(0.01, 0.99)


def test_noise_goes_to_the_dimensions_first_and_then_to_the_branches() -> None:
    gaussian, categorical = parts()
    uniform = noise()
    action = Hybrid(gaussian, categorical).sample(uniform)
    assert action.keys() == {"continuous", "discrete"}
    torch.testing.assert_close(
        action["continuous"], gaussian.sample(uniform[:, :2])["continuous"], atol=0, rtol=0
    )
    torch.testing.assert_close(
        action["discrete"], categorical.sample(uniform[:, 2:])["discrete"], atol=0, rtol=0
    )


def test_log_probabilities_and_entropies_add() -> None:
    gaussian, categorical = parts()
    hybrid = Hybrid(gaussian, categorical)
    action = hybrid.sample(noise())
    torch.testing.assert_close(
        hybrid.log_prob(action), gaussian.log_prob(action) + categorical.log_prob(action)
    )
    torch.testing.assert_close(hybrid.entropy(), gaussian.entropy() + categorical.entropy())


def test_parts_are_the_dimensions_then_the_branches_and_add_up() -> None:
    gaussian, categorical = parts()
    hybrid = Hybrid(gaussian, categorical).masked(MASK)
    action = hybrid.sample(noise())
    found = hybrid.log_prob_per_dimension(action)
    assert found.shape == (5, 3)
    for d in range(2):
        alone = DiagonalGaussian(gaussian.mean[:, d : d + 1], gaussian.log_sigma_sq[d : d + 1])
        torch.testing.assert_close(
            found[:, d], alone.log_prob({"continuous": action["continuous"][:, d : d + 1]})
        )
    torch.testing.assert_close(found[:, 2], categorical.masked(MASK).log_prob(action))
    torch.testing.assert_close(found.sum(dim=1), hybrid.log_prob(action))


def test_the_mean_entropy_is_over_dimensions_alone_and_branches_add() -> None:
    # ln(2 pi e) / 2 = 1.418939; with log_sigma_sq -1 and 0.5 the mean is 1.418939 - 0.125.
    gaussian, _ = parts()
    even = MultiCategorical(torch.zeros(5, 5), Branches((2, 3)))
    expected = 1.418939 - 0.125 + math.log(2.0) + math.log(3.0)
    torch.testing.assert_close(
        Hybrid(gaussian, even).mean_entropy(), torch.full((5,), expected), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(gaussian.mean_entropy(), gaussian.entropy() / 2.0)
    torch.testing.assert_close(even.mean_entropy(), even.entropy())


def test_a_mask_reaches_the_discrete_part_alone() -> None:
    gaussian, categorical = parts()
    masked = Hybrid(gaussian, categorical).masked(MASK)
    assert masked.continuous is gaussian
    assert (masked.discrete.log_probs.exp()[:, 0, 1] == 0).all()
    assert (masked.sample(noise())["discrete"] != 1).all()


def test_the_mode_has_both_parts() -> None:
    gaussian, categorical = parts()
    mode = Hybrid(gaussian, categorical).mode()
    assert mode["continuous"] is gaussian.mean
    assert torch.equal(mode["discrete"], categorical.mode()["discrete"])


def test_parameters_have_the_names_of_both_parts() -> None:
    gaussian, categorical = parts()
    parameters = Hybrid(gaussian, categorical).parameters()
    assert {name: tuple(tensor.shape) for name, tensor in parameters.items()} == {
        "action_mean": (5, 2),
        "log_sigma_sq": (5, 2),
        "logits": (5, 3),
    }
