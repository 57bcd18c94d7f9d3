"""Settings files: what is read from them, which are refused, and how settings are written."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.algorithm import PPOConfig
from entrain.config.launch import LaunchConfig
from entrain.config.load import load_config, to_yaml
from entrain.config.off_policy import SoftQConfig
from entrain.config.policy import (
    ActionConfig,
    EntropyConfig,
    EntropyTargetConfig,
    NetworkConfig,
    PolicyConfig,
)
from entrain.config.run import RunConfig, ServerConfig, SimulatorsConfig
from entrain.config.sac import SACConfig
from entrain.errors import ConfigError
from settings_files import WALKER, complaint, read, write


def test_without_a_file_every_option_has_its_default() -> None:
    assert load_config(None, []) == RunConfig()


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == RunConfig()


def test_what_a_file_does_not_say_keeps_its_default(tmp_path: Path) -> None:
    walker = read(tmp_path, WALKER).policies["walker"]
    assert walker == PolicyConfig(total_steps=5000, algorithm=PPOConfig(clip_range=0.1))


def test_a_group_without_content_has_its_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, "server:\npolicies:\n  walker:\n  runner: {algorithm: }\n")
    assert config.server == ServerConfig()
    assert config.policies == {"walker": PolicyConfig(), "runner": PolicyConfig()}


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e-3", 1e-3), ("3e5", 3e5), ("1E+2", 100.0), (".5", 0.5), ("+2.", 2.0), ("3", 3.0)],
)
def test_numbers_are_read_as_yaml_1_2_reads_them(
    tmp_path: Path, written: str, number: float
) -> None:
    config = read(tmp_path, f"environment_parameters: {{gravity: {written}}}")
    assert config.environment_parameters == {"gravity": number}


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e6", 1_000_000), ("1_000_000", 1_000_000), ("010", 10), ("0x10", 16), ("0o10", 8)],
)
def test_a_whole_number_may_be_written_in_any_way(
    tmp_path: Path, written: str, number: int
) -> None:
    assert read(tmp_path, f"checkpoints: {{every_steps: {written}}}").checkpoints.every_steps == (
        number
    )


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "n", "1:30", "2024-01-01"])
def test_words_that_old_yaml_turns_into_something_else_stay_words(
    tmp_path: Path, word: str
) -> None:
    config = read(
        tmp_path, f"policies: {{{word}: {{}}}}\nsimulators: {{launch: [{{command: {word}}}]}}"
    )
    assert list(config.policies) == [word]
    assert config.simulators.launch[0].command == word


@pytest.mark.parametrize("written", ["5", "007", "1e3", "true", "0.10"])
def test_where_text_is_expected_a_number_is_the_text_that_stands_there(
    tmp_path: Path, written: str
) -> None:
    config = read(
        tmp_path,
        f"name: {written}\nruns_directory: {written}\npolicies: {{{written}: {{}}}}\n"
        f"simulators: {{launch: [{{command: [walk, --count, {written}]}}]}}",
    )
    assert config.name == written
    assert config.runs_directory == Path(written)
    assert list(config.policies) == [written]
    assert config.simulators.launch[0].command == ("walk", "--count", written)


@pytest.mark.parametrize(
    ("written", "value"), [("yes", True), ("on", True), ("true", True), ("no", False)]
)
def test_an_option_that_is_true_or_false_takes_the_usual_words(
    tmp_path: Path, written: str, value: bool
) -> None:
    assert read(tmp_path, f"server: {{lockstep: {written}}}").server.lockstep is value


def test_a_merged_group_fills_in_what_the_group_does_not_say(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "policies:\n"
        "  left: &left\n"
        "    total_steps: 10\n"
        "    normalize_rewards: true\n"
        "  right:\n"
        "    <<: *left\n"
        "    total_steps: 20\n",
    )
    assert config.policies["left"].total_steps == 10
    assert config.policies["right"] == PolicyConfig(total_steps=20, normalize_rewards=True)


def test_a_byte_order_mark_is_no_part_of_the_first_option(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: walk\r\nseed: 7\r\n")
    config = load_config(path, [])
    assert (config.name, config.seed) == ("walk", 7)


# Files that cannot be read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: walk\nname: run\n", "2: name is given twice; the first is in line 1"),
        (
            "policies:\n  w:\n    algorithm: {}\n  v: {}\n  w: {}\n",
            "5: policies.w is given twice; the first is in line 2",
        ),
        ("name: walk\nserver: {address: x\n", "3: this is not YAML: while parsing a flow mapping"),
        ("server:\n\tlockstep: true\n", "2: this is not YAML: while scanning for the next token"),
        ("server:\n\tlockstep: true\n", "indent with spaces, not with tabs"),
        ("name: walk: run\n", "1: this is not YAML: mapping values are not allowed here"),
        ("name: 'walk\n", "2: this is not YAML"),
        ("name: walk\n---\nname: run\n", "2: this is not YAML: expected a single document"),
        ("name: walk\x07\n", "1: this is not YAML: delete the character U+0007"),
        ("name: walk\nseed: \x00\n", "2: this is not YAML: delete the character U+0000"),
        ("- walk\n- run\n", "1: the file holds a list; it must hold options"),
        ("\nwalk\n", "2: the file holds 'walk'; it must hold options"),
        ("seed: *one\n", "1: this is not YAML: found undefined alias"),
        ("policies: &p\n  w: *p\n", "or does one contain itself?"),
        (
            "policies: &p\n  <<: *p\n",
            "or does one contain itself?",
        ),
        (f"seed: {'[' * 3000}", "more than 40 lists or groups are nested in each other"),
        ("policies:\n  <<: 5\n", "2: '<<' needs a group of options"),
        ("[name]: walk\n", "1: the name of an option is a list or a group; it must be text"),
        ("name: !!binary aGk=\n", "1: name has the tag"),
        ("seed: !!int many\n", "1: seed has the tag"),
        ("name: !!python/object/apply:os.getcwd []\n", "1: name has the tag"),
        ("policies: !!set {w}\n", "1: policies has the tag"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith("walk.yaml:")
    assert expected in message


def test_a_file_in_another_encoding_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "walk.yaml"
    path.write_bytes("name: walk\n# läuft\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"walk.yaml:2: byte 0xe4 is not UTF-8"):
        load_config(path, [])


def test_a_file_that_is_not_there_is_answered_with_the_closest_one(tmp_path: Path) -> None:
    write(tmp_path, "", "walker.yaml")
    write(tmp_path, "", "cartpole.yaml")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "waker.yml", [])
    assert str(caught.value) == (
        f"there is no file {tmp_path / 'waker.yml'}; did you mean {tmp_path / 'walker.yaml'}?"
    )


def test_a_file_that_is_not_like_any_other_is_answered_with_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, "", "walker.yaml")
    with pytest.raises(ConfigError, match=r"there is no file .*zzz \(there is: walker.yaml\)"):
        load_config(tmp_path / "zzz", [])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere either"):
        load_config(tmp_path / "nowhere" / "walk.yaml", [])


def test_a_folder_is_answered_with_the_settings_in_it(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"is a folder; name a settings file.*walk\.yaml"):
        load_config(tmp_path, [])


def test_every_mistake_is_the_users_and_exits_with_2(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "nmae: walk")
    assert caught.value.exit_code == 2


# Writing


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
) | st.sampled_from(
    ["*", "on", "no", "null", "~", "1e-3", "1.5", "0x10", "<<", "=", "a.b", "a/b", "- x", "#", "''"]
)
positive = st.floats(1e-12, 1e12)
fraction = st.floats(0, 1)
count = st.integers(1, 2**40)
paths = st.none() | names.filter(lambda name: name.strip("./ ") == name).map(Path)

policies = st.builds(
    PolicyConfig,
    total_steps=count,
    network=st.builds(
        NetworkConfig,
        hidden_sizes=st.lists(count, max_size=3).map(tuple),
        activation=st.sampled_from(["tanh", "relu", "elu", "silu"]),
        shared=st.booleans(),
    ),
    action=st.builds(ActionConfig, initial_log_sigma_sq=st.floats(-19, 3)),
    normalize_rewards=st.booleans(),
    rollout_steps=count,
    discount=fraction,
    policy_lag=st.integers(0, 1),
    algorithm=st.builds(
        PPOConfig,
        learning_rate=positive,
        gae_lambda=fraction,
        learning_rate_schedule=st.sampled_from(["constant", "linear"]),
        minibatch_size=count,
    ),
)
targets = st.none() | st.builds(EntropyTargetConfig, fraction=fraction)
off_policy = st.builds(
    PolicyConfig,
    normalize_observations=st.booleans(),
    entropy=st.builds(EntropyConfig, coefficient=positive, target=targets),
    algorithm=st.builds(SACConfig, n_step=st.integers(1, 5)),
) | st.builds(PolicyConfig, algorithm=st.builds(SoftQConfig, learning_rate=positive))
launches = st.builds(
    LaunchConfig,
    command=names.map(shlex.quote) | st.lists(names, min_size=1).map(tuple),
    count=st.integers(1, 1024),
)
configs = st.builds(
    RunConfig,
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,12}\Z"),
    seed=st.integers(0, 2**63 - 1),
    server=st.builds(ServerConfig, token_file=paths, lockstep=st.booleans(), grace_s=positive),
    simulators=st.builds(SimulatorsConfig, launch=st.lists(launches, max_size=1).map(tuple)),
    environment_parameters=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False)),
    policies=st.dictionaries(names, policies | off_policy, min_size=1, max_size=3),
)


@settings(deadline=None, max_examples=60)
@given(config=configs)
def test_what_is_written_is_read_back_equal(
    config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("written"), to_yaml(config))
    assert load_config(path, []) == config


@settings(deadline=None, max_examples=30)
@given(config=configs)
def test_what_is_written_means_the_same_to_readers_of_yaml_1_1(config: RunConfig) -> None:
    assert yaml.safe_load(to_yaml(config)) == config.model_dump(mode="json")


@settings(deadline=None, max_examples=60)
@given(name=names)
def test_a_path_shown_in_a_message_can_be_given_to_set(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("misspelt")
    text = yaml.safe_dump({"policies": {f"'{name}": {"pop": 1}}})
    shown = complaint(folder, text).partition(": ")[2].partition(" has no option")[0]
    config = load_config(None, [f"{shown}.total_steps=5"])
    assert config.policies == {f"'{name}": PolicyConfig(total_steps=5)}


def test_every_option_is_written_in_the_order_of_the_documentation() -> None:
    written = yaml.safe_load(to_yaml(RunConfig()))
    assert list(written) == list(RunConfig.model_fields)
    assert list(written["policies"]["*"]["algorithm"]) == list(PPOConfig.model_fields)


@pytest.mark.parametrize("text", ["1e-3", "on", "0x10", "0o7", "null", "1_0", "<<", "2024-01-01"])
def test_text_that_a_reader_could_take_for_something_else_is_quoted(text: str) -> None:
    config = RunConfig(simulators=SimulatorsConfig(launch=(LaunchConfig(command=text),)))
    assert f"command: '{text}'\n" in to_yaml(config)


def test_lists_of_numbers_are_written_in_one_line() -> None:
    assert "hidden_sizes: [64, 64]\n" in to_yaml(RunConfig())
