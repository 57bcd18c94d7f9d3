"""Options of algorithms with a replay: their defaults of a policy, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from entrain.config.algorithm import PPOConfig
from entrain.config.load import load_config, to_yaml
from entrain.config.off_policy import SoftQConfig
from entrain.config.policy import EntropyConfig, NetworkConfig, PolicyConfig, algorithm_options
from entrain.config.run import RunConfig
from entrain.config.sac import BatchNormConfig, SACConfig
from entrain.errors import ConfigError


def policy_of(tmp_path: Path, text: str, *overrides: str) -> PolicyConfig:
    path = tmp_path / "walk.yaml"
    path.write_text(f"policies:\n  walker: {text}\n", encoding="utf-8")
    return load_config(path, overrides).policies["walker"]


@pytest.mark.parametrize(
    ("text", "rollout_steps", "objective", "coefficient"),
    [
        ("{}", 2048, "bonus", 0.0),
        ("{algorithm: {kind: ppo}}", 2048, "bonus", 0.0),
        ("{algorithm: {kind: soft_q}}", 64, "soft_return", 0.01),
        ("{algorithm: {kind: soft_q}, entropy: }", 64, "soft_return", 0.01),
        ("{algorithm: {kind: soft_q}, rollout_steps: 7}", 7, "soft_return", 0.01),
        ("{algorithm: {kind: soft_q}, entropy: {coefficient: 2}}", 64, "soft_return", 2.0),
    ],
)
def test_an_option_that_is_not_given_has_the_default_of_its_algorithm(
    tmp_path: Path, text: str, rollout_steps: int, objective: str, coefficient: float
) -> None:
    options = policy_of(tmp_path, text)
    assert options.rollout_steps == rollout_steps
    assert options.normalize_values == (objective == "bonus")
    assert (options.entropy.objective, options.entropy.coefficient) == (objective, coefficient)
    # What was written of it is read back as it is.
    (tmp_path / "whole.yaml").write_text(
        to_yaml(RunConfig(policies={"walker": options})), encoding="utf-8"
    )
    assert load_config(tmp_path / "whole.yaml", []).policies["walker"] == options


@pytest.mark.parametrize("entropy", ["{coefficient: 0.2}", "{coefficient: 0.2, target: null}"])
def test_a_fixed_temperature_of_sac_stays_fixed_in_a_run_that_goes_on(
    tmp_path: Path, entropy: str
) -> None:
    options = policy_of(tmp_path, f"{{algorithm: {{kind: sac}}, entropy: {entropy}}}")
    assert options.entropy.target is None
    whole = tmp_path / "whole.yaml"
    whole.write_text(to_yaml(RunConfig(policies={"walker": options})), encoding="utf-8")
    assert load_config(whole, []).policies["walker"] == options
    again = load_config(whole, ["policies.walker.entropy.target={}"]).policies["walker"]
    assert again.entropy.target is not None


@pytest.mark.parametrize("entropy", ["{target: null}", "{target: null, objective: soft_return}"])
def test_sac_without_a_target_needs_a_temperature_in_words(tmp_path: Path, entropy: str) -> None:
    words = (
        "entropy.target is null and entropy.coefficient is not given; without a target the "
        "temperature is entropy.coefficient, fixed or on a schedule: give it, such as 0.1"
    )
    with pytest.raises(ConfigError) as caught:
        policy_of(tmp_path, f"{{algorithm: {{kind: sac}}, entropy: {entropy}}}")
    assert words in str(caught.value)
    with pytest.raises(ValidationError, match=r"entropy\.coefficient is not given"):
        PolicyConfig(algorithm=SACConfig(), entropy=EntropyConfig(target=None))


SCHEDULE = "coefficient_schedule: linear, final_coefficient: 0.01"


@pytest.mark.parametrize(
    ("kind", "entropy"),
    [
        ("sac", f"{{{SCHEDULE}}}"),
        ("sac", f"{{{SCHEDULE}, coefficient: 1.0, target: {{}}}}"),
        ("ppo", f"{{{SCHEDULE}, coefficient: 1.0, target: {{}}}}"),
    ],
)
def test_a_schedule_beside_a_target_is_refused(tmp_path: Path, kind: str, entropy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(tmp_path, f"{{algorithm: {{kind: {kind}}}, entropy: {entropy}}}")
    assert (
        "coefficient_schedule is linear, which has no effect beside a target, and algorithm.kind "
        "sac has one unless coefficient is given: leave the schedule out, or give its first value, "
        "coefficient, and no target"
    ) in str(caught.value)


@pytest.mark.parametrize("target", ["", ", target: null"])
def test_sac_takes_a_schedule_with_its_first_value(tmp_path: Path, target: str) -> None:
    entropy = f"{{coefficient: 0.5, {SCHEDULE}{target}}}"
    options = policy_of(tmp_path, f"{{algorithm: {{kind: sac}}, entropy: {entropy}}}").entropy
    assert (options.coefficient, options.coefficient_schedule, options.target) == (
        0.5,
        "linear",
        None,
    )


def test_a_group_of_a_policy_that_is_null_is_empty(tmp_path: Path) -> None:
    options = policy_of(tmp_path, "{algorithm: {kind: sac}, entropy: null, network:}")
    assert options == policy_of(tmp_path, "{algorithm: {kind: sac}}")


def test_the_kind_may_come_from_the_command_line(tmp_path: Path) -> None:
    options = policy_of(tmp_path, "{}", "policies.walker.algorithm.kind=soft_q")
    assert options.rollout_steps == 64
    assert isinstance(options.algorithm, SoftQConfig)


def test_options_in_code_have_the_same_defaults() -> None:
    algorithm = SoftQConfig(batch_size=8)
    options = PolicyConfig(algorithm=algorithm, entropy=EntropyConfig(coefficient=0.5))
    assert options.rollout_steps == 64
    assert options.entropy.objective == "soft_return"
    assert options.entropy.coefficient == 0.5
    assert options.network == NetworkConfig()
    assert algorithm_options(options, SoftQConfig) == algorithm


def test_options_of_another_algorithm_than_is_asked_for_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match=r"algorithm\.kind is ppo; expected a SoftQConfig"):
        algorithm_options(PolicyConfig(), SoftQConfig)
    assert algorithm_options(PolicyConfig(), PPOConfig) == PPOConfig()


def test_each_default_that_an_algorithm_changes_is_in_its_documentation() -> None:
    def names(defaults: Any, path: str = "") -> list[str]:
        found = []
        for name, value in defaults.items():
            if isinstance(value, dict):
                found += names(value, f"{name}.")
            else:
                shown = str(value).lower() if isinstance(value, bool) else value
                found.append(f"{path}{name} {shown}")
        return found

    documentation = " ".join(str(SoftQConfig.__doc__).split())
    for sentence in names(SoftQConfig.policy_defaults):
        assert sentence in documentation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "network: {memory: {kind: lstm}}",
            "network.memory.kind is lstm; with algorithm.kind soft_q it must be none: it samples "
            "single steps, which have no past; for a policy with memory use kind ppo",
        ),
        ("network: {shared: true}", "network.shared is true; with algorithm.kind soft_q it must"),
        ("normalize_values: true", "normalize_values is true; with algorithm.kind soft_q it must"),
        ("normalize_rewards: true", "rewards in the replay would be of many sizes; set reward_"),
        ("entropy: {objective: bonus}", "entropy.objective is bonus; with algorithm.kind soft_q"),
        ("entropy: {dimensions: mean}", "entropy.dimensions is mean; with algorithm.kind soft_q"),
        ("entropy: {prior: runs/a}", "entropy.prior is runs/a; with algorithm.kind soft_q it must"),
        (
            "entropy: {target: {}}",
            "entropy.target is a group; with algorithm.kind soft_q it must be null: its",
        ),
        ("entropy: {coefficient: 0}", "entropy.coefficient is 0; with algorithm.kind soft_q it"),
        (
            "entropy: {coefficient_schedule: linear}",
            "entropy.final_coefficient is 0; with algorithm.kind soft_q it must be above 0",
        ),
        (
            "initial_progress: true, initial_weights: runs/a",
            "initial_progress is true; with algorithm.kind soft_q it must be false",
        ),
    ],
)
def test_what_the_algorithm_has_no_use_for_is_refused_with_a_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(tmp_path, f"{{algorithm: {{kind: soft_q}}, {text}}}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{algorithm: {kind: sac, batch_norm: {}, target_rate: 0.01}}",
            "algorithm.target_rate is 0.01, which has no effect with algorithm.batch_norm: there "
            "are no target networks then; leave one of the two out",
        ),
        (
            "{algorithm: {kind: sac, batch_norm: {momentum: 0.9}, target_every: 7}}",
            "algorithm.target_every is 7, which has no effect with algorithm.batch_norm",
        ),
        (
            "{algorithm: {kind: sac, batch_norm: {}}, network: {custom: 'a:B'}}",
            "network.custom is a:B; with algorithm.batch_norm it must be null: layers of your own",
        ),
        (
            "{algorithm: {kind: sac, batch_norm: {}}, normalize_rewards: true}",
            "normalize_rewards is true; with algorithm.kind sac it must be false",
        ),
        (
            "{algorithm: {kind: sac, batch_norm: {momentum: 1}}}",
            "batch_norm.momentum is 1; it must be a number of at least 0 and below 1",
        ),
        (
            "{algorithm: {kind: sac, adam_beta_1: 1.0}}",
            "adam_beta_1 is 1.0; it must be a number of at least 0 and below 1",
        ),
        (
            "{algorithm: {kind: sac, policy_every: 0}}",
            "policy_every is 0; it must be an integer of at least 1",
        ),
        (
            "{algorithm: {kind: sac, critic_hidden_sizes: [0]}}",
            "algorithm.critic_hidden_sizes",
        ),
    ],
)
def test_what_does_not_go_with_critics_that_are_normalised_by_batches_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(tmp_path, text)
    assert said in str(caught.value)


def test_critics_are_normalised_by_batches_only_if_it_is_asked_for(tmp_path: Path) -> None:
    plain, normalised = (
        policy_of(tmp_path, f"{{algorithm: {{kind: sac{more}}}}}").algorithm
        for more in ("", ", batch_norm: {}")
    )
    assert isinstance(plain, SACConfig)
    assert isinstance(normalised, SACConfig)
    assert plain.batch_norm is None
    assert normalised.batch_norm == BatchNormConfig()


def test_a_policy_that_is_no_group_is_refused_as_ever() -> None:
    for value in (5, "soft_q"):
        with pytest.raises(ValidationError):
            PolicyConfig.model_validate(value)
    with pytest.raises(ValidationError):
        PolicyConfig.model_validate({"algorithm": {"kind": "soft_q"}, "entropy": 5})
