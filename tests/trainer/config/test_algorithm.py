"""The choice of an algorithm by `kind`: with the one there is, and with a second, made-up one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import ValidationError

from entrain.config import load as config_load
from entrain.config import reference
from entrain.config import schema as config_schema
from entrain.config.algorithm import PPOConfig
from entrain.config.fields import Count, OneOfKinds, Options
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.config.schema import expectation, find, json_schema
from entrain.errors import ConfigError


class Dream(Options):
    """Learns in its sleep."""

    kind: Literal["dream"] = "dream"
    """Made up."""

    replay_size: Count = 1000
    """Steps that are kept."""


class PolicyOfTwo(PolicyConfig):
    """A policy that has the choice."""

    algorithm: Annotated[PPOConfig | Dream, OneOfKinds(default="ppo")] = PPOConfig()  # type: ignore[assignment]
    """How the policy learns."""


class RunOfTwo(RunConfig):
    """A run of such policies."""

    policies: Mapping[str, PolicyOfTwo] = {"*": PolicyOfTwo()}  # type: ignore[assignment]
    """By behaviour."""


@pytest.fixture
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program as it is once a second algorithm has joined the union."""
    for module in (config_load, config_schema):
        monkeypatch.setattr(module, "RunConfig", RunOfTwo)
    config_schema._run_schema.cache_clear()
    yield
    monkeypatch.undo()
    config_schema._run_schema.cache_clear()


def read(tmp_path: Path, policy: str, *overrides: str) -> Any:
    """The algorithm of a walker whose options are these."""
    path = tmp_path / "walk.yaml"
    path.write_text(f"policies:\n  walker: {policy}\n", encoding="utf-8")
    return load_config(path, overrides).policies["walker"].algorithm


def complaint(tmp_path: Path, policy: str, *overrides: str) -> str:
    """What is said of such a file, behind its name and the line."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, policy, *overrides)
    return str(caught.value).partition("walk.yaml:2: ")[2] or str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "{}",
        "{algorithm: }",
        "{algorithm: null}",
        "{algorithm: {}}",
        "{algorithm: {kind: ppo}}",
        "{algorithm: {clip_range: 0.2}}",
    ],
)
def test_ppo_is_what_a_policy_learns_by_unless_told_otherwise(tmp_path: Path, policy: str) -> None:
    assert read(tmp_path, policy) == PPOConfig()


def test_an_algorithm_may_be_given_as_it_is() -> None:
    algorithm = PPOConfig(clip_range=0.3)
    assert PolicyConfig(algorithm=algorithm).algorithm == algorithm
    assert PolicyConfig.model_validate({"algorithm": algorithm}).algorithm == algorithm


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("{kind: dqn}", "algorithm.kind is 'dqn'; it must be one of ppo, soft_q, sac"),
        (
            "{kind: Ppo}",
            "algorithm.kind is 'Ppo'; it must be one of ppo, soft_q, sac; did you mean 'ppo'?",
        ),
        ("{kind: }", "algorithm.kind is empty; it must be one of ppo, soft_q, sac"),
        ("{kind: 5}", "algorithm.kind is 5; it must be one of ppo, soft_q, sac"),
        ("{kind: [ppo]}", "algorithm.kind is a list; it must be one of ppo, soft_q, sac"),
        (
            "ppo",
            "algorithm is 'ppo'; it must be a group of options, such as 'kind: ppo'; "
            "write 'algorithm: {kind: ppo}'",
        ),
        ("dqn", "algorithm is 'dqn'; it must be a group of options, such as 'kind: ppo'"),
        ("[ppo]", "algorithm is a list; it must be a group of options, such as 'kind: ppo'"),
        (
            "{clip_rnage: 0.1}",
            "algorithm has no option 'clip_rnage'; did you mean 'clip_range'?",
        ),
        (
            "{kind: ppo, learning_rate: fast}",
            "algorithm.learning_rate is 'fast'; it must be a number above 0",
        ),
        (
            "{batch_size: 32}",
            "algorithm has no option 'batch_size' with kind 'ppo'; it is one of kinds 'soft_q' and "
            "'sac'; did you mean 'minibatch_size'?",
        ),
        (
            "{kind: soft_q, clip_range: 0.1}",
            "algorithm has no option 'clip_range' with kind 'soft_q'; it is one of kind 'ppo'",
        ),
        (
            "{rollout_steps: 64}",
            "algorithm has no option 'rollout_steps'; did you mean "
            "'policies.walker.rollout_steps'?",
        ),
        (
            "{rolout_steps: 64}",
            "algorithm has no option 'rolout_steps'; did you mean 'policies.walker.rollout_steps'?",
        ),
        (
            "{policy_lag: 1}",
            "algorithm has no option 'policy_lag'; did you mean 'policies.walker.policy_lag'?",
        ),
        (
            "{ppo: {clip_range: 0.1}}",
            "algorithm has no option 'ppo'; write 'kind: ppo', with its options beside it",
        ),
        (
            "{discount: 0.9}",
            "algorithm has no option 'discount'; did you mean 'policies.walker.discount'?",
        ),
    ],
)
def test_a_mistake_in_an_algorithm_is_told_with_its_remedy(
    tmp_path: Path, algorithm: str, expected: str
) -> None:
    said = complaint(tmp_path, f"{{algorithm: {algorithm}}}")
    assert said == f"policies.walker.{expected}"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("{kind: ppo}", "has no option 'kind'; did you mean 'algorithm.kind'?"),
        ("{PPO: {}}", "has no option 'PPO'; did you mean 'algorithm'?"),
        ("{algoritm: {}}", "has no option 'algoritm'; did you mean 'algorithm'?"),
        ("{clip_range: 0.1}", "has no option 'clip_range'; did you mean 'algorithm.clip_range'?"),
        ("{n_steps: 64}", "has no option 'n_steps'; did you mean 'rollout_steps'?"),
        ("{lag: 1}", "has no option 'lag' (it has: total_steps, rollout_steps, discount, policy"),
    ],
)
def test_an_option_that_belongs_into_an_algorithm_is_told_its_place(
    tmp_path: Path, policy: str, expected: str
) -> None:
    assert complaint(tmp_path, policy).startswith(f"policies.walker {expected}")


def test_a_kind_in_set_that_does_not_exist_is_told_where_it_stands(tmp_path: Path) -> None:
    argument = "policies.walker.algorithm.kind=dqn"
    assert complaint(tmp_path, "{}", argument) == (
        f"--set {argument}: policies.walker.algorithm.kind is 'dqn'; it must be one of ppo, "
        "soft_q, sac"
    )


@pytest.mark.parametrize("lag", ["2", "-1", "0.5", "yes", "true", ""])
def test_a_policy_may_lag_by_no_update_or_by_one(tmp_path: Path, lag: str) -> None:
    assert PolicyConfig(policy_lag=1).policy_lag == 1
    shown = {"yes": "'yes'", "": "empty"}.get(lag, lag)
    assert complaint(tmp_path, f"{{policy_lag: {lag}}}") == (
        f"policies.walker.policy_lag is {shown}; it must be an integer, 0 or 1"
    )


def test_a_rollout_holds_at_least_one_step(tmp_path: Path) -> None:
    assert complaint(tmp_path, "{rollout_steps: -5}") == (
        "policies.walker.rollout_steps is -5; it must be an integer of at least 1"
    )


# A second algorithm


@pytest.mark.usefixtures("two_kinds")
def test_a_second_algorithm_joins_with_a_kind_of_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, "{algorithm: {kind: dream, replay_size: 7}}") == Dream(replay_size=7)
    assert read(tmp_path, "{algorithm: {kind: ppo}}") == PPOConfig()
    assert read(tmp_path, "{algorithm: {num_epochs: 3}}") == PPOConfig(num_epochs=3)
    overrides = ["policies.walker.algorithm.kind=dream", "policies.walker.algorithm.replay_size=7"]
    assert read(tmp_path, "{}", *overrides) == Dream(replay_size=7)


@pytest.mark.usefixtures("two_kinds")
def test_a_second_algorithm_is_written_and_read_back(tmp_path: Path) -> None:
    written = to_yaml(RunOfTwo(policies={"walker": PolicyOfTwo(algorithm=Dream(replay_size=7))}))
    assert "algorithm:\n      kind: dream\n      replay_size: 7\n" in written
    (tmp_path / "walk.yaml").write_text(written, encoding="utf-8")
    read_back: Any = load_config(tmp_path / "walk.yaml", []).policies["walker"].algorithm
    assert read_back == Dream(replay_size=7)


@pytest.mark.usefixtures("two_kinds")
@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("{kind: sac}", ".kind is 'sac'; it must be one of ppo, dream"),
        (
            "{kind: draem}",
            ".kind is 'draem'; it must be one of ppo, dream; did you mean 'dream'?",
        ),
        (
            "dream",
            " is 'dream'; it must be a group of options, such as 'kind: ppo'; "
            "write 'algorithm: {kind: dream}'",
        ),
        (
            "{kind: dream, replay_sise: 7}",
            " has no option 'replay_sise'; did you mean 'replay_size'?",
        ),
        (
            "{replay_size: 7}",
            " has no option 'replay_size' with kind 'ppo'; it is one of kind 'dream'",
        ),
        (
            "{kind: dream, clip_range: 0.1}",
            " has no option 'clip_range' with kind 'dream'; it is one of kind 'ppo'",
        ),
        (
            "{kind: dream, replay_size: 0}",
            ".replay_size is 0; it must be an integer of at least 1",
        ),
    ],
)
def test_a_mistake_beside_a_second_algorithm_is_that_of_the_kind_that_was_chosen(
    tmp_path: Path, algorithm: str, expected: str
) -> None:
    said = complaint(tmp_path, f"{{algorithm: {algorithm}}}")
    assert said == f"policies.walker.algorithm{expected}"


@pytest.mark.usefixtures("two_kinds")
def test_each_algorithm_has_a_table_in_the_documentation() -> None:
    _, *sections = reference.markdown().split("\n## ")
    tables = {section.splitlines()[0]: section for section in sections}
    ppo, dream = (tables[f"policies.NAME.algorithm, kind: {kind}"] for kind in ("ppo", "dream"))
    assert "Learns in its sleep." in dream
    assert "| `replay_size` | an integer of at least 1 | `1000` | Steps that are kept. |" in dream
    assert "`clip_range`" in ppo
    assert "`replay_size`" not in ppo
    assert "`clip_range`" not in dream


@pytest.mark.usefixtures("two_kinds")
def test_an_editor_is_told_which_options_each_kind_has() -> None:
    schema = json_schema()
    union = schema["$defs"]["PolicyOfTwo"]["properties"]["algorithm"]
    assert union["discriminator"]["propertyName"] == "kind"
    assert union["discriminator"]["mapping"].keys() == {"ppo", "dream"}
    # Without a kind it is PPO: only the others must name theirs, or an empty group would be both.
    assert [choice.get("required", []) for choice in union["oneOf"]] == [[], ["kind"]]
    assert expectation(find(("policies", "w", "algorithm", "kind"))[1]) == "one of ppo, dream"
    assert find(("policies", "w", "algorithm", "replay_size"))[0][-1] == "replay_size"


def test_a_kind_is_one_word_known_beforehand() -> None:
    class TwoWords(Options):
        """No algorithm."""

        kind: Literal["one", "other"] = "one"

    with pytest.raises(ValueError, match="to unpack"):

        class Policy(PolicyConfig):
            algorithm: Annotated[PPOConfig | TwoWords, OneOfKinds("ppo")] = PPOConfig()  # type: ignore[assignment]


def test_options_of_another_algorithm_are_refused_in_code_too() -> None:
    with pytest.raises(ValidationError):
        PolicyConfig.model_validate({"algorithm": Dream()})
