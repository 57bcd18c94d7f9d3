"""What somebody with a mistake in a settings file is told."""

from pathlib import Path

import pytest

from entrain.config.load import given_config
from entrain.errors import ConfigError
from settings_files import WALKER, complaint


def test_a_misspelt_option_is_named_with_the_closest_one(tmp_path: Path) -> None:
    text = WALKER.replace("clip_range", "clip_rnage")
    assert complaint(tmp_path, text) == (
        "walk.yaml:6: policies.walker.algorithm has no option 'clip_rnage'; "
        "did you mean 'clip_range'?"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "simulators:\n  environment_parameters: {gravity: 9}",
            "2: simulators has no option 'environment_parameters'; it stands at the top of the "
            "file, in no group",
        ),
        (
            "policies:\n  walker:\n    clip_range: 0.1",
            "3: policies.walker has no option 'clip_range'; did you mean 'algorithm.clip_range'?",
        ),
        (
            "\nalgorithm: {}",
            "2: a run has no option 'algorithm'; did you mean 'policies.NAME.algorithm'?",
        ),
        ("polices: {}", "1: a run has no option 'polices'; did you mean 'policies'?"),
        (
            "policies: {w: {algorithm: {gamma: 0.9}}}",
            "1: policies.w.algorithm has no option 'gamma'; did you mean 'policies.w.discount'?",
        ),
        (
            "policies: {w: {lr: 1e-3}}",
            "1: policies.w has no option 'lr'; did you mean 'algorithm.learning_rate'?",
        ),
        (
            "simulators: {launch: [{command: walk, cuont: 2}]}",
            "1: simulators.launch.0 has no option 'cuont'; did you mean 'count'?",
        ),
        (
            "checkpoints: {frobnicate: 1}",
            "1: checkpoints has no option 'frobnicate' (it has: every_steps, every_minutes, keep, "
            "replay_mib)",
        ),
        (
            'policies: {"a.b": {algoritm: {}}}',
            "1: policies.\"a.b\" has no option 'algoritm'; did you mean 'algorithm'?",
        ),
    ],
)
def test_an_unknown_option_is_answered_with_a_valid_one(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert complaint(tmp_path, text) == f"walk.yaml:{expected}"


@pytest.mark.parametrize(
    ("group", "written", "expected"),
    [
        ("algorithm", "minibatch_size: many", "is 'many'; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size: 0", "is 0; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size: 1.5", "is 1.5; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size: true", "is true; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size: '64'", "is '64'; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size: [64]", "is a list; it must be an integer of at least 1"),
        ("algorithm", "minibatch_size:", "is empty; it must be an integer of at least 1"),
        ("algorithm", "gae_lambda: 1.5", "is 1.5; it must be a number between 0 and 1"),
        ("algorithm", "learning_rate: 0e0", "is 0e0; it must be a number above 0"),
        ("algorithm", "learning_rate: .inf", "is .inf; it must be a finite number above 0"),
        ("algorithm", "target_kl: .nan", "is .nan; it must be a finite number of at least 0"),
        ("algorithm", "clip_range: {}", "is a group of options; it must be a number above 0"),
        (
            "algorithm",
            "learning_rate_schedule: liner",
            "is 'liner'; it must be one of constant, linear; did you mean 'linear'?",
        ),
        ("network", "activation: 7", "is 7; it must be one of auto, tanh, relu, elu, silu"),
        ("network", "shared: maybe", "is 'maybe'; it must be true or false"),
        (
            "network",
            "hidden_sizes: 64",
            "is 64; it must be a list, each entry an integer of at least 1",
        ),
    ],
)
def test_an_impossible_value_is_shown_with_what_it_must_be(
    tmp_path: Path, group: str, written: str, expected: str
) -> None:
    text = f"policies:\n  walker:\n    {group}:\n      {written}\n"
    option = written.split(":", maxsplit=1)[0]
    assert complaint(tmp_path, text) == f"walk.yaml:4: policies.walker.{group}.{option} {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "policies:\n w:\n  network:\n   hidden_sizes:\n    - 64\n    - wide",
            "6: policies.w.network.hidden_sizes.1 is 'wide'; it must be an integer of at least 1",
        ),
        (
            "simulators:\n  launch:\n    - count: 2",
            "3: simulators.launch.0 lacks 'command'; it must be text or a list, each entry text",
        ),
        (
            "simulators:\n  launch:\n    - command: [walk, {}]",
            "3: simulators.launch.0.command is a list; it must be text or a list, each entry text",
        ),
        (
            "simulators: {launch: [{command: ' '}]}",
            "1: simulators.launch.0.command is empty; "
            "it must be the program to run and its arguments",
        ),
        (
            'simulators:\n  launch:\n    - {count: 2, command: "sh -c \'walk"}',
            "3: simulators.launch.0.command cannot be split into words (No closing quotation): "
            '"sh -c \'walk"; close the quote, or give the words as a list',
        ),
        (
            "policies:\n  w: 5",
            "2: policies.w is 5; it must be a group of options, such as 'total_steps'",
        ),
        ("policies: {}", '1: policies is empty; name a behaviour, or use "*" for all of them'),
        (
            "name: a/b",
            "1: name is 'a/b'; it must be a letter or digit, then letters, digits, "
            "'.', '_' and '-'; at most 100 in all",
        ),
        (
            "server:\n  address: localhost",
            "2: server.address is 'localhost'; it must be HOST:PORT, [IPV6]:PORT or unix:PATH, "
            "such as localhost:50051",
        ),
        (
            "server:\n  grace_s: 5\n  tls_key: server.key",
            "3: server.tls_key is given without tls_certificate; TLS needs both",
        ),
        (
            "policies:\n  w:\n    action:\n      max_log_sigma_sq: -30",
            "4: policies.w.action.initial_log_sigma_sq is 0.0; it must lie between "
            "min_log_sigma_sq -20.0 and max_log_sigma_sq -30.0",
        ),
        (
            "simulators:\n  expect: 2\n  launch: [{command: a}, {command: b}]",
            "3: simulators.launch has two entries with the name 'simulator'; give each a name of "
            "its own, for names order the simulators in lockstep",
        ),
    ],
)
def test_every_rule_is_told_with_line_path_and_remedy(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert complaint(tmp_path, text) == f"walk.yaml:{expected}"


def test_of_several_mistakes_the_first_in_the_file_is_told_and_the_rest_counted(
    tmp_path: Path,
) -> None:
    text = "seed: many\npolicies: {w: {total_steps: 0}}\nnmae: walk\n"
    assert complaint(tmp_path, text, "threads=-1") == (
        "walk.yaml:1: seed is 'many'; it must be an integer of at least 0 "
        "and below 9223372036854775808 (and 3 more mistakes)"
    )
    assert complaint(tmp_path, "seed: 1\n", "threads=-1", "nmae=x").endswith(
        "--set threads=-1: threads is -1; it must be an integer of at least 0 (and 1 more mistake)"
    )


def test_the_other_mistakes_are_notes_in_order() -> None:
    settings = {"nmae": "walk", "policies": {"w": {"total_steps": 0}}}
    with pytest.raises(ConfigError, match=r"'nmae'.*and 2 more mistakes") as caught:
        given_config(settings, ["threads=-1"])
    assert caught.value.__notes__ == [
        "the settings given: policies.w.total_steps is 0; it must be an integer of at least 1",
        "--set threads=-1: threads is -1; it must be an integer of at least 0",
    ]


def test_words_of_stable_baselines_are_understood_beside_a_replay() -> None:
    replay = {"kind": "sac", "tau": 0.01, "buffer_size": 9, "train_freq": 1, "minibatch_size": 64}
    with pytest.raises(ConfigError) as caught:
        given_config({"policies": {"w": {"gamma": 0.9, "algorithm": replay}}}, [])
    lines = [str(caught.value), *caught.value.__notes__]
    assert {line.split("did you mean ")[1].split("?")[0] for line in lines} == {
        "'discount'",
        "'target_rate'",
        "'replay_size'",
        "'policies.w.rollout_steps'",
        "'batch_size'",
    }


def test_an_option_of_several_other_kinds_names_them_all(tmp_path: Path) -> None:
    words = complaint(tmp_path, "policies: {w: {algorithm: {replay_size: 9}}}")
    whose = words.partition("it is one of kinds ")[2]
    assert {"'soft_q'", "'sac'"} <= set(whose.split(" and "))


def test_a_very_long_value_is_cut_short(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, f"seed: {'9' * 5000}")) < 250
    assert len(complaint(tmp_path, f"seed: {'many' * 500}")) < 250


def test_a_value_of_several_lines_is_shown_in_one(tmp_path: Path) -> None:
    assert "seed is 'ma\\nny'" in complaint(tmp_path, 'seed: "ma\\nny"')
