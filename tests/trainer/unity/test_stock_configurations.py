"""The 39 configurations that come with ML-Agents' example games: read, translated or refused.

The files say what those of release 21 say: keys, names and numbers.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrain.config.load import load_config
from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError
from entrain.unity.conversion import native_yaml
from entrain.unity.stock_file import load_stock
from entrain.unity.translation import translate

STOCK = Path(__file__).parent / "stock"

MISSING = {
    "ppo/Pyramids": ["reward signal curiosity (behaviors.Pyramids)"],
    "ppo/PyramidsRND": ["reward signal rnd (behaviors.Pyramids)"],
    "sac/Pyramids": ["reward signal gail (behaviors.Pyramids)"],
    "sac/Hallway": ["memory with trainer_type sac (behaviors.Hallway)"],
    "poca/SoccerTwos": [
        "trainer_type poca (behaviors.SoccerTwos)",
        "self_play (behaviors.SoccerTwos)",
    ],
    "poca/StrikersVsGoalie": [
        "trainer_type poca (behaviors.Goalie)",
        "self_play (behaviors.Goalie)",
        "trainer_type poca (behaviors.Striker)",
        "self_play (behaviors.Striker)",
    ],
    "imitation/Crawler": [
        "reward signal gail (behaviors.Crawler)",
        "reward_signals without extrinsic (behaviors.Crawler)",
        "behavioral_cloning (behaviors.Crawler)",
    ],
    "imitation/Hallway": ["reward signal gail (behaviors.Hallway)"],
    "imitation/PushBlock": [
        "reward signal gail (behaviors.PushBlock)",
        "behavioral_cloning (behaviors.PushBlock)",
    ],
    "imitation/Pyramids": [
        "reward signal curiosity (behaviors.Pyramids)",
        "reward signal gail (behaviors.Pyramids)",
        "behavioral_cloning (behaviors.Pyramids)",
    ],
}
"""{file: the parts that it needs and are not built}; of poca, those with more than one."""


OPTIONS: Mapping[str, tuple[str, ...]] = {
    "trainer_type": ("algorithm.kind",),
    "max_steps": ("total_steps",),
    "time_horizon": ("algorithm.horizon",),
    "hyperparameters.batch_size": ("algorithm.minibatch_size",),
    "hyperparameters.buffer_size": ("rollout_steps",),
    "hyperparameters.learning_rate": ("algorithm.learning_rate",),
    # The files leave the other schedules out, and then they are the learning rate's.
    "hyperparameters.learning_rate_schedule": (
        "algorithm.learning_rate_schedule",
        "algorithm.clip_range_schedule",
        "algorithm.value_clip_range_schedule",
        "entropy.coefficient_schedule",
    ),
    "hyperparameters.beta": ("entropy.coefficient",),
    "hyperparameters.epsilon": ("algorithm.clip_range", "algorithm.value_clip_range"),
    "hyperparameters.lambd": ("algorithm.gae_lambda",),
    "hyperparameters.num_epoch": ("algorithm.num_epochs",),
    "network_settings.normalize": ("normalize_observations",),
    "network_settings.hidden_units": ("network.image_features",),
    "network_settings.vis_encode_type": ("network.image_encoder",),
    "network_settings.memory.sequence_length": ("network.memory.sequence_length",),
    "reward_signals.extrinsic.gamma": ("discount",),
    "reward_signals.extrinsic.strength": ("reward_scale",),
}
"""{key: options that have its value}, of ppo."""

OPTIONS_OF_SAC: Mapping[str, tuple[str, ...]] = {
    **OPTIONS,
    "time_horizon": (),
    "threaded": ("policy_lag",),
    "hyperparameters.batch_size": ("algorithm.batch_size",),
    "hyperparameters.buffer_size": ("algorithm.replay_size",),
    "hyperparameters.buffer_init_steps": ("algorithm.learning_starts",),
    "hyperparameters.learning_rate": (
        "algorithm.learning_rate",
        "algorithm.temperature_learning_rate",
    ),
    "hyperparameters.learning_rate_schedule": ("algorithm.learning_rate_schedule",),
    "hyperparameters.tau": ("algorithm.target_rate",),
    "hyperparameters.init_entcoef": ("entropy.coefficient",),
}

COMPUTED: Mapping[str, Callable[[PolicyConfig], object]] = {
    "network_settings.num_layers": lambda policy: len(policy.network.hidden_sizes),
    "network_settings.memory.memory_size": lambda policy: 2 * policy.network.memory.size,
    "hyperparameters.steps_per_update": lambda policy: round(
        1.0 / option(policy, "algorithm.updates_per_step"), 9
    ),
}
"""{key: its value, computed from a policy's options}."""

OF_THE_RUN = {"keep_checkpoints": "checkpoints.keep"}
WITHOUT_OPTION = {
    "summary_freq",
    # Of sac.
    "hyperparameters.save_replay_buffer",
    "hyperparameters.reward_signal_steps_per_update",
}


def keys_of(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of each key that is no group."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def option(config: object, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def names() -> list[str]:
    return sorted(str(path.relative_to(STOCK).with_suffix("")) for path in STOCK.rglob("*.yaml"))


def missing_parts(name: str) -> list[str]:
    if name in MISSING:
        return MISSING[name]
    trainer, game = name.split("/")
    return [f"trainer_type poca (behaviors.{game})"] if trainer == "poca" else []


def test_there_are_39() -> None:
    assert len(names()) == 39


@pytest.mark.parametrize("name", names())
def test_each_is_translated_or_refused_by_the_names_of_what_is_missing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = load_stock(STOCK / f"{name}.yaml", {})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    parts = missing_parts(name)
    if parts:
        with pytest.raises(ConfigError) as refusal:
            translate(file)
        assert refusal.value.exit_code == 2
        assert f": not yet in entrain: {'; '.join(parts)}. Nothing was" in str(refusal.value)
        return
    translation = translate(file)
    converted = tmp_path / "native.yaml"
    converted.write_text(native_yaml(translation, file), encoding="utf-8")
    assert load_config(converted, []) == translation.config
    assert set(translation.config.policies) - {"*"} == set(file.run.behaviors)


@pytest.mark.parametrize("name", [name for name in names() if not missing_parts(name)])
def test_every_key_of_a_file_is_found_again_in_its_option(name: str) -> None:
    written = yaml.safe_load((STOCK / f"{name}.yaml").read_text(encoding="utf-8"))
    config = translate(load_stock(STOCK / f"{name}.yaml", {})).config
    for behaviour, settings in written["behaviors"].items():
        policy = config.policies[behaviour]
        for key, value in keys_of(settings):
            if key in COMPUTED:
                found = [COMPUTED[key](policy)]
            elif key in OF_THE_RUN:
                found = [option(config, OF_THE_RUN[key])]
            else:
                is_sac = policy.algorithm.kind == "sac"
                options = OPTIONS_OF_SAC if is_sac else OPTIONS
                found = [option(policy, path) for path in options.get(key, ())]
                assert found or key in WITHOUT_OPTION or (is_sac and key == "time_horizon"), key
            assert set(found) <= {value}, key
