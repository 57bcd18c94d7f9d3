"""`--set`: what it changes, and what is said about a wrong argument."""

from pathlib import Path

import pytest

from entrain.config.algorithm import PPOConfig
from entrain.config.launch import LaunchConfig
from entrain.config.load import load_config
from entrain.config.policy import PolicyConfig, algorithm_options
from settings_files import WALKER, complaint, read


def test_set_changes_what_the_file_says_and_the_last_one_wins(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        WALKER,
        "policies.walker.total_steps=7",
        "policies.walker.total_steps=8",
        "server.grace_s=1e-3",
    )
    assert config.policies["walker"].total_steps == 8
    assert algorithm_options(config.policies["walker"], PPOConfig).clip_range == 0.1
    assert config.server.grace_s == 1e-3


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("policies.*.total_steps=5", "*"),
        ('policies."a.b".total_steps=5', "a.b"),
        ("policies.'a.b'.total_steps=5", "a.b"),
        ("policies.'team/walker?id=3'.total_steps=5", "team/walker?id=3"),
        ("policies.team/walker.total_steps=5", "team/walker"),
        (r'policies."a\"b\\c".total_steps=5', 'a"b\\c'),
        ("policies.0.total_steps=5", "0"),
        ("policies.läufer.total_steps=5", "läufer"),
    ],
)
def test_set_reaches_behaviours_of_any_name(argument: str, name: str) -> None:
    assert load_config(None, [argument]).policies == {name: PolicyConfig(total_steps=5)}


def test_set_takes_lists_and_groups() -> None:
    config = load_config(
        None,
        [
            "policies.w.network.hidden_sizes=[32, 16]",
            "simulators.launch=[{command: walk}, {command: [run, fast], name: runner}]",
            "simulators.launch.1.count=3",
        ],
    )
    assert config.policies["w"].network.hidden_sizes == (32, 16)
    assert config.simulators.launch == (
        LaunchConfig(command="walk"),
        LaunchConfig(command=("run", "fast"), name="runner", count=3),
    )


def test_set_may_empty_an_option_that_may_be_empty(tmp_path: Path) -> None:
    config = read(tmp_path, "server: {token_file: secret}", "server.token_file=")
    assert config.server.token_file is None


def test_set_keeps_everything_behind_the_first_equals_sign() -> None:
    config = load_config(None, ["simulators.launch=[{command: 'walk --gravity=1=2'}]"])
    assert config.simulators.launch[0].command == "walk --gravity=1=2"


# Mistakes


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (
            "policies.walker.algorithm.clip_rnage=0.1",
            "policies.walker.algorithm has no option 'clip_rnage'; did you mean 'clip_range'?",
        ),
        ("seed=many", "seed is 'many'; it must be an integer of at least 0 and below"),
        ("total_steps", "write it as PATH=VALUE, such as policies.walker.total_steps=5000"),
        ("=5", "write it as PATH=VALUE"),
        ("policies..total_steps=5", "write it as PATH=VALUE"),
        ("policies.my walker.total_steps=5", "write it as PATH=VALUE"),
        (r'policies."a\q".total_steps=5', r'"a\q" is no name'),
        ("seed=[1", "this is not YAML"),
        ("name.first=x", "name is 'walk', which has no option 'first'"),
        ("seed.x=3", "seed has no options below it"),
        ("server.token_file.x=3", "server.token_file has no options below it"),
        ("policies.walker.discount.a.b=3", "policies.walker.discount has no options below"),
        (
            "policies.w.network.hidden_sizes.0=3",
            "policies.w.network.hidden_sizes is nowhere written, so no entry of it can be changed",
        ),
        ("server.grace_s.x=1", "server.grace_s has no options below it"),
        ("simulators.launch.2.count=1", "simulators.launch holds entries 0 to 0, no '2'"),
        ("simulators.launch.first.count=1", "simulators.launch holds entries 0 to 0, no 'first'"),
    ],
)
def test_a_mistake_in_set_is_told_with_the_whole_argument(
    tmp_path: Path, argument: str, expected: str
) -> None:
    text = "name: walk\nsimulators: {launch: [{command: walk}]}"
    assert complaint(tmp_path, text, argument).startswith(f"--set {argument}: {expected}")


@pytest.mark.parametrize("text", ["", "simulators: {launch: []}", "simulators:\n  launch:\n"])
def test_set_finds_no_entry_in_a_list_that_is_empty(tmp_path: Path, text: str) -> None:
    expected = "simulators.launch is empty; there is no entry 0"
    argument = "simulators.launch.0.count=4"
    assert complaint(tmp_path, text, argument) == f"--set {argument}: {expected}"


def test_what_set_has_replaced_is_never_blamed(tmp_path: Path) -> None:
    text = "policies:\n  w:\n    action:\n      initial_log_sigma_sq: 1\n"
    argument = "policies.w.action={min_log_sigma_sq: 1}"
    assert complaint(tmp_path, text, argument).startswith(
        f"--set {argument}: policies.w.action.initial_log_sigma_sq is 0.0; it must lie between"
    )


def test_a_mistake_in_the_file_that_set_repairs_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, "seed: many", "seed=3").seed == 3
