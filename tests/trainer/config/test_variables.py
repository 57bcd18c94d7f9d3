"""Options from environment variables: which option one sets, and what is said about a wrong one."""

from pathlib import Path

import pytest

from entrain.app.starting import config_to_use
from entrain.config.algorithm import PPOConfig
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.config.variables import arguments_of
from entrain.errors import ConfigError
from entrain.run.folder import RunFolder
from settings_files import WALKER, complaint, read


def from_environment(**variables: str) -> list[str]:
    return list(arguments_of({**variables, "PATH": "/bin", "ENTRAIN_LOG_FORMAT": "text"}))


def test_the_environment_counts_more_than_the_file_and_less_than_set(tmp_path: Path) -> None:
    variables = from_environment(
        ENTRAIN__POLICIES__WALKER__TOTAL_STEPS="7",
        ENTRAIN__POLICIES__WALKER__ALGORITHM__CLIP_RANGE="0.3",
        ENTRAIN__SERVER__ADDRESS="0.0.0.0:50051",
        ENTRAIN__SERVER__INSECURE="true",
    )
    config = read(tmp_path, WALKER, *variables, "policies.walker.total_steps=8")
    assert config.policies["walker"].total_steps == 8
    assert algorithm_options(config.policies["walker"], PPOConfig).clip_range == 0.3
    assert config.server.address == "0.0.0.0:50051"
    assert config.server.insecure


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("WALKER", "walker"),
        ("ANY", "*"),
        ("Läufer", "Läufer"),
        ("my.walker", "my.walker"),
    ],
)
def test_a_policy_that_no_settings_name_is_called_as_the_variable_says(
    part: str, name: str
) -> None:
    variables = arguments_of({f"ENTRAIN__POLICIES__{part}__TOTAL_STEPS": "5"})
    assert load_config(None, variables).policies == {name: PolicyConfig(total_steps=5)}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("3DBALL", "3DBall"),
        ("MY_WALKER", "my.walker"),
        ("TEAM_WALKER_ID_3", "team/walker?id=3"),
        ("LEFT__LEG", "left__leg"),
        ("ANY", "Any"),
        ("my.walker", "my.walker"),
        ("0", "0"),
    ],
)
def test_a_policy_that_the_file_names_is_found_in_capitals(
    tmp_path: Path, part: str, name: str
) -> None:
    variables = arguments_of({f"ENTRAIN__POLICIES__{part}__TOTAL_STEPS": "5"})
    config = read(tmp_path, f'policies: {{"{name}": {{}}, other: {{}}}}', *variables)
    assert config.policies[name].total_steps == 5
    assert set(config.policies) == {name, "other"}


def test_an_exact_name_counts_more_than_one_that_is_alike(tmp_path: Path) -> None:
    variables = from_environment(ENTRAIN__POLICIES__WALKER__TOTAL_STEPS="5")
    config = read(tmp_path, "policies: {walker: {}, WALKER: {}}", *variables)
    assert config.policies["WALKER"].total_steps == 5
    assert config.policies["walker"] == PolicyConfig()


def test_lists_groups_and_quotes_are_yaml_as_those_of_set_are() -> None:
    variables = from_environment(
        ENTRAIN__SIMULATORS__LAUNCH__0__COUNT="3",
        ENTRAIN__SIMULATORS__LAUNCH="[{command: 'walk --gravity=1=2'}]",
        ENTRAIN__POLICIES__W__NETWORK__HIDDEN_SIZES="[32, 16]",
        ENTRAIN__POLICIES='{"w": {total_steps: 6}}',
        ENTRAIN__ENVIRONMENT_PARAMETERS__GRAVITY="9.8",
        ENTRAIN__SERVER__TOKEN_FILE="",
    )
    config = load_config(None, variables)
    assert config.simulators.launch[0].command == "walk --gravity=1=2"
    assert config.simulators.launch[0].count == 3
    assert config.policies["w"].network.hidden_sizes == (32, 16)
    assert config.policies["w"].total_steps == 6
    assert config.environment_parameters["gravity"] == 9.8
    assert config.server.token_file is None


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (
            "ENTRAIN__SERVR__ADDRESS",
            "x:1",
            "ENTRAIN__SERVR__ADDRESS: a run has no option 'servr'; did you mean 'server'?",
        ),
        (
            "ENTRAIN__POLICIES__WALKER__ALGORITHM__CLIP_RNAGE",
            "0.1",
            "ENTRAIN__POLICIES__WALKER__ALGORITHM__CLIP_RNAGE: policies.walker.algorithm has no "
            "option 'clip_rnage'; did you mean 'clip_range'?",
        ),
        (
            "ENTRAIN__SEED",
            "many",
            "ENTRAIN__SEED: seed is 'many'; it must be an integer of at least 0 and below",
        ),
        ("ENTRAIN__SERVER____ADDRESS", "x:1", "has an empty part between its underscores"),
        ("ENTRAIN__", "1", "has an empty part between its underscores"),
        (
            "ENTRAIN__SIMULATORS__LAUNCH__0__COUNT",
            "2",
            "ENTRAIN__SIMULATORS__LAUNCH__0__COUNT: simulators.launch is empty; there is no entry",
        ),
        ("ENTRAIN__SEED", "{", "ENTRAIN__SEED: this is not YAML"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_wrong(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    assert expected in complaint(tmp_path, WALKER, *arguments_of({variable: value}))


def test_a_variable_that_may_mean_two_policies_is_refused(tmp_path: Path) -> None:
    variables = from_environment(ENTRAIN__POLICIES__A_B__TOTAL_STEPS="5")
    assert complaint(tmp_path, "policies: {a.b: {}, a b: {}}", *variables) == (
        "ENTRAIN__POLICIES__A_B__TOTAL_STEPS may mean each of 'a.b', 'a b' in policies; "
        "write the name as it is, or use --set or the file"
    )


@pytest.mark.parametrize("name", ["ENTRAIN_SERVER__ADDRESS", "entrain__server__address"])
def test_a_variable_that_lacks_its_second_underscore_is_not_ignored(name: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean ENTRAIN__(SERVER__ADDRESS|server__a)"):
        arguments_of({name: "localhost:1"})


def test_what_the_environment_said_is_kept_in_the_folder_and_counts_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    given = load_config(None, from_environment(ENTRAIN__STOP_TIMEOUT_S="7"))
    folder.write_config(to_yaml(given))
    assert config_to_use(folder, load_config(None, [])).stop_timeout_s == 7.0
    other = load_config(None, from_environment(ENTRAIN__STOP_TIMEOUT_S="8"))
    assert config_to_use(folder, other).stop_timeout_s == 7.0
    assert "stop_timeout_s is 8.0, there 7.0" in caplog.text
    another_run = load_config(None, from_environment(ENTRAIN__SEED="8"))
    with pytest.raises(ConfigError, match="seed is 8, there 1"):
        config_to_use(folder, another_run)
