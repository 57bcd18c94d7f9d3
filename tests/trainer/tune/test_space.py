"""Chosen values become settings; what another kind has is left out."""

from pathlib import Path
from typing import Any

from entrain.config.algorithm import PPOConfig
from entrain.config.load import validated
from entrain.config.source import Source
from entrain.tune.service import Tuning
from entrain.tune.space import Searched
from support.made_up_tunings import SETTINGS, TuningWorld

GRAVITY = """\
name: hop
runs_directory: {runs}
simulators:
  launch:
    - command: a-simulator
environment_parameters:
  gravity: {{kind: uniform, low: 8.0, high: 12.0, seed: 3}}
search:
  options:
    environment_parameters.gravity.high: {{low: 9.0, high: 20.0}}
    environment_parameters.gravity.standard_deviation: {{low: 0.1, high: 2.0}}
    environment_parameters.gravity.kind: {{choices: [uniform, gaussian]}}
"""


def chosen(folder: Path, text: str, values: dict[str, Any]) -> tuple[Source, dict[str, Any]]:
    """The settings with values, given by the ends of the options' paths, and what was asked for."""

    def choose(option: Searched) -> Any:
        return values[str(option.path[-1])]

    space = Tuning.read(TuningWorld(folder, text).options()).space
    settings, asked = space.settings_with(choose)
    return settings, {name.rpartition(".")[2]: value for name, value in asked.items()}


def test_chosen_values_are_put_into_the_settings_and_nothing_else_changes(tmp_path: Path) -> None:
    values = {"learning_rate": 2e-3, "num_epochs": 6, "hidden_sizes": [64, 64]}
    settings, asked = chosen(tmp_path, SETTINGS, values)
    assert asked == values
    config = validated(settings)
    policy = config.policies["hopper"]
    ppo = policy.algorithm
    assert isinstance(ppo, PPOConfig)
    assert (ppo.learning_rate, ppo.num_epochs, ppo.minibatch_size) == (2e-3, 6, 32)
    assert (policy.total_steps, policy.network.hidden_sizes) == (1000, (64, 64))
    assert config.search is None


def test_choosing_twice_begins_with_the_settings_of_the_file(tmp_path: Path) -> None:
    space = Tuning.read(TuningWorld(tmp_path).options()).space
    first = {"learning_rate": 2e-3, "num_epochs": 6, "hidden_sizes": [64]}
    before, _ = space.settings_with(lambda option: first[str(option.path[-1])])
    after, _ = space.settings_with(lambda option: first[str(option.path[-1])])
    assert before.values == after.values
    assert before.values is not after.values


def test_an_option_of_another_kind_is_not_asked_for(tmp_path: Path) -> None:
    values = {"kind": "uniform", "high": 15.0, "standard_deviation": 1.0}
    settings, asked = chosen(tmp_path, GRAVITY, values)
    assert asked == {"kind": "uniform", "high": 15.0}
    gravity = settings.values["environment_parameters"]["gravity"]
    assert gravity == {"kind": "uniform", "low": 8.0, "high": 15.0, "seed": 3}


def test_what_the_file_says_of_another_kind_is_left_out_with_a_new_kind(tmp_path: Path) -> None:
    values = {"kind": "gaussian", "high": 15.0, "standard_deviation": 1.5}
    settings, asked = chosen(tmp_path, GRAVITY, values)
    assert asked == {"kind": "gaussian", "standard_deviation": 1.5}
    gravity = settings.values["environment_parameters"]["gravity"]
    assert gravity == {"kind": "gaussian", "seed": 3, "standard_deviation": 1.5}
    validated(settings)


def test_an_algorithm_is_chosen_with_the_options_that_only_it_has(tmp_path: Path) -> None:
    options = """\
    policies.hopper.algorithm.num_epochs: {{low: 2, high: 20}}
    policies.hopper.algorithm.kind: {{choices: [ppo, soft_q]}}
    policies.hopper.algorithm.updates_per_step: {{low: 0.1, high: 2.0}}
"""
    text = SETTINGS.partition("    policies.hopper.algorithm.learning")[0] + options
    values = {"kind": "ppo", "num_epochs": 6, "updates_per_step": 0.5}
    (tmp_path / "ppo").mkdir()
    _, asked = chosen(tmp_path / "ppo", text, values)
    assert asked == {"kind": "ppo", "num_epochs": 6}
    settings, asked = chosen(tmp_path, text, {**values, "kind": "soft_q"})
    assert asked == {"kind": "soft_q", "updates_per_step": 0.5}
    # The minibatch_size of the file is PPO's alone.
    algorithm = {"kind": "soft_q", "updates_per_step": 0.5}
    assert settings.values["policies"]["hopper"]["algorithm"] == algorithm
    validated(settings)


def test_labels_are_as_short_as_they_may_be(tmp_path: Path) -> None:
    two = """\
    policies.hopper.algorithm.clip_range: {{low: 0.1, high: 0.3}}
    policies.hopper.algorithm.final_clip_range: {{low: 0.1, high: 0.3}}
    policies.hopper.entropy.coefficient: {{low: 0.1, high: 0.3}}
    policies.walker.entropy.coefficient: {{low: 0.1, high: 0.3}}
"""
    text = SETTINGS.partition("    policies.hopper.algorithm.learning")[0] + two
    text = text.replace("policies:\n", "policies:\n  walker: {{}}\n")
    labels = Tuning.read(TuningWorld(tmp_path, text).options()).space.labels
    assert set(labels.values()) == {
        "clip_range",
        "final_clip_range",
        "hopper.entropy.coefficient",
        "walker.entropy.coefficient",
    }


def test_an_option_of_an_entry_of_a_list_is_varied_too(tmp_path: Path) -> None:
    text = SETTINGS + "    simulators.launch.0.count: {{choices: [1, 2]}}\n"
    values = {"learning_rate": 2e-3, "num_epochs": 6, "hidden_sizes": [64], "count": 2}
    settings, _ = chosen(tmp_path, text, values)
    assert validated(settings).simulators.launch[0].count == 2
