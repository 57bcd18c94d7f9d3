"""Weights for a policy of other layers or inputs: nothing half, nothing in silence."""

from collections import defaultdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, make_policy
from entrain.policy.transfer import TakenOver, take_over
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

X = ObservationSpec("x", (3,))
CAMERA = ObservationSpec("camera", (8, 8, 1), "uint8", "image")
FORCES = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2)
LSTM: dict[str, Any] = {"memory": {"kind": "lstm", "size": 4}}
SAC: dict[str, Any] = {"algorithm": {"kind": "sac"}}


def made(
    seed: int,
    seen: tuple[ObservationSpec, ...] = (X,),
    acts: ActionSpec = FORCES,
    *,
    network: dict[str, Any] | None = None,
    **options: Any,
) -> ActorNetwork:
    """A policy that has no weight or statistic in common with one of another seed."""
    layers = {"hidden_sizes": (4, 4), "activation": "tanh", **(network or {})}
    config = PolicyConfig.model_validate({"network": layers, **options})
    policy = make_policy(BehaviourSpec("A", seen, acts), config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    rows = policy.normalizer.size_by_name.items()
    policy.normalizer.update({name: torch.randn(9 + seed, size) + seed for name, size in rows})
    if isinstance(policy, ActorCritic):
        for _ in range(seed):
            policy.value_head.follow(torch.randn(5, 1, generator=generator) + seed)
    return policy


def weights(of: ActorNetwork) -> dict[str, torch.Tensor]:
    return {name: it.clone() for name, it in of.state_dict().items()}


def heads_of(of: ActorNetwork) -> dict[str, torch.Tensor]:
    return {name: it for name, it in weights(of).items() if "head" in name}


OTHERS = "the layers before it are others"
HEADS = (
    f"not taken over: its action head: {OTHERS}",
    f"not taken over: its critic's last layer: {OTHERS}",
)


@pytest.mark.parametrize(
    ("was", "now", "lacking", "behind"),
    [
        ({"hidden_sizes": (4, 4, 4)}, {}, "", "hidden layer 3"),
        ({}, {"hidden_sizes": (4, 4, 4)}, "that policy has no hidden layer 3", ""),
        (LSTM, {}, "", "memory"),
        ({}, LSTM, "that policy has no memory", ""),
        ({"memory": {**LSTM["memory"], "layers": 2}}, LSTM, "", "layer 2 of memory"),
        ({"layer_norm": True}, {}, "", "layer normalisation"),
        ({}, {"layer_norm": True}, "that policy has no layer normalisation", ""),
        (
            LSTM,
            {"memory": {"kind": "gru", "size": 4}},
            "its memory, of kind lstm; this policy's is of kind gru",
            "",
        ),
        (
            # Gates of 4 * 4 and of 2 * 8 numbers: tensors of the same shapes.
            LSTM,
            {"memory": {"kind": "mingru", "size": 8}},
            "its memory, of kind lstm; this policy's is of kind mingru",
            "",
        ),
    ],
)
def test_last_layers_keep_weights_of_chance_where_those_before_are_others(
    was: dict[str, Any], now: dict[str, Any], lacking: str, behind: str
) -> None:
    trained, new = made(1, network=was), made(2, network=now)
    theirs, before = weights(trained), weights(new)
    taken = take_over(trained, new)
    lacks = [f"not taken over: {lacking}"] if lacking else []
    more = [f"left behind: this policy has no {behind}"] if behind else []
    assert taken.left == (*lacks, *HEADS, *more)
    assert taken.changed == ()
    is_other_kind = lacking.startswith("its memory")
    for name, tensor in weights(new).items():
        fits = name.startswith("backbone.memory." if not is_other_kind else "backbone.trunk.")
        fits |= name.startswith("backbone.trunk.")
        source = theirs if fits and name in theirs else before
        assert torch.equal(tensor, source[name]), name


def test_a_policy_with_memory_does_not_become_an_actor_of_sac_in_silence() -> None:
    trained, actor = made(1, network=LSTM), made(2, **SAC, action={"log_sigma_sq": "network"})
    before = heads_of(actor)
    taken = take_over(trained, actor)
    assert taken.left == (HEADS[0], "left behind: this policy has no memory")
    for name, tensor in heads_of(actor).items():
        assert torch.equal(tensor, before[name])


def test_an_encoder_that_is_gone_or_another_one_is_named_once() -> None:
    seen = (X, CAMERA)
    assert take_over(made(1, seen), made(2, seen, network={"image_encoder": "resnet"})).left == (
        "not taken over: its encoder of 'camera', small; this policy's is resnet",
        *HEADS,
    )
    trained, new = made(1, seen), made(2)
    taken = take_over(trained, new)
    assert taken.left[1:] == (*HEADS, "left behind: this policy has no encoder of 'camera'")
    assert "layers.0.weight' is [2, 131, 4], this policy needs [2, 3, 4]" in taken.left[0]
    # Statistics of the same numbers are kept wherever the networks keep them.
    assert torch.equal(new.normalizer.mean, trained.normalizer.mean)


@pytest.mark.parametrize("is_shorter", [True, False])
def test_hidden_layers_that_goals_generate_are_others(is_shorter: bool) -> None:
    seen = (X, ObservationSpec("goal", (2,), kind="goal"))
    plain = {"goal_conditioning": "concatenate"}
    with pytest.raises(CheckpointError, match="that policy has no hidden layers none of which"):
        take_over(made(1, seen), made(2, seen, network=plain))
    with pytest.raises(CheckpointError, match="no hidden layers before the one that goals gen"):
        take_over(made(1, seen, network=plain), made(2, seen))
    sizes = {"hidden_sizes": (4, 4, 4)}
    was, now = (sizes, {}) if is_shorter else ({}, sizes)
    taken = take_over(made(1, seen, network=was), made(2, seen, network=now))
    words = "left behind: this policy has" if is_shorter else "not taken over: that policy has"
    assert f"{words} no hidden layer 2" in taken.left
    assert set(HEADS) < set(taken.left)


def test_the_last_layers_need_the_layer_that_they_read() -> None:
    trained = made(1, network={"hidden_sizes": (4, 4, 4)})
    new = made(2, network={"hidden_sizes": (4, 6, 4)})
    before = heads_of(new)
    taken = take_over(trained, new)
    assert taken.left[2:] == HEADS
    for name, tensor in heads_of(new).items():
        assert torch.equal(tensor, before[name])
    # An earlier layer of another size is learned anew, and what comes after it is kept.
    new = made(2, (ObservationSpec("x", (5,)),))
    assert len(take_over(made(1), new).left) == 2
    assert torch.equal(new.action_head.weight, made(1).action_head.weight)


def test_the_layers_of_a_network_of_ones_own_are_named_as_such() -> None:
    own = {"custom": f"{__name__}:Tower"}
    with pytest.raises(CheckpointError, match="that policy has no hidden layers"):
        take_over(made(1, network=own), made(2))
    with pytest.raises(CheckpointError, match=r"that policy has no layers of network\.custom"):
        take_over(made(1), made(2, network=own))
    other = {"custom": f"{__name__}:OtherTower"}
    assert take_over(made(1, network=own), made(2, network=other)).changed == (
        f"network.custom was {__name__}:Tower and is {__name__}:OtherTower",
    )


class Tower(torch.nn.Module):
    feature_size = 4

    def __init__(self, observations: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(observations["x"][0], 4)

    def forward(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        features: torch.Tensor = self.layer(observation["x"])
        return features


class OtherTower(Tower):
    pass


# Whole layers


WIDTHS = st.lists(st.sampled_from([3, 4]), min_size=1, max_size=3).map(tuple)
NETWORKS = st.fixed_dictionaries(
    {
        "hidden_sizes": WIDTHS,
        "layer_norm": st.booleans(),
        "previous_reward": st.booleans(),
        "memory": st.sampled_from([{}, LSTM["memory"], {"kind": "mingru", "size": 8}]),
    }
)


@settings(max_examples=25, deadline=None)
@given(was=NETWORKS, now=NETWORKS)
def test_every_layer_is_taken_over_as_a_whole_or_not_at_all(
    was: dict[str, Any], now: dict[str, Any]
) -> None:
    trained, new = made(1, network=was), made(2, network=now)
    theirs, before = weights(trained), weights(new)
    try:
        taken = take_over(trained, new)
    except CheckpointError:
        after = weights(new)
        assert all(torch.equal(after[name], before[name]) for name in before)
        return
    found = defaultdict(set)
    for name, tensor in weights(new).items():
        is_theirs = name in theirs and torch.equal(tensor, theirs[name])
        assert is_theirs or torch.equal(tensor, before[name])
        module = name.rpartition(".")[0]
        found[module].add(is_theirs)
        # A scale and shift, a spread and statistics are nothing without their layer.
        if module.endswith((".norm", ".spread", "value_head.normalizer")) and is_theirs:
            found[module.rpartition(".")[0]].add(is_theirs)
    assert all(len(each) == 1 for each in found.values()), found
    is_whole = set(theirs) == set(before) and all(each == {True} for each in found.values())
    assert is_whole == (not taken.left)


def test_a_bias_is_not_kept_beside_weights_of_chance() -> None:
    trained, new = made(1), made(2, (ObservationSpec("x", (5,)),))
    name = "backbone.trunk.hidden_layers.layers.0.bias"
    before = weights(new)[name]
    assert take_over(trained, new).left == (
        "not taken over: 'backbone.trunk.encoder.mean' is [3], this policy needs [5]",
        "not taken over: 'backbone.trunk.hidden_layers.layers.0.weight' is [2, 3, 4], this policy "
        "needs [2, 5, 4]",
    )
    assert torch.equal(new.get_parameter(name), before)


# The same shapes with another meaning


Y = ObservationSpec("y", (3,))
BYTES = ObservationSpec("x", (3,), "uint8")
FIGURE = ObservationSpec("camera", (8, 8, 1), "float32", "image")
ENTITIES = ObservationSpec("all", (2, 3), kind="entities")
RAW: dict[str, Any] = {"normalize_observations": False}


def bounded(by: float, of: ObservationSpec = X) -> ObservationSpec:
    return ObservationSpec(of.name, of.shape, of.dtype, of.kind, (-by,), (by,))


@pytest.mark.parametrize(
    ("was", "now", "options", "words"),
    [
        ((X, Y), (Y, X), {}, "x: float32[3], y: float32[3] and are y: float32[3], x: float32[3]"),
        ((BYTES,), (X,), {}, "x: uint8[3] and are x: float32[3]"),
        (
            (BYTES,),
            (X,),
            RAW,
            "x: uint8[3] and are x: float32[3]; their numbers are scaled as they were then",
        ),
        (
            (X, CAMERA),
            (X, FIGURE),
            {},
            "camera: uint8[8, 8, 1] and are camera: float32[8, 8, 1]",
        ),
        (
            (X, Y),
            (X, ObservationSpec("y", (3,), kind="goal")),
            {"network": {"goal_conditioning": "concatenate"}},
            "y: float32[3] and are y: goal float32[3]",
        ),
        (
            (bounded(1),),
            (bounded(180),),
            {},
            "x: float32[3] from -1 to 1 and are x: float32[3] from -180 to 180",
        ),
        (
            (X,),
            (bounded(180),),
            RAW,
            "x: float32[3] and are x: float32[3] from -180 to 180; their numbers are scaled as "
            "they were then",
        ),
        (
            (X, FIGURE),
            (X, bounded(4, FIGURE)),
            {},
            "camera: float32[8, 8, 1] and are camera: float32[8, 8, 1] from -4 to 4",
        ),
    ],
)
def test_observations_that_mean_something_else_are_named(
    was: tuple[ObservationSpec, ...],
    now: tuple[ObservationSpec, ...],
    options: dict[str, Any],
    words: str,
) -> None:
    taken = take_over(made(1, was, **options), made(2, now, **options))
    assert taken.left == ()
    assert taken.changed == (f"its observations were {words}",)


@pytest.mark.parametrize(
    ("was", "now", "options"),
    [
        # Statistics decide, whatever the bounds are that were not known; -1 to 1 is no scale.
        ((X,), (bounded(180),), {}),
        ((X,), (bounded(1),), RAW),
        ((X, ENTITIES), (X, bounded(3, ENTITIES)), {}),
        ((X, CAMERA), (X, CAMERA), {}),
    ],
)
def test_the_same_observations_are_not_named(
    was: tuple[ObservationSpec, ...], now: tuple[ObservationSpec, ...], options: dict[str, Any]
) -> None:
    taken = take_over(made(1, was, **options), made(2, now, **options))
    assert taken == TakenOver(taken.number, (), ())


def test_a_previous_action_is_no_previous_reward() -> None:
    wheel = ActionSpec((-1.0,), (1.0,))
    trained = made(1, acts=wheel, network={"previous_action": True})
    taken = take_over(trained, made(2, acts=wheel, network={"previous_reward": True}))
    assert taken.changed == (
        "its observations were previous_action: float32[1] and are previous_reward: float32[1]",
    )


def test_other_heads_over_entities_are_named() -> None:
    seen = (X, ENTITIES)
    taken = take_over(made(1, seen), made(2, seen, network={"entity_heads": 2}))
    assert taken.left == ()
    assert taken.changed == (
        "network.entity_heads was 4 and is 2, with which the same weights attend to other things",
    )
    assert take_over(made(1), made(2, network={"entity_heads": 2})).changed == ()


def test_actions_that_lose_their_bounds_are_named() -> None:
    free = ActionSpec((-float("inf"),) * 2, (float("inf"),) * 2)
    assert take_over(made(1), made(2, acts=free)).changed == (
        "the same outputs are other actions now: bounds -inf to inf instead of -1 to 1",
    )
