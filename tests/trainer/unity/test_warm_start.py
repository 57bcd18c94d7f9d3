"""Why a checkpoint of mlagents-learn cannot become a policy, in words; and what is noted of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.transfer import take_over
from entrain.unity.models.correspondence import their_tensors
from entrain.unity.models.stock_checkpoint import StockCheckpoint, load_stock_checkpoint
from entrain.unity.models.stock_names import (
    BODY,
    CONDITIONED_BODY,
    CRITIC,
    ENCODER,
    GAUSSIAN,
    LSTM,
    POLICY,
    PROCESSORS,
    VALUES,
)
from entrain.unity.models.warm_start import (
    apply_stock_checkpoint,
    checkpoint_misfit,
    network_misfit,
)
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

CHECKPOINT = load_stock_checkpoint(
    Path(__file__).parents[2] / "cases" / "stock_run" / "3DBall" / "checkpoint.pt"
)
SPEC = BehaviourSpec(
    "3DBall", (ObservationSpec("seen", (8,)),), ActionSpec((-1.0,) * 2, (1.0,) * 2)
)


def policy(*, action: Any = None, clip: float = 5.0, **network: Any) -> ActorCritic:
    """One that fits, but for these options."""
    config = PolicyConfig.model_validate(
        {
            "network": {"activation": "silu", "hidden_sizes": (8, 8), "shared": False, **network},
            "action": action or {"clip": 3.0},
            "observation_clip": clip,
            "normalize_observations": True,
        }
    )
    return ActorCritic(SPEC, config, seed=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_norm": True}, "have no layer_norm, previous_action or previous_reward"),
        ({"previous_action": True}, "have no layer_norm, previous_action or previous_reward"),
        ({"previous_reward": True}, "have no layer_norm, previous_action or previous_reward"),
        ({"action": {"distribution": "squashed_gaussian"}}, "set action.distribution: gaussian"),
        ({"memory": {"kind": "gru", "size": 4}}, "its memory is one layer of an LSTM"),
        ({"memory": {"kind": "lstm", "size": 4, "layers": 2}}, "kind: lstm, layers: 1"),
    ],
)
def test_a_network_that_mlagents_learn_has_not_is_refused_with_what_to_set(
    options: dict[str, Any], words: str
) -> None:
    other = policy(**options)
    assert words in network_misfit(other)
    with pytest.raises(CheckpointError, match=words):
        apply_stock_checkpoint(CHECKPOINT, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": "tanh"}, "trained with network.activation silu, and this policy's is tanh"),
        ({"shared": True}, "a critic; that policy's has layers of its own"),
        ({"memory": {"kind": "lstm", "size": 4}}, "that policy has no memory"),
    ],
)
def test_other_layers_are_refused_with_the_options_that_fit(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"{words}.*; it needs .*silu.*shared: false"):
        apply_stock_checkpoint(CHECKPOINT, policy(**options))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{ENCODER}.processors.0.conv1.weight", "images or entities"),
        (f"{CONDITIONED_BODY}.weight", "act by a hypernetwork"),
    ],
)
def test_a_checkpoint_of_images_or_hypernetworks_is_said_to_be_one(name: str, words: str) -> None:
    assert checkpoint_misfit(CHECKPOINT) == ""
    other = replace(CHECKPOINT, policy={**CHECKPOINT.policy, name: torch.zeros(2)})
    assert words in checkpoint_misfit(other)


def test_what_computes_otherwise_or_is_not_taken_over_is_noted() -> None:
    more = {f"{VALUES}.curiosity.weight": torch.zeros(1, 8)}
    checkpoint = replace(CHECKPOINT, critic={**CHECKPOINT.critic, **more}, others=("Module:GAIL",))
    assert len(apply_stock_checkpoint(CHECKPOINT, policy())) == 1
    notes = apply_stock_checkpoint(checkpoint, policy(action={"clip": 2.0}, clip=7.0))
    assert notes[1:] == (
        "not taken over: values of curiosity, which are not built yet",
        "not taken over: 'Module:GAIL', which is of a part that is not built yet",
        "observation_clip was 5 and is 7: its layers are shown other numbers beyond the smaller "
        "one",
        "the same outputs are other actions now: action.clip 2 instead of 3",
    )


# One path: a checkpoint is taken over as the policy of ours that it is


MEMORY: dict[str, Any] = {"memory": {"kind": "lstm", "size": 4}}
SEEN, GOAL = ObservationSpec("seen", (8,)), ObservationSpec("goal", (3,), kind="goal")
CAMERA = ObservationSpec("camera", (8, 8, 1), "uint8")


def made(
    seed: int,
    seen: tuple[ObservationSpec, ...] = (SEEN,),
    acts: ActionSpec = SPEC.action,
    *,
    normalizes: bool = True,
    **network: Any,
) -> ActorCritic:
    """A policy that mlagents-learn may have as well, but for images and layer_norm."""
    layers = {"activation": "silu", "hidden_sizes": (8, 8), "goal_conditioning": "concatenate"}
    config = PolicyConfig.model_validate(
        {
            "network": {**layers, **network},
            "action": {"clip": 3.0},
            "observation_clip": 5.0,
            "normalize_observations": normalizes,
            "normalize_values": False,
        }
    )
    new = ActorCritic(BehaviourSpec("3DBall", seen, acts), config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    sizes = new.normalizer.size_by_name.items()
    new.normalizer.update(
        {name: torch.randn(9 + seed, size, generator=generator) + seed for name, size in sizes}
    )
    return new


def checkpoint_of(trained: ActorCritic) -> StockCheckpoint:
    """What mlagents-learn would keep of it."""
    tensors = {
        part: {name: it.detach().clone() for name, it in each.items()}
        for part, each in their_tensors(trained).items()
    }
    return replace(CHECKPOINT, policy=tensors[POLICY], critic=tensors[CRITIC])


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ({}, {}),
        ({"normalizes": False}, {"normalizes": False}),
        ({"seen": (GOAL, SEEN)}, {"seen": (GOAL, SEEN)}),
        ({}, {"seen": (ObservationSpec("seen", (5,)),)}),
        ({"seen": (SEEN, GOAL)}, {"seen": (SEEN,)}),
        ({"normalizes": False}, {"seen": (SEEN, CAMERA), "normalizes": False}),
        ({}, {"hidden_sizes": (8, 8, 8)}),
        ({"hidden_sizes": (8, 8, 8)}, {}),
        ({"hidden_sizes": (8, 6)}, {}),
        (MEMORY, MEMORY),
        (MEMORY, {}),
        ({}, MEMORY),
        (MEMORY, {"memory": {"kind": "lstm", "size": 4, "layers": 2}}),
        ({}, {"layer_norm": True}),
        ({"shared": True}, {}),
        ({"shared": True, **MEMORY}, {"shared": True, **MEMORY}),
        ({}, {"acts": ActionSpec((-1.0,) * 2, (1.0,) * 2, (3, 2))}),
        ({"acts": ActionSpec(branches=(3, 2))}, {"acts": ActionSpec(branches=(3, 2))}),
    ],
)
def test_a_checkpoint_is_taken_over_as_the_policy_that_it_is_of(
    was: dict[str, Any], now: dict[str, Any]
) -> None:
    trained, expected, new = made(1, **was), made(2, **now), made(2, **now)
    taken = take_over(trained, expected)
    notes = apply_stock_checkpoint(checkpoint_of(trained), new, partly=True)
    assert notes[0].startswith(f"{taken.number} tensors")
    names = [it.name for it in trained.spec.observations]
    told = "\n".join(notes[1:])
    # A checkpoint knows no names; they are the policy's where it has as many sensors.
    for index, name in enumerate(names):
        told = told.replace(f"sensor {index}", name)
    assert told.replace("goal: float32", "goal: goal float32") == "\n".join(
        (*taken.left, *taken.changed)
    )
    arrived = new.state_dict()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(arrived[name], tensor, rtol=2e-6, atol=2e-6, msg=name)


def test_no_bias_comes_without_its_weight_and_no_head_without_what_it_read() -> None:
    trained, new = made(1, hidden_sizes=(8, 6)), made(2)
    before = {name: it.clone() for name, it in new.state_dict().items()}
    notes = apply_stock_checkpoint(checkpoint_of(trained), new, partly=True)
    first = "backbone.trunk.hidden_layers.layers.0."
    for name, tensor in new.named_parameters():
        source = trained.state_dict() if name.startswith(first) else before
        torch.testing.assert_close(tensor, source[name], rtol=1e-6, atol=1e-6, msg=name)
    assert notes[2:] == (
        "not taken over: its action head: the layers before it are others",
        "not taken over: its critic's last layer: the layers before it are others",
    )


def test_a_checkpoint_that_valued_no_rewards_gives_its_actor_alone() -> None:
    whole, new = checkpoint_of(made(1)), made(2)
    before = {name: it.clone() for name, it in new.state_dict().items()}
    critic = {name: it for name, it in whole.critic.items() if not name.startswith(VALUES)}
    of_others = {f"{VALUES}.gail.weight": torch.zeros(1, 8)}
    notes = apply_stock_checkpoint(replace(whole, critic={**critic, **of_others}), new, partly=True)
    assert notes[1:] == (
        "not taken over: a critic; that policy has none",
        "not taken over: values of gail, which are not built yet",
    )
    for name, tensor in new.named_parameters():
        if name.startswith("backbone"):
            assert torch.equal(tensor[0], made(1).get_parameter(name)[0])
            assert torch.equal(tensor[1], before[name][1])
        elif name.startswith("value_head"):
            assert torch.equal(tensor, before[name])


FIRST, SECOND = f"{BODY}.0.weight", f"{BODY}.2.weight"
STATISTICS = f"{PROCESSORS}.0.normalizer"


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        (FIRST, None, "it has no .*0.weight'"),
        (FIRST, torch.zeros(8), r"0.weight' is \[8\], and must be a matrix; it is damaged"),
        (FIRST, torch.zeros(0, 8), r"is \[0, 8\], and must be a matrix"),
        (FIRST, torch.zeros(8, 9), r"statistics of \[8\] numbers, and its first layer reads 9"),
        # Made a network of these sizes, it would be of 10 ** 12 numbers.
        (SECOND, torch.zeros(10**6, 1), r"is \[1000000, 1\], and must be a matrix of 8 columns"),
        (f"{BODY}.2.bias", None, "the actor's .*2.bias' is not there, its other tensors need"),
        (f"{BODY}.2.bias", torch.zeros(7), r"2.bias' is \[7\], its other tensors need \[8\]"),
        (f"{LSTM}.weight_ih_l0", torch.zeros(16, 8), r"hh_l0' is \[\], and must be a matrix of 4"),
        (f"{GAUSSIAN}.mu.weight", None, "it has no layer of actions"),
        (f"{STATISTICS}.running_mean", None, r"statistics of \[0\] numbers"),
        (f"{STATISTICS}.running_variance", torch.zeros(7), "has 7 numbers, .* needs 8"),
        (f"{STATISTICS}.running_variance", -torch.ones(8), "of negative variance"),
        (f"{STATISTICS}.normalization_steps", torch.zeros(1), "are of no rows"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_nothing_is_changed(
    name: str, tensor: torch.Tensor | None, words: str
) -> None:
    new = policy()
    before = {name: it.clone() for name, it in new.state_dict().items()}
    tensors = {key: it for key, it in CHECKPOINT.policy.items() if key != name}
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(CheckpointError, match=words):
        apply_stock_checkpoint(replace(CHECKPOINT, policy=tensors), new, partly=True)
    assert all(torch.equal(it, before[name]) for name, it in new.state_dict().items())


def test_an_lstm_whose_tensors_do_not_fit_each_other_is_damaged() -> None:
    lstm = {
        f"{LSTM}.weight_ih_l0": torch.zeros(16, 8),
        f"{LSTM}.weight_hh_l0": torch.zeros(12, 4),
    }
    checkpoint = replace(CHECKPOINT, policy={**CHECKPOINT.policy, **lstm})
    with pytest.raises(CheckpointError, match=r"is \[12, 4\], which is none of an LSTM with 16"):
        apply_stock_checkpoint(checkpoint, policy())


def test_progress_needs_the_same_sensors_and_statistics() -> None:
    checkpoint = checkpoint_of(made(1))
    with pytest.raises(CheckpointError, match=r"with normalize; set normalize_observations: true"):
        apply_stock_checkpoint(checkpoint, made(2, normalizes=False))
    with pytest.raises(CheckpointError, match=r"without normalize; set normalize_obs.*: false"):
        apply_stock_checkpoint(checkpoint_of(made(1, normalizes=False)), made(2))
    halves = tuple(ObservationSpec(name, (4,)) for name in "ab")
    with pytest.raises(CheckpointError, match=r"sensor 0: float32\[8\] and are a: float32\[4\], b"):
        apply_stock_checkpoint(checkpoint, made(2, halves))
