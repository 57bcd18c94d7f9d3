"""A user's own network: its inputs, what it may do, and the messages about mistakes."""

import copy
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, PolicyOutput
from entrain.policy.custom_network import CustomTrunk, load_class
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

DOCS = Path(__file__).parents[3] / "docs" / "networks.md"
SPEC = BehaviourSpec(
    "fighter",
    (
        ObservationSpec("camera", (6, 6, 3), "uint8"),
        ObservationSpec("body", (4,)),
        ObservationSpec("enemies", (3, 2), kind="entities"),
        ObservationSpec("order", (), kind="goal"),
    ),
    ActionSpec((-1.0,), (1.0,), branches=(3,)),
)
Shapes = Mapping[str, tuple[int, ...]]


class Flat(nn.Module):
    """One layer over all observations; keeps its inputs for the test."""

    def __init__(self, observations: Shapes) -> None:
        super().__init__()
        self.shapes = dict(observations)
        self.layer = nn.Linear(sum(torch.Size(shape).numel() for shape in self.shapes.values()), 5)
        self.feature_size = 5
        self.seen: dict[str, Tensor] = {}

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        self.seen = dict(observation)
        rows = [observation[name].flatten(1).to(self.layer.weight.dtype) for name in self.shapes]
        features: Tensor = self.layer(torch.cat([row.view(len(row), -1) for row in rows], dim=1))
        return features


class FlatScalars(Flat):
    """The same for an observation of shape []."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        self.seen = dict(observation)
        rows = [
            observation[name].reshape(len(observation[name]), torch.Size(shape).numel())
            for name, shape in self.shapes.items()
        ]
        features: Tensor = self.layer(torch.cat([row.to(self.layer.weight) for row in rows], 1))
        return features


class Fails(nn.Module):
    def __init__(self, observations: Shapes) -> None:
        raise KeyError("lidar")


class NeedsMore(nn.Module):
    def __init__(self, observations: Shapes, width: int) -> None:
        super().__init__()


class Sizeless(nn.Module):
    def __init__(self, observations: Shapes) -> None:
        super().__init__()


class Nothing(Sizeless):
    feature_size = 0


class FailsLater(Sizeless):
    feature_size = 5

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return observation["lidar"]


class Many(FailsLater):
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return (observation["body"],)  # type: ignore[return-value]


class TooWide(FailsLater):
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(len(observation["body"]), 6)


class OneRow(FailsLater):
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(1, 5)


class Bytes(FailsLater):
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return observation["camera"].flatten(1)[:, :5]


class Doubles(FlatScalars):
    def __init__(self, observations: Shapes) -> None:
        super().__init__(observations)
        self.scale = nn.Parameter(torch.ones(5, dtype=torch.float64))


class Roots(FlatScalars):
    """NaN where the layer's output is negative."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return super().forward(observation).sub(self.layer.bias).sqrt()


class Masked(FlatScalars):
    """NaN where every enemy is absent: a mean over nothing."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        enemies = observation["enemies"]
        is_there = (enemies != 0).any(-1, keepdim=True)
        mean = (enemies * is_there).sum(1) / is_there.sum(1)
        return super().forward(observation) + mean.sum(-1, keepdim=True)


class Centred(FlatScalars):
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        features = super().forward(observation)
        return features - features.mean(0)


class Running(FlatScalars):
    """Each row depends on the rows before it."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return super().forward(observation).cumsum(0)


class BatchNormalised(FlatScalars):
    def __init__(self, observations: Shapes) -> None:
        super().__init__(observations)
        self.norm = nn.BatchNorm2d(3)
        self.picture = nn.Linear(108, 5)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        camera = observation["camera"].permute(0, 3, 1, 2) / 255
        features: Tensor = self.picture(self.norm(camera).flatten(1))
        return features


class Drops(FlatScalars):
    def __init__(self, observations: Shapes) -> None:
        super().__init__(observations)
        self.dropout = nn.Dropout(0.1)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        features: Tensor = self.dropout(super().forward(observation))
        return features


class LayerNormalised(FlatScalars):
    def __init__(self, observations: Shapes) -> None:
        super().__init__(observations)
        self.norm = nn.LayerNorm(5)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        features: Tensor = self.norm(super().forward(observation))
        return features


class Constant(FailsLater):
    """Ignores its inputs: every row's features are zero."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(len(observation["body"]), 5)


class Embeds(FailsLater):
    """Takes the first number of an enemy as its type."""

    def __init__(self, observations: Shapes) -> None:
        super().__init__(observations)
        self.types = nn.Embedding(3, 5)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        types: Tensor = self.types(observation["enemies"][..., 0].long())
        return types.sum(1)


def make_policy(
    network: type[nn.Module] | str = FlatScalars, *, seed: int = 1, shared: bool = False
) -> ActorCritic:
    path = network if isinstance(network, str) else f"{__name__}:{network.__name__}"
    options = PolicyConfig(network=NetworkConfig(custom=path, shared=shared, previous_reward=True))
    policy = ActorCritic(SPEC, options, seed=seed)
    with torch.no_grad():
        policy.action_head.weight.mul_(100)
        policy.value_head.normalizer.scale.fill_(3.0)
    return policy


def networks(policy: ActorNetwork) -> list[Flat]:
    assert isinstance(policy.backbone.trunk, CustomTrunk)
    made = list(policy.backbone.trunk.networks)
    assert all(isinstance(network, Flat) for network in made)
    return made  # type: ignore[return-value]


def observe(steps: int, columns: int) -> dict[str, Tensor]:
    return {
        "camera": torch.randint(0, 256, (steps, columns, 6, 6, 3), dtype=torch.uint8),
        "body": torch.randn(steps, columns, 4) * 7 + 3,
        "enemies": torch.randn(steps, columns, 3, 2),
        "order": torch.randn(steps, columns),
        "previous_reward": torch.randn(steps, columns, 1),
    }


def run(policy: ActorNetwork, observation: Mapping[str, Tensor]) -> PolicyOutput:
    steps, columns = observation["order"].shape
    output = policy(observation, policy.initial_state(columns), torch.zeros(steps, columns) > 0)
    assert isinstance(output, PolicyOutput)
    return output


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this module importable by its name, whatever pytest imported it as."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_it_is_told_the_shape_of_every_observation() -> None:
    expected = {
        "camera": (6, 6, 3),
        "body": (4,),
        "enemies": (3, 2),
        "order": (),
        "previous_reward": (1,),
    }
    for network in networks(make_policy()):
        assert network.shapes == expected


def test_vectors_and_goals_arrive_normalised_and_the_rest_as_it_was_sent() -> None:
    policy, observation = make_policy(), observe(3, 40)
    policy.normalizer.update({name: values.flatten(0, 1) for name, values in observation.items()})
    run(policy, observation)
    for network in networks(policy):
        assert network.seen.keys() == observation.keys()
        for name in ("camera", "enemies"):
            assert torch.equal(network.seen[name], observation[name].flatten(0, 1))
        for name in ("body", "order", "previous_reward"):
            values = network.seen[name]
            assert values.shape == observation[name].flatten(0, 1).shape
            torch.testing.assert_close(
                values.mean(0), torch.zeros(values.shape[1:]), atol=1e-4, rtol=0
            )
            torch.testing.assert_close(
                values.std(0, correction=0), torch.ones(values.shape[1:]), atol=1e-4, rtol=0
            )


@pytest.mark.parametrize("shared", [False, True])
def test_policy_and_critic_have_one_each_unless_they_share(shared: bool) -> None:
    policy, observation = make_policy(shared=shared), observe(2, 3)
    output = run(policy, observation)
    first, last = networks(policy)[0], networks(policy)[-1]
    assert (first is last) == shared
    assert torch.equal(first.layer.weight, last.layer.weight) == shared
    torch.testing.assert_close(output.value.flatten(0, 1), policy.value_head(last(last.seen)))
    mean = output.distribution.parameters()["action_mean"].flatten(0, 1)
    torch.testing.assert_close(mean, policy.action_head(first(first.seen))[:, :1])


def test_every_parameter_learns() -> None:
    policy = make_policy()
    output = run(policy, observe(2, 8))
    torch.autograd.backward(output.value.sum() + output.distribution.entropy().sum())
    action = output.distribution.mode()
    torch.autograd.backward(run(policy, observe(2, 8)).distribution.log_prob(action).sum())
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_the_seed_decides_its_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first = make_policy(seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again, other = make_policy(seed=3).state_dict(), make_policy(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["backbone.trunk.networks.0.layer.weight"],
        other["backbone.trunk.networks.0.layer.weight"],
    )


def test_it_is_saved_and_loaded_like_any_other() -> None:
    policy, other = make_policy(), make_policy(seed=2)
    observation = observe(1, 6)
    policy.normalizer.update({name: values[0] for name, values in observation.items()})
    other.load_state_dict(policy.state_dict())
    assert torch.equal(run(other, observation).value, run(policy, observation).value)


def test_forgetting_the_critic_leaves_the_actions() -> None:
    policy, observation = make_policy(), observe(1, 6)
    actor = policy.without_critic()
    assert len(networks(actor)) == 1
    for name, values in run(actor, observation).distribution.parameters().items():
        torch.testing.assert_close(values, run(policy, observation).distribution.parameters()[name])


def test_double_precision_is_allowed() -> None:
    policy, observation = make_policy(), observe(1, 6)
    exact = run(copy.deepcopy(policy).double(), observation).value
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), run(policy, observation).value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (Fails, r"cannot be constructed as Class\(observations=\{'camera': .*KeyError: 'lidar'"),
        (NeedsMore, r"cannot be constructed as Class\(.*TypeError: .*'width'"),
        (Sizeless, "has feature_size None; set self.feature_size"),
        (Nothing, "has feature_size 0; set self.feature_size"),
        (FailsLater, "fails for 1 rows of zeros: KeyError: 'lidar'"),
        (Many, "gives a tuple; it must be one tensor"),
        (TooWide, r"gives torch.float32\[1, 6\] for 1 rows; expected torch.float32\[1, 5\]"),
        (OneRow, r"gives torch.float32\[1, 5\] for 3 rows; expected torch.float32\[3, 5\]"),
        (Bytes, r"gives torch.uint8\[1, 5\] for 1 rows; expected torch.float32\[1, 5\]"),
        (Flat, "fails for 1 rows of zeros: IndexError"),
        (Doubles, "has the parameter 'scale' of torch.float64; every parameter must be"),
        (Roots, "gives NaN or infinite features for 16 random rows; guard divisions"),
        (Masked, "gives NaN or infinite features for 1 rows of zeros; guard divisions"),
        (Centred, "gives a row different features in a batch of other rows; each row must be"),
        (Running, "gives a row different features in a batch of other rows; each row must be"),
        (BatchNormalised, "gives a row different features in a batch of other rows; .* layer"),
        (Drops, "gives different features for the same 16 random rows the second time; .* dropout"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_when_the_policy_is_made(
    network: type[nn.Module], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=f"network.custom .*:{network.__name__} {complaint}"):
        make_policy(network)


@pytest.mark.parametrize("network", [LayerNormalised, Constant, Embeds])
@pytest.mark.parametrize("seed", range(5))
def test_a_network_whose_rows_stand_apart_is_accepted(network: type[nn.Module], seed: int) -> None:
    make_policy(network, seed=seed)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no_such_game.networks:Tower", "no_such_game.networks cannot be imported: ModuleNotFound"),
        (f"{__name__}:Tower", "has no torch.nn.Module 'Tower' .it has: Flat, FlatScalars, Fails"),
        (f"{__name__}:DOCS", "has no torch.nn.Module 'DOCS'"),
        ("entrain.errors:ConfigError", "has no torch.nn.Module 'ConfigError' .it has: none"),
    ],
)
def test_a_class_that_cannot_be_found_is_told_with_those_there_are(
    path: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_class(path)


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example of docs/networks.md, as a module in the working directory."""
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "class Tower" in block
    )
    (tmp_path / "documented_networks.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "documented_networks:Tower"
    sys.modules.pop("documented_networks", None)


def test_the_documented_example_works_from_the_working_directory(documented: str) -> None:
    spec = BehaviourSpec("b", (SPEC.observation("camera"), SPEC.observation("body")), SPEC.action)
    config = PolicyConfig(network=NetworkConfig(custom=documented))
    policy = ActorCritic(spec, config, seed=1)
    assert policy.backbone.trunk.feature_size == 64
    seen = {name: observe(2, 3)[name] for name in ("camera", "body")}
    output = policy(seen, policy.initial_state(3), torch.zeros(2, 3) > 0)
    assert output.value.shape == (2, 3, 1)


def test_the_documented_spec_is_one() -> None:
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "BehaviourSpec(" in block
    )
    module = ModuleType("documented_spec")
    exec(example, module.__dict__)
    spec = module.__dict__["spec"]
    assert [observation.kind for observation in spec.observations] == [
        "vector",
        "image",
        "entities",
        "goal",
    ]
    ActorCritic(spec, PolicyConfig(), seed=1)
