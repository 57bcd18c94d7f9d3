"""The JSON schema, the words for it, and the reference that is written from it."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from entrain.config.algorithm import PPOConfig
from entrain.config.load import load_config
from entrain.config.policy import algorithm_options
from entrain.config.reference import markdown
from entrain.config.run import RunConfig
from entrain.config.schema import (
    ANY_NAME,
    closest_option,
    expectation,
    find,
    json_schema,
    kinds,
    options,
)

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = sorted((REPOSITORY / "docs" / "examples").glob("*.yaml"))


def test_an_editor_is_told_of_every_option_with_its_meaning() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"].keys() == RunConfig.model_fields.keys()
    for path, option in options():
        if path[-1] not in (ANY_NAME, 0):
            assert option["description"], path


def test_an_editor_is_told_of_options_that_do_not_exist() -> None:
    schema = json_schema()
    for group in (schema, *schema["$defs"].values()):
        assert group["additionalProperties"] is False


def test_the_schema_has_every_value_of_a_resolved_run() -> None:
    def leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, value in values.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, (*path, name))
            else:
                yield (*path, name)

    for path in leaves(RunConfig().model_dump(mode="json"), ()):
        found, _ = find(path)
        assert found == path


def test_finding_stops_at_the_last_part_that_exists() -> None:
    found, schema = find(("policies", "walker", "algorithm", "clip_rnage"))
    assert found == ("policies", "walker", "algorithm")
    assert "clip_range" in schema["properties"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("seed",), "an integer of at least 0 and below 9223372036854775808"),
        (("device",), "one of auto, cpu, cuda"),
        (("server", "lockstep"), "true or false"),
        (("server", "tls_key"), "a path, as text or null"),
        (("server", "grace_s"), "a number of at least 0"),
        (("server", "max_message_mib"), "a number above 0"),
        (("policies", "w", "algorithm", "gae_lambda"), "a number between 0 and 1"),
        (("policies", "w", "network", "hidden_sizes", 0), "an integer of at least 1"),
        (("simulators", "launch", 0, "command"), "text or a list, each entry text"),
        (("policies",), "a group of names, each with a value"),
        (("policies", "w"), "a group of options, such as 'total_steps'"),
    ],
)
def test_what_an_option_must_be_is_said_in_words(path: tuple[str | int, ...], words: str) -> None:
    found, schema = find(path)
    assert found == path
    assert expectation(schema) == words


@pytest.mark.parametrize(
    ("group", "name", "closest"),
    [
        (("policies", "w", "algorithm"), "clip_rnage", "clip_range"),
        (("policies", "w", "algorithm"), "epochs", "num_epochs"),
        (("policies", "w", "algorithm"), "gae_lamda", "gae_lambda"),
        (("policies", "w", "algorithm"), "gamma", "policies.w.discount"),
        (("policies", "w"), "learning_rate", "algorithm.learning_rate"),
        (("policies", "w"), "hidden_sizs", "network.hidden_sizes"),
        ((), "learning_rate", "policies.NAME.algorithm.learning_rate"),
        ((), "keep", "checkpoints.keep"),
        (("checkpoints",), "grace_s", "server.grace_s"),
        (("simulators", "launch", 0), "cmd", "command"),
        (("checkpoints",), "frobnicate", ""),
        ((), ANY_NAME, ""),
    ],
)
def test_the_closest_option_is_found_near_and_far(
    group: tuple[str | int, ...], name: str, closest: str
) -> None:
    assert closest_option(group, name) == closest


def test_names_that_other_trainers_use_lead_to_options_that_exist() -> None:
    from entrain.config.schema import _WORDS_OF_OTHERS

    ours = {path[-1] for path, _ in options()}
    assert set(_WORDS_OF_OTHERS.values()) <= ours
    # With a replay it is ours, too; without, minibatches are of a rollout.
    assert set(_WORDS_OF_OTHERS) & ours == {"batch_size"}


# The reference


def test_the_reference_is_fresh() -> None:
    written = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == markdown(), (
        "run `entrain schema --markdown --output docs/configuration.md`, for the options or their "
        "docstrings have changed"
    )


def test_the_schema_in_the_documentation_is_fresh() -> None:
    written = json.loads((REPOSITORY / "docs" / "entrain.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), "run `entrain schema --output docs/entrain.schema.json`"


def test_the_reference_tells_of_every_option() -> None:
    text = markdown()
    for path, option in options():
        if "properties" not in option and path[-1] not in (ANY_NAME, 0):
            assert f"\n| `{path[-1]}` | " in text, path
        elif "discriminator" in option and path[-1] not in (ANY_NAME, 0):
            assert f"\n| `{path[-1]}` | " in text, path
            kind = next(iter(kinds(option)))
            assert f", kind: {kind}\n" in text, path
        elif path[-1] not in (ANY_NAME, 0):
            assert f".{path[-1]}\n" in text or f"## {path[-1]}\n" in text, path


def test_the_example_in_the_reference_is_valid(tmp_path: Path) -> None:
    text = markdown()
    example = text.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "walk.yaml").write_text(example, encoding="utf-8")
    config = load_config(tmp_path / "walk.yaml", [])
    assert config.policies["walker"].total_steps == 1_000_000
    assert config.policies["walker"].algorithm.learning_rate == 3e-4


@pytest.mark.parametrize(
    "argument",
    [
        line.split("--set ", maxsplit=1)[1].split("`")[0].strip("'")
        for line in markdown().splitlines()
        if line.startswith("| `--set ")
    ],
)
def test_every_set_in_the_reference_works(argument: str, tmp_path: Path) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text("simulators: {launch: [{command: walk}]}", encoding="utf-8")
    assert load_config(path, [argument]) != load_config(path, [])


# The examples


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid_and_named_as_its_file(example: Path) -> None:
    assert load_config(example, []).name == example.stem


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_means_the_same_in_an_editor(example: Path) -> None:
    # Editors read YAML 1.2 to the letter: there 1_000_000 and yes are text, not what is meant.
    for line in example.read_text(encoding="utf-8").splitlines():
        value = line.partition(": ")[2]
        assert not re.search(r"[0-9]_[0-9]|^(on|off|yes|no)$", value), line
    hint = example.read_text(encoding="utf-8").splitlines()[0]
    schema = hint.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((example.parent / schema).read_text(encoding="utf-8")) == json_schema()


def test_the_examples_are_those_that_the_documentation_names() -> None:
    assert {example.stem for example in EXAMPLES} >= {
        "balance_ball",
        "cartpole",
        "gymnasium",
        "halfcheetah",
    }


def test_halfcheetah_has_the_hyperparameters_of_cleanrl() -> None:
    # cleanrl/ppo_continuous_action.py, class Args
    policy = load_config(REPOSITORY / "docs" / "examples" / "halfcheetah.yaml", []).policies[
        "HalfCheetah-v5"
    ]
    ppo = algorithm_options(policy, PPOConfig)
    assert policy.total_steps == 1_000_000
    assert policy.normalize_observations
    assert policy.normalize_rewards
    assert (policy.network.hidden_sizes, policy.network.activation) == ((64, 64), "tanh")
    assert (policy.rollout_steps, ppo.minibatch_size, ppo.num_epochs) == (2048, 64, 10)
    assert (ppo.learning_rate, ppo.learning_rate_schedule) == (3e-4, "linear")
    assert (ppo.adam_epsilon, policy.discount, ppo.gae_lambda) == (1e-5, 0.99, 0.95)
    assert (ppo.clip_range, ppo.clip_range_schedule, ppo.value_clip_range) == (0.2, "constant", 0.2)
    assert (ppo.value_coefficient, ppo.max_grad_norm) == (0.5, 0.5)
    assert (ppo.advantage_normalization, ppo.target_kl) == ("minibatch", 0.0)


def test_the_balance_ball_comes_from_two_processes() -> None:
    config = load_config(REPOSITORY / "docs" / "examples" / "balance_ball.yaml", [])
    [launch] = config.simulators.launch
    assert (launch.command, launch.count) == ("entrain-env balance-ball --count 12", 2)
    assert list(config.policies) == ["ball"]


def test_a_group_that_may_be_null_has_options_of_its_own() -> None:
    where, schema = find(("policies", "walker", "entropy", "target", "rate"))
    assert where == ("policies", "walker", "entropy", "target", "rate")
    assert expectation(schema) == "a number above 0"
    _, group = find(("policies", "walker", "entropy", "target"))
    assert expectation(group) == "a group of options, such as 'per_dimension' or null"


@pytest.mark.parametrize("name", ["entropy_coefficient", "ent_coef", "beta"])
def test_who_writes_the_coefficient_where_others_have_it_is_told_where_it_is(name: str) -> None:
    closest = closest_option(("policies", "walker", "algorithm"), name)
    assert closest == "policies.walker.entropy.coefficient"
