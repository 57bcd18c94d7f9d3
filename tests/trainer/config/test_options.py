"""The options themselves: defaults that mean what they say, and rules that hold."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entrain.config.algorithm import PPOConfig
from entrain.config.evaluation import EvaluationConfig, StopAtConfig
from entrain.config.fields import Options
from entrain.config.launch import LaunchConfig
from entrain.config.policy import (
    ActionConfig,
    EntropyConfig,
    NetworkConfig,
    PolicyConfig,
    algorithm_options,
)
from entrain.config.run import (
    CheckpointsConfig,
    RunConfig,
    ServerConfig,
    SimulatorsConfig,
)

GROUPS: list[type[Options]] = [
    ActionConfig,
    CheckpointsConfig,
    EvaluationConfig,
    LaunchConfig,
    NetworkConfig,
    PolicyConfig,
    PPOConfig,
    RunConfig,
    ServerConfig,
    SimulatorsConfig,
    StopAtConfig,
]

NEEDED: dict[type[Options], dict[str, Any]] = {
    LaunchConfig: {"command": "walk"},
    StopAtConfig: {"return": 475},
}
"""{group: options that it has no default for}."""


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_is_documented(group: type[Options]) -> None:
    schema = group.model_json_schema()
    assert schema["description"]
    for name, option in schema["properties"].items():
        assert option.get("description") or "$ref" in option, f"{group.__name__}.{name}"


@pytest.mark.parametrize("group", [each for each in GROUPS if each not in NEEDED])
def test_every_group_is_valid_without_a_word(group: type[Options]) -> None:
    assert group() == group.model_validate(None) == group.model_validate({})


@pytest.mark.parametrize("group", GROUPS)
def test_a_default_obeys_its_own_rules(group: type[Options]) -> None:
    given = NEEDED.get(group, {})
    options = group(**given)
    assert group.model_validate(options.model_dump()) == options


def test_options_never_change_after_reading() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().seed = 2


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="clip_rnage"):
        PPOConfig.model_validate({"clip_rnage": 0.1})


def test_the_defaults_are_those_of_the_ppo_that_the_field_compares_with() -> None:
    policy = PolicyConfig()
    ppo = algorithm_options(policy, PPOConfig)
    assert (policy.rollout_steps, ppo.minibatch_size, ppo.num_epochs) == (2048, 64, 10)
    assert (ppo.learning_rate, ppo.learning_rate_schedule) == (3e-4, "linear")
    assert (policy.discount, ppo.gae_lambda, ppo.clip_range) == (0.99, 0.95, 0.2)
    assert (ppo.value_coefficient, ppo.max_grad_norm) == (0.5, 0.5)


def test_a_prior_without_weight_is_refused_for_it_would_do_nothing() -> None:
    with pytest.raises(ValidationError, match="with a prior it must be above 0"):
        EntropyConfig.model_validate({"prior": "runs/walker"})
    options = EntropyConfig.model_validate({"prior": "runs/walker", "coefficient": 0.1})
    assert options.prior == Path("runs/walker")


def test_a_prior_and_a_squashed_gaussian_refuse_what_would_do_nothing() -> None:
    with pytest.raises(ValidationError, match="dimensions is mean; with a prior"):
        EntropyConfig.model_validate(
            {"prior": "runs/walker", "coefficient": 0.1, "dimensions": "mean"}
        )
    with pytest.raises(ValidationError, match="clip is 3; a squashed_gaussian"):
        ActionConfig(clip=3.0, distribution="squashed_gaussian")
    assert ActionConfig(clip=3.0).clip == 3.0


def test_a_run_listens_on_loopback_unless_told_otherwise() -> None:
    assert ServerConfig().address.startswith("localhost:")
    assert not ServerConfig().insecure


# Numbers


@pytest.mark.parametrize("lookalike", [True, False, "64", "1e3", b"64", None, [64]])
def test_only_a_number_is_a_number(lookalike: Any) -> None:
    for option in ("minibatch_size", "learning_rate", "gae_lambda", "target_kl"):
        with pytest.raises(ValidationError):
            PPOConfig.model_validate({option: lookalike})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_is_infinite(number: float) -> None:
    with pytest.raises(ValidationError):
        PPOConfig(learning_rate=number)
    with pytest.raises(ValidationError):
        RunConfig(environment_parameters={"gravity": number})


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_fraction_lies_between_0_and_1(number: float) -> None:
    if 0.0 <= number <= 1.0:
        assert PPOConfig(gae_lambda=number).gae_lambda == number
    else:
        with pytest.raises(ValidationError):
            PPOConfig(gae_lambda=number)


@given(number=st.integers())
def test_a_count_is_at_least_1(number: int) -> None:
    if number >= 1:
        assert PPOConfig(num_epochs=number).num_epochs == number
    else:
        with pytest.raises(ValidationError):
            PPOConfig(num_epochs=number)


def test_a_whole_float_is_a_count_and_a_broken_one_is_not() -> None:
    assert PolicyConfig.model_validate({"total_steps": 1e6}).total_steps == 1_000_000
    with pytest.raises(ValidationError):
        PolicyConfig.model_validate({"total_steps": 1.5})


def test_a_seed_fits_the_wire_and_torch() -> None:
    assert RunConfig(seed=0).seed == 0
    assert RunConfig(seed=2**63 - 1).seed == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(ValidationError):
            RunConfig(seed=seed)


# Rules over several options


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"initial_log_sigma_sq": 5.0}, "initial_log_sigma_sq is 5.0; it must lie between"),
        ({"min_log_sigma_sq": 0.0}, "min_log_sigma_sq 0.0 and"),
        ({"max_log_sigma_sq": -1.0}, "max_log_sigma_sq -1.0"),
    ],
)
def test_the_first_variance_lies_inside_its_bounds(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ActionConfig(**bounds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": "a"}, "tls_certificate is given without tls_key"),
        ({"tls_key": "a"}, "tls_key is given without tls_certificate"),
        ({"tls_client_ca": "a"}, "tls_client_ca is given without tls_certificate and tls_key"),
    ],
)
def test_half_of_tls_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServerConfig.model_validate(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"server": {"address": "localhost:1", "websocket": "localhost:1"}},
            "address and websocket are both localhost:1; give websocket another port",
        ),
        ({"server": {"origins": ["game.example"]}}, "origins"),
        ({"server": {"origins": ["https://game.example/page"]}}, "origins"),
        ({"server": {"websocket": "unix:/tmp/s"}}, "websocket"),
        (
            {
                "server": {
                    "websocket": "localhost:2",
                    "tls_certificate": "a",
                    "tls_key": "b",
                    "tls_client_ca": "c",
                },
                "http": {"address": "localhost:2"},
            },
            "give server.websocket a port of its own",
        ),
    ],
)
def test_where_simulators_dial_over_websocket_makes_sense(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        RunConfig.model_validate(given)


def test_certificate_key_and_client_authority_go_together() -> None:
    server = ServerConfig.model_validate(
        {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    )
    assert server.tls_certificate == Path("server.pem")


@pytest.mark.parametrize(
    "address",
    [
        "localhost:50051",
        "0.0.0.0:0",
        "[::]:50051",
        "[fe80::1%eth0]:1",
        "unix:/tmp/x.sock",
        "a-b.c:1",
    ],
)
def test_an_address_is_a_host_with_a_port_or_a_socket(address: str) -> None:
    assert ServerConfig(address=address).address == address


@pytest.mark.parametrize(
    "address", ["localhost", "50051", ":50051", "::1:50051", "a b:1", "localhost:http", "unix:", ""]
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(ValidationError):
        ServerConfig(address=address)


@pytest.mark.parametrize("command", ["", "  ", ()])
def test_a_simulator_without_a_command_is_refused(command: str | tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="command is empty"):
        LaunchConfig(command=command)


def test_two_launched_simulators_of_one_name_are_refused() -> None:
    walker, runner = LaunchConfig(command="walk"), LaunchConfig(command="run")
    with pytest.raises(ValidationError, match="launch has two entries with the name 'simulator'"):
        SimulatorsConfig(launch=(walker, runner))
    assert SimulatorsConfig(launch=(walker, LaunchConfig(command="run", name="runner"))).launch


@pytest.mark.parametrize("name", ["run", "0", "half-cheetah_2.1", "A"])
def test_a_name_is_fit_for_a_folder(name: str) -> None:
    assert RunConfig(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a\\b", "-x", "a b", "a\n"])
def test_a_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        RunConfig(name=name)


# Policies


def test_a_named_policy_comes_before_the_one_for_all() -> None:
    walker, others = PolicyConfig(total_steps=1), PolicyConfig(total_steps=2)
    config = RunConfig(policies={"walker": walker, "*": others})
    assert config.policy_for("walker") == walker
    assert config.policy_for("runner") == others


def test_without_a_policy_for_all_an_unknown_behaviour_has_none() -> None:
    assert RunConfig(policies={"walker": PolicyConfig()}).policy_for("runner") is None


def test_a_run_without_policies_is_refused() -> None:
    with pytest.raises(ValidationError, match="policies is empty"):
        RunConfig(policies={})
