"""Why a checkpoint of mlagents-learn cannot become a policy, in words; and what is noted of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint
from entrain.unity.models.stock_names import CONDITIONED_BODY, ENCODER, VALUES
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


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"shared": True}])
def test_another_activation_or_critic_is_refused_with_the_options_that_fit(
    options: dict[str, Any],
) -> None:
    with pytest.raises(
        CheckpointError, match=r"does not fit this policy's networks; .*silu.*shared: false"
    ):
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
        "action.clip is 2; mlagents-learn's networks need 3",
        "observation_clip is 7; mlagents-learn's is 5",
    )
