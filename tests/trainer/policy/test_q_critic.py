"""Critics of actions: independent networks in one batch, whatever is seen and done."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.q_critic import ActionCritics
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

ROWS = 5
BODY = ObservationSpec("body", (4,))
EYE = ObservationSpec("eye", (8, 8, 3), "uint8")
FOES = ObservationSpec("foes", (3, 2), kind="entities")
ORDER = ObservationSpec("order", (3,), kind="goal")
CONTINUOUS = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2)
DISCRETE = ActionSpec(branches=(2, 3))
HYBRID = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2, branches=(2, 3))
ACTIONS = {"continuous": CONTINUOUS, "discrete": DISCRETE, "hybrid": HYBRID}


def make_critics(
    action: ActionSpec, *observations: ObservationSpec, groups: int = 2, **network: Any
) -> ActionCritics:
    config = PolicyConfig.model_validate(
        {
            "network": {"hidden_sizes": (8,), "entity_features": 8, **network},
            "algorithm": {"kind": "sac"},
        }
    )
    spec = BehaviourSpec("b", observations or (BODY,), action)
    return ActionCritics(spec, config, groups=groups, seed=3)


def observe(*observations: ObservationSpec) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        it.name: torch.randint(0, 256, (ROWS, *it.shape), generator=generator, dtype=torch.uint8)
        if it.dtype == "uint8"
        else torch.randn(ROWS, *it.shape, generator=generator)
        for it in observations or (BODY,)
    }


def actions(spec: ActionSpec) -> Tensor:
    return torch.randn(ROWS, spec.continuous_size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize(
    "seen", [(BODY,), (EYE, BODY), (FOES, BODY), (ORDER, BODY)], ids=["body", "eye", "foes", "goal"]
)
def test_every_critic_reads_all_that_is_seen_and_done(
    kind: str, seen: tuple[ObservationSpec, ...]
) -> None:
    critics = make_critics(ACTIONS[kind], *seen)
    shown = {name: it.float().requires_grad_() for name, it in observe(*seen).items()}
    taken = actions(ACTIONS[kind]).requires_grad_()
    values = critics(shown, taken)
    assert values.shape == (2, ROWS, {"continuous": 1}.get(kind, 5))
    assert not torch.allclose(values[0], values[1])
    for group in values:
        read = torch.autograd.grad(
            group.sum(), [*shown.values(), taken], retain_graph=True, materialize_grads=True
        )
        for name, gradient in zip([*shown, "action"], read, strict=True):
            assert gradient.numel() == 0 or gradient.any(), name


def test_critics_are_computed_together_as_each_would_be_alone() -> None:
    critics, alone = make_critics(HYBRID), make_critics(HYBRID, groups=1)
    together = critics(observe(), actions(HYBRID))
    for group in range(2):
        mine = {name: it[group : group + 1] for name, it in critics.named_parameters()}
        alone.load_state_dict({**alone.state_dict(), **mine})
        torch.testing.assert_close(alone(observe(), actions(HYBRID))[0], together[group])


def test_values_of_branches_add_up_by_hand() -> None:
    critics = make_critics(DISCRETE)
    values = torch.tensor([[1.0, 2.0, 30.0, 40.0, 50.0]]).expand(2, 1, 5)
    values = torch.stack([values[0], -values[0]])
    found = critics.of_chosen(values, torch.tensor([[1, 2]]))
    assert found.tolist() == [[52.0], [-52.0]]


def test_without_choices_there_is_one_value() -> None:
    critics = make_critics(CONTINUOUS)
    values = critics(observe(), actions(CONTINUOUS))
    assert torch.equal(critics.of_chosen(values, None), values[..., 0])


def test_actions_of_any_size_are_told_apart() -> None:
    # Observations are clipped at 10, actions without bounds are not.
    critics = make_critics(CONTINUOUS)
    far = [critics(observe(), torch.full((ROWS, 2), size)) for size in (50.0, 60.0)]
    assert not torch.allclose(*far)


def normalizer_of(*observations: ObservationSpec) -> ObservationNormalizer:
    normalizer = ObservationNormalizer(observations, normalize=True, clip=10.0)
    random = torch.Generator().manual_seed(7)
    seen: Mapping[str, Tensor] = {
        it.name: torch.randn(50, *it.shape, generator=random) * 3 + 5 for it in observations
    }
    normalizer.update(seen)
    return normalizer


def test_critics_see_observations_as_the_actor_does_and_actions_as_they_are() -> None:
    critics, normalizer = make_critics(CONTINUOUS, BODY, ORDER), normalizer_of(BODY, ORDER)
    critics.normalizer.follow(normalizer)
    seen, taken = observe(BODY, ORDER), actions(CONTINUOUS)
    body, goal = torch.split(normalizer(seen, ROWS), [4, 3], dim=1)
    own = critics.normalizer({**seen, "action_taken": taken}, ROWS)
    torch.testing.assert_close(own, torch.cat([body, taken, goal], dim=1), rtol=0, atol=0)


def test_an_observation_of_the_name_that_critics_give_to_the_action_is_refused() -> None:
    with pytest.raises(ConfigError, match="has an observation 'action_taken', which is what"):
        make_critics(CONTINUOUS, ObservationSpec("action_taken", (2,)))
